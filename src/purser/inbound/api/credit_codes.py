"""Credit codes: made, listed and ended by the operator; redeemed by an account, as the compatible API has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.credits import CreditGrant
from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.money import format_usd, parse_usd
from purser.core.period import format_instant, parse_instant
from purser.flows import codes, standing
from purser.inbound.api.auth import ADMIN, ANYONE, MEMBER, OPERATOR, check
from purser.inbound.api.billing import Money, money
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import delete, get, post
from purser.inbound.api.wire import (
    DEFAULT_PAGE,
    Body,
    Compatible,
    Empty,
    Name,
    PageSize,
    PageToken,
    Text,
    View,
    instant,
    page,
    read_token,
    write_token,
)
from purser.inbound.desk import Desk
from purser.store import codes as rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/operator/v1/creditCodes"
Count = Annotated[int, msgspec.Meta(ge=1)]


class NewCode(Body):
    """A code to make: how much credit, for how many accounts, until when, and how many days the credit lasts."""

    amount_usd: str
    redemptions: Count = 1
    expires_at: str | None = None
    credit_days: Count | None = None
    display_name: Text = ""


class CodeView(View):
    """A credit code; `code` is in the answer that made it and nowhere else."""

    id: str
    display_name: str
    begins: str
    amount_usd: str
    redemptions: int
    redeemed: int
    created_at: str
    expires_at: str | None
    credit_days: int | None
    ended_at: str | None
    code: str | UnsetType = UNSET


class CodeList(View):
    """A page of credit codes, newest first."""

    credit_codes: list[CodeView]
    next_page_token: str
    total_size: int


class Redeem(Compatible):
    """A code, and the account that redeems it: "accounts/ada", the key's own where it is not given."""

    code: str
    name: str = ""


class Redeemed(View):
    """The credit that a code gave."""

    amount: Money
    credit: str
    expires_at: str | None


class RedemptionView(View):
    """A code that an account has redeemed, and the credit it gave."""

    name: str
    amount: Money
    credit: str
    create_time: str
    expires_at: str | None


class RedemptionList(View):
    """A page of redemptions, newest first."""

    credit_redemptions: list[RedemptionView]
    next_page_token: str
    total_size: int


class RedeemerView(View):
    """An account that has redeemed a code, when, and the credit that it got."""

    account: str
    amount_usd: str
    credit: str
    redeemed_at: str


class RedeemerList(View):
    """A page of those who redeemed a code, newest first."""

    redemptions: list[RedeemerView]
    next_page_token: str
    total_size: int


def _view(row: Row, secret: str | UnsetType = UNSET) -> CodeView:
    return CodeView(
        id=row.id,
        display_name=row.display_name,
        begins=row.begins,
        amount_usd=format_usd(row.amount),
        redemptions=row.redemptions,
        redeemed=row.redeemed,
        created_at=format_instant(row.created_at),
        expires_at=instant(row.expires_at),
        credit_days=row.credit_days,
        ended_at=instant(row.ended_at),
        code=secret,
    )


def _require(conn: Connection, id_: str) -> Row:
    row = rows.get_code(conn, id_)
    if row is None:
        raise NotFound(f"there is no credit code {id_!r:.60}", field="code")
    return row


@get(_PATH, OPERATOR)
def list_codes(request: Call, page_size: PageSize = None, page_token: PageToken = None) -> CodeList:
    """List credit codes, with how many accounts have redeemed each."""
    with request.desk.read() as conn:
        found = rows.list_codes(conn)
    some, more = page(found, page_size, page_token)
    return CodeList([_view(row) for row in some], more, len(found))


@post(_PATH, OPERATOR, status=201)
def make_code(request: Call, data: JSONBody[NewCode], dry_run: DryRun = False) -> Response[CodeView]:
    """Make a credit code; it is in this answer alone. Each account may redeem it once."""
    amount = parse_usd(data.amount_usd, "amountUsd")
    expires_at = None if data.expires_at is None else parse_instant(data.expires_at, "expiresAt")

    def make(tx: Tx) -> CodeView:
        made = codes.make(
            tx,
            amount,
            redemptions=data.redemptions,
            expires_at=expires_at,
            credit_days=data.credit_days,
            display_name=data.display_name,
        )
        return _view(_require(tx.conn, made.id), made.code)

    return once(request, make, status=201, dry_run=dry_run)


@get(_PATH + "/{code:str}/redemptions", OPERATOR)
def list_redeemers(request: Call, code: Name, page_size: PageSize = None, page_token: PageToken = None) -> RedeemerList:
    """List the accounts that have redeemed a code, newest first."""
    place, most = read_token(page_token, int, str), page_size or DEFAULT_PAGE
    with request.desk.read() as conn:
        total = _require(conn, code).redeemed
        found = rows.list_redeemers(conn, code, after=place, limit=most + 1)
    last = found[most - 1] if len(found) > most else None
    return RedeemerList(
        [RedeemerView(row.account, format_usd(row.amount), row.credit, format_instant(row.at)) for row in found[:most]],
        "" if last is None else write_token(last.at, last.account),
        total,
    )


@delete(_PATH + "/{code:str}", OPERATOR)
def end_code(request: Call, code: Name, dry_run: DryRun = False) -> Response[Empty]:
    """End a credit code: nobody redeems it any more. What was redeemed stays."""

    def end(tx: Tx) -> Empty:
        codes.end(tx, code)
        return Empty()

    return once(request, end, dry_run=dry_run)


@post("/v1/creditCodes/:redeem", ANYONE, counted=False, refuses=(404, 429))
def redeem_code(request: Call, data: JSONBody[Redeem], dry_run: DryRun = False) -> Response[Redeemed]:
    """Redeem a credit code for an account, once: an admin does, or the operator. Many that fail are 429."""
    account = _account_of(request, data.name)

    def redeem(tx: Tx) -> Redeemed:
        grant = codes.redeem(tx, account, data.code)
        return Redeemed(money(grant.granted_nanos), grant.id, instant(grant.expires_at))

    with noting_failures(request.desk, account):
        return once(request, redeem, dry_run=dry_run)


def _account_of(call: Call, name: str) -> str:
    """Whose code it is to be; raises Invalid, NotFound and Forbidden as the routes of an account do."""
    kind, _, account = name.partition("/")
    if name and (kind != "accounts" or not account):
        raise Invalid(f'name must be like "accounts/ada", not {name!r:.80}', field="name")
    account = account or call.caller.account
    if not account:
        raise Invalid('name must say which account, such as "accounts/ada"', field="name")
    check(call.caller, ADMIN, account, None)
    with call.desk.read() as conn:
        standing.require(conn, account)
    return account


@contextmanager
def noting_failures(desk: Desk, account: str) -> Iterator[None]:
    """That a code is refused meanwhile is noted, in a transaction of its own."""
    try:
        yield
    except (NotFound, Conflict) as refused:
        if refused.field == "code":
            desk.write(lambda tx: codes.note_failure(tx, account))
        raise


def redeem_for(desk: Desk, account: str, given: object) -> CreditGrant:
    """Redeem a code for an account whose admin asks; raises as the flow does."""
    with noting_failures(desk, account):
        grant: CreditGrant = desk.write(lambda tx: codes.redeem(tx, account, given))
    return grant


@get("/v1/accounts/{account:str}/creditRedemptions", MEMBER, counted=False)
def list_redemptions(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> RedemptionList:
    """List the credit codes that an account has redeemed, newest first."""
    with request.desk.read() as conn:
        found = rows.list_redemptions(conn, account)
    some, more = page(found, page_size, page_token)
    return RedemptionList(
        [
            RedemptionView(
                name=f"accounts/{account}/creditRedemptions/{row.code}",
                amount=money(row.amount),
                credit=row.credit,
                create_time=format_instant(row.at),
                expires_at=instant(row.expires_at),
            )
            for row in some
        ],
        more,
        len(found),
    )


ROUTES = [list_codes, make_code, list_redeemers, end_code, redeem_code, list_redemptions]
