"""Answers on the wire: at the set pace, streamed or whole, and broken off in the way a request asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from purser.http.exchange import Exchange
from purser.modelserver.bodies import error_body
from purser.modelserver.counters import Counters, RequestRecord
from purser.modelserver.failures import Failures
from purser.modelserver.generation import Choice, Usage, usage_object
from purser.modelserver.messages import MessageWording
from purser.modelserver.responses import ResponseWording
from purser.modelserver.wording import DONE, Wording

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
PADDING_MARK = "[[padding]]"
TRUNCATED_BYTES = 100

_MARK = PADDING_MARK.encode()
_MEGABYTE = b"x" * 1_000_000
_BURST_STEPS = 32
_WHOLE_TICK_SECONDS = 0.02
_PIECE_BYTES = (1, 3, 7, 5, 11, 2)
_COMMENT = b": keep-alive\n\n"
_GARBAGE = b'<html>{"choices": [not json'


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast tokens come; 0 tokens a second means without any waiting."""

    tokens_per_second: float
    first_token_seconds: float


@dataclass(slots=True)
class Job:
    """One request's answers, ready to be sent, and everything that says how.

    `unseen_tokens` are those of candidates that `best_of` generated and dropped.
    """

    exchange: Exchange
    record: RequestRecord
    counters: Counters
    failures: Failures
    pace: Pace
    choices: list[Choice]
    usage: Usage
    wording: Wording | ResponseWording | MessageWording
    unseen_tokens: int = 0
    closing_usage: bool = False
    running_usage: bool = False

    @property
    def finish_reason(self) -> str:
        """The finish reason of the first choice, for the log."""
        return self.choices[0].finish_reason


async def fail_early(exchange: Exchange, failures: Failures, *, stream: bool) -> bool:
    """The failures that come before any work; True if the request is over with one. `hang` never returns."""
    if failures.slow_head_ms:
        await asyncio.sleep(failures.slow_head_ms / 1000)
    if failures.refuse:
        exchange.abort()
    elif failures.hang:
        await asyncio.Event().wait()
    elif failures.status is not None:
        headers = list(JSON)
        if failures.status in (429, 503):
            headers.append((b"retry-after", b"1"))
        exchange.answer(failures.status, headers, error_body(failures.status, "the failure that was asked for"))
    elif failures.garbage and stream:
        exchange.answer(200, EVENTS, b"data: " + _GARBAGE + b"\n\ndata: ]\n\n" + DONE)
    elif failures.garbage:
        exchange.answer(200, JSON, _GARBAGE)
    else:
        return False
    return True


async def deliver(job: Job) -> None:
    """Send the answer, streamed or whole; whatever becomes of it is counted, but for a client that leaves."""
    if job.failures.huge_mb:
        for choice in job.choices[:1]:
            choice.content[:1] = [PADDING_MARK + text for text in choice.content[:1]]
    if job.record.stream and not job.failures.no_stream:
        await _stream(job)
    else:
        await _whole(job)


async def _steps(job: Job, last: int, burst: int, tick_seconds: float) -> AsyncIterator[range]:
    """Ranges of token numbers up to `last`, each when due; the prompt counts as read before the first."""
    clock = asyncio.get_running_loop().time
    pace = job.pace.tokens_per_second
    if pace and job.pace.first_token_seconds:
        await asyncio.sleep(job.pace.first_token_seconds)
    job.counters.read_prompt(job.record, job.usage.prompt_tokens, job.usage.cached_tokens)
    start = clock()
    step = 0
    while step < last:
        due = min(last, step + burst)
        if pace:
            due = min(due, int((clock() - start) * pace) + 1)
        if due > step:
            told = range(step, due)
            tokens = sum(max(0, min(due, choice.generated) - step) for choice in job.choices)
            job.counters.generate(job.record, tokens)
            step = due
            yield told
        if step < last:
            await asyncio.sleep(max(start + step / pace - clock(), tick_seconds) if pace else 0.0)


async def _stream(job: Job) -> None:
    exchange, failures, wording = job.exchange, job.failures, job.wording
    exchange.start(200, EVENTS)
    last = max(choice.generated for choice in job.choices)
    if failures.stop_after is not None:
        last = min(last, failures.stop_after)
    await _send(job, b"".join(wording.opening(choice, _running(job, choice, 0)) for choice in job.choices))
    final = max(job.choices, key=lambda choice: (choice.generated, choice.index))
    unclosed = [choice for choice in job.choices if not choice.generated]
    async for steps in _steps(job, last, _BURST_STEPS, 0.0):
        events: list[bytes] = []
        for step in steps:
            for choice in job.choices:
                if step < choice.generated:
                    events.append(wording.delta(choice, step, _running(job, choice, step + 1)))
                if step == choice.generated - 1 and failures.stop_after is None:
                    events.append(wording.closing(choice, _closing(job, choice, final)))
        await _send(job, b"".join(events))
    if failures.stop_after is not None:
        await _break_off(job)
        return
    end = [wording.closing(choice, _closing(job, choice, final)) for choice in unclosed]
    usage = usage_object(job.usage, failures) if job.closing_usage and not failures.usage_with_choice else None
    end.append(wording.end(usage, done=not failures.no_done))
    await _send(job, b"".join(end))
    job.counters.end(job.record, "finished", job.finish_reason)
    exchange.end()


def _running(job: Job, choice: Choice, tokens: int) -> dict[str, object] | None:
    return usage_object(choice.usage_after(tokens), job.failures) if job.running_usage else None


def _closing(job: Job, choice: Choice, final: Choice) -> dict[str, object] | None:
    if job.failures.usage_with_choice and job.closing_usage and choice is final:
        return usage_object(job.usage, job.failures)
    return _running(job, choice, choice.generated)


async def _break_off(job: Job) -> None:
    """What comes after the last delta of an answer that is not to reach its end."""
    failures, exchange = job.failures, job.exchange
    if failures.hang_after == failures.stop_after:
        await asyncio.Event().wait()
    if failures.error_after == failures.stop_after:
        if exchange.started:
            exchange.write(job.wording.error("the failure that was asked for"))
            exchange.end()
        else:
            exchange.answer(500, JSON, error_body(500, "the failure that was asked for"))
    else:
        exchange.abort()
    job.counters.end(job.record, "failed")


async def _send(job: Job, events: bytes) -> None:
    """Write events, changed as `comments`, `split` and `huge` say."""
    if not events:
        return
    exchange, failures = job.exchange, job.failures
    if failures.comments:
        events = _COMMENT + events[:-2].replace(b"\n\n", b"\n\n" + _COMMENT) + b"\n\n"
    if failures.split and not failures.huge_mb:
        events = events.replace(b"\n", b"\r\n")
        start = piece = 0
        while start < len(events):
            end = start + _PIECE_BYTES[piece % len(_PIECE_BYTES)]
            exchange.write(events[start:end])
            await asyncio.sleep(0)
            start, piece = end, piece + 1
    else:
        await _write_padded(job, events)
    await exchange.drain()


async def _write_padded(job: Job, data: bytes) -> None:
    megabytes = job.failures.huge_mb or 0
    front, mark, back = data.partition(_MARK) if megabytes else (data, b"", b"")
    job.exchange.write(front)
    for _ in range(megabytes if mark else 0):
        job.exchange.write(_MEGABYTE)
        await job.exchange.drain()
    job.exchange.write(back)


async def _whole(job: Job) -> None:
    exchange, failures = job.exchange, job.failures
    last = max(choice.generated for choice in job.choices)
    if failures.stop_after is not None:
        last = min(last, failures.stop_after)
    async for _ in _steps(job, last, 1_024, _WHOLE_TICK_SECONDS):
        pass
    if failures.stop_after is not None and failures.cut_after != failures.stop_after:
        await _break_off(job)
        return
    job.counters.generate(job.record, job.unseen_tokens)
    body = job.wording.body(job.choices, usage_object(job.usage, failures))
    if failures.cut_after is not None:
        await cut_short(exchange, body[: len(body) // 2], len(body))
        job.counters.end(job.record, "failed")
    elif failures.truncate:
        await cut_short(exchange, body, len(body) + TRUNCATED_BYTES)
        job.counters.end(job.record, "failed")
    elif failures.huge_mb and _MARK in body:
        exchange.start(200, JSON, len(body) - len(_MARK) + failures.huge_mb * len(_MEGABYTE))
        await _write_padded(job, body)
        job.counters.end(job.record, "finished", job.finish_reason)
        exchange.end()
    else:
        job.counters.end(job.record, "finished", job.finish_reason)
        exchange.answer(200, JSON, body)


async def cut_short(exchange: Exchange, body: bytes, promised_bytes: int) -> None:
    """An answer of which less is sent than its head promises, then the connection is closed."""
    exchange.start(200, JSON, promised_bytes)
    exchange.write(body)
    await exchange.drain()
    exchange.abort()
