"""An upstream's answer as it comes in, and the ways it can fail to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from purser.http.known import KnownHead
from purser.http.room import SMALL_BYTES, Room

if TYPE_CHECKING:
    from purser.http.wire import Wire

# Above this much waiting body the upstream is no longer read; below a quarter of it, it is read again.
_WAITING_BYTES = 256 * 1024
_ANY_ROOM = Room(2**62)


class UpstreamError(Exception):
    """An upstream did not give a whole answer.

    UpstreamError
     ├ Unreachable    no connection, or it died before any byte of an answer
     ├ TimedOut       silent for too long; `phase` says when: "connect", "answer" (before the head) or "body",
     │  │             or "whole": not silent, but at it for too long
     │  └ Crowded     no connection or no room for its answer is free here
     ├ BrokenAnswer   malformed HTTP, a head too large, a connection closed within a body
     └ TooLarge       more body than the caller takes
    """


class Unreachable(UpstreamError):
    """The upstream could not be connected to, or hung up before any byte of an answer."""


class TimedOut(UpstreamError):
    """The upstream was silent for too long, or took too long altogether. `phase` is "connect", "answer", "body" or
    "whole"."""

    def __init__(self, phase: str) -> None:
        super().__init__(f"the upstream took too long ({phase})")
        self.phase = phase


class Crowded(TimedOut):
    """Whatever the upstream does, there is no connection left to take, or no room to keep its answer."""

    def __init__(self, phase: str) -> None:
        super().__init__(phase)
        self.args = (f"too much is under way to the upstream ({phase})",)


class BrokenAnswer(UpstreamError):
    """The upstream's answer is not well-formed HTTP or not whole."""


class TooLarge(UpstreamError):
    """The upstream's body is larger than the caller takes."""


class Answer(msgspec.Struct, eq=False):
    """An upstream's status and headers (names lower-cased), and its body as it comes.

    The body is read by one reader. Whoever does not read it to its end must `cancel` it, or its connection
    stays taken; cancelling a whole answer does nothing, so `cancel` may stand in a `finally`.
    """

    _wire: Wire | None
    _loop: asyncio.AbstractEventLoop
    status: int = 0
    _headers: list[tuple[bytes, bytes]] | None = None
    known: KnownHead | None = None  # its head, where others had the same
    # Called with a piece that comes while the reader waits for one: True where it has been dealt with at once and
    # the reader waits on. Must not raise.
    tap: Callable[[bytes], bool] | None = None
    # Called, while the reader waits on, with bytes as they come, which begin where a chunk of the chunked coding does:
    # True where they are one whole chunk, not an empty one, and have been dealt with; else they are parsed. Left here
    # by the tap, for as long as the tap takes what is parsed. Must not raise.
    frames: Callable[[bytes], bool] | None = None
    _head: asyncio.Future[None] | None = None  # while the head is waited for
    _more: asyncio.Future[None] | None = None
    _on_news: Callable[[], None] | None = None
    _pieces: list[bytes] = []
    _waiting_bytes: int = 0
    was_known: bool = False  # its head was, and has not been parsed
    _size: int = 0  # of its body then
    _whole: bool = False
    _error: UpstreamError | None = None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers, once they have come."""
        found = self._headers
        if found is None:
            known = self.known
            found = self._headers = [] if known is None else known.fields(self._size)
        return found

    def header(self, name: bytes) -> bytes | None:
        """The first value under a lower-case name, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def when_whole(self, call: Callable[[], None] | None) -> None:
        """Have `call` called once: the answer is whole, or failed, or is too large to be waited for. None: no more."""
        self._on_news = call

    def in_one(self) -> bytes | None:
        """The body where all of it has come and none has been read; None where some is to come or it has failed."""
        if not self._whole or self._error is not None:
            return None
        return b"".join(self._pieces)  # a single piece is not copied

    async def read(self, max_bytes: int, room: Room = _ANY_ROOM) -> bytes:
        """The whole body (or what `chunk` left of it). Raises TooLarge, BrokenAnswer, TimedOut.

        The body takes its place in `room`, which whoever has it makes free again; Crowded where there is none.
        """
        if self._whole and self._error is None:  # it has come in one piece with its head
            whole = b"".join(self._pieces)
            if len(whole) <= max_bytes and room.grow(0, len(whole)):
                self._pieces = []
                return whole
        parts: list[bytes] = []
        announced = None if self._whole else self.header(b"content-length")
        size, kept = 0 if announced is None else int(announced), 0
        try:
            while size <= max_bytes and (self._pieces or not self._whole):
                piece = await self.chunk()
                if not room.grow(kept, kept + len(piece)):
                    raise Crowded("body")
                size = kept = kept + len(piece)
                parts.append(piece)
            if size > max_bytes:
                raise TooLarge(f"the upstream's body exceeds {max_bytes} bytes")
        except BaseException:
            room.leave(kept)
            self.cancel()
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunk(self) -> bytes:
        """What has come of the body since the last call, waiting if nothing has; b"" at the end.

        Raises BrokenAnswer or TimedOut once all that came before the failure has been given out.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._whole:
                return b""
            self._more = more = self._loop.create_future()
            await more
        pieces = self._pieces
        self._pieces = []
        self._waiting_bytes = 0
        wire = self._wire
        if wire is not None and not wire.reading:
            wire.read_on()
        return b"".join(pieces)  # a single piece is not copied

    def cancel(self) -> None:
        """Drop the connection at once, so that the upstream sees the hang-up; nothing if the answer is whole."""
        wire = self._wire
        if wire is not None:
            self.fail(BrokenAnswer("the answer was cancelled"))
            wire.drop()

    # for the wire

    async def headed(self) -> None:
        """Wait for status and headers; raises what kept them from coming."""
        if not self.status and self._error is None:
            self._head = self._loop.create_future()
            await self._head
        if not self.status and self._error is not None:
            raise self._error

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Status and headers have come."""
        self.status = status
        self._headers = headers
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def come(self, known: KnownHead, body: bytes) -> None:
        """All of it has come, with a head that was known."""
        self.known = known
        self.was_known = True
        self.status = known.status
        self._pieces.append(body)
        self._size = len(body)
        self._whole = True
        self._wire = None
        if self._head is not None:
            self._wake()
        elif self._on_news is not None:
            self._tell()

    def add(self, piece: bytes) -> bool:
        """A piece of body has come; False when too much is waiting for its reader."""
        more = self._more
        if more is not None and not more.done():
            if self.tap is not None and self.tap(piece):
                return True
            self.frames = None
            more.set_result(None)
        self._pieces.append(piece)
        self._waiting_bytes += len(piece)
        if self._on_news is not None and self._waiting_bytes > SMALL_BYTES:
            self._tell()
        return self._waiting_bytes <= _WAITING_BYTES

    def end(self) -> None:
        """The body is whole."""
        self._whole = True
        self._wire = None
        self._wake()
        self._tell()

    def fail(self, error: UpstreamError) -> None:
        """Nothing more comes, and the answer is not whole."""
        self._wire = None
        self._error = error
        self._wake()
        self._tell()

    def _tell(self) -> None:
        call, self._on_news = self._on_news, None
        if call is not None:
            call()

    def _wake(self) -> None:
        self.frames = None
        for waiting in (self._head, self._more):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
