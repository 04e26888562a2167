"""The clients: many requests at once to one gateway, each on a connection of its own, and what each was answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.overspend.contestant import Key

PATH = "/v1/chat/completions"
LONGEST_SECONDS = 90  # a gateway that has not answered by then has not answered
BROKEN = 0  # the status of a request that got no answer


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: how many tokens its answer would have, the cap it names (or none), and when its client leaves."""

    tokens: int
    cap: int | None = None
    stream: bool = False
    leave_after: int | None = None  # so many tokens, then the client hangs up
    note: str = ""  # for the model server, such as [[fail=ignore-cap=400]]


@dataclass(slots=True)
class Answer:
    """What a client got, and when by the monotonic clock; `whole` where the answer came to its end."""

    ask: Ask
    sent_at: float = 0.0
    ended_at: float = 0.0
    status: int = BROKEN
    prompt_tokens: int = 0
    output_tokens: int = 0
    cut_short: bool = False
    whole: bool = False
    said: str = ""

    @property
    def served(self) -> bool:
        """Whether anything was answered but an error."""
        return self.status == 200


def body(ask: Ask, number: int, model: str) -> bytes:
    """A request's JSON; its number makes each prompt another, all of one length."""
    text = f"Entry {number:06d}: tell me about ledgers. [[tokens={ask.tokens}]]{ask.note}"
    told: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if ask.cap is not None:
        told["max_tokens"] = ask.cap
    if ask.stream:
        told |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(told, separators=(",", ":")).encode()


async def ask_at_once(url: str, key: Key, asks: Sequence[Ask]) -> list[Answer]:
    """Open a connection for each request, then send all of them, and read every answer."""
    lines = [Line(url, key) for _ in asks]
    await asyncio.gather(*(line.open() for line in lines))
    asked = (line.ask(ask, number) for number, (line, ask) in enumerate(zip(lines, asks, strict=True)))
    return list(await asyncio.gather(*asked))


async def ask_again_and_again(url: str, key: Key, clients: int, ask: Ask, told: Callable[[Answer], bool]) -> None:
    """So many clients that each ask, read the answer and ask the same again, as long as `told` says yes."""

    async def run(client: int) -> None:
        number = client * 10_000
        while told(await Line(url, key).ask(ask, number)):
            number += 1

    await asyncio.gather(*(run(client) for client in range(clients)))


class Line:
    """A connection for one request."""

    def __init__(self, url: str, key: Key) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._host, self._port, self._key = host, int(port), key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """Connect; where nobody takes the connection the request will be broken."""
        try:
            self._streams = await asyncio.open_connection(self._host, self._port)
        except OSError:
            self._streams = None

    async def ask(self, ask: Ask, number: int) -> Answer:
        """Send a request and read its answer; whatever breaks is part of what is answered."""
        answer = Answer(ask)
        if self._streams is None:
            await self.open()
        answer.sent_at = time.monotonic()
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._exchange(ask, number, answer)
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
            answer.said = answer.said or repr(error)
        answer.ended_at = time.monotonic()
        if self._streams is not None:
            self._streams[1].transport.abort()
        return answer

    async def _exchange(self, ask: Ask, number: int, answer: Answer) -> None:
        if self._streams is None:
            raise OSError("no connection")
        reader, writer = self._streams
        sent = body(ask, number, self._key.model)
        head = f"POST {PATH} HTTP/1.1\r\nhost: {self._host}\r\nauthorization: Bearer {self._key.secret}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(sent)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + sent)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = int(lines[0].split()[1])
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        pieces = _pieces(reader, headers)
        if status == 200 and ask.stream:
            answer.status = status
            await _read_stream(pieces, ask, answer)
        else:
            raw = b"".join([piece async for piece in pieces])
            answer.status = status
            _read_whole(raw, answer)


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The pieces of a body; raises IncompleteReadError where it ends before its end."""
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while piece := await reader.read(65536):
            yield piece


def _read_whole(raw: bytes, answer: Answer) -> None:
    if not answer.served:
        answer.said = raw[:300].decode(errors="replace")
        return
    told = json.loads(raw)
    usage = told["usage"]
    answer.prompt_tokens, answer.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
    answer.cut_short = told["choices"][0]["finish_reason"] == "length"
    answer.whole = True


async def _read_stream(pieces: AsyncIterator[bytes], ask: Ask, answer: Answer) -> None:
    """Count a stream's tokens as they come: each event with text is one, unless its usage says otherwise at the end."""
    waiting = b""
    async for piece in pieces:
        *events, waiting = (waiting + piece.replace(b"\r\n", b"\n")).split(b"\n\n")
        for event in events:
            _read_event(event, answer)
        if ask.leave_after is not None and answer.output_tokens >= ask.leave_after:
            return


def _read_event(event: bytes, answer: Answer) -> None:
    data = b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
    if data == b"[DONE]":
        answer.whole = True
    if not data or data == b"[DONE]":
        return
    told = json.loads(data)
    for choice in told.get("choices", ()):
        answer.output_tokens += bool((choice.get("delta") or {}).get("content"))
        answer.cut_short = answer.cut_short or choice.get("finish_reason") == "length"
    if told.get("error"):
        answer.said = json.dumps(told["error"])[:300]
    if not told.get("choices") and (usage := told.get("usage")):
        answer.prompt_tokens, answer.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
