"""The operator's people: listed, added with a key that is shown once, given another role, removed."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.errors import NotFound
from purser.core.period import format_instant
from purser.flows import access
from purser.inbound.api.auth import OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import delete, get, patch, post
from purser.inbound.api.wire import Body, Empty, Name, PageSize, PageToken, View, page
from purser.store import operators
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/operator/v1/users"


class NewOperator(Body):
    """One of the operator's people, to add."""

    name: str
    role: str


class ChangedOperator(Body):
    """Another role."""

    role: str


class OperatorView(View):
    """One of the operator's people; `key` is in the answer that added them and nowhere else."""

    id: str
    name: str
    role: str
    prefix: str
    create_time: str
    key: str | UnsetType = UNSET


class OperatorList(View):
    """A page of operators, newest first."""

    users: list[OperatorView]
    next_page_token: str
    total_size: int


def _view(row: Row, secret: str | UnsetType = UNSET) -> OperatorView:
    return OperatorView(row.id, row.name, row.role, row.prefix, format_instant(row.created_at), secret)


def _get(conn: Connection, operator: str) -> Row:
    row = operators.get_operator(conn, operator)
    if row is None:
        raise NotFound(f"there is no operator {operator!r:.60}", field="operator")
    return row


@get(_PATH, OPERATOR)
def list_operators(request: Call, page_size: PageSize = None, page_token: PageToken = None) -> OperatorList:
    """List the operator's people."""
    with request.desk.read() as conn:
        rows = operators.list_operators(conn)
    some, more = page(rows, page_size, page_token)
    return OperatorList([_view(row) for row in some], more, len(rows))


@post(_PATH, OPERATOR, status=201)
def create_operator(request: Call, data: JSONBody[NewOperator], dry_run: DryRun = False) -> Response[OperatorView]:
    """Add one of the operator's people as owner, finance, support or read-only; the key is in this answer alone."""

    def create(tx: Tx) -> OperatorView:
        made = access.create_operator(tx, data.name, data.role)
        return _view(_get(tx.conn, made.id), made.secret)

    return once(request, create, status=201, dry_run=dry_run)


@patch(_PATH + "/{operator:str}", OPERATOR)
def update_operator(
    request: Call, operator: Name, data: JSONBody[ChangedOperator], dry_run: DryRun = False
) -> Response[OperatorView]:
    """Give one of the operator's people another role; there is always an owner."""

    def change(tx: Tx) -> OperatorView:
        access.update_operator(tx, operator, data.role)
        return _view(_get(tx.conn, operator))

    return once(request, change, dry_run=dry_run)


@delete(_PATH + "/{operator:str}", OPERATOR)
def remove_operator(request: Call, operator: Name, dry_run: DryRun = False) -> Response[Empty]:
    """End the key of one of the operator's people at once; there is always an owner."""

    def remove(tx: Tx) -> Empty:
        access.remove_operator(tx, operator)
        return Empty()

    return once(request, remove, dry_run=dry_run)


ROUTES = [list_operators, create_operator, update_operator, remove_operator]
