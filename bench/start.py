"""How long the command line takes to answer: `purser --help`, from the shell's point of view.

`python -m bench.start`. The median of several starts in a new process each, after one that fills the disk's cache.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from bench import tables

_TIMES = 15
_COMMANDS = {"purser --help": ["--help"], "purser serve --help": ["serve", "--help"]}


def main() -> None:
    """Measure and print the table."""
    rows = []
    for name, words in _COMMANDS.items():
        tables.progress(name)
        took, used = [], []
        for _ in range(_TIMES + 1):
            before, began = _children(), time.perf_counter()
            command = [sys.executable, "-m", "purser.main", *words]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            took.append((time.perf_counter() - began) * 1e6)
            used.append((_children() - before) * 1e6)
        rows.append([name, *(tables.micros(tables.middle(each[1:])) for each in (took, used))])
    print(f"Start of the command line\n\n{tables.table(['', 'elapsed', 'CPU'], rows)}\n")


def _children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    main()
