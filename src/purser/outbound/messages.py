"""What a sender of messages does for us: deliver one, or say why not and whether another attempt may do better."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """A message to deliver: `target` is a mail address or a URL; `id` is the same at every attempt."""

    id: str
    target: str
    subject: str
    body: str = field(repr=False)
    written_at: int  # microseconds UTC
    secret: bytes = field(default=b"", repr=False)


class Undelivered(Exception):
    """It was not delivered, as far as can be told; `final` where no other attempt would do better."""

    def __init__(self, why: str, *, status: int | None = None, final: bool = False) -> None:
        super().__init__(why)
        self.status, self.final = status, final


class Sender(Protocol):
    """Delivers messages of one kind, each in a thread of its own where it sends several `at_once`."""

    kind: str
    at_once: int

    def send(self, message: Message) -> int | None:
        """Deliver one; answers the receiver's status where there is one. Raises Undelivered."""
