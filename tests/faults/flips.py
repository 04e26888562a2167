"""Single bits flipped in a SQLite file, and whether an audit of it notices; everything from a seed.

`python -m tests.faults.flips 10000 1` tries ten thousand places of the small books from seed 1 and counts what came up.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from purser.inbound.cli.audit import _look
from purser.inbound.cli.failure import Failure
from purser.store.schema import metadata
from tests.faults.catching import NO_MONEY
from tests.store.small_books import Books, copy, tell_story

PAGE_BYTES, HEADER_BYTES = 4096, 100
FOUND, REFUSED, SAME, NO_MATTER, MISSED = "found", "refused", "same", "no matter", "missed"
Rows = dict[str, list[dict[str, Any]]]


def rows(path: Path) -> Rows:
    """Every row of every table, by a connection of its own, in the order of their keys."""
    found = {}
    with closing(sqlite3.connect(path)) as conn:
        conn.text_factory = bytes  # it may be no text any more
        for name, table in metadata.tables.items():
            columns = [column.name for column in table.c]
            order = ", ".join(_quoted(column.name) for column in table.primary_key)
            query = f"SELECT {', '.join(map(_quoted, columns))} FROM {name} NOT INDEXED ORDER BY {order}"
            found[name] = [dict(zip(columns, row, strict=True)) for row in conn.execute(query)]
    return found


def _quoted(name: str) -> str:
    return f'"{name}"'


def matter(all_rows: Rows) -> Rows:
    """The rows without what carries no money."""
    left_out = {table: names.split() for table, (names, _) in NO_MONEY.items()}
    return {
        table: [{name: value for name, value in row.items() if name not in left_out.get(table, ())} for row in each]
        for table, each in all_rows.items()
    }


def places(data: bytes, chance: random.Random, each_page: int) -> Iterator[tuple[int, int]]:
    """Bytes of a file, each with a bit of it: all of the header, and so many of each page, most where something is."""
    for at in range(HEADER_BYTES):
        yield at, chance.randrange(8)
    for start in range(0, len(data), PAGE_BYTES):
        used = [at for at in range(start, start + PAGE_BYTES) if data[at]]
        for n in range(each_page):
            anywhere = n % 4 == 3 or not used
            yield chance.randrange(start, start + PAGE_BYTES) if anywhere else chance.choice(used), chance.randrange(8)


def verdict(path: Path, whole: Rows) -> str:
    """What an audit says of a file, and where it says nothing, whether everything is as it was."""
    try:
        if _look(f"sqlite:///{path}")["violations"]:
            return FOUND
    except Failure:
        return REFUSED
    try:
        there = rows(path)
    except sqlite3.DatabaseError:  # which an audit should have said
        return MISSED
    if there == whole:
        return SAME
    return NO_MATTER if matter(there) == matter(whole) else MISSED


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """The bytes with one bit of them the other way."""
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def try_places(source: Path, folder: Path, chosen: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    """Flip one bit after the other in copies of a file; answers each place with what came of it."""
    data, whole = source.read_bytes(), rows(source)
    for at, bit in chosen:
        path = folder / "flipped.db"
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        path.write_bytes(flipped(data, at, bit))
        yield at, bit, verdict(path, whole)


def main(count: int, seed: int) -> int:
    """Try so many places; answers how many were missed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        told = Books(f"sqlite:///{folder / 'purser.db'}")
        tell_story(told)
        copy(told.db, folder / "whole.db").dispose()
        told.close()
        source = folder / "whole.db"
        each_page = max(1, (count - HEADER_BYTES) * PAGE_BYTES // source.stat().st_size)
        counts: Counter[str] = Counter()
        for at, bit, came in try_places(source, folder, places(source.read_bytes(), random.Random(seed), each_page)):
            counts[came] += 1
            if came == MISSED:
                sys.stdout.write(f"missed: bit {bit} of byte {at}\n")
    sys.stdout.write(f"{sum(counts.values())} flips from seed {seed}: {dict(counts)}\n")
    return counts[MISSED]


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), int(sys.argv[2]))))
