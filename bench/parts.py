"""The benchmarks of the parts, one after the other: admission, settlements, writers, memory, start, metering.

`python -m bench.parts [--quick]`. What fails is said and the rest goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from bench import tables
from bench.cores import machine
from bench.gateways import ROOT

_PARTS = {
    "bench.start": [],
    "bench.admission": [],
    "bench.opcodes": [],
    "bench.memory": [],
    "bench.writers": ["--quick"],
    "bench.settlements": ["--quick"],
    "bench.metering": ["--quick"],
    "bench.backtest": ["--quick"],
}


def main() -> int:
    """Run them all; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.parts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller rounds where a part has them")
    options = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    failed = []
    for module, quicker in _PARTS.items():
        tables.progress(module)
        command = [sys.executable, "-m", module, *(quicker if options.quick else [])]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(module)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
