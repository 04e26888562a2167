"""A streamed answer: relayed event by event, held in slices ahead of what is produced, cut at the limit (H5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from purser.core.errors import Unavailable
from purser.core.money import format_usd
from purser.core.usage import Inconsistent, Measured
from purser.gateway.alike import forward_alike
from purser.gateway.dialects import readings
from purser.gateway.dialects.reading import Reading
from purser.gateway.passage import Passage, tokens_nanos, tokens_within
from purser.gateway.streams import MOST_EVENT_BYTES, Event, Garbled, Splitter, Tally, read_plain
from purser.http.client import Answer, BrokenAnswer, UpstreamError

log = logging.getLogger("purser.gateway")
_MOST_EARLY_BYTES = 64 * 1024  # kept back until a first token; what sends more without one is passed on
_MOST_WITHHELD_BYTES = MOST_EVENT_BYTES + _MOST_EARLY_BYTES
_MOST_ENDINGS = 64
_LAST_SECONDS = 1.0  # from the last event to the end of the upstream's answer


@dataclass(slots=True)
class _Stream:
    """What a stream's relay keeps track of."""

    passage: Passage
    answer: Answer
    reading: Reading
    tally: Tally  # the reading's
    splitter: Splitter = field(default_factory=Splitter)
    held_tokens: int = 0  # per choice, covered by the hold
    extending: asyncio.Task[bool] | None = None
    denied: bool = False  # the next slice could not be held when it was asked for early
    withheld: list[bytes] = field(default_factory=list)  # the end of the stream waits for the commit
    withheld_bytes: int = 0
    endings: int = 0  # events that were, or would be, withheld
    ends_at: float = (
        0.0  # after the last event what the upstream still says is waited for until then, in the loop's time
    )
    cut: bool = False


async def relay_stream(passage: Passage, answer: Answer) -> None:
    """Relay a stream and settle it; its end leaves after the commit. Raises Refusal where nothing was sent yet.

    Where the task is cancelled or fails, what came until then is billed without waiting for it.
    """
    reading = readings.begin(passage.body, passage.ask, passage.served)
    stream = _Stream(passage, answer, reading, reading.tally, held_tokens=passage.held.output_tokens)
    _note_calm(stream)
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
        measured = stream.reading.measure(whole=False)
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
            raise passage.refusal(failure if isinstance(failure, UpstreamError) else BrokenAnswer(str(failure)))
        await _end_with_error(stream, failure, None, format_usd(0))
        return
    measured, cost_usd = await _settle(stream, whole=failure is None and not stream.cut)
    if failure is not None:
        await _end_with_error(stream, failure, measured, cost_usd)
    else:
        await _start(stream)
        passage.exchange.end(b"".join(stream.reading.closed(stream.withheld, measured, cost_usd, cut=stream.cut)))


async def _relay_events(stream: _Stream) -> None:
    passage, tally, splitter = stream.passage, stream.tally, stream.splitter
    exchange, chunk, read = passage.exchange, stream.answer.chunk, stream.reading.read
    choices, early = passage.ask.choices, 0
    out: list[bytes] = []
    if stream.reading.is_plain:
        stream.answer.tap = _at_once(stream)
    while not stream.ends_at:
        data = await chunk()
        if data:
            events = map(read, splitter.feed(data))
        elif splitter.waiting.strip():
            raise Garbled("the stream ended within an event")
        else:
            break
        for event in events:
            if event.closing:
                if _withhold(stream, event):
                    break
                continue
            out.append(event.data)
            if event.content and tally.produced >= stream.held_tokens * choices and not await _make_room(stream, out):
                _cut(stream)
                return
        if out:
            if not exchange.started:
                early += len(data)
                if not tally.produced and early <= _MOST_EARLY_BYTES:
                    continue  # until a first token the answer may still be an error
                await _start(stream)
            exchange.write(b"".join(out))
            out.clear()
            await exchange.drain()
        if tally.produced >= tally.calm_below:
            _ask_next_slice(stream)
    if stream.ends_at:
        await _last_pieces(stream)
    stream.withheld[:0] = out


def _at_once(stream: _Stream) -> Callable[[bytes], bool]:
    """Passes a piece on as it comes, if it is one plain event, as most are, and nothing has to be waited for."""
    answer, tally, splitter, exchange = stream.answer, stream.tally, stream.splitter, stream.passage.exchange
    read, wanted = read_plain, stream.reading.wanted

    def pass_on(piece: bytes) -> bool:
        if splitter.waiting or not exchange.flowing:
            return False
        before = tally.deltas
        data = read(piece, tally, wanted, tally.calm_below)
        if data is None:
            return False
        exchange.write(data)
        answer.frames = forward_alike(piece, data, tally, exchange) if tally.deltas > before else None
        return True

    return pass_on


async def _last_pieces(stream: _Stream) -> None:
    """After the last event: what still comes is no part of it, and an upstream that goes on is not waited for."""
    stream.answer.tap = None
    late = asyncio.get_running_loop().call_at(stream.ends_at, stream.answer.cancel)
    try:
        while await stream.answer.chunk():
            continue
    except UpstreamError:
        return
    finally:
        late.cancel()


def _withhold(stream: _Stream, event: Event) -> bool:
    """Keep what ends the stream until its charge is durable; answers whether that was the last of it.

    Raises Garbled where it ends without end.
    """
    stream.endings += 1
    stream.withheld_bytes += len(event.data)
    if stream.endings > _MOST_ENDINGS or stream.withheld_bytes > _MOST_WITHHELD_BYTES:
        raise Garbled("the stream ends again and again")
    if event.data:
        stream.withheld.append(event.data)
    if not event.last:
        return False
    stream.ends_at = asyncio.get_running_loop().time() + _LAST_SECONDS
    return True


async def _start(stream: _Stream) -> None:
    passage = stream.passage
    if not passage.exchange.started:
        headers = passage.answer_headers(stream.answer)
        headers.append(await passage.headroom_header())
        passage.exchange.start(200, headers)


def _note_calm(stream: _Stream) -> None:
    """The next slice is asked for at half of the present one, unless there is none."""
    passage, held = stream.passage, stream.held_tokens
    ahead = 0 if stream.denied or held >= passage.held.cap else passage.slice_tokens
    stream.tally.calm_below = -((ahead - 2 * held) * passage.ask.choices // 2)


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
    _note_calm(stream)
    stream.extending = None
    return not stream.denied


async def _make_room(stream: _Stream, out: list[bytes]) -> bool:
    """The hold is used up: send what there is and wait for the next slice; False where the stream must end."""
    await _start(stream)
    stream.passage.exchange.write(b"".join(out))
    out.clear()
    choices, cap = stream.passage.ask.choices, stream.passage.held.cap
    while stream.tally.produced >= stream.held_tokens * choices:
        if stream.held_tokens >= cap:  # the engine ends by itself here, unless it ignores the cap
            return stream.tally.certain <= cap * choices
        if not await (stream.extending or _extend(stream)):
            return False
    return True


def _cut(stream: _Stream) -> None:
    """End the stream here, properly, as one that came to its cap; the upstream is cancelled (H5)."""
    passage = stream.passage
    stream.answer.cancel()
    stream.cut = True
    passage.counters.cut += 1
    stream.withheld = stream.reading.cut()
    log.info("stream %s was cut at the account's limit", passage.request_id)


async def _settle(stream: _Stream, *, whole: bool) -> tuple[Measured | None, str]:
    """Bill what was produced; answers what that was, None for nothing, and what it cost."""
    passage = stream.passage
    try:
        found = stream.reading.measure(whole=whole)
    except Inconsistent as why:
        await passage.quarantine(why)
        return None, format_usd(0)
    if found is None:
        passage.void()
        return None, format_usd(0)
    bill = passage.bill(found, stream.tally.tier)
    await bill.settled
    return bill.measured, bill.cost_usd


async def _end_with_error(stream: _Stream, failure: Exception, measured: Measured | None, cost_usd: str) -> None:
    """The upstream failed after it began: say so in the stream, which then ends without its proper end."""
    exchange = stream.passage.exchange
    if exchange.gone:
        exchange.abort()
        return
    message, code = f"The model server failed in the middle of the answer ({failure})", "upstream_broken"
    if exchange.called_off:
        message, code = "This server is stopping", "server_stopping"
    message += "; what came until then was billed."
    await _start(stream)
    exchange.end(stream.reading.broken(message, code, stream.passage.request_id, measured, cost_usd))
