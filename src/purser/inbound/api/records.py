"""What records of models and datasets share: how they are listed, what of them is answered, and whose they are (X2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from litestar.params import QueryParameter
from msgspec import UNSET, UnsetType

from purser.core.errors import Invalid, Unimplemented
from purser.core.period import format_instant
from purser.core.records import APART, KINDS, NOUNS, READY, STATES
from purser.flows import access, standing
from purser.flows import records as flow
from purser.inbound.api.call import Call
from purser.inbound.api.filters import read_comparisons, wrong_filter
from purser.inbound.api.permissions import manages_others
from purser.inbound.api.wire import DEFAULT_PAGE, View, read_token, write_token
from purser.store import accounts
from purser.store import records as rows
from purser.store.db import Connection, Row

T = TypeVar("T", bound=msgspec.Struct)
_ORDERS = {
    "createTime": "created_at",
    "updateTime": "updated_at",
    "id": "id",
    "name": "id",
    "displayName": "display_name",
}
Filter = Annotated[
    str | None, QueryParameter(description='Comparisons such as displayName = "Evaluation", joined by AND.')
]
OrderBy = Annotated[
    str | None,
    QueryParameter(
        name="orderBy",
        description=f'Fields such as "displayName, createTime desc": {", ".join(_ORDERS)}; "createTime desc" if none.',
    ),
]
ReadMask = Annotated[
    str | None,
    QueryParameter(
        name="readMask", description='What to answer beside the name, such as "displayName,createTime"; "*": all.'
    ),
]


class StatusView(View):
    """How the last thing done to it went."""

    code: str
    message: str


def given(fields: msgspec.Struct | None) -> dict[str, Any]:
    """The fields of a body that were given, by their names on the wire."""
    found: dict[str, Any] = {} if fields is None else msgspec.to_builtins(fields)
    return found


def only_of(call: Call) -> str | None:
    """Whose records the caller may change: anybody's (None), or its own alone."""
    return None if call.caller.operator or manages_others(call.caller.role) else call.caller.user


def maker(call: Call) -> str:
    """Who makes a record: a user, or the operator ("")."""
    return "" if call.caller.operator else call.caller.user


def read(call: Call, account: str, collection: str, id_: str, kind: type[T], mask: str | None) -> T:
    """A record as answered; raises NotFound, Invalid."""
    cut = masking(kind, mask)
    with call.desk.read() as conn:
        return cut(view(conn, flow.require(conn, account, collection, id_), kind))


def view(conn: Connection, row: Row, kind: type[T]) -> T:
    """A record's row as answered."""
    return _views(conn, [row], kind)[0]


def _views(conn: Connection, found: Sequence[Row], kind: type[T]) -> list[T]:
    makers: dict[str, str] = {}
    for account, user in {(row.account, row.created_by) for row in found}:
        row = accounts.get_user(conn, account, user)
        makers[user] = "" if row is None else access.name_principal(row)
    return [_view(row, makers[row.created_by], kind) for row in found]


def _view(row: Row, created_by: str, kind: type[T]) -> T:
    apart = {name: getattr(row, column) for name, column in APART[row.collection].items()}
    told = {
        **rows.read(row).fields,
        **{name: str(value) for name, value in apart.items() if value is not None},
        "name": f"accounts/{row.account}/{row.collection}/{row.id}",
        "id": row.id,
        "state": READY,
        "status": {"code": "OK", "message": ""},
        "createdBy": created_by,
        "createTime": format_instant(row.created_at),
        "updateTime": format_instant(row.updated_at),
    }
    return msgspec.convert(told, kind)


def list_page(
    call: Call,
    account: str,
    collection: str,
    kind: type[T],
    size: int | None,
    token: str | None,
    filter_: str | None,
    order_by: str | None,
    mask: str | None,
) -> tuple[list[T], str, int]:
    """A page of records as answered, the token of the next one, and how many there are. Raises NotFound, Invalid."""
    cut, order, only = masking(kind, mask), _read_order(order_by), _read_filter(account, collection, filter_)
    place, most = read_token(token, int), size or DEFAULT_PAGE
    start = place[0] if place else 0
    with call.desk.read() as conn:
        standing.require(conn, account)
        if only is None:
            return [], "", 0
        total = rows.count(conn, account, collection, only)
        found = rows.list_records(conn, account, collection, only, order, min(start, total), most)
        more = write_token(start + most) if start + most < total else ""
        return [cut(each) for each in _views(conn, found, kind)], more, total


def _read_order(text: str | None) -> list[tuple[str, bool]]:
    found: dict[str, bool] = {}
    for part in (text or "createTime desc").split(","):
        name, _, direction = part.strip().partition(" ")
        column = _ORDERS.get(name)
        if column is None or column in found or direction.strip() not in ("", "asc", "desc"):
            raise Invalid(
                f'orderBy must be fields such as "displayName, createTime desc"; known: {", ".join(_ORDERS)}',
                field="orderBy",
            )
        found[column] = direction.strip() == "desc"
    return list(found.items())


def _read_filter(account: str, collection: str, text: str | None) -> Mapping[str, str] | None:
    """Which values columns must have; None where no record can be meant."""
    by_kind = next(name for name, column in APART[collection].items() if column == "kind")
    fields = {"id": "id", "name": "name", "displayName": "display_name", by_kind: "kind", "state": "state"}
    only = read_comparisons(text, fields, 'displayName = "Evaluation"')
    if only.get("kind", KINDS[collection][0]) not in KINDS[collection]:
        raise wrong_filter(f"such as {by_kind} = {KINDS[collection][1]}; known: {', '.join(KINDS[collection])}")
    state = only.pop("state", READY)
    if state not in STATES:
        raise wrong_filter(f"such as state = {READY}; states: {', '.join(STATES)}")
    if "name" in only:
        prefix, name = f"accounts/{account}/{collection}/", only.pop("name")
        id_ = name.removeprefix(prefix)
        if not name.startswith(prefix) or only.get("id", id_) != id_:
            return None
        only["id"] = id_
    return only if state == READY else None


def masking(kind: type[T], mask: str | None) -> Callable[[T], T]:
    """What leaves of an answer its name and the fields of a read mask; raises Invalid."""
    if mask is None or mask.strip() in ("", "*"):
        return lambda answer: answer
    names = {each.encode_name: each.name for each in msgspec.structs.fields(kind)}
    kept = {part.strip().partition(".")[0] for part in mask.split(",")}
    if not kept <= set(names):
        raise Invalid(f"readMask must be fields joined by commas; known: {', '.join(names)}", field="readMask")
    left_out: Mapping[str, UnsetType] = dict.fromkeys(
        (own for name, own in names.items() if name not in _kept(kept)), UNSET
    )
    return lambda answer: msgspec.structs.replace(answer, **left_out)


def _kept(names: Collection[str]) -> set[str]:
    return {"name", *names}


def refuse(collection: str, what: str) -> NoReturn:
    """Raise Unimplemented for what has to do with what a record is about."""
    noun = NOUNS[collection]
    raise Unimplemented(
        f"{what} is not offered: Purser keeps records of {collection} only, and no {noun}'s files; write down what is "
        f"known of it with PATCH /v1/accounts/{{account}}/{collection}/{{{noun}}}"
    )
