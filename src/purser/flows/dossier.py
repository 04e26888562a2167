"""The data export of an account: one zip of JSON lines, written as it is read, in bounded memory (A10)."""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

import msgspec

from purser.core.money import format_usd_exact
from purser.core.period import format_instant, moment
from purser.store import dossier
from purser.store.db import Connection, Row
from purser.store.dossier import File

ROWS_A_PART = 20_000  # a long file comes in parts, so that who fetches it sees how far it has come
_ROWS_AT_ONCE = 200
_COUNTED = 200_000  # rows of a file at most, before they are exported
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can tell
_encode = msgspec.json.Encoder().encode


class _Pipe:
    """What the zip writes into: it cannot go back, and is emptied as it fills."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._held.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept from whoever takes."""

    def take(self) -> bytes:
        """What was written since it was taken from last."""
        taken = b"".join(self._held)
        self._held.clear()
        return taken


def count_parts(conn: Connection, account: str) -> int | None:
    """How many files the export will have, each ended by the mark that a zip has there; None where they are many."""
    parts = 0
    for file in dossier.FILES:
        count = dossier.count_rows(conn, account, file, _COUNTED)
        if count == _COUNTED:
            return None
        parts += max(1, -(-count // ROWS_A_PART))
    return parts


def export_account(conn: Connection, account: str, at: int) -> Generator[bytes]:
    """The zip piece by piece: a file of JSON lines for each kind of row, long ones in parts, numbered from 1.

    Money is exact decimal dollars, instants are RFC 3339; `at` is the time that the files bear.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for file in dossier.FILES:
            with closing(dossier.iter_rows(conn, account, file)) as rows:
                yield from _write(archive, pipe, file, rows, at)
    yield pipe.take()


def _write(archive: zipfile.ZipFile, pipe: _Pipe, file: File, rows: Iterator[Row], at: int) -> Iterator[bytes]:
    part, more = 0, True
    while more:
        part += 1
        left = ROWS_A_PART
        some = list(islice(rows, min(_ROWS_AT_ONCE, left)))
        if part > 1 and not some:
            return
        head = zipfile.ZipInfo(f"{file.name}-{part:04d}.jsonl", max(_EARLIEST, moment(at).timetuple()[:6]))
        head.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(head, "w", force_zip64=True) as entry:
            while some:
                entry.write(b"".join(_encode(_spell(file, row)) + b"\n" for row in some))
                yield pipe.take()
                left -= len(some)
                some = list(islice(rows, min(_ROWS_AT_ONCE, left)))
        more = not left


def _spell(file: File, row: Row) -> dict[str, object]:
    told: dict[str, object] = {}
    for name, value in row._mapping.items():
        first, *rest = name.removesuffix("_nanos").split("_") if name in file.money else name.split("_")
        field = first + "".join(each.capitalize() for each in rest)
        if name in file.money:
            told[f"{field}Usd"] = None if value is None else format_usd_exact(int(value))
        elif name in file.json:
            told[field] = msgspec.Raw(value.encode()) if value else None
        elif name == "at" or name.endswith("_at"):
            told[field] = None if value is None else format_instant(int(value))
        else:
            told[field] = value
    return told
