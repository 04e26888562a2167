"""A month's usage rated anew under other prices, in columns: exact, and a million events in about a second.

The database's rows are written to files, by several processes where it is a SQLite file, and DuckDB adds them up in
whole numbers, of 128 bits where 64 are not enough. Nothing is written to the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from purser.core.money import Rate
from purser.core.rating import rate_of
from purser.core.usage import GPU_SECONDS, PLAIN_OF
from purser.store import schema as t
from purser.store.db import Connection, Database

if TYPE_CHECKING:
    import duckdb

_SEPARATOR = "\x1f"  # in no account's or model's name, nor in JSON
_AT_ONCE = 250_000  # events of one file
_COLUMNS = {"account": "VARCHAR", "model": "VARCHAR", "version": "INTEGER", "used": "VARCHAR"}
_COLUMNS |= {"cost": "BIGINT", "held": "BIGINT", "source": "VARCHAR"}
NEW = 0  # the version that stands for the prices tried out; those of books begin with 1


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a database's events: those of a SQLite file by their place in it, half-open; of PostgreSQL all."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Sum:
    """What an account used of a model: events, what they cost, and what they would cost; nano-dollars.

    `unpriced` of the events have a unit without a new price and are left out of `anew_nanos`. `differing` do not come
    to their charge again under their own prices; slices of deployments, which are rated on a running total, may be a
    nano-dollar off by themselves.
    """

    account: str
    model: str
    events: int
    cost_nanos: int
    anew_nanos: int
    unpriced: int
    differing: int


def list_units(conn: Connection, month: str) -> list[str]:
    """The units of which anything was used in a month."""
    c = t.rollups.c
    found = conn.execute(sa.select(c.unit).distinct().where(c.month == month).order_by(c.unit))
    return [str(row[0]) for row in found]


def count_events(conn: Connection, month: str) -> int:
    """How many events a month has, nearly: each is counted once for every unit in the roll-ups."""
    c = t.rollups.c
    by_unit = sa.select(sa.func.sum(c.events).label("events")).where(c.month == month).group_by(c.unit).subquery()
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(by_unit.c.events), 0))).scalar_one())


def list_parts(conn: Connection) -> list[Part]:
    """The database's events in parts, each for a process of its own."""
    if conn.dialect.name != "sqlite":
        return [Part(0, 0)]
    last = conn.exec_driver_sql("SELECT COALESCE(MAX(rowid), 0) FROM usage_events").scalar_one()
    return [Part(first, first + _AT_ONCE) for first in range(1, int(last) + 1, _AT_ONCE)]


_COLUMN_NAMES = ("account", "model", "version", "quantities", "cost", "held", "source")
_OF_MONTH = "FROM usage_events WHERE month = :month AND state = 'settled'"
# SQLite puts a thousand lines together at a time, which takes a third of what a line at a time takes.
_LINES_OF_FILE = (
    "SELECT group_concat(printf('%s\x1f%s\x1f%d\x1f%s\x1f%d\x1f%d\x1f%s\n', "
    f"{', '.join(_COLUMN_NAMES)}), '') {_OF_MONTH} AND rowid >= :first AND rowid < :end"
)
_LINES = f"SELECT {' || chr(31) || '.join(_COLUMN_NAMES)} || chr(10) {_OF_MONTH}"
_TOGETHER = 1_000


def write_part(url: str, month: str, part: Part, folder: Path) -> Path:
    """Write a month's events of one part to a file, a line each; may be run in a process of its own."""
    file = folder / f"events-{part.first}"
    db = Database(url)
    try:
        with db.read() as conn, file.open("w", encoding="utf-8", newline="", buffering=1 << 20) as lines:
            lines.writelines(_iter_lines(conn, month, part))
    finally:
        db.dispose()
    return file


def _iter_lines(conn: Connection, month: str, part: Part) -> Iterator[str]:
    if conn.dialect.name == "sqlite":
        driver: Any = conn.connection.dbapi_connection
        for first in range(part.first, part.end, _TOGETHER):
            place = {"month": month, "first": first, "end": min(part.end, first + _TOGETHER)}
            yield driver.execute(_LINES_OF_FILE, place).fetchone()[0] or ""
        return
    with closing(conn.execute(sa.text(_LINES), {"month": month}, execution_options={"yield_per": 10_000})) as found:
        for row in found:
            yield row[0]


class Rater:
    """Rates files of events under their own prices and under new ones."""

    def __init__(
        self,
        books: Mapping[int, Mapping[str, Mapping[str, Rate]]],
        new: Mapping[str, Mapping[str, Rate]],
        units: Sequence[str],
        threads: int,
    ) -> None:
        import duckdb

        self._units, self._too_large = list(units), (duckdb.OutOfRangeException, duckdb.ConversionException)
        self._duck: duckdb.DuckDBPyConnection = duckdb.connect()
        self._duck.execute(f"SET threads = {threads}")
        prices = ", ".join(f"u{n} HUGEINT" for n in range(len(units)))
        self._duck.execute(f"CREATE TABLE tried (version INTEGER, model VARCHAR, per HUGEINT{prices and ', '}{prices})")
        places = ", ".join("?" * (3 + len(units)))
        for version, models in (*books.items(), (NEW, new)):
            rows = [[version, model, *_whole(rates, self._units)] for model, rates in models.items()]
            if rows:
                self._duck.executemany(f"INSERT INTO tried VALUES ({places})", rows)

    def rate(self, file: Path) -> list[Sum]:
        """The sums of the events in a file."""
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in _COLUMNS.items())
        spelt = f"header = false, auto_detect = false, delim = chr({ord(_SEPARATOR)}), quote = '', escape = ''"
        source = f"read_csv(?, {spelt}, columns = {{{columns}}})"
        try:
            found = self._duck.execute(self._sql(source, "BIGINT"), [str(file)]).fetchall()
        except self._too_large:  # rarely
            found = self._duck.execute(self._sql(source, "HUGEINT"), [str(file)]).fetchall()
        return [Sum(*map(_plain, row)) for row in found]

    def _sql(self, source: str, whole: str) -> str:
        paths = ", ".join(f"'$.{unit}'" for unit in self._units)
        counts = f"CAST(json_extract(used, [{paths}]) AS BIGINT[])" if self._units else "CAST([] AS BIGINT[])"
        each = range(len(self._units))
        own, anew = (
            " + ".join([f"COALESCE(q[{n + 1}], 0) * COALESCE({table}.u{n}, 0)::{whole}" for n in each]) or "0"
            for table in ("own", "anew")
        )
        # A slice of a deployment is rated on its running total, so that it may be rounded otherwise (M3).
        slack = (
            f"(COALESCE(q[{self._units.index(GPU_SECONDS) + 1}], 0) > 0)::{whole}"
            if GPU_SECONDS in self._units
            else "0"
        )
        missing = " OR ".join(
            ["anew.per IS NULL", *(f"(COALESCE(q[{n + 1}], 0) > 0 AND anew.u{n} IS NULL)" for n in each)]
        )
        return f"""
WITH events AS (SELECT account, model, version, cost, held, source, {counts} AS q FROM {source}),
sums AS (
    SELECT events.account, events.model, cost, held, source, {own} AS own_sum, own.per::{whole} AS own_per,
        {anew} AS anew_sum, anew.per::{whole} AS anew_per, {missing} AS unpriced,
        {slack} AS slack
    FROM events
    LEFT JOIN tried own ON own.version = events.version AND own.model = events.model
    LEFT JOIN tried anew ON anew.version = {NEW} AND anew.model = events.model
),
rated AS (SELECT *, {_rounded("own_sum", "own_per")} AS own, {_rounded("anew_sum", "anew_per")} AS anew FROM sums),
charged AS (
    SELECT account, model, cost, unpriced, own IS NULL OR abs(least(own, held) - cost) > slack AS differs,
        CASE WHEN unpriced THEN 0 WHEN own > held THEN anew * held // own ELSE anew END AS anew FROM rated
)
SELECT account, model, COUNT(*), SUM(cost), SUM(anew), COUNT_IF(unpriced), COUNT_IF(differs)
FROM charged GROUP BY account, model ORDER BY account, model
"""

    def close(self) -> None:
        """Free what it holds."""
        self._duck.close()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)


def _rounded(sum_: str, per: str) -> str:
    """A sum divided by what its rates are per, half to even (M3)."""
    rest = f"({sum_} % {per})"
    up = f"2 * {rest} > {per} OR (2 * {rest} = {per} AND ({sum_} // {per}) % 2 = 1)"
    return f"({sum_} // {per} + CASE WHEN {up} THEN 1 ELSE 0 END)"


def _whole(rates: Mapping[str, Rate], units: Sequence[str]) -> list[int | None]:
    """What all of a model's rates are per, and by unit the nano-dollars for so many; a kind without one is plain."""
    found = [rate_of(unit, rates) or rates.get(PLAIN_OF.get(unit, unit)) for unit in units]
    per = lcm(*(each.per for each in found if each is not None))
    return [per, *(None if each is None else each.nanos * (per // each.per) for each in found)]
