"""What a command found, on stdout: a table for people, the API's own JSON, or CSV with exact figures."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from purser.inbound.cli import figures
from purser.inbound.cli.failure import ERROR, Failure, clean, usage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

TEXT, ID, STATE, MONEY, NUMBER, WHEN, DAY = "text", "id", "state", "money", "number", "when", "day"
_WRAPS, _RIGHT = {TEXT}, {MONEY, NUMBER}
_GAP = 2
_WIDE = 10_000  # what is not a terminal has lines as long as they come
_GOOD = {"UNSUSPENDED", "PAID", "READY", "ok"}
_BAD = {
    "FAILED",
    "FAILED_PAYMENTS",
    "CREDIT_DEPLETED",
    "MONTHLY_SPEND_LIMIT_EXCEEDED",
    "BLOCKED_BY_ABUSE_RULE",
    "wrong",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the field of each row that it shows, and how; a `spare` one goes where width is short."""

    title: str
    field: str
    kind: str = TEXT
    spare: bool = False


def field_of(row: Mapping[str, Any], name: str) -> Any:
    """A field by its name, "card.brand" being the `brand` in `card`; None where it is absent."""
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def show_list(
    output: str, document: Any, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: str
) -> None:
    """Print a list; `empty` is said on stderr where a table would have no row."""
    if output == "json":
        print_json(document)
    elif output == "csv":
        _print_csv(rows, columns)
    elif rows:
        print_table(rows, columns)
    else:
        tell(empty)


def show_one(output: str, document: Any, row: Mapping[str, Any], columns: Sequence[Column]) -> None:
    """Print one thing, a line for each of its fields that it has."""
    if output == "json":
        print_json(document)
    elif output == "csv":
        _print_csv([row], columns)
    else:
        print_facts([fact for column in columns if _has(row, column.field) for fact in _facts(row, column)])


def _facts(row: Mapping[str, Any], column: Column) -> list[tuple[str, str]]:
    """A field's line; a list has a line for each of its items."""
    value = field_of(row, column.field)
    if isinstance(value, list):
        return [(column.title if not n else "", clean(item)) for n, item in enumerate(value)]
    return [(column.title, _cells([row], column)[0])]


def _has(row: Mapping[str, Any], name: str) -> bool:
    return field_of(row, name) not in (None, "", [])


def print_json(document: Any) -> None:
    """Print what the API answered."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _print_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.field for column in columns])
    writer.writerows([_exact(field_of(row, column.field), column.kind) for column in columns] for row in rows)


def _exact(value: Any, kind: str) -> str:
    if kind == MONEY:
        return figures.plain_usd(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()  # as in JSON
    return "" if value is None else str(value)


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────
_FORMATS: dict[str, Callable[[Any], str]] = {NUMBER: figures.count, WHEN: figures.when, DAY: figures.day}


def _cells(rows: Sequence[Mapping[str, Any]], column: Column) -> list[str]:
    values = [field_of(row, column.field) for row in rows]
    if column.kind == MONEY:
        return figures.dollars(values)
    spell = _FORMATS.get(column.kind, _words)
    return [spell(value) for value in values]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(_exact(value, TEXT)) or "–"


def console(*, stderr: bool = False) -> Console:
    """The terminal, or whatever stands in for it: without colours where NO_COLOR is set."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _WIDE
    colours = None if os.environ.get("NO_COLOR") else "auto"
    return Console(stderr=stderr, width=width, color_system=colours, highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print a table; ids and figures stay whole, text wraps, and spare columns go where the terminal is narrow."""
    from rich.table import Table

    screen = console()
    cells = {column: _cells(rows, column) for column in columns}
    widths = {column: max(map(len, [column.title, *cells[column]])) for column in columns}
    shown = list(columns)
    left_out: list[str] = []
    for column in reversed([column for column in columns if column.spare]):
        if _needed(shown, widths) > screen.width:
            shown.remove(column)
            left_out.insert(0, column.title)
    screen.width = max(screen.width, _needed(shown, widths))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in shown:
        wraps = column.kind in _WRAPS
        heading = column.title.rjust(widths[column]) if column.kind in _RIGHT else column.title
        table.add_column(
            heading, no_wrap=not wraps, overflow="fold", min_width=_least(column, widths[column]) if wraps else None
        )
    for n in range(len(rows)):
        spelt = [(cells[column][n], column) for column in shown]
        table.add_row(
            *(
                styled(text.rjust(widths[column]) if column.kind in _RIGHT else text, column.kind)
                for text, column in spelt
            )
        )
    screen.print(table)
    if left_out:
        tell(f"(no room for: {', '.join(left_out)}; widen the terminal, or use -o json)")


def _needed(columns: Sequence[Column], widths: Mapping[Column, int]) -> int:
    """The narrowest a table can be."""
    return sum(_least(column, widths[column]) + _GAP for column in columns)


def _least(column: Column, width: int) -> int:
    """What a column needs: all of its width, unless its text may wrap."""
    return min(width, 24) if column.kind in _WRAPS else width


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, styled(value, STATE))
    console().print(table)


def print_answers(answers: Sequence[tuple[str, str]]) -> None:
    """Print questions, each with its answer below it."""
    from rich.padding import Padding
    from rich.text import Text

    screen = console()
    for n, (title, text) in enumerate(answers):
        if n:
            screen.print()
        screen.print(Text(clean(title), style="bold"))
        screen.print(Padding(Text(clean(text)), (0, 0, 0, 2), expand=False))


def styled(text: str, kind: str = STATE) -> Text:
    """Text as it stands, coloured where it is a state that is good or bad."""
    from rich.text import Text

    style = "" if kind != STATE else "green" if text in _GOOD else "bold red" if text in _BAD else ""
    return Text(text, style=style)


# ── talk ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def tell(text: str) -> None:
    """Say something to the person, on stderr."""
    print(clean(text), file=sys.stderr)


def tell_dry_run(dry_run: bool) -> None:
    """Say that nothing was changed, where that was asked for."""
    if dry_run:
        tell("A dry run: nothing was changed. This is what would be:")


def tell_done(text: str, dry_run: bool) -> None:
    """Say what was done, or that nothing was, but could be."""
    tell("A dry run: nothing was changed, and nothing stands in the way." if dry_run else text)


def confirm(question: str, yes: bool) -> None:
    """Ask before what cannot be undone; raises Failure where the answer is no, or where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise usage(f"nobody is here to answer: {question}", "Nothing was changed. Add --yes to go ahead unasked.")
    print(f"{clean(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("nothing was changed", code=ERROR)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show on stderr that something takes its time, where somebody looks."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(text):
        yield


@contextmanager
def counting(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where somebody looks at it; answers what to call with how many of the total are done.

    A total of 0 is one that nobody has said.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total or None)
        yield lambda done: bar.update(task, completed=done)
