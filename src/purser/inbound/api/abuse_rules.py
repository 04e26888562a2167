"""Abuse rules: made, listed and ended by the operator, with the flags that they and shared cards put on accounts."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.errors import NotFound
from purser.core.money import format_usd
from purser.core.period import format_instant
from purser.flows import abuse
from purser.inbound.api.accounts import FlagView, view_flag
from purser.inbound.api.auth import OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import delete, get, post
from purser.inbound.api.wire import Body, Name, PageSize, PageToken, View, instant, page
from purser.store import abuse as rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/operator/v1/abuseRules"
_ONE = _PATH + "/{rule:str}"
ACTIVE, ENDED = "ACTIVE", "ENDED"


class NewRule(Body):
    """A rule to make: of a domain, a network or an account, what is thought of it, and why."""

    type: str
    target: str
    designation: str
    reason: str


class RuleView(View):
    """An abuse rule; `accounts` is how many there are that it covers, in the answers that make or end one."""

    id: str
    type: str
    target: str
    designation: str
    reason: str
    state: str
    created_at: str
    ended_at: str | None
    accounts: int | UnsetType = UNSET


class RuleList(View):
    """A page of abuse rules, newest first."""

    abuse_rules: list[RuleView]
    next_page_token: str
    total_size: int


class FlagList(View):
    """A page of flags that are up, newest first."""

    account_flags: list[FlagView]
    next_page_token: str
    total_size: int


class Review(Body):
    """What a person who has looked at an account decides of sign-up credit that waits for this."""

    grant_credit: bool = True


class Reviewed(View):
    """What came of it: the credit that was given."""

    account: str
    credit_usd: str


def _view(row: Row, accounts: int | UnsetType = UNSET) -> RuleView:
    return RuleView(
        id=row.id,
        type=row.type,
        target=row.target,
        designation=row.designation,
        reason=row.reason,
        state=ACTIVE if row.ended_at is None else ENDED,
        created_at=format_instant(row.created_at),
        ended_at=instant(row.ended_at),
        accounts=accounts,
    )


def _require(conn: Connection, id_: str) -> Row:
    row = rows.get_rule(conn, id_)
    if row is None:
        raise NotFound(f"there is no abuse rule {id_!r:.60}", field="rule")
    return row


@get(_PATH, OPERATOR)
def list_rules(request: Call, page_size: PageSize = None, page_token: PageToken = None) -> RuleList:
    """List abuse rules, also those that have ended."""
    with request.desk.read() as conn:
        found = rows.list_rules(conn)
    some, more = page(found, page_size, page_token)
    return RuleList([_view(row) for row in some], more, len(found))


@get(_ONE, OPERATOR)
def get_rule(request: Call, rule: Name) -> RuleView:
    """Get an abuse rule."""
    with request.desk.read() as conn:
        return _view(_require(conn, rule))


@post(_PATH, OPERATOR, status=201)
def make_rule(request: Call, data: JSONBody[NewRule], dry_run: DryRun = False) -> Response[RuleView]:
    """Make an abuse rule. Accounts that it blocks are suspended; sign-up goes by it from now on.

    The most exact rule decides: an account's own, a longer domain, a smaller network; ALLOWED exempts.
    """

    def make(tx: Tx) -> RuleView:
        made = abuse.add(tx, data.type, data.target, data.designation, data.reason)
        return _view(_require(tx.conn, made.rule), made.accounts)

    answer = once(request, make, status=201, dry_run=dry_run)
    request.desk.worker.poke()  # where the accounts are many, it goes on with them
    return answer


@delete(_ONE, OPERATOR)
def end_rule(request: Call, rule: Name, dry_run: DryRun = False) -> Response[RuleView]:
    """End an abuse rule. Nobody is let back in by it: reinstate accounts one by one."""

    def end(tx: Tx) -> RuleView:
        ended = abuse.end(tx, rule)
        return _view(_require(tx.conn, rule), ended.accounts)

    answer = once(request, end, dry_run=dry_run)
    request.desk.worker.poke()
    return answer


@get("/operator/v1/accountFlags", OPERATOR)
def list_flags(request: Call, page_size: PageSize = None, page_token: PageToken = None) -> FlagList:
    """List the accounts that a person should look at, and why."""
    with request.desk.read() as conn:
        found = rows.list_flags(conn)
    some, more = page(found, page_size, page_token)
    return FlagList([view_flag(row) for row in some], more, len(found))


@post("/operator/v1/accounts/{account:str}/:clearFlags", OPERATOR)
def clear_flags(
    request: Call, account: Name, data: JSONBody[Review | None] = None, dry_run: DryRun = False
) -> Response[Reviewed]:
    """Clear an account's flags, and give it the sign-up credit that waited for this, or never. A block stays."""
    grant = data is None or data.grant_credit

    def clear(tx: Tx) -> Reviewed:
        return Reviewed(account, format_usd(abuse.clear_flags(tx, account, grant_credit=grant)))

    return once(request, clear, dry_run=dry_run)


ROUTES = [list_rules, get_rule, make_rule, end_rule, list_flags, clear_flags]
