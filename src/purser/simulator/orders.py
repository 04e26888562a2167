"""What happens beside requests: orders of the operator and the customers, and everything that goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from purser.core.errors import PurserError
from purser.core.money import LARGEST_NANOS
from purser.flows import accounts, budgets, credits, holds, metering, payments, pricing, usage_limits
from purser.flows.metering import Reported
from purser.flows.payments import Card
from purser.simulator.cast import BUDGETS, MILLI, MODELS_BY_ACCOUNT, PRICE_USD
from purser.store.writers import Tx, close_writer

if TYPE_CHECKING:
    from purser.simulator.plan import Item
    from purser.simulator.process import Process
    from purser.simulator.run import Run


def carry_out(run: Run, item: Item) -> None:
    """Let an item of the plan happen that is no request."""
    process = run.processes[item.process]
    if item.values.get("busiest"):
        process = max(run.processes, key=lambda one: (len(one.lines), one is process))
    _ORDERS[item.kind](run, item, process)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────
def _crash(run: Run, item: Item, process: Process) -> None:
    if not process.alive:
        return
    process.down = item.values["down"]
    if item.values["how"] == "now":
        process.kill("is killed")
    else:
        process.arm(item.values["how"])


def _commit(run: Run, item: Item, process: Process) -> None:
    if process.alive:
        process.down = item.values["down"]
        process.arm(item.values["how"])


def _stop(run: Run, item: Item, process: Process) -> None:
    process.down = item.values["down"]
    process.stop()


def _stall(run: Run, item: Item, process: Process) -> None:
    run.tell(f"{process.name} is cut off from the store for {item.values['for'] / 1e6:.3f} s")
    if process.lines:
        run.situation("the store was out of reach with requests running")
    process.stalled_until = max(process.stalled_until, run.timeline.now + item.values["for"])


def _close(run: Run, item: Item, process: Process) -> None:
    by = run.processes[item.values["by"]]
    if process is by or not process.alive or not by.alive:
        return
    process.down = item.values["down"]
    victim = process.writer.id
    run.tell(f"{by.name} takes {process.name} for dead and closes its writer {victim}")
    _submit(run, by, f"closing writer {victim}", lambda tx: close_writer(tx, victim))


def _clock(run: Run, item: Item, process: Process) -> None:
    off = item.values["off"]
    same_host = [other for other in run.processes if other.host == process.host]
    run.tell(f"the clock of {process.host} jumps by {off / 1e6:.0f} s")
    run.situation("a clock jumped ahead" if off > 0 else "a clock jumped back")
    for other in same_host:
        other.clock_off += off

    def back() -> None:
        run.tell(f"the clock of {process.host} is right again")
        for other in same_host:
            other.clock_off -= off

    run.timeline.after(item.values["for"], back)


def _night(run: Run, item: Item, process: Process) -> None:
    run.tell("all processes are ended for the night")
    run.asleep = True
    for one in run.processes:
        if one.number in item.values["killed"]:
            one.kill("is killed")
        else:
            one.stop()

    def morning() -> None:
        run.tell("all processes are started in the morning")
        run.situation(
            "a month turned with nobody there" if run.month_turned_since(item.at) else "a night with nobody there"
        )
        run.asleep = False
        for one in run.processes:
            one.start()

    run.timeline.at(item.values["until"], morning)


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _submit(
    run: Run, process: Process, what: str, work: Callable[[Tx], Any], then: Callable[[], None] = lambda: None
) -> None:
    if not process.alive:
        return

    def done(result: Any, error: BaseException | None) -> None:
        if error is None:
            run.tell(f"{process.name}: {what}")
            then()
        elif isinstance(error, PurserError):
            run.tell(f"{process.name}: {what} is refused: {error.message}")
            run.situation(f"an order was refused: {type(error).__name__}")
        else:
            run.tell(f"{process.name}: {what} failed: {error}")

    process.loop.inside(lambda: process.queue.submit(work, done))


def _limit(run: Run, item: Item, process: Process) -> None:
    usd = item.values["usd"]
    run.watch.money.limit(item.account, usd)
    _submit(
        run,
        process,
        f"{item.account} sets its limit to ${usd}",
        partial(accounts.set_limit, account=item.account, value=usd),
        lambda: run.situation("a limit was changed"),
    )


def _credit(run: Run, item: Item, process: Process) -> None:
    nanos, lapses = item.values["milli"] * MILLI, item.values["lapses"]
    run.watch.money.give(item.account, nanos)

    def give(tx: Tx) -> None:
        credits.give_credit(tx, item.account, nanos, expires_at=None if lapses is None else tx.now + lapses)

    what = f"{item.account} is given ${nanos / 1e9:.3f}" + (f" for {lapses / 1e6:.1f} s" if lapses else "")
    _submit(run, process, what, give, lambda: run.situation("credit was given"))


def _block(run: Run, item: Item, process: Process) -> None:
    account = item.account

    def again() -> None:
        alive = [other for other in run.processes if other.alive]
        if alive:
            work = partial(accounts.reinstate, account=account)
            _submit(run, alive[0], f"{account} is let in", work)

    work = partial(accounts.suspend, account=account, cause="BLOCKED_BY_ABUSE_RULE", reason="tried out")
    _submit(run, process, f"{account} is blocked", work)
    run.timeline.after(item.values["for"], again)


def _price(run: Run, item: Item, process: Process) -> None:
    model = MODELS_BY_ACCOUNT[item.account]
    in_, out = PRICE_USD[model]
    times, later = item.values["times"], item.values["in"]
    book = {model: {"input": f"{in_ * times}.00", "output": f"{out * times}.00"}}

    def publish(tx: Tx) -> None:
        pricing.publish(tx, book, tx.now + later if later else None)

    _submit(run, process, f"{model} costs {times} times as much in {later / 1e6:.1f} s", publish, run.read_prices)


def _late(run: Run, item: Item, process: Process) -> None:
    tokens, ago = item.values["tokens"], item.values["ago"]

    def report(again: bool, tx: Tx) -> None:
        at = run.wall() - ago if ago else None
        used = {"input_tokens": tokens}
        fresh = metering.record(
            tx, Reported(item.account, "batch", item.values["id"], MODELS_BY_ACCOUNT[item.account], used, at)
        )
        run.situation("usage was reported after the fact" if fresh else "usage was reported twice")

    what = f"{item.account} used {tokens} tokens elsewhere ({item.values['id']})"
    _submit(run, process, what, partial(report, False))
    if item.values["twice"]:
        other = run.processes[(item.process + 3) % len(run.processes)]
        run.timeline.after(3_000, lambda: _submit(run, other, f"{what}, again", partial(report, True)))


def _card(run: Run, item: Item, process: Process) -> None:
    account = item.account

    def back() -> None:
        alive = [other for other in run.processes if other.alive]
        if alive:
            card = Card("pm_card_visa", "visa", "4242", 12, 2034, f"test_{account}")
            _submit(
                run, alive[-1], f"{account} has a card again", partial(payments.add_method, account=account, card=card)
            )

    work = partial(payments.remove_method, account=account, method=f"pm_{account}")
    _submit(run, process, f"{account} takes its card away", work, lambda: run.situation("a card was taken away"))
    run.timeline.after(item.values["for"], back)


def _budget(run: Run, item: Item, process: Process) -> None:
    key, milli = run.disk.keys[item.account].budgeted_id, item.values["milli"]
    budget = replace(BUDGETS[item.account], nanos=milli * MILLI)
    run.watch.money.budget(item.account, budget.nanos)
    work = partial(budgets.set_budget, account=item.account, key=key, budget=budget)
    what = f"{item.account}'s second key may spend ${budget.nanos / 1e9:.3f}"
    _submit(run, process, what, work, lambda: run.situation("a budget was changed"))


def _cap(run: Run, item: Item, process: Process) -> None:
    milli = item.values["milli"]
    nanos = None if milli is None else milli * MILLI
    run.watch.money.cap(item.account, LARGEST_NANOS if nanos is None else nanos)
    work = partial(
        usage_limits.set_user, account=item.account, user="owner", override=nanos, groups=(), keep_override=False
    )
    what = f"{item.account}'s user may spend " + ("what it likes" if nanos is None else f"${nanos / 1e9:.3f}")
    _submit(run, process, what, work, lambda: run.situation("a user's cap was changed"))


def _hold(run: Run, item: Item, process: Process) -> None:
    has, account, id_ = item.values, item.account, f"hold-{item.number}"
    most = {"input_tokens": has["tokens"]}
    used = {"input_tokens": has["tokens"] * has["percent"] // 100}
    told: list[Any] = []

    def place(tx: Tx) -> None:
        told.append(holds.place(tx, id_, account, MODELS_BY_ACCOUNT[account], most, has["seconds"]))

    def placed() -> None:
        refused = isinstance(told[-1], holds.Refused)
        run.situation("a hold by API was refused" if refused else "a hold by API was placed")

    def settle(tx: Tx) -> None:
        told.append(holds.settle(tx, id_, used))

    def settled() -> None:
        run.situation("a hold by API was settled")
        run.acknowledgements.hold_settled(account, id_, told[-1].cost)

    def end() -> None:
        alive = [other for other in run.processes if other.alive]
        for other in alive[item.process % len(alive) :][: 2 if has["twice"] else 1] if alive else ():
            if has["then"] == "settle":
                _submit(run, other, f"{id_} is settled", settle, settled)
            elif has["then"] == "void":
                given_back = partial(run.situation, "a hold by API was given back")
                _submit(run, other, f"{id_} is given back", partial(holds.void, id_=id_), given_back)

    what = f"{account} holds {has['tokens']} tokens for work elsewhere, for {has['seconds']} s ({id_})"
    _submit(run, process, what, place, placed)
    run.timeline.after(has["after"], end)


_ORDERS: dict[str, Callable[[Run, Item, Process], None]] = {
    "crash": _crash,
    "commit": _commit,
    "stop": _stop,
    "stall": _stall,
    "close": _close,
    "clock": _clock,
    "night": _night,
    "limit": _limit,
    "credit": _credit,
    "block": _block,
    "price": _price,
    "late": _late,
    "card": _card,
    "budget": _budget,
    "cap": _cap,
    "hold": _hold,
}
