"""The meter: holds what a request may use of its account's tokens per minute, and counts what it used (Q2)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec import Struct

from purser.core.adaptive import GENERATED, METRICS, PROMPT, UNCACHED
from purser.core.ratelimit import WINDOW_SECONDS, Tokens, too_much_spare
from purser.flows import rates, token_limits
from purser.flows.token_limits import Heard
from purser.gateway.cashier import Cashier
from purser.gateway.refusals import Headers, too_many_tokens
from purser.store.rates import Bucket
from purser.store.token_limits import LimitKey

_WAIT_SECONDS, _LOOK_SECONDS = 0.25, 0.05  # as long as for money, a request waits for what comes back
_SURE_SECONDS = 0.2  # so long the store's no is believed
_ASKING, _NOTING = "ask", "note"  # in this order in every process's commits, for they lock rows of different tables
_QUIET_SECONDS, _REPORT_SECONDS = WINDOW_SECONDS, 5
_TOLD = {PROMPT: b"tokens-prompt", UNCACHED: b"tokens-cache-adjusted-prompt", GENERATED: b"tokens-generated"}


@dataclass(slots=True, eq=False)
class _Metric(Tokens):
    """This process's share of one limit, 0 where there is none and nothing of a share is needed.

    `left` is what the store still had to give when last heard.
    """

    limit: int = 0
    left: int = 0
    refused_until: float = 0.0  # for whoever needs at least `refused` tokens
    refused: int = 0


@dataclass(slots=True, eq=False)
class _Own:
    """What this process has of one account's tokens with one model.

    Of `metrics`, `limited` are those that are limited when last heard, None in the place of others. It is not `fresh`
    at first, and when anything about the account has changed since the store was asked: then it is asked again.
    """

    account: str
    model: str
    metrics: tuple[_Metric, ...] = field(default_factory=lambda: tuple(_Metric() for _ in METRICS))
    limited: tuple[_Metric | None, ...] = (None,) * len(METRICS)
    fresh: bool = False
    changed: int = 0  # how often
    heard_at: float = -1.0  # when the store answered last
    noted: list[int] = field(default_factory=lambda: [0] * len(METRICS))  # used, and not yet told the store
    asking: int = 0
    question: asyncio.Future[Any] | None = None  # to the store, for others to wait for
    used_at: float = 0.0
    lines: bytes | None = None  # of the limits as answers tell them, once they are known

    def named(self) -> list[tuple[str, _Metric]]:
        """The metrics that are limited, with their names."""
        return [(name, metric) for name, metric in zip(METRICS, self.limited, strict=True) if metric is not None]


class Reserved(Struct, eq=False):
    """The tokens that one running request may use, of each metric; none for one that is not limited."""

    own: _Own
    held: tuple[int, ...]

    def headers(self) -> Headers:
        """The limits, and what is left of them, as answers tell them."""
        told: Headers = []
        for name, metric in self.own.named():
            left, short = max(0, metric.left + metric.spare), _TOLD[name]
            told.append((b"x-ratelimit-limit-" + short, b"%d" % metric.limit))
            told.append((b"x-ratelimit-remaining-" + short, b"%d" % left))
            told.append((b"ratelimit-policy", b'"%b";q=%d;w=%d' % (short, metric.limit, WINDOW_SECONDS)))
            told.append((b"ratelimit", b'"%b";r=%d' % (short, left)))
        return told

    def lines(self) -> bytes:
        """The same as lines, for the express way."""
        own = self.own
        if own.lines is None:
            own.lines = b"".join(map(_line, own.named()))
        lefts: list[int] = []
        for metric in own.limited:
            if metric is not None:
                left = metric.left + metric.usable - metric.held - metric.used
                left = left if left > 0 else 0
                lefts += (left, left)
        return own.lines % tuple(lefts)


def _line(limited: tuple[str, _Metric]) -> bytes:
    """The lines of one limit, with what is left of it to be filled in twice."""
    short, most = _TOLD[limited[0]], limited[1].limit
    told = b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %%d\r\n" % (short, most, short)
    return told + b'ratelimit-policy: "%b";q=%d;w=%d\r\nratelimit: "%b";r=%%d\r\n' % (
        short,
        most,
        WINDOW_SECONDS,
        short,
    )


class Meter:
    """Every method runs on the event loop. Requests of accounts whose tokens are not limited are not held here."""

    def __init__(self, cashier: Cashier) -> None:
        self._cashier = cashier
        self._loop = asyncio.get_running_loop()
        self._own: dict[tuple[str, str], _Own] = {}
        self._models: dict[str, set[str]] = {}  # of each account
        self._reported_at = 0.0
        cashier.when_anew.append(self.drop)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────
    def hold_at_once(
        self, account: str, model: str, prompt: int, generated: int, began: float = math.inf
    ) -> Reserved | None:
        """Hold so many tokens from the shares at hand; None, and nothing is held, where the store has to be asked.

        What it answered after the request `began` need not be fresh any more: else a request would wait for as long as
        the account changes.
        """
        own = self._own.get((account, model))
        if own is None or not (own.fresh or own.heard_at >= began):
            return None
        one, two, three = own.limited
        first = second = third = 0
        if one is not None:
            first = prompt if prompt < one.limit else one.limit
            if one.usable - one.held - one.used < first:
                return None
        if two is not None:
            second = prompt if prompt < two.limit else two.limit
            if two.usable - two.held - two.used < second:
                return None
        if three is not None:
            third = generated if generated < three.limit else three.limit
            if three.usable - three.held - three.used < third:
                return None
            three.held += third
        if one is not None:
            one.held += first
        if two is not None:
            two.held += second
        return Reserved(own, (first, second, third))

    async def hold(self, account: str, model: str, prompt: int, generated: int) -> Reserved:
        """Hold as `hold_at_once` does, asking the store where needed; raises Refusal (429) where that does not help."""
        began = self._loop.time()
        while True:
            own = self._own.get((account, model)) or self._begin(account, model)  # another writer's by now, perhaps
            self._forget_old(own)
            held = self.hold_at_once(account, model, prompt, generated, began)
            if held is not None:
                return held
            now = self._loop.time()
            bounds = dict(zip(METRICS, (prompt, prompt, generated), strict=True))
            for name, metric in own.named():
                if now < metric.refused_until and min(bounds[name], metric.limit) >= metric.refused:
                    raise self._refusal(own, name, metric, bounds[name])
            if own.question is not None:  # one at a time: then look again at what there is
                await asyncio.wait([own.question])
                continue
            short = await self._ask(own, (prompt, prompt, generated))
            held = self.hold_at_once(account, model, prompt, generated, began)
            if held is not None:
                return held
            if short is None:
                continue  # others were quicker
            name, metric, others = short
            if now >= began + _WAIT_SECONDS or not others:
                raise self._refusal(own, name, metric, bounds[name])
            await asyncio.sleep(_LOOK_SECONDS)

    def settle(self, reserved: Reserved, prompt: int, uncached: int, generated: int) -> None:
        """A request ended that used so many tokens, within what it held; what it held besides can be held again."""
        own, held = reserved.own, reserved.held
        if held is _ENDED:
            return
        reserved.held = _ENDED
        now = self._loop.time()
        second, own.used_at = int(now), now
        noted = own.noted
        for n, used in enumerate((prompt, uncached, generated)):
            noted[n] += used
            if held[n] or own.limited[n] is not None:
                metric = own.metrics[n]
                metric.held -= held[n]
                metric.use(second, used)

    def release(self, reserved: Reserved | None) -> None:
        """A request ended and used nothing; nothing where it has ended before, or none were held."""
        if reserved is not None:
            self.settle(reserved, 0, 0, 0)

    # ── the store ────────────────────────────────────────────────────────────────────────────────────────────────
    def _begin(self, account: str, model: str) -> _Own:
        own = self._own[account, model] = _Own(account, model, used_at=self._loop.time())
        self._models.setdefault(account, set()).add(model)
        return own

    async def _ask(self, own: _Own, bounds: tuple[int, ...]) -> tuple[str, _Metric, bool] | None:
        """Ask for what is missing to these bounds; answers a metric that falls short, None where none does.

        With it goes whether other writers have some of it, too.
        """
        needed = {
            name: (min(bound, metric.limit) if own.fresh else bound) - (metric.share - metric.held - metric.used)
            for name, metric, bound in zip(METRICS, own.metrics, bounds, strict=True)
        }
        own.asking += 1
        changed = own.changed
        short: list[tuple[str, _Metric, bool]] = []

        def done(found: dict[str, Heard], error: BaseException | None) -> None:
            own.asking -= 1
            if error is None and self._own.get((own.account, own.model)) is own:
                self._take_in(own, found)
                own.fresh = own.changed == changed
                short.extend(
                    (name, metric, found[name].others)
                    for name, metric in own.named()
                    if found[name].given.over or needed[name] > 0 >= found[name].given.share
                )

        work: Any = partial(token_limits.ask, account=own.account, model=own.model, needed=[*needed.values()])
        order = own.account, own.model, _ASKING
        own.question = asking = asyncio.ensure_future(self._cashier.share(order, work, done))
        try:
            await asyncio.shield(asking)
        finally:
            if own.question is asking:
                own.question = None
        return short[0] if short else None

    def _take_in(self, own: _Own, found: dict[str, Heard]) -> None:
        own.used_at = own.heard_at = self._loop.time()
        own.lines = None
        for name, metric in zip(METRICS, own.metrics, strict=True):
            given, most, _ = found[name]
            metric.limit = most or 0
            metric.share += given.share
            metric.left = given.left
            metric.usable = 0 if given.over else metric.share
        own.limited = tuple(
            None if found[name].most is None else metric for name, metric in zip(METRICS, own.metrics, strict=True)
        )

    def _refusal(self, own: _Own, name: str, metric: _Metric, bound: int) -> Exception:
        now = self._loop.time()
        if now >= metric.refused_until:
            metric.refused_until, metric.refused = now + _SURE_SECONDS, min(bound, metric.limit)
        wait = metric.seconds[0][0] + WINDOW_SECONDS + 1 - int(now) if metric.seconds else 1
        return too_many_tokens(max(1, wait), metric.limit, name, own.model)

    def _forget_old(self, own: _Own) -> None:
        second = int(self._loop.time())
        for metric in own.metrics:
            metric.forget_old(second)

    # ── what changes ─────────────────────────────────────────────────────────────────────────────────────────────
    def forget(self, accounts: Collection[str] | None) -> None:
        """Something about these accounts changed (None: about any), their limits perhaps: the store is asked again."""
        for account in self._models if accounts is None else accounts:
            for model in self._models.get(account, ()):
                own = self._own[account, model]
                own.fresh = False
                own.changed += 1
                for metric in own.metrics:
                    metric.refused_until = 0.0

    def drop(self) -> None:
        """The writer was closed by another process: what it had counts there until it is a minute old."""
        self._own, self._models = {}, {}

    # ── every now and then ───────────────────────────────────────────────────────────────────────────────────────
    async def beat(self, wanted: Collection[Bucket]) -> None:
        """Report what was used, and give back what is spare of models gone quiet, or wanted by other writers."""
        now, returns = self._loop.time(), list[tuple[_Metric, Bucket, int]]()
        for own in self._own.values():
            self._forget_old(own)
            quiet = own.used_at < now - _QUIET_SECONDS
            for name, metric in zip(METRICS, own.metrics, strict=True):
                bucket, spare = LimitKey(own.account, own.model, name).bucket, metric.share - metric.held - metric.used
                back = quiet or bucket in wanted or metric.usable < metric.share
                spare = spare if back else too_much_spare(spare, metric.limit)
                if spare > 0 and not own.asking:
                    metric.share -= spare
                    metric.usable = min(metric.usable, metric.share)
                    returns.append((metric, bucket, spare))
        if returns:
            await self._return(returns)
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            await self.report()
        for at, own in list(self._own.items()):
            if own.used_at < now - _QUIET_SECONDS and not (own.asking or any(own.noted) or self._has_any(own)):
                del self._own[at]
                models = self._models[own.account]
                models.discard(own.model)
                if not models:
                    del self._models[own.account]

    @staticmethod
    def _has_any(own: _Own) -> bool:
        return any(metric.share or metric.held for metric in own.metrics)

    async def _return(self, returns: list[tuple[_Metric, Bucket, int]]) -> None:
        def ended(error: BaseException | None) -> None:
            for metric, _, spare in returns:
                if error is None:
                    metric.left += spare
                else:
                    metric.share += spare

        rows = [(bucket, spare) for _, bucket, spare in returns]
        await self._cashier.run(lambda tx: rates.give_back(tx, rows), ended)

    async def report(self) -> None:
        """Tell the store what was used since the last time, all in a few commits; limits move by it."""
        noted = [self._note(own) for own in self._own.values() if any(own.noted)]
        for error in await asyncio.gather(*noted, return_exceptions=True):
            if error is not None:
                raise error

    async def _note(self, own: _Own) -> None:
        used, own.noted = own.noted, [0] * len(METRICS)
        try:
            note: Any = partial(token_limits.note, account=own.account, model=own.model, used=used)
            await self._cashier.share((own.account, own.model, _NOTING), note)
        except BaseException:
            own.noted = [before + more for before, more in zip(own.noted, used, strict=True)]
            raise


_ENDED: tuple[int, ...] = ()
