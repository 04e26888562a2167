"""A backtest: what a past month would have cost under other prices, by account and model (P1, P8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from purser.core.errors import Invalid, NotFound
from purser.core.money import Rate
from purser.core.period import month_end
from purser.core.pricebook import PriceBook, in_force, revise
from purser.store import backtest as rows
from purser.store import prices
from purser.store.backtest import Rater, Sum
from purser.store.db import Database

Models = Mapping[str, Mapping[str, Rate]]


@dataclass(frozen=True, slots=True)
class Backtest:
    """What came of it: the version of the book that was tried out, None for prices that are not published, and sums."""

    month: str
    version: int | None
    sums: tuple[Sum, ...]


def prices_to_try(books: Iterable[PriceBook], month: str, changed: Models, version: int | None) -> Models:
    """The prices to try: a version's, or those in force at a month's end with these models changed. Raises NotFound."""
    known = {book.version: book for book in books}
    if version is None:
        return revise(in_force(known.values(), month_end(month) - 1), changed, len(known) + 1, month_end(month)).models
    if version not in known:
        raise NotFound(f"there is no version {version} of the price book", field="version")
    return known[version].models


def run(
    db: Database,
    month: str,
    changed: Models,
    version: int | None = None,
    *,
    processes: int,
    watch: Callable[[int], AbstractContextManager[Callable[[int], None]]] = lambda total: nullcontext(
        lambda done: None
    ),
) -> Backtest:
    """Rate a month's usage anew; nothing is written. `watch` is given about how many events there are, and then
    told how many are done.

    Each event's own charge is derived again beside it, from what it used and its own version's prices. Raises NotFound
    for an unknown version, Invalid for a month without usage.
    """
    with db.read() as conn:
        books = prices.list_books(conn)
        new = prices_to_try(books, month, changed, version)
        units, total, parts = rows.list_units(conn, month), rows.count_events(conn, month), rows.list_parts(conn)
    if not total:
        raise Invalid(f"nothing was used in {month}", field="month")
    totals: dict[tuple[str, str], Sum] = {}
    done = 0
    rater = Rater({book.version: book.models for book in books}, new, units, processes)
    try:
        with (
            watch(total) as tell,
            TemporaryDirectory(prefix="purser-backtest-") as folder,
            ProcessPoolExecutor(min(processes, len(parts)), get_context("spawn")) as pool,
        ):
            writing = [pool.submit(rows.write_part, db.url, month, part, Path(folder)) for part in parts]
            for each in writing:
                file = each.result()
                for found in rater.rate(file):
                    place = (found.account, found.model)
                    totals[place] = _added(totals[place], found) if place in totals else found
                    done += found.events
                file.unlink()
                tell(done)
    finally:
        rater.close()
    return Backtest(month, version, tuple(totals[place] for place in sorted(totals)))


def _added(one: Sum, other: Sum) -> Sum:
    return Sum(
        one.account,
        one.model,
        one.events + other.events,
        one.cost_nanos + other.cost_nanos,
        one.anew_nanos + other.anew_nanos,
        one.unpriced + other.unpriced,
        one.differing + other.differing,
    )
