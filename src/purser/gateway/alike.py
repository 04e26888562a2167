"""Events that are the one before with other words, as most of a stream are: told by their bytes, passed on as framed.

What such an event says besides its words, and its running usage, has been read in the one before. Its words are one
JSON string that is not empty, and whatever string that is, it has no say in what the event counts: one delta more.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from purser.gateway.streams import NOT_JSON, USAGE, Tally, decode_object, decode_plain
from purser.http.exchange import Exchange

# What stands between the quotes of a JSON string: ASCII, the short escapes, and UTF-8 as it is well-formed.
_WORDS = (
    rb'(?:[ !#-\[\]-~]++|\\["\\/bfnrt]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]'
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2})++"
)
are_words = re.compile(_WORDS).fullmatch
_find_words = re.compile(rb'"(?:content|reasoning_content|reasoning|text)": ?"(' + _WORDS + rb')"').search
_CLOSED = b"}\n\n"  # the end of an event

Forward = Callable[[bytes], bool]


def forward_alike(event: bytes, passed: bytes, tally: Tally, exchange: Exchange) -> Forward | None:
    """Passes on whole chunks of the chunked coding that are `event` with other words; None where it has no plain words.

    `event` has been read as a plain one (`streams.read_plain`) that counts a delta, and `passed` has been passed on of
    it. What is called answers whether it has counted a chunk and passed it on; if not, nothing has happened. It is of
    use until an event is read otherwise, which may change what counts.
    """
    found = _find_words(passed)
    if found is None:
        return None
    before, after = passed[: found.start(1)], passed[found.end(1) :]
    return (_forward if passed is event else _forward_counted)(before, after, tally, exchange)


def _forward(before: bytes, after: bytes, tally: Tally, exchange: Exchange) -> Forward:
    """For events that are passed on as they are: these bytes with words between them."""
    bytes_besides = len(before) + len(after)
    before, after = b"\r\n" + before, after + b"\r\n"

    def forward(frame: bytes) -> bool:
        send, deltas = exchange.forward, tally.deltas + 1
        size, _, rest = frame.partition(before)
        words, _, beyond = rest.rpartition(after)
        if send is None or deltas >= tally.calm_below or beyond or size != b"%x" % (bytes_besides + len(words)):
            return False
        if are_words(words) is None:
            return False
        tally.deltas = deltas
        send(frame)
        return True

    return forward


def _forward_counted(before: bytes, after: bytes, tally: Tally, exchange: Exchange) -> Forward:
    """For events with running usage at their end, which are passed on without it."""
    bytes_besides, running = len(before) + len(after), tally.running
    index = decode_plain(b"%b%b" % (before[6:], after)).choices[0].index
    begin, until = b"\r\n" + before, after[: -len(_CLOSED)] + USAGE
    end = _CLOSED + b"\r\n"

    def forward(frame: bytes) -> bool:
        send = exchange.forward
        size, _, rest = frame.partition(begin)
        words, _, last = rest.partition(until)
        if send is None or size != b"%x" % (len(frame) - len(size) - 4) or are_words(words) is None:
            return False
        if not last.endswith(end) or last.count(b"\n") != 3 or USAGE in last:
            return False
        try:
            usage = decode_object(b"{" + last[:-5])
        except NOT_JSON:
            return False
        count, counted = usage.get("completion_tokens"), running[index]
        if type(count) is not int or count < counted:
            return False
        deltas, counted = tally.deltas + 1, tally.counted + count - counted
        if deltas >= tally.calm_below or counted >= tally.calm_below:
            return False
        tally.deltas, tally.counted, tally.prompt, running[index] = deltas, counted, usage, count
        send(b"%x\r\n%b%b%b\r\n" % (bytes_besides + len(words), before, words, after))
        return True

    return forward
