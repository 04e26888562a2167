"""Spending: an account's usage summed by any of time, model, user and key, straight from its usage events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from purser.core.period import DAY, HOUR, MINUTE
from purser.core.usage import BATCH, CACHED, INPUT, MORE_INPUT, OUTPUT_KINDS, PRIORITY, UNITS, Quantities
from purser.store import schema as t
from purser.store.db import Connection
from purser.store.usage import SETTLED

QUARTER = HOUR // 4  # every time zone's days begin at one
MODEL, USER, API_KEY = "MODEL", "USER", "API_KEY"
_C = t.usage_events.c
_COLUMNS: dict[str, Any] = {MODEL: _C.model, USER: _C.user, API_KEY: _C.key}
# What counts as input that was not read from a cache, as cached input, and as output.
_GROUPS = ((INPUT, *MORE_INPUT), (CACHED,), OUTPUT_KINDS)
SPANS = {"MINUTE": MINUTE, "QUARTER": QUARTER, "HOUR": HOUR, "DAY": DAY}


@dataclass(frozen=True, slots=True)
class Cost:
    """What usage of one kind cost: the values of what it was grouped by, None where an event has none."""

    dimensions: tuple[Any, ...]
    amount_nanos: int
    events: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens used: input without the cached ones, cached input, output, of whatever kinds and at whatever tier."""

    dimensions: tuple[Any, ...]
    input: int
    cached: int
    output: int


@dataclass(frozen=True, slots=True)
class Used:
    """What was used of each unit, and what all of it cost."""

    dimensions: tuple[Any, ...]
    quantities: Quantities
    amount_nanos: int


def _where(account: str, start_at: int, end_at: int, only: Mapping[str, Sequence[str]]) -> list[Any]:
    where = [_C.account == account, _C.occurred_at >= start_at, _C.occurred_at < end_at, _C.state == SETTLED]
    return where + [_COLUMNS[name].in_(list(values)) for name, values in only.items()]


def _columns(by: Sequence[str]) -> list[Any]:
    return [
        (_C.occurred_at - _C.occurred_at % SPANS[name] if name in SPANS else _COLUMNS[name]).label(f"d{n}")
        for n, name in enumerate(by)
    ]


def sum_costs(
    conn: Connection,
    account: str,
    start_at: int,
    end_at: int,
    by: Sequence[str],
    only: Mapping[str, Sequence[str]],
) -> list[Cost]:
    """What usage of a span of time cost, by some of HOUR, DAY, QUARTER, MODEL, USER and API_KEY, in their order.

    `only` has the values to which MODEL, USER or API_KEY are restricted. What cost nothing is left out.
    """
    columns = _columns(by)
    query = sa.select(*columns, sa.func.sum(_C.cost), sa.func.count()).where(*_where(account, start_at, end_at, only))
    ordered = [column.asc().nulls_last() for column in columns]
    grouped = query.group_by(*columns).having(sa.func.sum(_C.cost) > 0).order_by(*ordered)
    return [Cost(tuple(row[:-2]), int(row[-2]), int(row[-1])) for row in conn.execute(grouped)]


def sum_tokens(conn: Connection, account: str, start_at: int, end_at: int, by: Sequence[str]) -> list[Tokens]:
    """The tokens of a span of time, grouped as in `sum_costs`."""
    columns = _columns(by)
    units = _used_units(conn, account, start_at, end_at)
    counts = [sa.func.sum(_tokens(conn, kinds, units)) for kinds in _GROUPS]
    query = sa.select(*columns, *counts).where(*_where(account, start_at, end_at, {}))
    found = conn.execute(query.group_by(*columns).order_by(*columns))
    return [Tokens(tuple(row[:-3]), *(int(count or 0) for count in row[-3:])) for row in found]


def sum_used(conn: Connection, account: str, start_at: int, end_at: int, by: Sequence[str]) -> list[Used]:
    """What was used in a span of time, grouped as in `sum_costs`; usage that cost nothing is in."""
    columns = _columns(by)
    units = _used_units(conn, account, start_at, end_at)
    counts = [sa.func.sum(_count(conn, unit)) for unit in units]
    query = sa.select(*columns, sa.func.sum(_C.cost), *counts).where(*_where(account, start_at, end_at, {}))
    ordered = [column.asc().nulls_last() for column in columns]
    found, place = [], len(columns)
    for row in conn.execute(query.group_by(*columns).order_by(*ordered)):
        used = {unit: int(count) for unit, count in zip(units, row[place + 1 :], strict=True) if count}
        found.append(Used(tuple(row[:place]), used, int(row[place])))
    return found


def _used_units(conn: Connection, account: str, start_at: int, end_at: int) -> list[str]:
    """The units that were used at all, by the roll-ups: few of many, and each costs a look at every event."""
    c = t.rollups.c
    within = (c.account == account, c.hour_at > start_at - HOUR, c.hour_at < end_at)
    found = {row.unit for row in conn.execute(sa.select(c.unit).where(*within).distinct())}
    return [unit for unit in UNITS if unit in found]


def _tokens(conn: Connection, kinds: Sequence[str], units: Sequence[str]) -> Any:
    """How many tokens of these kinds an event has, at whatever tier."""
    total: Any = sa.literal(0)
    for kind in kinds:
        for unit in (kind, BATCH[kind], PRIORITY[kind]):
            if unit in units:
                total += sa.func.coalesce(_count(conn, unit), 0)
    return total


def _count(conn: Connection, unit: str) -> Any:
    if conn.dialect.name == "sqlite":
        return sa.func.json_extract(_C.quantities, f"$.{unit}")
    return sa.cast(sa.cast(_C.quantities, sa.JSON)[unit].as_string(), sa.BigInteger)
