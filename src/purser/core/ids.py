"""Ids that carry their kind and sort by time, and the shapes that ids given by callers must have."""

from __future__ import annotations

import hashlib
import re

from purser.core.errors import Invalid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ACCOUNT = re.compile(r"[a-z0-9-]{3,63}\Z", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z", re.ASCII)
_REQUEST = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z", re.ASCII)


_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def base32(value: int, digits: int) -> str:
    """An even number of digits, two at a time."""
    return "".join([_PAIRS[(value >> place) & 1023] for place in range(5 * (digits - 2), -1, -10)])


def make_id(kind: str, at: int, entropy: int) -> str:
    """An id such as "inv_01k…": `kind`, then the instant in milliseconds, then 80 bits of `entropy`."""
    return f"{kind}_{base32(at // 1000, 10)}{base32(entropy, 16)}"


def make_secret(kind: str, entropy: int) -> str:
    """A secret key such as "pk_…" from 200 bits of `entropy`."""
    return f"{kind}_{base32(entropy, 40)}"


def digest_key(secret: str, pepper: bytes) -> bytes:
    """The keyed hash under which an API key is stored and looked up."""
    return hashlib.blake2b(secret.encode("utf-8", "surrogateescape"), key=pepper[:64], digest_size=32).digest()


def check_account_id(value: object, field: str = "id") -> str:
    """An account id: 3 to 63 of a–z, 0–9 and "-"; raises Invalid."""
    if not isinstance(value, str) or not _ACCOUNT.match(value):
        raise Invalid(f"{field} must be 3 to 63 characters of a-z, 0-9 and '-', not {value!r:.70}", field=field)
    return value


def check_name(value: object, field: str) -> str:
    """A user's or model's short id: up to 63 of a–z, 0–9, ".", "_", "-"; raises Invalid."""
    if not isinstance(value, str) or not _NAME.match(value):
        raise Invalid(
            f"{field} must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', starting with a letter or digit, "
            f"not {value!r:.70}",
            field=field,
        )
    return value


def is_request_id(value: str) -> bool:
    """Whether a client's own request id may be used as it is."""
    return _REQUEST.match(value) is not None
