"""A streamed answer: relayed event by event, held in slices ahead of what is produced, cut at the limit (H5)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import msgspec

from purser.core.errors import Unavailable
from purser.core.money import format_usd
from purser.core.usage import Inconsistent, Measured
from purser.gateway import streams
from purser.gateway.passage import Passage, tokens_nanos, tokens_within, upstream_refusal
from purser.gateway.streams import DONE, Garbled, Splitter, Tally
from purser.http.client import Answer, BrokenAnswer, UpstreamError

log = logging.getLogger("purser.gateway")
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Stream:
    """What a stream's relay keeps track of."""

    passage: Passage
    answer: Answer
    tally: Tally
    splitter: Splitter = field(default_factory=Splitter)
    held_tokens: int = 0  # per choice, covered by the hold
    extending: asyncio.Task[bool] | None = None
    denied: bool = False  # the next slice could not be held when it was asked for early
    withheld: list[bytes] = field(default_factory=list)  # the end of the stream waits for the commit
    cut: bool = False


async def relay_stream(passage: Passage, answer: Answer) -> None:
    """Relay a stream and settle it; its end leaves after the commit. Raises Refusal where nothing was sent yet.

    Where the task is cancelled or fails, what came until then is billed without waiting for it.
    """
    stream = _Stream(passage, answer, Tally(passage.ask.input_bytes), held_tokens=passage.held.output_tokens)
    try:
        await _relay_to_its_end(stream)
    except BaseException:
        _bill_what_came(stream)
        raise


def _bill_what_came(stream: _Stream) -> None:
    passage = stream.passage
    if stream.extending is not None:
        stream.extending.cancel()
    if passage.ended or not stream.tally.produced:
        return
    try:
        measured = stream.tally.measure(whole=False)
    except Inconsistent as why:
        passage.quarantine(why)
        return
    if measured is not None:
        passage.bill(measured, stream.tally.tier)


async def _relay_to_its_end(stream: _Stream) -> None:
    passage = stream.passage
    failure: Exception | None = None
    try:
        await _relay_events(stream)
    except (UpstreamError, Garbled) as error:
        failure = error
    if stream.extending is not None:
        await asyncio.wait([stream.extending])
    if failure is not None and not stream.tally.produced:
        passage.void()
        if passage.exchange.gone:
            passage.exchange.abort()
            return
        if not passage.exchange.started:
            raise upstream_refusal(failure if isinstance(failure, UpstreamError) else BrokenAnswer(str(failure)))
        _end_with_error(stream, failure)
        return
    await _settle(stream, whole=failure is None and not stream.cut)
    if failure is not None:
        _end_with_error(stream, failure)
    else:
        _start(stream)
        passage.exchange.end(b"".join(stream.withheld))


async def _relay_events(stream: _Stream) -> None:
    passage, tally = stream.passage, stream.tally
    exchange, name, body = passage.exchange, passage.served.name, passage.body
    choices = passage.ask.choices
    out: list[bytes] = []
    while True:
        data = await stream.answer.chunk()
        if not data:
            rest = stream.splitter.rest()
            if rest.strip():
                raise Garbled("the stream ended within an event")
            stream.withheld[:0] = out
            return
        for raw in stream.splitter.feed(data):
            event = streams.read_event(
                raw, tally, model=name, usage_asked=body.usage_asked, counts_asked=body.counts_asked
            )
            if event.closing:
                stream.withheld.append(event.data)
                continue
            out.append(event.data)
            if event.content and tally.produced >= stream.held_tokens * choices and not await _make_room(stream, out):
                _cut(stream)
                return
        if out and (tally.produced or exchange.started):  # until a first token the answer may still be an error
            _start(stream)
            exchange.write(b"".join(out))
            out.clear()
            await exchange.drain()
        if 2 * tally.produced >= (2 * stream.held_tokens - passage.slice_tokens) * choices:
            _ask_next_slice(stream)


def _start(stream: _Stream) -> None:
    passage = stream.passage
    if not passage.exchange.started:
        headers = passage.answer_headers(stream.answer)
        headers.append(passage.headroom_header())
        passage.exchange.start(200, headers)


def _ask_next_slice(stream: _Stream) -> None:
    """Ask for the next slice at half of the present one, while the stream goes on."""
    if stream.extending is None and not stream.denied and stream.held_tokens < stream.passage.held.cap:
        stream.extending = asyncio.ensure_future(_extend(stream))


async def _extend(stream: _Stream) -> bool:
    """Hold the next slice, or what of it is affordable; answers whether anything was added."""
    passage, hold = stream.passage, stream.passage.hold
    tokens = min(stream.held_tokens + passage.slice_tokens, passage.held.cap)
    more = max(0, tokens_nanos(passage, tokens) - hold.amount)
    least = max(0, tokens_nanos(passage, stream.held_tokens + 1) - hold.amount)
    try:
        stream.denied = more > 0 and not await passage.cashier.extend(hold, more, least)
    except Unavailable:
        stream.denied = True
    if not stream.denied:
        stream.held_tokens = min(tokens, tokens_within(passage, hold.amount))
    stream.extending = None
    return not stream.denied


async def _make_room(stream: _Stream, out: list[bytes]) -> bool:
    """The hold is used up: send what there is and wait for the next slice; False where the stream must end."""
    _start(stream)
    stream.passage.exchange.write(b"".join(out))
    out.clear()
    choices, cap = stream.passage.ask.choices, stream.passage.held.cap
    while stream.tally.produced >= stream.held_tokens * choices:
        if stream.held_tokens >= cap:  # the engine ends by itself here, unless it ignores the cap
            return stream.tally.produced <= cap * choices
        if not await (stream.extending or _extend(stream)):
            return False
    return True


def _cut(stream: _Stream) -> None:
    """End the stream here, properly: finish reason "length", the upstream cancelled (H5)."""
    passage = stream.passage
    stream.answer.cancel()
    stream.cut = True
    passage.counters.cut += 1
    stream.withheld = [streams.cut_events(stream.tally, passage.served.name)]
    log.info("stream %s was cut at the account's limit", passage.request_id)


async def _settle(stream: _Stream, *, whole: bool) -> None:
    """Bill what was produced, and complete the end of the stream with what it cost."""
    passage, tally = stream.passage, stream.tally
    try:
        measured = tally.measure(whole=whole)
    except Inconsistent as why:
        await passage.quarantine(why)
        return
    if measured is None:
        passage.void()
        return
    charge, settled = passage.bill(measured, tally.tier)
    await settled
    cost_usd = format_usd(charge.amount_nanos)
    if stream.cut:
        _close_cut(stream, measured, cost_usd)
    elif passage.body.usage_asked:
        if tally.final is None:
            stream.withheld.insert(0, streams.usage_event(tally, passage.served.name, measured, cost_usd))
        else:
            stream.withheld = [streams.with_cost(event, cost_usd) for event in stream.withheld]


def _close_cut(stream: _Stream, measured: Measured, cost_usd: str) -> None:
    if stream.passage.body.usage_asked:
        stream.withheld.append(streams.usage_event(stream.tally, stream.passage.served.name, measured, cost_usd))
    stream.withheld.append(DONE)


def _end_with_error(stream: _Stream, failure: Exception) -> None:
    """The upstream failed after it began: say so in the stream, which then ends without [DONE]."""
    exchange = stream.passage.exchange
    if exchange.gone:
        exchange.abort()
        return
    error = {
        "message": f"The model server failed in the middle of the answer ({failure}); what came until then was billed.",
        "type": "api_error",
        "param": None,
        "code": "upstream_broken",
    }
    _start(stream)
    exchange.end(b"data: " + _encode({"error": error, "request_id": stream.passage.request_id}) + b"\n\n")
