"""People: the e-mail addresses by which they are known, and the short names that follow from them."""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase

from purser.core.address import check_email

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_LONGEST_NAME = 40


def read_address(value: object, field: str = "email") -> str:
    """One e-mail address as people are known by it, ASCII letters small: " Ada@Example.com" is "ada@example.com".

    Raises Invalid for whatever else, such as two addresses or one with a name around it.
    """
    return lower(check_email(value.strip() if isinstance(value, str) else value, field))


def lower(address: str) -> str:
    """An address with its ASCII letters small, which is all that two spellings of one may differ in."""
    return address.translate(_LOWER)


def mailbox(address: str) -> str:
    """Where an address's mail goes: without what follows a "+", so that "ada+2@example.com" is "ada@example.com"."""
    name, _, domain = address.rpartition("@")
    return f"{name.partition('+')[0] or name}@{domain}"


def short_name(address: str) -> str:
    """A user's or account's short id after an address: "Ada.B+x@example.com" gives "ada-b"."""
    name = mailbox(lower(address)).rpartition("@")[0]
    return re.sub(r"[^a-z0-9]+", "-", name)[:_LONGEST_NAME].strip("-") or "user"
