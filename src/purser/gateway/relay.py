"""The relay: sends an admitted request to an upstream, settles what it used, and passes the answer on (H4, H5)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from purser.core.money import format_usd
from purser.core.usage import Inconsistent, Measured, estimate
from purser.gateway import splicing
from purser.gateway.dialects import whole
from purser.gateway.passage import REFUSED_US, Passage, called_off
from purser.gateway.refusals import Refusal
from purser.gateway.streaming import relay_stream
from purser.http.client import Answer, BrokenAnswer, UpstreamError
from purser.http.room import SMALL_BYTES

MOST_ANSWER_BYTES = 32 * 1024 * 1024
_MOST_ERROR_BYTES = 1024 * 1024


class _Told(msgspec.Struct, gc=False):
    """What of a plain answer matters here: its usage, the model's name and the tier, as whatever JSON they are."""

    usage: Any = None
    model: Any = None
    service_tier: Any = None


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def relay(passage: Passage) -> None:
    """Carry one admitted request through to its settled end; raises Refusal where nothing was sent to the client.

    However it ends, its hold is settled or void then, or its settlement is on the way.
    """
    try:
        await _relay(passage)
    finally:
        passage.void()


async def _relay(passage: Passage) -> None:
    if passage.is_abandoned() and passage.begun is None:
        passage.void()
        passage.exchange.abort()
        return
    task = asyncio.current_task()
    if task is not None:
        passage.exchange.on_gone(lambda: passage.hang_up(task))
    try:
        passage.answer = answer = await passage.open()
    except asyncio.CancelledError:
        if not passage.is_abandoned() and not passage.exchange.called_off:
            raise
        if task is not None:
            task.uncancel()
        if passage.is_abandoned():
            await _left_early(passage)
            return
        passage.void()
        raise called_off(passage.hold) from None
    except UpstreamError as error:
        passage.void()
        raise passage.refusal(error) from error
    finally:
        passage.opening = False  # from here on whoever hangs up ends no more than the upstream's answer
    try:
        if answer.status // 100 != 2:
            await _pass_error(passage, answer)
        elif passage.body.stream and b"event-stream" in (answer.header(b"content-type") or b""):
            await relay_stream(passage, answer)
        else:
            await _relay_whole(passage, answer)
    finally:
        answer.cancel()


async def _left_early(passage: Passage) -> None:
    """The client left before the upstream answered: a plain request is billed its input, low; a stream nothing.

    What no upstream has got yet is not billed either.
    """
    if passage.body.stream or passage.body.shape.is_free or not passage.sent:
        passage.void()
        passage.exchange.abort()
        return
    await passage.bill(estimate(passage.ask.input_bytes, 0)).settled
    passage.exchange.abort()


async def _pass_error(passage: Passage, answer: Answer) -> None:
    """An upstream's refusal or failure goes through as it came; nothing is billed."""
    try:
        body = await answer.read(_MOST_ERROR_BYTES)
    except UpstreamError as error:
        passage.void()
        raise passage.refusal(error) from error
    passage.void()
    if not 200 <= answer.status <= 599:
        raise Refusal(502, "upstream_broken", "The model server's answer was broken; nothing was billed.")
    if answer.status in REFUSED_US:
        raise Refusal(
            502, "upstream_refused", "The model server does not take this gateway's requests; nothing was billed."
        )
    await passage.free()
    passage.exchange.answer(answer.status, passage.answer_headers(answer), body)


async def _relay_whole(passage: Passage, answer: Answer) -> None:
    """A plain answer: read whole, settled, then passed on with what it cost."""
    try:
        raw = await answer.read(MOST_ANSWER_BYTES, passage.room)
        try:
            await _settle_whole(passage, answer, raw)
            if len(raw) > SMALL_BYTES:
                await passage.exchange.drain()  # its bytes are in memory until the client has taken them
        finally:
            passage.room.leave(len(raw))
    except UpstreamError as error:
        if passage.exchange.gone:
            await _left_early(passage)
            return
        passage.void()
        raise passage.refusal(error) from error


async def _settle_whole(passage: Passage, answer: Answer, raw: bytes) -> None:
    told = _read(raw)
    measured, cost_usd = Measured({}, estimated=False), format_usd(0)
    try:
        free = passage.body.shape.is_free
        found = None if free else whole.measure(passage.body.kind, told.usage, raw, passage.ask.input_bytes)
    except Inconsistent as why:
        await passage.quarantine(why)
        found = None
    if found is None:
        passage.void()  # unless it is quarantined
    else:
        measured = found
        tier = told.service_tier
        bill = passage.bill(measured, tier if isinstance(tier, str) else None)
        await bill.settled
        cost_usd = bill.cost_usd
    headers = passage.answer_headers(answer)
    headers += [
        await passage.headroom_header(),
        (b"x-purser-cost-usd", cost_usd.encode()),
        (b"fireworks-prompt-tokens", b"%d" % measured.prompt_tokens),
        (b"fireworks-cached-prompt-tokens", b"%d" % measured.cached_tokens),
    ]
    if told.model is not None and told.model != passage.served.name:
        raw = splicing.splice(raw, _decode_fields(raw), {"model": msgspec.json.encode(passage.served.name)})
    passage.exchange.answer(200, headers, raw)


def _read(raw: bytes) -> _Told:
    try:
        if not raw.isascii():
            raw.decode()
        told: _Told = _decode_told(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenAnswer(str(error)) from None
    return told
