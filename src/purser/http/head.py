"""The heads of HTTP messages: status lines, the Date, targets, header blocks that cannot be split or smuggled."""

import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

Headers = Iterable[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})?")

# These say how one message travels on one connection. Whoever holds the connection writes them itself, so a
# copy passed along from another connection is left out.
_FRAMING = frozenset(
    (
        b"connection",
        b"content-length",
        b"date",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_KNOWN_NAMES = 1024


class _Begins(dict[bytes, bytes]):
    """How a header's line begins, by its name: empty where it is framing and not passed on. Keeps what it was asked."""

    def __missing__(self, name: bytes) -> bytes:
        begin = name + b": " if _is_carried(name) else b""
        if len(self) < _KNOWN_NAMES:
            self[name] = begin
        return begin


_begins = _Begins()
_KNOWN_TARGETS = 512
_targets: dict[bytes, tuple[str, str]] = {}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


STATUS_LINES = {status: f"HTTP/1.1 {status} {_phrase(status)}\r\n".encode() for status in range(200, 600)}


def date_line(seconds: float) -> bytes:
    """The Date header's line for an instant in seconds since the epoch."""
    return f"date: {formatdate(seconds, usegmt=True)}\r\n".encode()


def _is_carried(name: bytes) -> bool:
    """Whether a header of this name is passed on (False: it is framing). Raises ValueError for what is no name."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"not a header name: {name!r}")
    return name.lower() not in _FRAMING


def head_bytes(first: bytes, headers: Headers, last: bytes, lines: int) -> bytes:
    """One message head: the `first` lines, each carried header, the `last` lines, and the empty line.

    `first` and `last` are whole lines ending in CRLF, `lines` in number together. Framing headers
    (Content-Length, Connection, …) among `headers` are left out. Raises ValueError for a header that would
    end its line early (CR, LF, NUL) or whose name is no token, so that no byte taken from elsewhere can begin
    a header or an answer of its own.
    """
    carried = [begin + value for name, value in headers if (begin := _begins[name])]
    lines += len(carried)
    carried.append(last + b"\r\n")
    head = first + b"\r\n".join(carried)
    # One count over the head is cheaper than a look at each value.
    if head.count(b"\n") != lines + 1 or head.count(b"\r") != lines + 1 or b"\0" in head:
        raise ValueError("a header holds CR, LF or NUL")
    return head


def header_lines(headers: Headers) -> bytes:
    """Each carried header as a line of its own. Raises ValueError as `head_bytes`."""
    return head_bytes(b"", headers, b"", 0)[:-2]


def is_token(text: str) -> bool:
    """Whether the text may stand as a method or a header name."""
    return text.isascii() and _TOKEN.fullmatch(text.encode()) is not None


def split_target(target: bytes) -> tuple[str, str]:
    """The percent-decoded path and the query, as sent, of a request target.

    Takes `/path?query`, `http://host/path?query` and `*`. Raises ValueError for all else: bytes beyond ASCII,
    a fragment, broken percent-encoding, a path that is not UTF-8 or holds NUL.
    """
    known = _targets.get(target)
    if known is not None:
        return known
    raw, _, query = target.partition(b"?")
    if not raw.startswith(b"/"):
        raw = _origin_form(raw)
    path = raw.decode("ascii")
    if b"#" in target:
        raise ValueError("a fragment in the target")
    if "%" in path:
        path = _decoded(raw)
    split = path, query.decode("ascii")
    if len(_targets) < _KNOWN_TARGETS and len(target) <= 128:
        _targets[target] = split
    return split


def _origin_form(raw: bytes) -> bytes:
    if raw == b"*":
        return raw
    scheme, mark, rest = raw.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https"):
        raise ValueError("the target is neither a path nor a URL")
    host, slash, path = rest.partition(b"/")
    if not host:
        raise ValueError("the target names no host")
    return slash + path if slash else b"/"


def _decoded(raw: bytes) -> str:
    def byte(match: re.Match[bytes]) -> bytes:
        digits = match[1]
        if digits is None:
            raise ValueError("broken percent-encoding")
        return bytes((int(digits, 16),))

    path = _ENCODED.sub(byte, raw).decode("utf-8")
    if "\0" in path:
        raise ValueError("NUL in the path")
    return path
