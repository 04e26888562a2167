"""The token rule of the model server: which text counts as how many tokens.

Text is taken as UTF-8 bytes and split into pieces, left to right:

* a run of ASCII letters, digits and bytes outside ASCII, with one space before it if there is one,
* a run of other visible characters (punctuation), with one space before it if there is one,
* a run of white space.

A piece of `b` bytes is `ceil(b / 4)` tokens, so a token covers one to four bytes and a text never has more
tokens than bytes. `"Hello, world!"` is `Hell·o·,· wor·ld·!`: 6 tokens. A token id in a prompt is 1 token.

A chat prompt adds 4 tokens per message (start, role, separator, end) and 3 per request (one at the front, two
that open the answer); names, tool calls, tools and answer schemas count as text, by their JSON as sent; an
image is a flat 576 tokens.
"""

from __future__ import annotations

import re

TOKEN_BYTES = 4
MESSAGE_TOKENS = 4
REQUEST_TOKENS = 3
IMAGE_TOKENS = 576

_PIECE = re.compile(rb" ?[0-9A-Za-z\x80-\xff]+| ?[^\s0-9A-Za-z\x80-\xff]+|\s+")


def count_tokens(text: str | bytes) -> int:
    """How many tokens a text has by the rule; text may be given as its UTF-8 bytes.

    >>> count_tokens("Hello, world!")
    6
    """
    data = text.encode() if isinstance(text, str) else text
    return sum((len(piece) + TOKEN_BYTES - 1) // TOKEN_BYTES for piece in _PIECE.findall(data))


def split_tokens(text: str | bytes) -> list[bytes]:
    """The tokens of a text, in order; joined they are its UTF-8 bytes again."""
    data = text.encode() if isinstance(text, str) else text
    tokens: list[bytes] = []
    for piece in _PIECE.findall(data):
        if len(piece) <= TOKEN_BYTES:
            tokens.append(piece)
        else:
            tokens.extend(piece[start : start + TOKEN_BYTES] for start in range(0, len(piece), TOKEN_BYTES))
    return tokens
