"""The status command: an account's standing and money on one screen."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from purser.core.standing import UNSUSPENDED
from purser.inbound.cli import figures
from purser.inbound.cli.failure import clean
from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import Column, console, print_facts, print_json, show_list
from purser.inbound.cli.wire import at

_BAR_CELLS = 30
_FAR_DAYS = 3_652
_ROW = (
    Column("", "account"),
    Column("", "suspendState"),
    Column("", "billingMode"),
    Column("", "tier"),
    *(Column("", f"{name}Usd") for name in "credit outstanding spentThisMonth limit held headroom".split()),
    Column("", "runway.days"),
)


def status(*, reach: Reach = UNSAID) -> None:
    """Show standing, credit, spend against the limit, what is owed and the runway, on one screen.

    Where the account is suspended, also every cause with what lifts it.

    Example: purser status --account ada
    """
    caller = reach.call()
    name = reach.account_of(caller)
    account = caller.get(at("v1", "accounts", name))
    balance = caller.get(at("v1", "accounts", name, "balance"))
    document = {"account": account, "balance": balance}
    if reach.output == "json":
        print_json(document)
    elif reach.output == "csv":
        row = {**account, **balance, "account": account.get("id", name)}
        show_list("csv", document, [row], _ROW, "")
    else:
        _print_standing(account)
        print()
        print_facts(_money(balance))


def _print_standing(account: Mapping[str, Any]) -> None:
    """Whether it runs; if not, every cause with what lifts it."""
    from rich.padding import Padding
    from rich.text import Text

    screen = console()
    runs = account.get("suspendState") == UNSUSPENDED
    name, state = (str(account.get("id")), "bold"), ("runs", "green") if runs else ("is suspended", "bold red")
    paying = f"{account.get('billingMode')}, tier {account.get('tier')}"
    screen.print(Text.assemble(name, "  ", state, "  ", (paying, "dim")))
    for cause in account.get("suspensionCauses", []):
        since = f" since {figures.when(cause.get('since'))} UTC: {clean(cause['why'])}"
        screen.print(Padding(Text.assemble((clean(cause["cause"]), "red"), since), (0, 0, 0, 2), expand=False))
        screen.print(Padding(Text(f"→ {clean(cause['wayBack'])}"), (0, 0, 0, 4), expand=False))


def _money(balance: Mapping[str, Any]) -> list[tuple[str, str]]:
    grants = [_grant(grant) for grant in balance.get("grants", [])]
    facts = [("spent this month", _spend(balance))]
    facts += [("credit", " ".join([figures.usd(balance.get("creditUsd")), *grants[:1]]))]
    facts += [("", grant) for grant in grants[1:]]
    facts += [("owed", figures.usd(balance.get("outstandingUsd")))]
    held = figures.nanos_of(balance.get("heldUsd"))
    if held:
        facts += [("held by requests", figures.usd(balance.get("heldUsd")))]
    room = balance.get("headroomUsd")
    facts += [("may spend", "without bound" if room is None else figures.usd(room))]
    runway = balance.get("runway")
    if room is not None and not figures.nanos_of(room):
        facts += [("runway", "nothing is left to spend")]
    elif runway is not None and runway["days"] > _FAR_DAYS:
        facts += [("runway", "more than ten years at this pace")]
    elif runway is not None:
        facts += [("runway", f"{figures.count(runway['days'])} days, until {figures.day(runway['until'])}")]
    else:
        facts += [("runway", "no end in sight at this pace")]
    return facts


def _grant(grant: Mapping[str, Any]) -> str:
    until = f", until {figures.day(grant['expiresAt'])}" if grant.get("expiresAt") else ""
    return f"({figures.usd(grant.get('remainingUsd'))} {grant.get('kind')}{until})"


def _spend(balance: Mapping[str, Any]) -> str:
    """What was spent of the limit, with a bar."""
    spent, limit = figures.nanos_of(balance.get("spentThisMonthUsd")) or 0, figures.nanos_of(balance.get("limitUsd"))
    shown = figures.usd(balance.get("spentThisMonthUsd"))
    if limit is None:
        return f"{shown}, no limit"
    share = 100 if not limit else min(100, spent * 100 // limit)
    full, free = ("█", "░") if "utf" in (sys.stdout.encoding or "").lower() else ("#", ".")
    filled = min(_BAR_CELLS, -(-share * _BAR_CELLS // 100))
    return (
        f"{shown} of {figures.usd(balance.get('limitUsd'))}  {full * filled}{free * (_BAR_CELLS - filled)}  {share} %"
    )
