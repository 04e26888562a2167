"""The relay: sends an admitted request to an upstream, settles what it used, and passes the answer on (H4, H5)."""

from __future__ import annotations

import asyncio

import msgspec

from purser.core.money import format_usd
from purser.core.usage import Inconsistent, Measured
from purser.gateway import bodies, streams
from purser.gateway.passage import Passage, upstream_refusal
from purser.gateway.refusals import Refusal
from purser.gateway.streaming import relay_stream
from purser.http.client import Answer, BrokenAnswer, TooLarge, UpstreamError

MOST_ANSWER_BYTES = 32 * 1024 * 1024
_MOST_ERROR_BYTES = 1024 * 1024
_decode_any = msgspec.json.Decoder().decode
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
    if passage.is_abandoned():
        passage.void()
        passage.exchange.abort()
        return
    task = asyncio.current_task()
    if task is not None:
        passage.exchange.on_gone(lambda: passage.hang_up(task))
    try:
        passage.answer = answer = await passage.open()
    except asyncio.CancelledError:
        if not passage.exchange.gone:
            raise
        if task is not None:
            task.uncancel()
        await _left_early(passage)
        return
    except UpstreamError as error:
        passage.void()
        raise upstream_refusal(error) from error
    passage.opening = False
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
    if passage.body.stream or not passage.sent:
        passage.void()
        passage.exchange.abort()
        return
    _, settled = passage.bill(streams.answer_usage({}, passage.ask.input_bytes))
    await settled
    passage.exchange.abort()


async def _pass_error(passage: Passage, answer: Answer) -> None:
    """An upstream's refusal or failure goes through as it came; nothing is billed."""
    try:
        body = await answer.read(_MOST_ERROR_BYTES)
    except UpstreamError as error:
        passage.void()
        raise upstream_refusal(error) from error
    passage.void()
    if not 200 <= answer.status <= 599:
        raise Refusal(502, "upstream_broken", "The model server's answer was broken; nothing was billed.")
    passage.exchange.answer(answer.status, passage.answer_headers(answer), body)


async def _relay_whole(passage: Passage, answer: Answer) -> None:
    """A plain answer: read whole, settled, then passed on with what it cost."""
    try:
        raw = await answer.read(MOST_ANSWER_BYTES)
        body = _decode_any(raw)
        if not isinstance(body, dict):
            raise BrokenAnswer("not a JSON object")
    except (UpstreamError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if passage.exchange.gone:
            await _left_early(passage)
            return
        passage.void()
        broken = error if isinstance(error, UpstreamError) else BrokenAnswer(str(error))
        if isinstance(broken, TooLarge):
            raise Refusal(
                502, "upstream_too_large", "The model server's answer was too large; nothing was billed."
            ) from error
        raise upstream_refusal(broken) from error
    try:
        measured = streams.answer_usage(body, passage.ask.input_bytes)
    except Inconsistent as why:
        await passage.quarantine(why)
        measured, cost = Measured({}, estimated=False), 0
    else:
        tier = body.get("service_tier")
        charge, settled = passage.bill(measured, tier if isinstance(tier, str) else None)
        await settled
        cost = charge.amount_nanos
    headers = passage.answer_headers(answer)
    headers += [
        passage.headroom_header(),
        (b"x-purser-cost-usd", format_usd(cost).encode()),
        (b"fireworks-prompt-tokens", b"%d" % measured.prompt_tokens),
        (b"fireworks-cached-prompt-tokens", b"%d" % measured.cached_tokens),
    ]
    if body.get("model") not in (None, passage.served.name):
        raw = bodies.splice(raw, _decode_fields(raw), {"model": msgspec.json.encode(passage.served.name)})
    passage.exchange.answer(200, headers, raw)
