"""Usage limits of people and groups, as the compatible API shows them: spend in a calendar month, by requests (L6)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

from litestar import Response
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from purser.core.cap import Cap
from purser.core.errors import Invalid
from purser.core.money import NANOS_PER_USD
from purser.core.period import format_instant, month_end, month_of
from purser.flows import caps, standing, usage_limits
from purser.inbound.api import users
from purser.inbound.api.auth import ADMIN, MEMBER, SELF
from purser.inbound.api.billing import Money, money
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import delete, get, patch, post
from purser.inbound.api.wire import Body, Compatible, Empty, Name, PageSize, PageToken, View, instant, page
from purser.store import accounts
from purser.store import caps as rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_ACCOUNT = "/v1/accounts/{account:str}"
_TIERS = f"{_ACCOUNT}/groupUsageLimitTiers"
_MOST_DIGITS = 19
TierId = Annotated[
    str | None, QueryParameter(name="groupUsageLimitTierId", description='The new limit\'s id, such as "researchers".')
]


class MoneyFields(Compatible):
    """An amount: `{"currencyCode": "USD", "units": "250", "nanos": 0}`."""

    units: str | int = "0"
    nanos: int = 0
    currency_code: str = "USD"

    def read(self, field: str) -> int:
        """The amount, nano-dollars; raises Invalid."""
        text = str(self.units)
        whole = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
        if self.currency_code != "USD" or not whole or not 0 <= self.nanos < NANOS_PER_USD:
            right = '{"currencyCode": "USD", "units": "250", "nanos": 0}'
            raise Invalid(f"{field} must be an amount such as {right}, not negative", field=field)
        return int(text) * NANOS_PER_USD + self.nanos


class ChangedLimits(Body):
    """What each user may spend in a month where nothing else says."""

    default_user_limit: MoneyFields | None


class ChangedUserLimits(Body):
    """A user's own limit, taken away by null, and the groups that the user is in; what is not given stays."""

    limit_override: MoneyFields | UnsetType | None = UNSET
    groups: tuple[str, ...] | None = None


class NewTier(Body):
    """An amount that groups can be limited to."""

    limit: MoneyFields
    group_usage_limit_tier_id: str | None = None


class ChangedTier(Compatible):
    """Another amount."""

    limit: MoneyFields


class ChangedGroup(Body):
    """Which limit each member of a group has; none by null."""

    group_usage_limit_tier_id: str | None


class LimitsView(View):
    """What each user may spend in a month where nothing else says; null where nothing does."""

    name: str
    default_user_limit: Money | None


class UserLimitsView(View):
    """What a user has spent this month, by requests, and may; `exceededUntil` is when a spent limit begins anew."""

    name: str
    user: str
    used: Money
    effective_limit: Money | None
    limit_source: str
    limit_override: Money | None
    groups: list[str]
    limit_groups: list[str]
    exceeded_until: str | None


class UserLimitsList(View):
    """A page of users' limits."""

    user_usage_limits: list[UserLimitsView]
    next_page_token: str
    total_size: int


class TierView(View):
    """An amount that groups can be limited to."""

    name: str
    id: str
    limit: Money
    create_time: str


class TierList(View):
    """An account's group limits, the lowest first."""

    group_usage_limit_tiers: list[TierView]
    next_page_token: str
    total_size: int


class GroupView(View):
    """A group, the limit that each of its members has, and how many those are."""

    name: str
    id: str
    group_usage_limit_tier_id: str | None
    limit: Money | None
    members: int


class GroupList(View):
    """A page of groups."""

    group_usage_limits: list[GroupView]
    next_page_token: str
    total_size: int


def _money(nanos: int | None) -> Money | None:
    return None if nanos is None else money(nanos)


def _view(row: Row) -> LimitsView:
    return LimitsView(f"accounts/{row.id}/usageLimits", _money(row.default_user_limit))


def _view_user(conn: Connection, row: Row, now: int) -> UserLimitsView:
    return _view_users(conn, row.account, [row], now)[0]


def _view_users(conn: Connection, account: str, found: Sequence[Row], now: int) -> list[UserLimitsView]:
    used = usage_limits.list_spent(conn, account, [row.id for row in found], now)
    limited = {group.id for group in rows.list_groups(conn, account) if group.tier is not None}
    return [_view_limits(row, caps.get_cap(conn, account, row.id), used[row.id], limited, now) for row in found]


def _view_limits(row: Row, cap: Cap | None, used: int, limited: Collection[str], now: int) -> UserLimitsView:
    groups = row.member_of.split()
    spent = cap is not None and used >= cap.nanos
    return UserLimitsView(
        name=f"accounts/{row.account}/users/{row.id}/usageLimits",
        user=row.id,
        used=money(used),
        effective_limit=None if cap is None else money(cap.nanos),
        limit_source="LIMIT_SOURCE_UNSPECIFIED" if cap is None else cap.source,
        limit_override=_money(row.limit_override),
        groups=groups,
        limit_groups=[group for group in groups if group in limited],
        exceeded_until=instant(month_end(month_of(now)) if spent else None),
    )


def _view_tier(row: Row) -> TierView:
    name = f"accounts/{row.account}/groupUsageLimitTiers/{row.id}"
    return TierView(name, row.id, money(row.limit_nanos), format_instant(row.created_at))


def _view_groups(conn: Connection, account: str) -> list[GroupView]:
    """The groups that have a limit or members."""
    tiers = {row.id: row.limit_nanos for row in rows.list_tiers(conn, account)}
    members = [group for user in accounts.list_users(conn, account) for group in user.member_of.split()]
    given: dict[str, str | None] = {row.id: row.tier for row in rows.list_groups(conn, account)}
    names = sorted({*members, *(group for group, tier in given.items() if tier is not None)})
    return [_view_group(account, name, given.get(name), tiers, members.count(name)) for name in names]


def _view_group(account: str, name: str, tier: str | None, tiers: dict[str, int], members: int) -> GroupView:
    limit = None if tier is None else money(tiers[tier])
    return GroupView(f"accounts/{account}/groups/{name}/usageLimits", name, tier, limit, members)


def _find_group(conn: Connection, account: str, group: str) -> GroupView:
    found = next((each for each in _view_groups(conn, account) if each.id == group), None)
    return _view_group(account, group, None, {}, 0) if found is None else found


@get(f"{_ACCOUNT}/usageLimits", MEMBER)
def get_usage_limits(request: Call, account: Name) -> LimitsView:
    """Show what each user may spend in a month where nothing else says."""
    with request.desk.read() as conn:
        return _view(standing.require(conn, account))


@patch(f"{_ACCOUNT}/usageLimits", ADMIN)
def update_usage_limits(
    request: Call, account: Name, data: JSONBody[ChangedLimits], dry_run: DryRun = False
) -> Response[LimitsView]:
    """Set what each user may spend in a month where nothing else says, in force at once; the operator alone clears it.

    Past it that user alone is refused, with 402. Usage reported after the fact does not count.
    """
    limit = None if data.default_user_limit is None else data.default_user_limit.read("defaultUserLimit")

    def change(tx: Tx) -> LimitsView:
        usage_limits.set_default(tx, account, limit, by_operator=request.caller.operator)
        return _view(standing.require(tx.conn, account))

    return once(request, change, dry_run=dry_run)


@get(f"{_ACCOUNT}/userUsageLimits", ADMIN)
def list_user_usage_limits(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> UserLimitsList:
    """List what each user has spent this month and may."""
    with request.desk.read() as conn:
        found = accounts.list_users(conn, account)
        some, more = page(found, page_size, page_token)
        now = request.desk.clock.now()
        return UserLimitsList(_view_users(conn, account, some, now), more, len(found))


@get(f"{_ACCOUNT}/users/{{user:str}}/usageLimits", SELF)
def get_user_usage_limits(request: Call, account: Name, user: Name) -> UserLimitsView:
    """Show what a user has spent this month and may."""
    with request.desk.read() as conn:
        return _view_user(conn, users.require(conn, account, user), request.desk.clock.now())


@patch(f"{_ACCOUNT}/users/{{user:str}}/usageLimits", ADMIN)
def update_user_usage_limits(
    request: Call, account: Name, user: Name, data: JSONBody[ChangedUserLimits], dry_run: DryRun = False
) -> Response[UserLimitsView]:
    """Give a user a limit of its own, which goes before all others, or groups, of whose limits the highest counts."""
    given = data.limit_override
    override = given.read("limitOverride") if isinstance(given, MoneyFields) else None

    def change(tx: Tx) -> UserLimitsView:
        row = users.require(tx.conn, account, user)
        groups = row.member_of.split() if data.groups is None else data.groups
        usage_limits.set_user(tx, account, user, override=override, groups=groups, keep_override=given is UNSET)
        return _view_user(tx.conn, users.require(tx.conn, account, user), tx.now)

    return once(request, change, dry_run=dry_run)


@get(_TIERS, MEMBER)
def list_tiers(request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None) -> TierList:
    """List the amounts that groups can be limited to, the lowest first."""
    with request.desk.read() as conn:
        found = rows.list_tiers(conn, account)
    some, more = page(found, page_size, page_token)
    return TierList([_view_tier(row) for row in some], more, len(found))


@post(_TIERS, ADMIN)
def create_tier(
    request: Call,
    account: Name,
    data: JSONBody[NewTier],
    group_usage_limit_tier_id: TierId = None,
    dry_run: DryRun = False,
) -> Response[TierView]:
    """Make an amount that groups can be limited to: nine at most, no two the same, 0 to block."""
    id_ = group_usage_limit_tier_id if group_usage_limit_tier_id is not None else data.group_usage_limit_tier_id
    if id_ is None:
        raise Invalid("groupUsageLimitTierId is missing: give it in the query", field="groupUsageLimitTierId")
    limit = data.limit.read("limit")

    def create(tx: Tx) -> TierView:
        usage_limits.create_tier(tx, account, id_, limit)
        return _view_tier(usage_limits.require_tier(tx.conn, account, id_))

    return once(request, create, dry_run=dry_run)


@get(_TIERS + "/{tier:str}", MEMBER)
def get_tier(request: Call, account: Name, tier: Name) -> TierView:
    """Get a group limit."""
    with request.desk.read() as conn:
        return _view_tier(usage_limits.require_tier(conn, account, tier))


@patch(_TIERS + "/{tier:str}", ADMIN)
def update_tier(
    request: Call, account: Name, tier: Name, data: JSONBody[ChangedTier], dry_run: DryRun = False
) -> Response[TierView]:
    """Change a group limit, for every member of the groups that have it, at once."""
    limit = data.limit.read("limit")

    def change(tx: Tx) -> TierView:
        usage_limits.update_tier(tx, account, tier, limit)
        return _view_tier(usage_limits.require_tier(tx.conn, account, tier))

    return once(request, change, dry_run=dry_run)


@delete(_TIERS + "/{tier:str}", ADMIN)
def delete_tier(request: Call, account: Name, tier: Name, dry_run: DryRun = False) -> Response[Empty]:
    """Take a group limit away; refused while a group has it."""

    def remove(tx: Tx) -> Empty:
        usage_limits.remove_tier(tx, account, tier)
        return Empty()

    return once(request, remove, dry_run=dry_run)


@get(f"{_ACCOUNT}/groupUsageLimits", MEMBER)
def list_group_usage_limits(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> GroupList:
    """List the groups and what each of their members may spend in a month."""
    with request.desk.read() as conn:
        found = _view_groups(conn, account)
    some, more = page(found, page_size, page_token)
    return GroupList(list(some), more, len(found))


@get(f"{_ACCOUNT}/groups/{{group:str}}/usageLimits", MEMBER)
def get_group_usage_limits(request: Call, account: Name, group: Name) -> GroupView:
    """Show what each member of a group may spend in a month."""
    with request.desk.read() as conn:
        return _find_group(conn, account, group)


@patch(f"{_ACCOUNT}/groups/{{group:str}}/usageLimits", ADMIN)
def update_group_usage_limits(
    request: Call, account: Name, group: Name, data: JSONBody[ChangedGroup], dry_run: DryRun = False
) -> Response[GroupView]:
    """Give each member of a group a limit, in force at once, or take it away with null."""

    def change(tx: Tx) -> GroupView:
        usage_limits.assign(tx, account, group, data.group_usage_limit_tier_id)
        return _find_group(tx.conn, account, group)

    return once(request, change, dry_run=dry_run)


ROUTES = [
    get_usage_limits,
    update_usage_limits,
    list_user_usage_limits,
    get_user_usage_limits,
    update_user_usage_limits,
    list_tiers,
    create_tier,
    get_tier,
    update_tier,
    delete_tier,
    list_group_usage_limits,
    get_group_usage_limits,
    update_group_usage_limits,
]
