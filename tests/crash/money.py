"""The money: what accounts are given, topped up through the operator's API when they have run into their boundary."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from random import Random
from typing import Any, NamedTuple

from tests.crash.clients import CREDIT, LIMIT, PRICES
from tests.crash.serving import Serving
from tests.crash.told import Told

HOT = "hot"
_DOLLAR = 10**9
_LOOK_SECONDS = 0.05
_ATTEMPTS = 400
_PAUSE_SECONDS = 0.1
_CARDED_OF = 10  # every tenth cold account has a card, and only its limit holds it


class Given(NamedTuple):
    """What accounts were given in all, nano-dollars; limits only where one was set. Who has a card may owe."""

    credit: dict[str, int]
    limits: dict[str, int]
    carded: frozenset[str]


class Money(threading.Thread):
    """Opens the accounts and gives them money; what is given is written down before it is asked for.

    Every call has an idempotency key and is repeated until somebody answers it, so that it has one effect.
    """

    def __init__(self, seed: int, serving: Serving, told: Told, cold: int) -> None:
        super().__init__(name="money", daemon=True)
        self._chance, self._serving, self._told = Random(f"{seed}/money"), serving, told
        self._door, self._stopping = threading.Lock(), threading.Event()
        self._credit: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self._carded: set[str] = set()
        self._calls = 0
        self._answered: Counter[tuple[str, str]] = Counter()  # refusals that were followed by a top-up
        self.keys: dict[str, str] = {}
        self.top_ups: Counter[str] = Counter()  # of the hot account, by what it had run into
        self._cold = [f"cold-{n:03}" for n in range(cold)]
        self.failure: BaseException | None = None

    def given(self) -> Given:
        """All that was given until now, or may have been."""
        with self._door:
            return Given(dict(self._credit), dict(self._limits), frozenset(self._carded))

    def open_accounts(self) -> None:
        """The hot account, with a limit that it will reach; cold ones with a little credit each, or with a card."""
        self._call("POST", "/operator/v1/prices", {"models": {name: _rates(name) for name in PRICES}})
        self._open(HOT, 300_000_000 + self._chance.randrange(100_000_000))
        self._set_limit(HOT, 1)
        for n, account in enumerate(self._cold):
            self._open(account, 2_000_000 + self._chance.randrange(60_000_000))
            if n % _CARDED_OF == 0:
                self._set_limit(account, 1)
                with self._door:
                    self._carded.add(account)
                self._call("POST", f"/v1/accounts/{account}/paymentMethods", {"token": "pm_card_visa"})

    def close(self) -> None:
        """Give no more."""
        self._stopping.set()
        self.join()

    def is_at_boundary(self) -> bool:
        """Whether the hot account was refused since it was topped up last."""
        refused = self._told.refused
        return any(refused[HOT, kind] > self._answered[HOT, kind] for kind in (CREDIT, LIMIT))

    # ── topping up ───────────────────────────────────────────────────────────────────────────────────────────────
    def run(self) -> None:
        """Top up whoever has run into a boundary, until closed."""
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                for account in (HOT, self._chance.choice(self._cold)):
                    for kind in (CREDIT, LIMIT):
                        if self._told.refused[account, kind] > self._answered[account, kind]:
                            self._top_up(account, kind)
        except BaseException as error:
            self.failure = error

    def _top_up(self, account: str, kind: str) -> None:
        """Leave it at its boundary for a moment, then give it more of what it has run into."""
        self._stopping.wait(self._chance.uniform(0.0, 0.6) if account == HOT else 0)
        if kind == LIMIT:
            self._set_limit(account, self._limits[account] // _DOLLAR + 1)
        else:
            self._grant(account, self._chance.randrange(150_000_001, 600_000_000) // (1 if account == HOT else 20))
        self._answered[account, kind] = self._told.refused[account, kind]
        if account == HOT:
            self.top_ups[kind] += 1

    def _open(self, account: str, nanos: int) -> None:
        with self._door:
            self._credit[account] = nanos
        body = {"id": account, "email": f"{account}@example.com", "signupCreditUsd": _usd(nanos)}
        self.keys[account] = str(self._call("POST", "/operator/v1/accounts", body)["apiKey"]["key"])

    def _grant(self, account: str, nanos: int) -> None:
        with self._door:
            self._credit[account] += nanos
        self._call("POST", f"/operator/v1/accounts/{account}/grants", {"amountUsd": _usd(nanos)})

    def _set_limit(self, account: str, dollars: int) -> None:
        with self._door:
            self._limits[account] = dollars * _DOLLAR
        self._call("PATCH", f"/v1/accounts/{account}/quotas/monthly-spend-usd", {"value": str(dollars)})

    def _call(self, method: str, path: str, body: Any) -> Any:
        """An operator's call, repeated elsewhere under the same key until it is answered."""
        self._calls += 1
        headers = {"idempotency-key": f"money-{self._calls}"}
        words = "nobody"
        for _ in range(_ATTEMPTS):
            seat = self._chance.choice(self._serving.seats)
            try:
                with self._serving.operator(seat) as caller:
                    answer = caller.call(method, path, body, headers)
            except (OSError, http.client.HTTPException):
                time.sleep(_PAUSE_SECONDS)
                continue
            if answer.status in (200, 201):
                return answer.json
            words = f"{answer.status} {answer.raw!r:.300}"
            if answer.status != 503 and answer.status != 409:
                break
            time.sleep(_PAUSE_SECONDS)
        raise RuntimeError(f"{method} {path} was answered by {words}")


def _rates(model: str) -> dict[str, str]:
    """A model's prices as the API takes them, dollars per million tokens."""
    return {
        unit: _usd(nanos * 1_000_000)
        for unit, nanos in zip(("input", "cached_input", "output"), PRICES[model], strict=True)
    }


def _usd(nanos: int) -> str:
    return f"{nanos // _DOLLAR}.{nanos % _DOLLAR:09}"
