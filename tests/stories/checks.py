"""What must hold after every line of a story, whatever it tells: leases add up, nothing is billed above its hold."""

from __future__ import annotations

import sqlalchemy as sa

from purser.core.lease import GROUP, MONTH, USER
from purser.core.money import format_usd
from purser.flows.audit import audit
from purser.flows.standing import footing, require
from purser.store import headroom
from purser.store import schema as t
from purser.store.db import Connection
from purser.store.headroom import RowKey, credit_key, month_key
from tests import oracles
from tests.stories.scene import Scene


def check_line(scene: Scene) -> list[str]:
    """What is broken now, in words; nothing where all is well."""
    with scene.db.read() as conn:
        return [
            *_leases_add_up(conn),
            *_nothing_above_its_hold(conn),
            *_memory_is_the_store(scene, conn),
            *_holds_fit(scene, conn),
        ]


def check_story(scene: Scene) -> list[str]:
    """What is broken at the end: the audit, also once every lease is back, and what others read in the ledger."""
    if not scene.begun:
        return []
    running = check_books(scene)
    scene.end()
    return running + check_books(scene) + check_line(scene) + _exported(scene)


def _exported(scene: Scene) -> list[str]:
    with scene.db.read() as conn:
        return oracles.disagreements(conn)


def check_books(scene: Scene) -> list[str]:
    """What the audit finds, in words."""
    with scene.db.read() as conn:
        return [f"{found.check}: {found.where}: {found.message}" for found in audit(conn).violations]


def _leases_add_up(conn: Connection) -> list[str]:
    shares: dict[RowKey, int] = {}
    for row in conn.execute(sa.select(t.leases)):
        key = RowKey(row.account, row.kind, row.window)
        shares[key] = shares.get(key, 0) + row.share
    broken = []
    for row in conn.execute(sa.select(t.headroom)):
        share = shares.get(RowKey(row.account, row.kind, row.window), 0)
        if row.taken != row.used + share:
            broken.append(f"A6: {row.account} {row.kind}: taken {row.taken}, used {row.used}, leased {share}")
    return broken


def _nothing_above_its_hold(conn: Connection) -> list[str]:
    events = t.usage_events.c
    above = conn.execute(sa.select(events.account, events.id).where(sa.or_(events.cost > events.held, events.cost < 0)))
    return [f"A4: {row.account}: {row.id} was billed above its hold" for row in above]


def _memory_is_the_store(scene: Scene, conn: Connection) -> list[str]:
    broken = []
    for name, gateway in scene.gateways.items():
        for account in scene.accounts:
            for key in (credit_key(account), *_windows(conn, account)):
                share, kept = gateway.lessee.share(key), headroom.get_lease(conn, key, gateway.writer.owner)
                if share.share - share.used != kept.spare:  # memory may forget a lease of which nothing is left
                    broken.append(
                        f"{name} has {share.share - share.used} left of its lease on {key}, by the store {kept.spare}"
                    )
                if share.spare < 0:
                    broken.append(f"A8: {name} holds more than its lease on {key}")
    return broken


def _windows(conn: Connection, account: str) -> list[RowKey]:
    kinds = (MONTH, USER, GROUP)
    return [RowKey(account, kind, window) for kind in kinds for window in headroom.list_windows(conn, account, kind)]


def _holds_fit(scene: Scene, conn: Connection) -> list[str]:
    """H2: a request just admitted fits what is left of credit and limit together with all that run beside it."""
    request, scene.admitted = scene.admitted, None
    if request is None:
        return []
    account, held = request.hold.account, scene.held_by_month(request.hold.account)
    stands = footing(conn, require(conn, account), scene.policy.tiers)
    rooms = {}
    if stands.needs_credit:
        row = headroom.get_row(conn, credit_key(account))
        used = headroom.get_used(conn, credit_key(account))
        rooms["credit"] = sum(held.values()), (row.amount if row else 0) - used
    if stands.limit_nanos is not None:
        month = request.hold.month  # what began before is held of its own month
        rooms["limit"] = held[month], stands.limit_nanos - headroom.get_used(conn, month_key(account, month))
    return [
        f"H2: {account} holds {format_usd(all_held)} with {format_usd(max(0, room))} of {name} left"
        for name, (all_held, room) in rooms.items()
        if all_held > room
    ]
