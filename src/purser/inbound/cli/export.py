"""The export commands: the ledger as a text that hledger or Beancount reads, to stdout or into a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from purser.inbound.cli.failure import Failure
from purser.inbound.cli.reach import Way
from purser.inbound.cli.show import counting, tell
from purser.inbound.cli.wire import Caller, at

_ANYWHERE = Way()
_CHECKS = {"hledger": "hledger check --strict -f", "beancount": "bean-check"}


def export_ledger(
    *,
    format: Annotated[Literal["hledger", "beancount"], Parameter(help="Which program is to read it.")],
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write it into this file instead of to stdout.")
    ] = None,
    way: Way = _ANYWHERE,
) -> None:
    """Export the ledger for hledger or Beancount, with the balances it must come to.

    Every entry is in it, exact to the nano-dollar. Each account's part ends
    with its balances as they are kept here, so that the other program checks
    that its own are the same. With the operator's key and no --account it is
    the ledger of all accounts.

    Example: purser billing export-ledger --format hledger --output ledger.journal
    """
    caller = way.call() if way.named is not None else way.call_for_all()
    whole = caller.operator and way.named is None
    path = at("operator", "v1", "ledger") if whole else way.within(caller, "ledger")
    if output is None:
        _fetch(caller, path, format, sys.stdout.buffer.write, show=not sys.stdout.isatty())
        return
    # Beside the file and then in its place, so that what is there under its name is always whole.
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            _fetch(caller, path, format, file.write, show=True)
        part.replace(output)
    except OSError as error:
        raise Failure(f"{error.filename or output} cannot be written: {os.strerror(error.errno or 0)}") from None
    finally:
        part.unlink(missing_ok=True)
    tell(f"{output} holds the ledger; to have it checked: {_CHECKS[format]} {output}")


def _fetch(caller: Caller, path: str, format_: str, write: Callable[[bytes], object], *, show: bool) -> None:
    with caller.reading(f"{path}:export", {"format": format_}) as (headers, pieces):
        total, done, last = int(headers.get("x-purser-transactions", "0")), 0, b""
        with counting("exporting", total) if show else nullcontext(lambda _: None) as count:
            for piece in pieces:
                write(piece)
                done += (last + piece).count(b"\n\n")  # an empty line ends an entry
                last = piece[-1:]
                count(min(done, total) if total else done)
