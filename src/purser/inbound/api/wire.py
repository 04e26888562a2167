"""The wire: how money, instants, rates and pages look in the control plane's JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from litestar.params import FromPath, QueryParameter

from purser.core.errors import Invalid
from purser.core.money import format_usd
from purser.core.period import format_instant

T = TypeVar("T")
DEFAULT_PAGE, MOST_PAGE = 50, 200

PageSize = Annotated[
    int | None, QueryParameter(name="pageSize", ge=1, le=MOST_PAGE, description="How many at most; 50 by default.")
]
PageToken = Annotated[
    str | None, QueryParameter(name="pageToken", max_length=500, description="The nextPageToken of the page before.")
]
Name = FromPath[str]  # what a path names
Text = Annotated[str, msgspec.Meta(max_length=64)]


class Body(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A request body: fields it does not know are refused."""


class Compatible(msgspec.Struct, rename="camel"):
    """A request body for which compatible clients may send back all they were answered: unknown fields are let pass."""


class View(msgspec.Struct, rename="camel"):
    """What a route answers."""


class Empty(View):
    """Nothing more to say."""


def instant(at: int | None) -> str | None:
    """An instant as RFC 3339, null where there is none."""
    return None if at is None else format_instant(at)


def usd(nanos: int | None) -> str | None:
    """Dollars as a decimal string, null where there is none."""
    return None if nanos is None else format_usd(nanos)


def unit_price(nanos: int, per: int) -> str:
    """The dollars of one unit, exact: 0.95 dollars per million tokens is "0.00000095"."""
    digits = 9
    while nanos * 10 ** (digits - 9) % per and digits < 24:
        digits += 1
    units, fraction = divmod(nanos * 10 ** (digits - 9) // per, 10**digits)
    text = f"{fraction:0{digits}d}"
    return f"{units}.{text[:2]}{text[2:].rstrip('0')}"


def write_token(*place: int | str) -> str:
    """A page token that says where the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_token(token: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """The place a page token stands for, None without one; raises Invalid for what is no token of this list."""
    if not token:
        return None
    try:
        place = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        place = None
    fits = isinstance(place, list) and len(place) == len(kinds)
    if not fits or not all(_is_place(part, kind) for part, kind in zip(place, kinds, strict=True)):
        raise Invalid("pageToken must be the nextPageToken of the page before", field="pageToken")
    return tuple(place)


def _is_place(part: object, kind: type) -> bool:
    if kind is int:
        return isinstance(part, int) and not isinstance(part, bool) and 0 <= part < 2**63
    return isinstance(part, str) and "\0" not in part


def page(rows: Sequence[T], size: int | None, token: str | None) -> tuple[Sequence[T], str]:
    """One page of rows that are all at hand, and the token of the next, "" at the end."""
    place = read_token(token, int)
    start = place[0] if place else 0
    end = start + (size or DEFAULT_PAGE)
    return rows[start:end], write_token(end) if end < len(rows) else ""
