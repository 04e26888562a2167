"""What most requests and answers look like, each read by one typed decode; what does not fit is read elsewhere.

A chat request whose fields are all here, and an answer with the usage that nearly every engine sends. `bodies` and
`streams` read any, and read these the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from purser.core.admission import TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST
from purser.core.usage import LARGEST_QUANTITY
from purser.gateway.bodies import Terms
from purser.gateway.dialects.texts import Spoken, text_bytes

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
        texts = [one.content for one in self.messages]
        most = text_bytes("".join(texts)) * terms.tokens_per_byte + TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE * len(texts)
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


class Details(msgspec.Struct, gc=False):
    """Of the prompt's tokens those that were read from a cache; and others, which usual answers have none of."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class OutputDetails(msgspec.Struct, gc=False):
    """Of the answer's tokens those that are no text, which usual answers have none of."""

    audio_tokens: int | None = None
    image_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    """A usage object in whole numbers."""

    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: Details | None = None
    completion_tokens_details: OutputDetails | None = None


class Said(msgspec.Struct, gc=False):
    """What of an answer matters here."""

    model: str
    usage: Usage


_decode_said = msgspec.json.Decoder(Said).decode


def read_answer(raw: bytes) -> tuple[str, int, int, int] | None:
    """The model that an answer names, its prompt tokens, those of them that were cached, and its output tokens.

    None where its usage is no usual one, or contradicts itself.
    """
    try:
        if not raw.isascii():
            raw.decode()
        said: Said = _decode_said(raw)
    except _UNREAD:
        return None
    usage = said.usage
    prompt, output, details = usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details
    cached = 0
    if details is not None:
        cached = details.cached_tokens or 0
        if details.audio_tokens or details.image_tokens or details.cache_write_tokens or details.cache_creation_tokens:
            return None
    others = usage.completion_tokens_details
    if others is not None and (others.audio_tokens or others.image_tokens):
        return None
    if 0 <= cached <= prompt <= LARGEST_QUANTITY and 0 <= output <= LARGEST_QUANTITY:
        return said.model, prompt, cached, output
    return None
