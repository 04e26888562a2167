"""Who overspends: `make bench-overspend`, or `python -m bench.overspend [--quick]`.

Budgets that afford a few of the requests asked of them, through Purser and other gateways, in front of the same model
server. What was done is the model server's word, what was billed is read from each gateway's books.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from bench import tables
from bench.cores import machine
from bench.gateway import scratch
from bench.gateways import ROOT
from bench.overspend import report
from bench.overspend.cases import TOKENS_PER_SECOND, Case, Found, cases, cases_of_two, play
from bench.overspend.contestant import Contestant
from bench.overspend.experiential import Experiential
from bench.overspend.litellm import LiteLLM
from bench.overspend.ours import Purser
from bench.overspend.work import Upstream, upstream
from bench.peers import Missing

print(Contestant, ExitStack, closing, Callable, ROOT, Case, Missing)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.overspend", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", type=Path, default=ROOT / "build" / "peers")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with scratch() as folder, upstream(TOKENS_PER_SECOND, str(folder / "upstream.log")) as server:
        found: dict[str, dict[str, Found]] = {}
        for cls in (Purser, LiteLLM, Experiential):
            if options.only and cls.name.lower() not in options.only: continue
            place = folder / cls.__name__
            place.mkdir()
            args = () if cls is Purser else (options.peers,)
            gateway = cls(place, server.url, *args)
            gateway.start()
            print(gateway.how)
            try:
                for case in cases(quick=options.quick):
                    tables.progress(f"{gateway.name}: {case.name}")
                    one = play(case, gateway, server)
                    found.setdefault(gateway.name, {})[case.name] = one
                    print(one.count(), one.seen, report.verdict(one), flush=True)
                    said = {a.said[:200] for a in one.answers if a.said}
                    print("   ", list(said)[:3])
                print(report.in_detail(found[gateway.name]))
            finally:
                gateway.stop()
    return 0


sys.exit(main())
