"""The operator's routes on accounts: opened, given credit, blocked, reinstated, lifted out of the tiers."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.money import format_usd, parse_usd
from purser.core.period import parse_instant
from purser.core.standing import BLOCKED
from purser.flows import accounts, credits, modes, standing
from purser.inbound.api.accounts import AccountList, AccountView, Filter, OrderBy, list_page, view
from purser.inbound.api.auth import OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.credits import AllocationView, view_allocation
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import get, patch, post
from purser.inbound.api.wire import Body, Name, PageSize, PageToken, Text, View, instant
from purser.store.writers import Tx

_PATH = "/operator/v1/accounts"
_ONE = _PATH + "/{account:str}"


class NewAccount(Body):
    """An account to open."""

    id: str
    email: str
    display_name: Text = ""
    billing_mode: str | None = None
    signup_credit_usd: str | None = None


class ChangedAccount(Body):
    """What is to change of an account."""

    unlimited: bool


class NewMode(Body):
    """How an account is to pay, and from when on: at once if not given."""

    billing_mode: str
    effective_at: str | None = None


class NewGrant(Body):
    """Credit to give: promotional is a gift, purchased is money received."""

    amount_usd: str
    kind: str = "promotional"
    expires_at: str | None = None


class Block(Body):
    """Why an account is to be blocked."""

    reason: str
    cause: str = BLOCKED


class Lift(Body):
    """Which cause to lift."""

    cause: str = BLOCKED


class FirstKey(View):
    """The owner's first key, shown this once."""

    key_id: str
    key: str


class Opened(View):
    """An account just opened."""

    account: str
    user: str
    api_key: FirstKey


class GrantMade(View):
    """Credit given: the grant's id (null where all of it paid what was owed), and where money received went."""

    id: str | None
    kind: str
    amount_usd: str
    remaining_usd: str
    expires_at: str | None
    allocation: list[AllocationView] | UnsetType = UNSET
    receipt: str | UnsetType = UNSET


@post(_PATH, OPERATOR, status=201)
def open_account(request: Call, data: JSONBody[NewAccount], dry_run: DryRun = False) -> Response[Opened]:
    """Open an account with its owner, a first key and the sign-up credit."""
    gift = None if data.signup_credit_usd is None else parse_usd(data.signup_credit_usd, "signupCreditUsd")

    def open_(tx: Tx) -> Opened:
        opened = accounts.open_account(
            tx,
            data.id,
            data.email,
            display_name=data.display_name,
            billing_mode=data.billing_mode,
            signup_credit_nanos=gift,
        )
        return Opened(opened.account, opened.user, FirstKey(opened.key_id, opened.secret))

    return once(request, open_, status=201, dry_run=dry_run)


@get(_PATH, OPERATOR)
def list_accounts(
    request: Call,
    page_size: PageSize = None,
    page_token: PageToken = None,
    filter: Filter = None,
    order_by: OrderBy = None,
) -> AccountList:
    """List every account, newest first, with the flags that a person should look at."""
    return list_page(request, page_size, page_token, filter, order_by, flags=True)


@get(_ONE, OPERATOR)
def get_account(request: Call, account: Name) -> AccountView:
    """Get an account, with the flags that a person should look at."""
    with request.desk.read() as conn:
        return view(conn, account, request.desk.policy, flags=True)


@patch(_ONE, OPERATOR)
def update_account(
    request: Call, account: Name, data: JSONBody[ChangedAccount], dry_run: DryRun = False
) -> Response[AccountView]:
    """Lift an account out of the tiers, or put it back into them."""

    def change(tx: Tx) -> AccountView:
        accounts.set_unlimited(tx, account, data.unlimited)
        return view(tx.conn, account, tx.policy)

    return once(request, change, dry_run=dry_run)


@post(_ONE + "/:setBillingMode", OPERATOR)
def set_billing_mode(
    request: Call, account: Name, data: JSONBody[NewMode], dry_run: DryRun = False
) -> Response[AccountView]:
    """Change how an account pays, at once or at an instant to come; the last word on what is to come counts.

    The month of the change is invoiced at its end, unless it was prepaid throughout; what is owed stays owed.
    """
    at = None if data.effective_at is None else parse_instant(data.effective_at, "effectiveAt")

    def change(tx: Tx) -> AccountView:
        modes.set_mode(tx, account, data.billing_mode, at)
        return view(tx.conn, account, tx.policy)

    return once(request, change, dry_run=dry_run)


@post(_ONE + "/grants", OPERATOR)
def grant_credit(
    request: Call, account: Name, data: JSONBody[NewGrant], dry_run: DryRun = False
) -> Response[GrantMade]:
    """Give credit. Purchased credit is money received: it pays what is owed first and counts as spend (A7, A11)."""
    amount = parse_usd(data.amount_usd, "amountUsd")
    expires_at = None if data.expires_at is None else parse_instant(data.expires_at, "expiresAt")

    def give(tx: Tx) -> GrantMade:
        standing.require(tx.conn, account)
        given = credits.give_credit(tx, account, amount, kind=data.kind, expires_at=expires_at)
        left = {grant.id: grant.remaining_nanos for grant in credits.remaining_grants(tx.conn, account)}
        return GrantMade(
            id=None if given.grant is None else given.grant.id,
            kind=data.kind,
            amount_usd=format_usd(amount),
            remaining_usd=format_usd(0 if given.grant is None else left.get(given.grant.id, 0)),
            expires_at=instant(expires_at),
            allocation=view_allocation(given.allocation) if given.allocation else UNSET,
            receipt=given.receipt if given.receipt is not None else UNSET,
        )

    return once(request, give, dry_run=dry_run)


@post(_ONE + "/:suspend", OPERATOR)
def suspend(request: Call, account: Name, data: JSONBody[Block], dry_run: DryRun = False) -> Response[AccountView]:
    """Block an account under an abuse rule."""

    def block(tx: Tx) -> AccountView:
        accounts.suspend(tx, account, data.cause, data.reason)
        return view(tx.conn, account, tx.policy)

    return once(request, block, dry_run=dry_run)


@post(_ONE + "/:reinstate", OPERATOR)
def reinstate(
    request: Call, account: Name, data: JSONBody[Lift | None] = None, dry_run: DryRun = False
) -> Response[AccountView]:
    """Lift a block. Causes that follow from the account's facts are refused, with what lifts them."""

    def lift(tx: Tx) -> AccountView:
        accounts.reinstate(tx, account, BLOCKED if data is None else data.cause)
        return view(tx.conn, account, tx.policy)

    return once(request, lift, dry_run=dry_run)


ROUTES = [open_account, list_accounts, get_account, update_account, set_billing_mode, grant_credit, suspend, reinstate]
