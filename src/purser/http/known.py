"""A head seen before: peers send the same one again and again, save its Content-Length, and parsing it once will do."""

import re
from typing import Any

from purser.http.room import SMALL_BYTES

Fields = list[tuple[bytes, bytes]]

_MOST_HEAD_BYTES = 4096  # a head is kept for as long as its connection; larger ones are parsed each time
_MOST_DIGITS = 9  # more, and it is no small message
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
# With one of these a message may be framed by more than its Content-Length.
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer"))


class KnownHead:
    """The bytes of a parsed head on both sides of its Content-Length's digits, and its fields, names lower-cased.

    `status` is an answer's. `notes` are whoever's that has to do with messages of this head: what need not be found out
    of it again.
    """

    __slots__ = ("_after", "_before", "_digits", "_fields", "_place", "_start", "notes", "status")

    def __init__(self, before: bytes, digits: bytes, after: bytes, fields: Fields, status: int) -> None:
        self.notes: Any = None
        self.status = status
        self._before, self._digits, self._after, self._start = before, digits, after, len(before)
        self._fields = fields
        self._place = next(n for n, (name, _) in enumerate(fields) if name == b"content-length")

    def body(self, data: bytes) -> bytes | None:
        """The body of a small whole message with this head; None for any other."""
        head, _, body = data.partition(self._after)
        if head.startswith(self._before):
            digits = head[self._start :]
            if digits.isdigit() and len(digits) <= _MOST_DIGITS and len(body) == int(digits) <= SMALL_BYTES:
                return body
        return None

    def is_begun(self, data: bytes) -> bool:
        """Whether a small message with this head has begun, of whose body some is still to come."""
        head, found, body = data.partition(self._after)
        digits = head[self._start :]
        if not found or not head.startswith(self._before) or not digits.isdigit() or len(digits) > _MOST_DIGITS:
            return False
        return len(body) < int(digits) <= SMALL_BYTES

    def fields(self, size: int) -> Fields:
        """The head's fields where the body has this size."""
        digits = b"%d" % size
        if digits == self._digits:
            return self._fields
        fields = self._fields.copy()
        fields[self._place] = (b"content-length", digits)
        return fields


def know(data: bytes, fields: Fields, status: int = 0) -> KnownHead | None:
    """The head that `data` begins with and that was parsed as these fields.

    None where another message with its bytes might have to be read otherwise.
    """
    head = data[: data.find(b"\r\n\r\n") + 4]
    found = _LENGTH.search(head)
    if found is None or len(head) > _MOST_HEAD_BYTES:
        return None
    lines = len(fields) + 2
    if head.count(b"\n") != lines or head.count(b"\r\n") != lines:  # that is not where the parser saw it end
        return None
    names = [name for name, _ in fields]
    if names.count(b"content-length") != 1 or not _UNUSUAL.isdisjoint(names):
        return None
    return KnownHead(head[: found.start(1)], found[1], head[found.end(1) :], fields, status)
