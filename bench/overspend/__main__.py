"""Who overspends: `make bench-overspend`, or `python -m bench.overspend [--quick]`.

Budgets that afford a few of the requests asked of them, through Purser and the peers that are installed, in front of
the same model server. What was done is the model server's word, what was billed is read from each gateway's books.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import postgres, tables
from bench.cores import machine
from bench.gateway import scratch
from bench.gateways import ROOT
from bench.overspend import cases, refusals, report, usable
from bench.overspend.cases import Case, Found
from bench.overspend.contestant import Contestant
from bench.overspend.experiential import PEER as EXPERIENTIAL
from bench.overspend.experiential import Experiential
from bench.overspend.judge import usd
from bench.overspend.litellm import PEER as LITELLM
from bench.overspend.litellm import LiteLLM
from bench.overspend.ours import Purser
from bench.overspend.refusals import Band
from bench.overspend.usable import Usable
from bench.overspend.work import Upstream, upstream
from bench.peers import Missing
from purser.inbound.cli.show import counting

PEERS = (LITELLM, EXPERIENTIAL)
VARIABLE = "PURSER_BENCH_PEERS"  # the folder of the peers
TWO = "two processes on one database"


@dataclass(slots=True)
class Bench:
    """One run: what it is of, and what was found."""

    folder: Path
    server: Upstream
    peers: Path
    quick: bool
    only: str | None = None
    found: dict[str, dict[str, Found]] = field(default_factory=dict)
    spent: dict[str, list[Usable]] = field(default_factory=dict)
    refused: dict[tuple[str, int, str], list[Band]] = field(default_factory=dict)
    how: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # what is wrong with the run itself, or with Purser's books

    # ── who takes part ───────────────────────────────────────────────────────────────────────────────────────────
    def purser(self, workers: int = 1) -> Contestant:
        return Purser(self._place(), self.server.url, workers=workers)

    def on_postgresql(self, url: str) -> Contestant:
        return Purser(self._place(), self.server.url, postgresql=url)

    def litellm(self, workers: int = 1) -> Contestant:
        budgets = dict.fromkeys([*cases.BUDGETS, *(budget for budget, _ in usable.SPENT)])
        return LiteLLM(self._place(), self.server.url, self.peers, [*budgets], workers=workers)

    def experiential(self) -> Contestant:
        return Experiential(self._place(), self.server.url, self.peers)

    def leaves_out(self, name: str) -> bool:
        """Whether another one was asked for alone."""
        return self.only is not None and self.only.lower() not in (name.lower(), name.split(",")[0].lower())

    def _place(self) -> Path:
        place = self.folder / f"gateway-{len(list(self.folder.iterdir()))}"
        place.mkdir()
        return place

    # ── what is done with one ────────────────────────────────────────────────────────────────────────────────────
    @contextmanager
    def running(self, make: Callable[[], Contestant]) -> Iterator[Contestant | None]:
        """A gateway that was started; None where it cannot be had, which is said."""
        try:
            gateway = make()
            gateway.start()
        except (Missing, RuntimeError, postgres.Missing) as why:
            self.how.append(f"left out: {why}")
            yield None
            return
        try:
            self.how.append(f"{gateway.name} {gateway.how}")
            yield gateway
        finally:
            gateway.stop()

    def play(self, gateway: Contestant, name: str, chosen: Sequence[Case], step: Callable[[str], None]) -> None:
        """Play cases, whose results stand in the column `name`."""
        for case in chosen:
            step(f"{name}: {case.name}")
            self.found.setdefault(name, {})[case.name] = cases.play(case, gateway, self.server)

    def spend(self, gateway: Contestant, step: Callable[[str], None]) -> None:
        """Spend small budgets to their end."""
        for budget, clients in usable.SPENT[:3] if self.quick else usable.SPENT:
            step(f"{gateway.name}: {clients} clients spend {usd(budget)}")
            self.spent.setdefault(gateway.name, []).append(usable.spend(gateway, self.server, budget, clients))

    def refuse(self, gateway: Contestant, step: Callable[[str], None]) -> None:
        """Look for false refusals."""
        for clients in (8,) if self.quick else refusals.CLIENTS:
            for cap, times in refusals.CAPS.items():
                step(f"{gateway.name}: {clients} clients, max_tokens {cap}")
                answers = refusals.ask_until_spent(gateway, clients, times, seed=clients)
                bands = refusals.in_bands(answers, refusals.budget_of(clients))
                self.refused[gateway.name, clients, cap] = bands

    def audit(self, gateway: Contestant) -> None:
        """Purser's own audit, beside the verdicts."""
        if isinstance(gateway, Purser) and (found := gateway.violations()):
            self.wrong.append(f"Purser's audit found {found}")


def run(bench: Bench, step: Callable[[str], None]) -> None:
    """Everything that was asked for."""
    alone, two = cases.cases(quick=bench.quick), cases.cases_of_two()
    for make in (bench.purser, bench.experiential, bench.litellm):
        if bench.leaves_out(make.__name__):
            continue
        with bench.running(make) as gateway:
            if gateway is None:
                continue
            bench.play(gateway, gateway.name, alone, step)
            if not bench.quick or isinstance(gateway, Purser):
                bench.spend(gateway, step)
                if not isinstance(gateway, LiteLLM):  # it holds nothing for a request: nothing to refuse falsely
                    bench.refuse(gateway, step)
            bench.audit(gateway)
    with ExitStack() as stack:
        several: dict[str, Callable[[], Contestant]] = {"Purser, 2 workers": partial(bench.purser, 2)}
        if not bench.quick:
            try:
                several["Purser, PostgreSQL"] = partial(bench.on_postgresql, stack.enter_context(postgres.database()))
            except postgres.Missing as why:
                bench.how.append(f"left out: {why}")
            several["LiteLLM, 2 workers"] = partial(bench.litellm, 2)
        for name, make in several.items():
            if bench.leaves_out(name):
                continue
            with bench.running(make) as gateway:
                if gateway is not None:
                    bench.play(gateway, name, two, step)
                    bench.audit(gateway)


def steps(bench: Bench, installed: int) -> int:
    """How many steps a run has, as far as is known beforehand."""
    alone = len(cases.cases(quick=bench.quick)) * (1 + installed)
    if bench.quick:
        return alone + 3 + len(refusals.CAPS) + 2
    return alone + (1 + installed) * len(usable.SPENT) + 2 * len(refusals.CAPS) * len(refusals.CLIENTS) + 6


def tell(bench: Bench) -> str:
    """The tables."""
    text = [f"{machine()}, load {os.getloadavg()[0]:.1f} at the end", *bench.how, ""]
    single = {name: found for name, found in bench.found.items() if "," not in name}
    several = {name: found for name, found in bench.found.items() if "," in name}
    for title, found in (("one process", single), (TWO, several)):
        if not found:
            continue
        names = list(dict.fromkeys(case for of_it in found.values() for case in of_it))
        text += [f"Work done / budget, {title}", "", report.at_a_glance(found, names), ""]
    for name, of_it in bench.found.items():
        text += [f"{name} in detail", "", report.in_detail(of_it), ""]
    if bench.spent:
        text += ["Usable share of a budget, max_tokens not named", "", usable.table(bench.spent), ""]
    if bench.refused:
        text += ["False refusals, by what is left in mean requests", "", refusals.table(bench.refused), ""]
    return "\n".join(text)


def install(folder: Path) -> int:
    """Install every peer; answers how many could not be."""
    failed = 0
    for peer in PEERS:
        tables.progress(f"installing {peer.name} in {folder}")
        try:
            peer.install(folder)
            tables.progress(f"{peer.name} {peer.version(folder)} is installed")
        except Missing as why:
            failed += 1
            tables.progress(str(why))
    return failed


def main() -> int:
    """Run the benchmark; answers the exit code: 1 where Purser fails a case."""
    parser = argparse.ArgumentParser(prog="python -m bench.overspend", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests and budgets, for a first impression")
    parser.add_argument("--install", action="store_true", help="install the peers, and end")
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="FOLDER",
        default=Path(os.environ.get(VARIABLE, ROOT / "build" / "peers")),
        help=f"where the peers are installed (default: {VARIABLE}, else build/peers)",
    )
    parser.add_argument("--only", metavar="NAME", help="this one alone, by the name of its column")
    options = parser.parse_args()
    folder = options.peers.absolute()
    if options.install:
        return min(1, install(folder))
    with scratch() as place, upstream(cases.TOKENS_PER_SECOND, str(place / "upstream.log")) as server:
        bench, done = Bench(place, server, folder, options.quick, options.only), 0
        installed = sum((folder / peer.package).exists() for peer in PEERS)
        with counting("overspending", steps(bench, installed)) as bar:

            def step(text: str) -> None:
                nonlocal done
                if not sys.stderr.isatty():
                    tables.progress(text)
                bar(done)
                done += 1

            try:
                run(bench, step)
            finally:  # also where somebody ends it early
                print(tell(bench), flush=True)
    failed = [name for name, found in bench.found.items() if any(report.fails(each) for each in found.values())]
    for line in bench.wrong:
        print(f"WRONG: {line}")
    return 1 if bench.wrong or any(name.startswith("Purser") for name in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
