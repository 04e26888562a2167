"""What most requests and answers look like, each read by one typed decode; what does not fit is read elsewhere.

A chat request whose fields are all here, and an answer with the usage that nearly every engine sends. `bodies` and
`streams` read any, and read these the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from purser.core.admission import TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST
from purser.core.usage import LARGEST_QUANTITY
from purser.gateway.bodies import Spoken, Terms, text_bytes

_UNREAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Chat(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A chat request, not streamed, of messages in words; fields that bound or price nothing are whatever they are."""

    model: str
    messages: list[Spoken]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    min_p: Any = None
    seed: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    repetition_penalty: Any = None
    stop: Any = None
    user: Any = None

    @property
    def requested(self) -> int | None:
        """The cap that it names, under whichever name."""
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    def input_tokens(self, terms: Terms) -> int:
        """The most input tokens that it can be (H1)."""
        size = sum([text_bytes(one.content) for one in self.messages])
        most = size * terms.tokens_per_byte + TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE * len(self.messages)
        return most if most < terms.context_tokens else terms.context_tokens


_decode_chat = msgspec.json.Decoder(Chat).decode


def read_chat(raw: bytes) -> Chat | None:
    """A request body where it is a usual one; no field that money depends on is in it twice."""
    try:
        if not raw.isascii():
            raw.decode()
        chat: Chat = _decode_chat(raw)
    except _UNREAD:
        return None
    if chat.stream or not chat.model or not chat.messages or b"\\u00" in raw:  # a name may be written with escapes
        return None
    count = raw.count
    if count(b'"model"') > 1 or count(b'"messages"') > 1 or count(b'"stream"') > 1:
        return None
    # One cap at most, and that once: any other way to give one has it named where it is None, or twice.
    if count(b'"max_tokens"') + count(b'"max_completion_tokens"') != (chat.requested is not None):
        return None
    return chat


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    """A usage object in whole numbers."""

    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Details | None = None

    @property
    def cached_tokens(self) -> int:
        """Of the prompt's tokens those that were read from a cache."""
        details = self.prompt_tokens_details
        return 0 if details is None else details.cached_tokens or 0


class Said(msgspec.Struct, gc=False):
    """What of an answer matters here."""

    model: str
    usage: Usage


_decode_said = msgspec.json.Decoder(Said).decode


def read_answer(raw: bytes) -> Said | None:
    """An answer's body where its usage is a usual one, and does not contradict itself."""
    try:
        if not raw.isascii():
            raw.decode()
        said: Said = _decode_said(raw)
    except _UNREAD:
        return None
    usage = said.usage
    if not 0 <= usage.cached_tokens <= usage.prompt_tokens <= LARGEST_QUANTITY:
        return None
    return said if 0 <= usage.completion_tokens <= LARGEST_QUANTITY else None
