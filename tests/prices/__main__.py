"""Our sums beside those of genai-prices and, where it is installed, of LiteLLM: `make test-prices`."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from tests.prices import beside_genai, beside_litellm
from tests.prices.differences import Tally


def main() -> int:
    """Compare, show the figures, and answer whether all is explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.prices", description=__doc__)
    parser.add_argument("litellm", nargs="?", type=Path, help="a venv that LiteLLM is installed in")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--genai-rounds", type=int, default=6, help="usages of each model (6)")
    parser.add_argument("--litellm-rounds", type=int, default=4, help="usages of each model (4)")
    asked = parser.parse_args()
    tallies = [show(f"genai-prices {version('genai-prices')}", beside_genai.compare(asked.seed, asked.genai_rounds))]
    if asked.litellm is not None:
        installed = next(asked.litellm.glob("lib/python*/site-packages/litellm-*.dist-info")).name
        name = "LiteLLM " + installed.removeprefix("litellm-").removesuffix(".dist-info")
        tallies.append(show(name, beside_litellm.compare(asked.litellm, asked.seed, asked.litellm_rounds)))
    return 1 if any(tally.unexplained for tally in tallies) else 0


def show(name: str, tally: Tally) -> Tally:
    """Print what came of comparing, with the first of what nobody can explain."""
    other = tally.usages - tally.equal
    lines = [
        f"{name}: {tally.usages:,} usages of {len(tally.models):,} models, {tally.equal:,} equal, {other:,} different"
    ]
    lines += [f"  {count:>6,}  {says}" for says, count in (tally.explained | tally.refused).most_common()]
    lines += [f"  {len(tally.unexplained):>6,}  unexplained", *(f"    {one}" for one in tally.unexplained[:10])]
    sys.stdout.write("\n".join(lines) + "\n")
    return tally


if __name__ == "__main__":
    raise SystemExit(main())
