"""`python -m tests.crash`: real processes killed under load, and what an observer found afterwards."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from purser.inbound.cli.show import counting
from purser.main.process import raise_file_limit
from tests import databases, postgres
from tests.crash.faults import FAULTS, OWN
from tests.crash.report import is_good, tell
from tests.crash.run import Plan, Run

_SOAK_PAUSE_SECONDS = 10.0


def main() -> int:
    """Run; answers 1 where anything is wrong, a long run did not meet what it must, or a fault is not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="how many serving processes to kill (default: 1000)")
    parser.add_argument("--minutes", type=float, default=0, help="a soak: so long, with a kill now and then")
    parser.add_argument("--database", choices=(databases.SQLITE, databases.POSTGRESQL), default=databases.SQLITE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", choices=sorted(FAULTS), metavar="NAME", help=f"plant one: {', '.join(OWN)}, …")
    parser.add_argument("--back-ms", type=int, default=2000, help="headroom of the dead must be back within (2000)")
    given = parser.parse_args()
    if given.fault:
        plan = Plan.for_fault(given.fault, seed=given.seed, kills=given.kills)
    elif given.minutes:
        plan = Plan(given.seed, minutes=given.minutes, pause_seconds=_SOAK_PAUSE_SECONDS, back_ms=given.back_ms)
    else:
        plan = Plan(given.seed, given.kills, back_ms=given.back_ms)
    raise_file_limit()
    folder = Path(tempfile.mkdtemp(prefix="purser-crash-"))
    good = False
    try:
        with _database(given.database):
            run = Run(plan, folder)
            text, total = ("soaking", round(given.minutes * 60)) if given.minutes else ("killing", given.kills)
            try:
                with counting(text, total) as progress:
                    outcome = run.play(progress)
                good = is_good(outcome, given.database)
                _say(*tell(outcome, given.database))
            except KeyboardInterrupt:
                _say("Stopped by hand: nothing is told of this run.")
                return 130
            finally:
                if not good and not databases.is_sqlite():
                    postgres.dump(run.url, folder / "books.sql")
    finally:
        if good:
            shutil.rmtree(folder)
        else:
            _say(f"The database and every log are kept in {folder}.")
    return 0 if good else 1


@contextmanager
def _database(kind: str) -> Iterator[None]:
    """The kind of database, with a server of our own where it needs one and none is named."""
    databases.use(kind)
    own = None
    if kind == databases.POSTGRESQL and databases.VARIABLE not in os.environ:
        own = postgres.start(autovacuum="on")
        os.environ[databases.VARIABLE] = own.url
    try:
        yield
    finally:
        databases.close()
        if own is not None:
            own.stop()


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
