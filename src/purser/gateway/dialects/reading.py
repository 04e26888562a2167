"""A reading: how the events of one stream are read, counted and ended, in the dialect that its client speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from purser.core.usage import Measured
from purser.gateway.splicing import splice
from purser.gateway.streams import Event, Tally, Wanted

BYTES_PER_TOKEN = 3  # of engines whose events are not a token each: so many bytes are taken for one, to be held ahead
MOST_KEPT_BYTES = 1024 * 1024  # of an answer's words, to be told again where it is cut
encode = msgspec.json.Encoder().encode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Reading(Protocol):
    """One stream as it is read; it ends once."""

    wanted: Wanted
    is_plain: bool  # most of its events can be told by their bytes

    @property
    def tally(self) -> Tally:
        """What it has counted."""

    @property
    def read(self) -> Callable[[bytes], Event]:
        """Counts an event and chooses what the client gets of it; raises Garbled."""

    def measure(self, *, whole: bool) -> Measured | None:
        """What the stream used; None for nothing. Raises Inconsistent where its usage contradicts itself."""

    def cut(self) -> list[bytes]:
        """The events that end what is open, where the stream is cut at the limit (H5)."""

    def closed(self, withheld: list[bytes], measured: Measured | None, cost_usd: str, *, cut: bool) -> list[bytes]:
        """The end of the stream as the client gets it, with what it cost."""

    def broken(self, message: str, code: str, request_id: str, measured: Measured | None, cost_usd: str) -> bytes:
        """What ends a stream whose upstream failed after it began."""


@dataclass(slots=True)
class WordsTally(Tally):
    """What a stream of typed events has produced: a token for each delta, at least."""

    bytes_per_token: int = 0  # 0: a delta is a token
    words_bytes: int = 0

    @property
    def produced(self) -> int:
        """The output tokens to be held for, which may be more than are certain."""
        certain = max(self.deltas, self.counted)
        return max(certain, self.words_bytes // self.bytes_per_token) if self.bytes_per_token else certain

    def note(self, words: str) -> None:
        """Count a delta that is not empty."""
        self.deltas += 1
        self.words_bytes += len(words.encode("utf-8", "surrogatepass"))


def rewritten(event: bytes, data: bytes, changes: dict[str, bytes]) -> bytes:
    """An event with the JSON of some fields of its data replaced or added; its other lines stay."""
    data = splice(data, decode_fields(data), changes)
    lines = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*lines, b"data: " + data, b"", b""])


def renamed(raw: bytes, model: str) -> bytes | None:
    """An object under the client's name for its model; None where it has that already, or none."""
    fields = decode_fields(raw)
    ours = encode(model)
    if "model" not in fields or bytes(fields["model"]) in (ours, b"null"):
        return None
    return splice(raw, fields, {"model": ours})


def event_of(kind: str, data: dict[str, object]) -> bytes:
    """An event of ours, named by its type."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **data}))
