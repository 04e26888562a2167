"""Traces of real traffic: rows of the Azure, Mooncake and BurstGPT formats, read strictly and put in order of time."""

from __future__ import annotations

import csv
import heapq
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from purser.core.errors import Invalid
from purser.core.period import month_end, parse_instant

AZURE, MOONCAKE, BURSTGPT = "azure", "mooncake", "burstgpt"
FORMATS = (AZURE, MOONCAKE, BURSTGPT)
BLOCK_TOKENS = 512
LARGEST_TOKENS = 1_000_000_000
LONGEST_LINE = 4 * 1024 * 1024  # bytes; a million tokens in Mooncake's blocks take some 20 kB

_FIRST_LINES = {
    AZURE: "an azure trace starts with the line TIMESTAMP,ContextTokens,GeneratedTokens",
    MOONCAKE: 'a mooncake trace has lines such as {"timestamp": 27482, "input_length": 6955, "output_length": 52, '
    '"hash_ids": [46, 47]}',
    BURSTGPT: "a burstgpt trace starts with a line that names Timestamp, Model, Request tokens and Response tokens",
}
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?\Z", re.ASCII)
_DECIMAL = re.compile(r"(\d{1,18})(?:\.(\d{1,18}))?\Z", re.ASCII)
_WHOLE = re.compile(r"\d{1,18}\Z", re.ASCII)
_LATEST_AT = month_end("9998-12")


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One request of a trace: when it came, its tokens (input with what a cache held), its 512-token prefix blocks."""

    at: int
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What whole traces hold; `late_rows` are those that lie before the row above them."""

    rows: int
    first_at: int
    input_tokens: int
    output_tokens: int
    late_rows: int


class _Wrong(Exception):
    """What is wrong with one row, and what would be right."""


class _Number(str):
    """A JSON number that is not whole, as written."""

    __slots__ = ()


def read_trace(lines: Iterable[bytes], format_: str, name: str) -> Iterator[TraceRow]:
    """The rows of one trace, in its own order, blank lines left out; `name` is the file's, for messages.

    Raises Invalid naming file and line, what is wrong there and what would be right.
    """
    text = _decode(lines, name)
    rows = _read_json(text, name) if format_ == MOONCAKE else _read_csv(text, name, format_)
    found = False
    for row in rows:
        found = True
        yield row
    if not found:
        raise Invalid(f"{name}: there are no requests in it; {_FIRST_LINES[format_]}")


def survey(traces: Iterable[Iterable[TraceRow]]) -> Survey:
    """Read traces to their end; raises Invalid where any row of any of them is wrong."""
    rows = input_tokens = output_tokens = late_rows = 0
    first_at = _LATEST_AT
    for trace in traces:
        last_at = 0
        for row in trace:
            rows += 1
            input_tokens += row.input_tokens
            output_tokens += row.output_tokens
            late_rows += row.at < last_at
            last_at = max(last_at, row.at)
            first_at = min(first_at, row.at)
    return Survey(rows, first_at, input_tokens, output_tokens, late_rows)


def merge(traces: Iterable[Iterable[TraceRow]]) -> Iterator[TraceRow]:
    """Traces as one, in order of time; a row that lies before the one above it comes at that one's time."""
    return heapq.merge(*map(_in_order, traces), key=lambda row: row.at)


def _in_order(rows: Iterable[TraceRow]) -> Iterator[TraceRow]:
    last_at = 0
    for row in rows:
        if row.at < last_at:
            row = replace(row, at=last_at)
        last_at = row.at
        yield row


def cached_tokens(row: TraceRow, seen: Collection[int]) -> int:
    """The input tokens a prefix cache holds: 512 for each leading block that was seen before, at most the input."""
    blocks = 0
    for block in row.blocks:
        if block not in seen:
            break
        blocks += 1
    return min(BLOCK_TOKENS * blocks, row.input_tokens)


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _fail(name: str, line: int, what: str) -> NoReturn:
    raise Invalid(f"{name}, line {line}: {what}")


def _decode(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for n, line in enumerate(lines, 1):
        if len(line) > LONGEST_LINE:
            _fail(name, n, f"the line is longer than {LONGEST_LINE} bytes; a trace has one short line per request")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            _fail(name, n, f"byte {error.start + 1} (0x{byte:02x}) is not UTF-8; a trace is UTF-8 text")
        yield text.removeprefix("\ufeff") if n == 1 else text


# ── Azure and BurstGPT: CSV ──────────────────────────────────────────────────────────────────────────────────────
def _read_csv(text: Iterator[str], name: str, format_: str) -> Iterator[TraceRow]:
    records = _records(text, name)
    line, header = next(records, (1, []))
    header = [column.strip() for column in header]
    read: Callable[[dict[str, str]], TraceRow]
    needed, read = _CSV_FORMATS[format_]
    if not header:
        raise Invalid(f"{name}: the file is empty; {_FIRST_LINES[format_]}")
    for column in needed:
        if header.count(column) != 1:
            what = "lacks" if column not in header else "repeats"
            _fail(name, line, f"the header {what} the column {column!r}; {_FIRST_LINES[format_]}")
    for line, record in records:
        if len(record) < len(header):
            _fail(name, line, f"the column {header[len(record)]!r} is missing: {len(record)} of {len(header)} columns")
        if len(record) > len(header):
            _fail(name, line, f"there are {len(record)} columns, but the header has {len(header)}")
        try:
            yield read(dict(zip(header, record, strict=True)))
        except _Wrong as wrong:
            _fail(name, line, str(wrong))


def _records(text: Iterator[str], name: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text, strict=True)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            _fail(name, reader.line_num, f"this is not CSV ({error}); quotes must close, lines end in LF or CRLF")
        if record:
            yield reader.line_num, record


def _azure_row(fields: dict[str, str]) -> TraceRow:
    return TraceRow(
        _date_time(fields["TIMESTAMP"], "TIMESTAMP"),
        _tokens(fields["ContextTokens"], "ContextTokens"),
        _tokens(fields["GeneratedTokens"], "GeneratedTokens"),
    )


def _burstgpt_row(fields: dict[str, str]) -> TraceRow:
    return TraceRow(
        _instant(fields["Timestamp"].strip(), "Timestamp", "seconds", 6),
        _tokens(fields["Request tokens"], "Request tokens"),
        _tokens(fields["Response tokens"], "Response tokens"),
    )


_CSV_FORMATS = {
    AZURE: (("TIMESTAMP", "ContextTokens", "GeneratedTokens"), _azure_row),
    BURSTGPT: (("Timestamp", "Model", "Request tokens", "Response tokens"), _burstgpt_row),
}


# ── Mooncake: JSON lines ─────────────────────────────────────────────────────────────────────────────────────────
def _read_json(text: Iterator[str], name: str) -> Iterator[TraceRow]:
    for n, line in enumerate(text, 1):
        if line.isspace():
            continue
        try:
            yield _mooncake_row(_parse_json(line))
        except _Wrong as wrong:
            _fail(name, n, str(wrong))


def _no_constant(text: str) -> NoReturn:
    raise _Wrong(f"{text} is not a number; every number must be finite")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise _Wrong(f"{twice!r:.60} is there twice; every field must be there once")
    return found


def _parse_json(line: str) -> Any:
    try:
        return json.loads(line, parse_float=_Number, parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"this is not a whole JSON object ({error}); {_FIRST_LINES[MOONCAKE]}") from None


def _mooncake_row(given: Any) -> TraceRow:
    if not isinstance(given, dict):
        raise _Wrong(f"this is not a JSON object; {_FIRST_LINES[MOONCAKE]}")
    for field in ("timestamp", "input_length", "output_length", "hash_ids"):
        if field not in given:
            raise _Wrong(f"{field!r} is missing; {_FIRST_LINES[MOONCAKE]}")
    blocks = given["hash_ids"]
    if not isinstance(blocks, list) or any(type(block) is not int for block in blocks):
        raise _Wrong(f"hash_ids is {_show(blocks)}; it must be a list of whole numbers, one per block of 512 tokens")
    return TraceRow(
        _instant(_written(given["timestamp"]), "timestamp", "milliseconds", 3),
        _tokens(_written(given["input_length"]), "input_length"),
        _tokens(_written(given["output_length"]), "output_length"),
        tuple(blocks),
    )


def _written(value: object) -> str:
    """A JSON number as text; anything else as text that is no number."""
    return str(value) if type(value) in (int, _Number) else _show(value)


def _show(value: object) -> str:
    return f"{json.dumps(value):.60}"


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _tokens(text: str, column: str) -> int:
    text = text.strip()
    if not _WHOLE.match(text) or int(text) > LARGEST_TOKENS:
        raise _Wrong(f"{column} is {text:.60}; it must be a whole number of tokens from 0 to {LARGEST_TOKENS}")
    return int(text)


def _instant(text: str, column: str, unit: str, digits: int) -> int:
    """The instant that many seconds (6 digits to the microsecond) or milliseconds (3) after the epoch."""
    found = _DECIMAL.match(text)
    at = -1
    if found is not None:
        whole, fraction = found.groups()
        at = int(whole) * 10**digits + int((fraction or "").ljust(digits, "0")[:digits])
    if not 0 <= at < _LATEST_AT:
        raise _Wrong(f"{column} is {text:.60}; it must be {unit} from 0 up, such as 27482")
    return at


def _date_time(text: str, column: str) -> int:
    text = text.strip()
    try:
        if not _DATE_TIME.match(text):
            raise Invalid(column)
        return parse_instant(text)
    except Invalid:
        raise _Wrong(
            f"{column} is {text:.60}; it must be a UTC time such as 2023-11-16 18:15:46.6805900, from 1970 on"
        ) from None
