"""Usage limits of people and groups: set, in force at once, and exact by headroom rows as budgets of keys are (L6)."""

from __future__ import annotations

from collections.abc import Sequence

from purser.core.budget import MONTHLY, Bound, Budget
from purser.core.cap import check_cap, check_tier
from purser.core.errors import Conflict, Forbidden, NotFound
from purser.core.ids import check_name
from purser.core.lease import GROUP, USER
from purser.flows import budgets, standing
from purser.flows.caps import get_bound
from purser.store import accounts, caps, headroom, spent
from purser.store.db import Connection, Row
from purser.store.writers import Tx


def list_spent(conn: Connection, account: str, users: Sequence[str], at: int) -> dict[str, int]:
    """What these users' requests of the month of this instant cost, settled, nano-dollars."""
    rows = {}
    for user in users:
        bound = get_bound(conn, account, user) or Bound(USER, user, Budget(0, MONTHLY))
        rows[user] = budgets.row_key(account, user, bound.budget, at, kind=bound.kind)
    uncounted = spent.sum_each(conn, list(rows.values()))
    return {user: uncounted[row] + headroom.get_used(conn, row) for user, row in rows.items()}


def set_default(tx: Tx, account: str, nanos: int | None, *, by_operator: bool = False) -> None:
    """What each user may spend in a month where nothing else says; only an operator clears it. Raises Invalid."""
    standing.lock(tx, account)
    if nanos is None and not by_operator:
        raise Forbidden("the default cannot be cleared once it is set; set another amount", field="defaultUserLimit")
    if nanos is not None:
        check_cap(nanos, "defaultUserLimit")
    accounts.update_account(tx.conn, account, default_user_limit=nanos, updated_at=tx.now)
    _apply_to_all(tx, account)


def set_user(
    tx: Tx, account: str, user: str, *, override: int | None, groups: Sequence[str], keep_override: bool
) -> None:
    """A user's own limit (unless it is to stay as it is) and the groups it is in. Raises Invalid, NotFound."""
    standing.lock(tx, account)
    if accounts.get_user(tx.conn, account, user) is None:
        raise NotFound(f"account {account} has no user {user!r:.70}", field="user")
    values: dict[str, object] = {"member_of": " ".join(sorted({check_name(group, "groups") for group in groups}))}
    if not keep_override:
        values["limit_override"] = None if override is None else check_cap(override, "limitOverride")
    accounts.update_user(tx.conn, account, user, updated_at=tx.now, **values)
    _apply(tx, account, user)


def require_tier(conn: Connection, account: str, tier: str) -> Row:
    """A group limit; raises NotFound."""
    found = next((row for row in caps.list_tiers(conn, account) if row.id == tier), None)
    if found is None:
        raise NotFound(f"account {account} has no group limit {tier!r:.70}", field="groupUsageLimitTierId")
    return found


def create_tier(tx: Tx, account: str, tier: str, nanos: int) -> None:
    """A new amount that groups can be limited to. Raises Invalid, Conflict."""
    standing.lock(tx, account)
    check_name(tier, "groupUsageLimitTierId")
    tiers = caps.list_tiers(tx.conn, account)
    if any(row.id == tier for row in tiers):
        raise Conflict(f"account {account} has a group limit {tier} already", field="groupUsageLimitTierId")
    check_tier(nanos, [row.limit_nanos for row in tiers])
    caps.put_tier(tx.conn, account, tier, nanos, tx.now)


def update_tier(tx: Tx, account: str, tier: str, nanos: int) -> None:
    """Another amount for every group that has this limit. Raises Invalid, NotFound, Conflict."""
    standing.lock(tx, account)
    require_tier(tx.conn, account, tier)
    check_tier(nanos, [row.limit_nanos for row in caps.list_tiers(tx.conn, account) if row.id != tier])
    caps.update_tier(tx.conn, account, tier, limit_nanos=nanos)
    _apply_to_all(tx, account)


def remove_tier(tx: Tx, account: str, tier: str) -> None:
    """Take a group limit away; raises NotFound, and Conflict while a group has it (S73)."""
    standing.lock(tx, account)
    require_tier(tx.conn, account, tier)
    holders = [row.id for row in caps.list_groups(tx.conn, account) if row.tier == tier]
    if holders:
        raise Conflict(
            f"the group limit {tier} is assigned to {', '.join(holders)}; assign another one there first",
            field="groupUsageLimitTierId",
            code="FAILED_PRECONDITION",
        )
    caps.update_tier(tx.conn, account, tier, removed_at=tx.now)


def assign(tx: Tx, account: str, group: str, tier: str | None) -> None:
    """Give a group a limit, or take it away (None). Raises Invalid, NotFound."""
    standing.lock(tx, account)
    check_name(group, "group")
    if tier is not None:
        require_tier(tx.conn, account, tier)
    caps.put_group(tx.conn, account, group, tier)
    _apply_to_all(tx, account)


def _apply_to_all(tx: Tx, account: str) -> None:
    """Whoever has spent something this month under a cap has a row for it; the others' are made as they begin."""
    _apply(tx, account, None)


def _apply(tx: Tx, account: str, user: str | None) -> None:
    """What a user, or every one, may spend is in force at once; what is held already as L5 has it."""
    bounds: dict[str, Bound | None] = {}
    for kind in (GROUP, USER):  # rows are locked in their order everywhere
        rows = budgets.list_live(tx, account, kind, user)
        uncounted = spent.sum_each(tx.conn, rows)
        for live in rows:
            subject = live.window.partition("/")[0]
            if subject not in bounds:
                bounds[subject] = get_bound(tx.conn, account, subject)
            bound = bounds[subject]
            budget = bound.budget if bound is not None and bound.kind == kind else None
            budgets.apply(tx, live, budget, uncounted[live])
    tx.touch(account)
