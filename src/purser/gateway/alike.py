"""Events that are the one before with other words, as most of a stream are: told by their bytes, passed on as framed.

What such an event says besides its words has been read in the one before. Its words are one JSON string that is not
empty, and what that string is has no say in what the event counts: one delta more.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from purser.gateway.streams import Tally
from purser.http.exchange import Exchange

# What stands between the quotes of a JSON string: ASCII, the short escapes, and UTF-8 as it is well-formed.
_WORDS = (
    rb'(?:[ !#-\[\]-~]++|\\["\\/bfnrt]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]'
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2})++"
)
are_words = re.compile(_WORDS).fullmatch
_find_words = re.compile(rb'"(?:content|reasoning_content|reasoning|text)": ?"(' + _WORDS + rb')"').search


def forward_alike(event: bytes, tally: Tally, exchange: Exchange) -> Callable[[bytes], bool] | None:
    """Passes on whole chunks of the chunked coding that are `event` with other words; None where it has no plain words.

    `event` has been read as a plain one (`streams.read_plain`) that counts a delta, and passed on. What is called
    answers whether it has passed a chunk on and counted it; if not, nothing has happened. It is of use until an event
    is read otherwise, which may change what counts.
    """
    found = _find_words(event)
    if found is None:
        return None
    start, end = found.span(1)
    before, after, rest_bytes = b"\r\n" + event[:start], event[end:] + b"\r\n", len(event) - (end - start)

    def forward(frame: bytes) -> bool:
        send, deltas = exchange.forward, tally.deltas + 1
        size, _, rest = frame.partition(before)
        words, _, beyond = rest.rpartition(after)
        if send is None or deltas >= tally.calm_below or beyond or size != b"%x" % (rest_bytes + len(words)):
            return False
        if are_words(words) is None:
            return False
        tally.deltas = deltas
        send(frame)
        return True

    return forward
