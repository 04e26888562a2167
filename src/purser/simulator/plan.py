"""The plan of a run: everything that clients, operators, the network and fate will do, drawn from one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from purser.core.period import DAY, MINUTE, SECOND
from purser.simulator.cast import BIG, BUDGETS, MILLI, MODELS_BY_ACCOUNT, MONTH_ENDS_AT, ROLES, TINY
from purser.simulator.disk import AFTER, BEFORE, LOST, UNSURE
from purser.simulator.upstream import ENGINES, OBEYS

PROCESSES = 8
ASK, NIGHT = "ask", "night"
_MILLISECOND = SECOND // 1_000
_ACCOUNTS = [role.account for role in ROLES]
_CARDS = [role.account for role in ROLES if role.card]
_FAULTS = ("crash", "stop", "stall", "commit", "close", "clock", "limit", "credit", "block", "price", "late", "card")
_AT_PROCESSES = ("crash", "stop", "stall", "commit", "close")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that will happen: when (microseconds from the start), what, to which process and account, and how."""

    number: int
    at: int
    kind: str
    process: int
    account: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        how = " ".join(f"{name}={value}" for name, value in self.values.items() if value not in (None, False, ""))
        return f"{self.number:4} {self.at / SECOND:12.3f} s  {self.kind:<6} g{self.process + 1} {self.account:<5} {how}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's plan: when it begins by the wall clock, and its items in order of time."""

    seed: int
    begins_at: int
    items: tuple[Item, ...]


def draw(seed: int) -> Plan:
    """The plan of a seed; every seed leaves some kinds of faults out, so that others are not drowned by them."""
    random = Random(seed)
    kinds = [kind for kind in _FAULTS if random.random() < 0.55] or ["crash"]
    items: list[Item] = []
    end = 0
    for episode in range(2):
        begin = end
        if episode:
            begin += random.choice([random.randrange(9, 60) * SECOND, _night(random, items, end)])
        end = begin + random.randrange(500, 1_600) * _MILLISECOND
        hot = random.choice([*_ACCOUNTS, "hot", "hot"])
        for _ in range(random.randrange(7, 21)):
            items.append(_ask(random, len(items), random.randrange(begin, end), hot))
        for _ in range(random.randrange(2, 7)):
            items.append(_fault(random, len(items), random.randrange(begin, end), random.choice(kinds), hot))
    turn = random.choice([random.randrange(100, 1_500) * _MILLISECOND, random.randrange(end), None])
    begins_at = MONTH_ENDS_AT - (turn if turn is not None else random.randrange(2, 25) * DAY)
    _add_budgets(Random(f"{seed}: budgets"), items, end)
    _add_caps(Random(f"{seed}: caps"), items, end)
    _add_holds(Random(f"{seed}: holds"), items, end)
    return Plan(seed, begins_at, tuple(sorted(items, key=lambda item: (item.at, item.number))))


def _add_budgets(random: Random, items: list[Item], end: int) -> None:
    """Some requests come with the account's second key, which has a budget; and that may change."""
    share = random.choice([0, 0.2, 0.7])
    for n, item in enumerate(items):
        if item.kind == ASK and random.random() < share:
            items[n] = replace(item, values={**item.values, "budgeted": True})
    if share and random.random() < 0.5:
        account = random.choice(_ACCOUNTS)
        milli = BUDGETS[account].nanos // MILLI * random.choice([0, 1, 2, 4]) // 2
        values = {"milli": milli}
        items.append(Item(len(items), random.randrange(end), "budget", random.randrange(PROCESSES), account, values))


def _add_caps(random: Random, items: list[Item], end: int) -> None:
    """What an account's user may spend in a month is set, changed, or left to nobody's care again."""
    if random.random() < 0.6:
        return
    account = random.choice(_ACCOUNTS)
    for _ in range(random.randrange(1, 4)):
        milli = random.choice([None, *(BUDGETS[account].nanos // MILLI * times // 2 for times in (0, 1, 2, 4))])
        values = {"milli": milli}
        items.append(Item(len(items), random.randrange(end), "cap", random.randrange(PROCESSES), account, values))


def _add_holds(random: Random, items: list[Item], end: int) -> None:
    """Money is held by API for work elsewhere: settled, given back, or left to lapse, sometimes twice or too late."""
    if random.random() < 0.5:
        return
    for _ in range(random.randrange(1, 6)):
        values = {
            "tokens": random.choice([200, 1_500, 6_000]),
            "seconds": random.choice([1, 2, 6]),
            "then": random.choice(["settle", "settle", "void", None]),
            "after": random.choice([random.randrange(5, 900), random.randrange(900, 7_000)]) * _MILLISECOND,
            "percent": random.choice([0, 30, 100, 100, 120]),
            "twice": random.random() < 0.3,
        }
        account, at = random.choice(_ACCOUNTS), random.randrange(end)
        items.append(Item(len(items), at, "hold", random.randrange(PROCESSES), account, values))


def _night(random: Random, items: list[Item], end: int) -> int:
    """Everybody is sent home for a while, some processes without a word; answers for how long."""
    night = random.choice([random.randrange(600, 40_000), random.randrange(DAY // SECOND, 9 * DAY // SECOND)]) * SECOND
    if random.random() < 0.5:
        return 20 * SECOND
    at = end + random.randrange(4_000) * _MILLISECOND
    killed = tuple(n for n in range(PROCESSES) if random.random() < 0.3)
    items.append(Item(len(items), at, NIGHT, 0, "", {"until": end + night - SECOND, "killed": killed}))
    return night


def _ask(random: Random, number: int, at: int, hot: str) -> Item:
    account = hot if random.random() < 0.5 else random.choice(_ACCOUNTS)
    stream = random.random() < 0.5
    output = random.choice([random.randrange(1, 60), random.randrange(40, 200), random.randrange(150, 700)])
    values: dict[str, Any] = {
        "model": MODELS_BY_ACCOUNT[account] if random.random() < 0.8 else random.choice([TINY, BIG]),
        "stream": stream,
        "bytes": random.choice([40, 200, 800]),
        "output": output,
        "cap": random.choice([None, 16, 128, 300, output, 512]),
        "engine": OBEYS if random.random() < 0.82 else random.choice(ENGINES),
        "pause": random.choice([2, 10, 40]) * _MILLISECOND,
        "named": random.random() < 0.5,
        "twice": random.random() < 0.12,
        "hang_up": random.randrange(2, 400) * _MILLISECOND if random.random() < 0.1 else None,
        "lost_request": random.random() < 0.05,
        "lost_reply": random.random() < 0.08,
        "tries": random.randrange(0, 4),
    }
    return Item(number, at, ASK, random.randrange(PROCESSES), account, values)


def _fault(random: Random, number: int, at: int, kind: str, hot: str) -> Item:
    account = hot if random.random() < 0.6 else random.choice(_ACCOUNTS)
    down = random.choice([random.randrange(20, 400), random.randrange(400, 3_000)]) * _MILLISECOND
    values: dict[str, Any] = {}
    if kind == "crash":
        values = {"how": random.choice(["now", BEFORE, AFTER, AFTER]), "down": down}
    elif kind == "commit":
        values = {"how": random.choice([LOST, UNSURE]), "down": down}
    elif kind == "stop":
        values = {"down": down}
    elif kind == "stall":
        values = {"for": random.choice([random.randrange(50, 900), random.randrange(900, 60_000)]) * _MILLISECOND}
    elif kind == "close":
        values = {"by": random.randrange(PROCESSES), "down": down}
    elif kind == "clock":
        off = random.choice([5 * SECOND, 90 * SECOND, 10 * MINUTE, DAY, 31 * DAY]) * random.choice([-1, 1])
        values = {"off": off, "for": random.randrange(200, 4_000) * _MILLISECOND}
    elif kind == "limit":
        account = random.choice(["bob", "cyd", account])
        values = {"usd": random.choice([0, 1, 1, 2, 3])}
    elif kind == "credit":
        lapses = random.choice([None, random.randrange(300, 90_000) * _MILLISECOND])
        values = {"milli": random.choice([1, 4, 15]), "lapses": lapses}
    elif kind == "block":
        values = {"for": random.randrange(300, 5_000) * _MILLISECOND}
    elif kind == "price":
        values = {"times": random.choice([1, 2, 3]), "in": random.choice([0, 0, random.randrange(100, 3_000)]) * 1000}
    elif kind == "late":
        tokens = random.choice([500, 3_000, 20_000])
        ago = random.choice([0, 0, 2 * SECOND, DAY])
        values = {"id": f"late-{random.randrange(6)}", "tokens": tokens, "ago": ago, "twice": random.random() < 0.4}
    elif kind == "card":
        account = random.choice(_CARDS)
        values = {"for": random.randrange(300, 4_000) * _MILLISECOND}
    if kind in _AT_PROCESSES:
        values["busiest"] = random.random() < 0.6
    return Item(number, at, kind, random.randrange(PROCESSES), account, values)
