"""How streams of chats and text completions are read: chunks, and [DONE]."""

from __future__ import annotations

from functools import partial

from purser.core.usage import Measured
from purser.gateway.dialects.reading import encode
from purser.gateway.streams import DONE, Tally, Wanted, cut_events, read_event, usage_event, with_cost


class Chunks:
    """The reading of chunks."""

    is_plain = True

    def __init__(self, tally: Tally, wanted: Wanted) -> None:
        self.tally, self.wanted = tally, wanted
        self.read = partial(read_event, tally=tally, wanted=wanted)

    def measure(self, *, whole: bool) -> Measured | None:
        """What the stream used."""
        return self.tally.measure(whole=whole)

    def cut(self) -> list[bytes]:
        """Finish reason "length" for what is open."""
        return [cut_events(self.tally, self.wanted.model)]

    def closed(self, withheld: list[bytes], measured: Measured | None, cost_usd: str, *, cut: bool) -> list[bytes]:
        """The usage chunk with what it cost, where it was asked for, and [DONE] where ours ends the stream."""
        if self.wanted.usage_asked and not cut and self.tally.final is not None:
            withheld = [with_cost(event, cost_usd) for event in withheld]
        elif self.wanted.usage_asked and measured is not None:
            closing = usage_event(self.tally, self.wanted.model, measured, cost_usd)
            withheld = [*withheld, closing] if cut else [closing, *withheld]
        return [*withheld, DONE] if cut else withheld

    def broken(self, message: str, code: str, request_id: str, measured: Measured | None, cost_usd: str) -> bytes:
        """An error object, and no [DONE]."""
        words = {"message": message, "type": "api_error", "param": None, "code": code}
        return b"data: " + encode({"error": words, "request_id": request_id}) + b"\n\n"
