"""Quotes: what a request would cost at most and whether it would be admitted, by the code that admits (H9)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from purser.core.admission import affordable_tokens, fit, hold_nanos, wanted_nanos
from purser.core.errors import Invalid
from purser.core.explain import CONSTRAINTS
from purser.core.lease import BUDGETS
from purser.core.money import format_usd
from purser.core.policy import Policy
from purser.core.pricebook import PriceBook, priority_rates
from purser.core.standing import strictest
from purser.core.usage import INPUT
from purser.flows import budgets, reports
from purser.flows.access import Principal
from purser.gateway import bodies, refusals
from purser.gateway.directory import Standing
from purser.gateway.models import Served
from purser.gateway.remaining import Remaining
from purser.gateway.shapes import KINDS
from purser.store.db import Database
from purser.store.headroom import RowKey

UNLIMITED = 2**60


class _Quote(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    body: msgspec.Raw


def read_quote(raw: bytes) -> tuple[str, bytes]:
    """The kind of request asked about, and its body; raises Invalid."""
    try:
        asked = msgspec.json.decode(raw, type=_Quote)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f'the body must be {{"path": "/v1/chat/completions", "body": {{…}}}}: {error}', code="invalid_json"
        ) from None
    kind = asked.path.strip("/").removeprefix("inference/").removeprefix("v1/")
    if kind not in KINDS:
        known = ", ".join("/v1/" + kind for kind in KINDS)
        raise Invalid(f"path must be one of {known}, not {asked.path!r:.80}", field="path")
    return kind, bytes(asked.body)


async def quote(
    raw: bytes,
    standing: Standing,
    served: dict[str, Served],
    book: PriceBook | None,
    policy: Policy,
    how_much: Callable[[], Awaitable[tuple[str, int]]],
) -> dict[str, Any]:
    """Answer a quote; raises Invalid or Refusal as the request itself would be."""
    kind, inner = read_quote(raw)
    body = bodies.read(kind, inner)
    model = served.get(body.model)
    rates = book.models.get(body.model) if book is not None else None
    if model is None or rates is None or book is None:
        raise refusals.no_model(body.model)
    if INPUT not in rates:
        raise refusals.not_by_tokens(body.model)
    ask = bodies.ask(body, model.terms)
    rates = (priority_rates(rates) if body.priority else None) or rates
    constraint, left = await how_much()
    held = fit(rates, ask, left, left, policy.slice_tokens)
    admitted = held is not None and not standing.causes
    answer: dict[str, Any] = {
        "holdUsd": format_usd(held.amount_nanos if held else wanted_nanos(rates, ask, policy.slice_tokens)),
        "mostUsd": format_usd(hold_nanos(rates, ask.input_tokens, (held.cap if held else ask.cap) * ask.choices)),
        "admitted": admitted,
        "headroomUsd": None if left >= UNLIMITED else format_usd(max(0, left)),
        "affordableOutputTokens": max(0, affordable_tokens(rates, ask, left)),
        "priceVersion": book.version,
    }
    if standing.causes:
        answer["cause"] = strictest(list(standing.causes))
    elif held is None:
        answer["cause"] = CONSTRAINTS[constraint]
    return answer


async def left_now(
    db: Database, policy: Policy, remaining: Remaining, principal: Principal, keys: Sequence[RowKey], now: int
) -> tuple[str, int]:
    """Which constraint of a path is tightest, and what is left of it just now (H2)."""
    rooms = await remaining.look(keys)
    for key in keys:
        if key not in rooms:  # the row of a month or a budget is made by its first request
            rooms[key] = await asyncio.to_thread(_limit, db, policy, principal, key, now)
    lefts = {key: UNLIMITED if room is None else room for key, room in rooms.items()}
    tightest = min(keys, key=lambda key: lefts[key])
    return tightest.kind, lefts[tightest]


def _limit(db: Database, policy: Policy, principal: Principal, key: RowKey, now: int) -> int | None:
    with db.read() as conn:
        if key.kind in BUDGETS:
            return budgets.get_left(conn, key)
        return reports.view_account(conn, key.account, policy).limit_nanos
