"""The kinds of values that settings have: what each must be, how it is read, and what is said of a wrong one."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from purser.core.address import is_email
from purser.core.errors import Invalid
from purser.core.money import NANOS_PER_USD, parse_usd
from purser.core.period import parse_instant
from purser.core.pricebook import PRICE_NAMES
from purser.toml_lines import Unquoted


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: `words` complete "must be …", `read` gives the value or raises Invalid naming the field.

    `from_text` turns an environment variable or an option into what the file would hold.
    """

    words: str
    read: Callable[[object, str], Any]
    from_text: Callable[[str], object] = str


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────
def shown(value: object) -> str:
    """A value from the file as a message shows it: short, and as it would be written."""
    match value:
        case Unquoted():
            return value.text[:40]
        case bool() | str():
            return json.dumps(value[:60] if isinstance(value, str) else value, ensure_ascii=False)
        case int():
            return str(value) if value.bit_length() <= 64 else "a number that long"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a table"
        case _:
            return str(value)[:60]


def written(value: object) -> str:
    """A default as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(written(item) for item in value) + "]"
    return json.dumps(value)


def nearest(name: str, known: list[str], likeness: float = 0.7) -> str | None:
    """The known name that a mistyped one most resembles."""
    return next(iter(get_close_matches(name, known, n=1, cutoff=likeness)), None)


def _wrong(field: str, words: str, value: object, advice: str = "") -> Invalid:
    return Invalid(f"{field} must be {words}, not {shown(value)}" + (f"; {advice}" if advice else ""), field=field)


# ── kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────
def whole(least: int, most: int) -> Kind:
    """A whole number within bounds, both included."""
    words = f"a whole number from {least} to {most}"

    def read(value: object, field: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            quoted = isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value)
            raise _wrong(field, words, value, f"write {value} without quotes" if quoted else "")
        return value

    return Kind(words, read, lambda text: int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text)


def usd(least: str, most: str, *, whole_dollars: bool = False) -> Kind:
    """Dollars written as a decimal string, read as nano-dollars, within bounds, both included."""
    bounds = parse_usd(least), parse_usd(most)
    words = f'{"whole dollars" if whole_dollars else "dollars"} in quotes such as "50", from {least} to {most}'

    def read(value: object, field: str) -> int:
        if isinstance(value, Unquoted) or (isinstance(value, int) and not isinstance(value, bool)):
            raise _wrong(field, words, value, _in_quotes(value))
        if not isinstance(value, str):
            raise _wrong(field, words, value)
        nanos = parse_usd(value, field, negative=True)
        if not bounds[0] <= nanos <= bounds[1] or (whole_dollars and nanos % NANOS_PER_USD):
            raise _wrong(field, words, value)
        return nanos

    return Kind(words, read)


def _in_quotes(value: object) -> str:
    """What to write in place of an unquoted amount of money."""
    text = shown(value).replace("_", "")
    try:
        parse_usd(text, negative=True)
    except Invalid:
        return 'write it in quotes such as "0.95"'
    return f'write "{text}" in quotes'


def text(most: int) -> Kind:
    """Printable text without space around it."""
    words = f"text of 1 to {most} characters"

    def read(value: object, field: str) -> str:
        if not isinstance(value, str):
            plain = isinstance(value, int) and not isinstance(value, bool)
            raise _wrong(field, words, value, f'write "{shown(value)}" in quotes' if plain else "")
        if not 1 <= len(value) <= most or value != value.strip() or not value.isprintable():
            raise _wrong(field, words, value)
        return value

    return Kind(words, read)


def choice(*options: str) -> Kind:
    """One of a few words."""
    words = " or ".join(f'"{option}"' for option in options).replace(" or ", ", ", max(0, len(options) - 2))

    def read(value: object, field: str) -> str:
        if not isinstance(value, str) or value not in options:
            close = nearest(value.lower(), list(options)) if isinstance(value, str) else None
            raise _wrong(field, words, value, f'did you mean "{close}"?' if close else "")
        return value

    return Kind(words, read)


def list_of(item: Kind, words: str, *, one_too: bool = False, least: int = 0, rising: bool = False) -> Kind:
    """A list of distinct values, read as a tuple; with `one_too` a single text stands for a list of one."""

    def read(value: object, field: str) -> tuple[Any, ...]:
        if one_too and isinstance(value, str):
            return (item.read(value, field),)
        if not isinstance(value, list | tuple):
            raise _wrong(field, words, value)
        if len(value) < least:
            raise Invalid(f"{field} must be {words}, not an empty list", field=field)
        items, mistakes = [], []
        for index, part in enumerate(value):
            try:
                items.append(item.read(part, f"entry {index + 1} of {field}"))
            except Invalid as error:
                mistakes.append(error.message)
        if mistakes:
            raise Invalid("; ".join(mistakes), field=field)
        if len(set(items)) < len(items):
            raise Invalid(f"{field} has the same entry twice; each once is right", field=field)
        if rising and items != sorted(items):
            raise Invalid(f"{field} must rise; right is {sorted(items)}", field=field)
        return tuple(items)

    def from_text(given: str) -> object:
        return [item.from_text(part.strip()) for part in given.split(",")] if given.strip(" []") else []

    return Kind(words, read, from_text)


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        quoted = value in ("true", "false")
        raise _wrong(field, "true or false", value, f"write {value} without quotes" if quoted else "")
    return value


def _instant(value: object, field: str) -> int:
    given = value.isoformat() if isinstance(value, date) else value
    if not isinstance(given, str):
        raise _wrong(field, 'an RFC 3339 time such as "2026-03-01T09:00:00Z"', value)
    return parse_instant(given, field)


def _host(value: object, field: str) -> str:
    words = 'the address to listen on, such as "127.0.0.1", "0.0.0.0" or "::"'
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,252}|[0-9A-Fa-f:.]*:[\w:.%]*", value, re.A):
        raise _wrong(field, words, value)
    return value


def _network(value: object, field: str) -> str:
    try:
        return str(ipaddress.ip_network(value if isinstance(value, str) else ""))
    except ValueError:
        raise _wrong(field, 'an address or network such as "10.0.0.0/8"', value) from None


def _database_url(value: object, field: str) -> str:
    words = 'a database URL such as "sqlite:///purser.db" or "postgresql://host/purser"'
    scheme, mark, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    if scheme in ("postgres", "postgresql") and rest:
        if scheme == "postgres":
            raise Invalid(f'{field} must start with "postgresql://", not "postgres://"', field=field)
        return f"{scheme}://{rest}"
    if scheme == "sqlite" and rest.strip("/") in ("", ":memory:"):
        raise Invalid(f'{field} must name a file, such as "sqlite:///purser.db": memory forgets the books', field=field)
    if scheme == "sqlite" and rest.startswith("/"):
        return f"{scheme}://{rest}"
    if scheme == "sqlite":
        raise Invalid(f'{field} needs three slashes before the file: "sqlite:///{rest}"', field=field)
    if isinstance(value, str) and value and not mark and "@" not in value:
        raise _wrong(field, words, value, f'write "sqlite:///{value}"' if value.endswith(".db") else "")
    raise Invalid(
        f"{field} must be {words}" + (f", not one that starts with {shown(scheme)}" if mark else ""), field=field
    )


def _mail_url(value: object, field: str) -> str:
    words = 'where mail goes, such as "smtp://mail.example.com:587", "smtps://…" or "file:///var/mail/purser"'
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        sound = parts.port != 0
    except ValueError:
        raise Invalid(f"{field} must be {words}; its host or port is wrong", field=field) from None
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and len(parts.path) > 1:
        return str(value)
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or not plain or not sound:
        raise Invalid(f"{field} must be {words}", field=field)  # not shown: it may hold a password
    return str(value)


_NAMED = re.compile(r'(?:"[^"\\<>]+"|[^"\\<>()\[\]@,;:]+) <([^<>]+)>')


def _sender(value: object, field: str) -> str:
    words = 'an address, such as "billing@example.com" or "Billing <billing@example.com>"'
    named = _NAMED.fullmatch(value) if isinstance(value, str) and value.isprintable() else None
    if not is_email(named[1] if named else value):
        raise _wrong(field, words, value)
    return str(value)


def _upstream(value: object, field: str) -> str:
    words = 'the base URL of a model server, such as "http://127.0.0.1:8000/v1"'
    if isinstance(value, str) and "@" in value:  # not shown: it may hold a password
        raise Invalid(f"{field} must not hold a user or password; name the key with upstream_key", field=field)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise _wrong(field, words, value)
    try:
        parts = urlsplit(value)
        has_port = parts.port != 0
    except ValueError:  # a port out of range, or half an IPv6 address
        raise _wrong(field, words, value, "its host or port is wrong") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        bare = re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", value, re.A)
        raise _wrong(field, words, value, f'write "http://{value}"' if bare else "")
    if not has_port:
        raise _wrong(field, words, value, "its port must be from 1 to 65535")
    if parts.query or parts.fragment:
        raise _wrong(field, words, value, "leave out what follows ? or #")
    base = value.rstrip("/")
    routes = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages", "/rerank", "/models")
    for route in routes:
        if base.endswith(route):
            raise _wrong(field, words, value, f'leave the route out: "{base.removesuffix(route)}"')
    return base


def _public_url(value: object, field: str) -> str:
    words = 'the address that people use, such as "https://billing.example.com"'
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        sound = parts.port != 0
    except ValueError:
        sound = False
    sound = sound and isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
    bare = sound and parts.path in ("", "/") and not parts.query and not parts.fragment and parts.username is None
    if not bare or parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong(field, words, value)
    return str(value).rstrip("/")


def _issuer(value: object, field: str) -> str:
    words = 'the https address by which the provider names itself, such as "https://login.example.com"'
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
    except ValueError:
        raise _wrong(field, words, value) from None
    here = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if (parts.scheme != "https" and not here) or not parts.hostname or parts.query or parts.fragment:
        raise _wrong(field, words, value)
    return str(value)


def secret(value: object, field: str, least: int) -> str:
    """A secret that fits an HTTP header; no message ever shows it."""
    if not isinstance(value, str) or len(value) < least:
        raise Invalid(f"{field} must have {least} or more characters", field=field)
    if not value.isascii() or not value.isprintable() or " " in value:
        raise Invalid(f"{field} must be ASCII without spaces and line ends", field=field)
    return value


def _variable_name(value: object, field: str) -> str:
    found = re.fullmatch(r"env:([A-Za-z_][A-Za-z0-9_]*)", value) if isinstance(value, str) else None
    if found is None:  # the value may be a key itself, so it is not shown
        raise Invalid(
            f'{field} must name an environment variable, such as "env:VLLM_KEY": keys stay out of the file', field=field
        )
    return found.group(1)


def _price(value: object, field: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(field, _PRICE_WORDS, value)
    mistakes = []
    for name, amount in value.items():
        if name not in PRICE_NAMES:
            close = nearest(name, list(PRICE_NAMES))
            hint = f"did you mean {close}?" if close else f"known: {', '.join(PRICE_NAMES)}"
            mistakes.append(f"{field} has no {shown(name)}; {hint}")
        elif not isinstance(amount, str):
            mistakes.append(str(_wrong(f"{name} of {field}", "dollars in quotes", amount, _in_quotes(amount))))
    if mistakes:
        raise Invalid("; ".join(mistakes), field=field)
    return dict(value)


_PRICE_WORDS = 'a table such as { input = "0.95", cached_input = "0.16", output = "4.00" }'
FLAG = Kind("true or false", _flag, lambda given: {"true": True, "false": False}.get(given.lower(), given))
INSTANT = Kind('a time such as "2026-03-01T09:00:00Z"', _instant)
HOST = Kind("an address or host name", _host)
DATABASE_URL = Kind("sqlite:///FILE or postgresql://…", _database_url)
UPSTREAM = Kind("a URL", _upstream)
OPERATOR_KEY = Kind("a secret of 32 or more characters", lambda value, field: secret(value, field, 32))
VARIABLE_NAME = Kind('"env:NAME"', _variable_name)
PRICE = Kind(_PRICE_WORDS, _price)
NETWORKS = list_of(Kind("an address or network", _network), 'addresses or networks, such as ["10.0.0.0/8"]')
UPSTREAMS = list_of(UPSTREAM, "a URL, or a list of them", one_too=True, least=1)
DUNNING_DAYS = list_of(whole(1, 365), "a rising list of days, such as [1, 3, 5, 7]", rising=True)
RATE = whole(1, 1_000_000)
TOKENS = whole(1, 100_000_000)
PUBLIC_URL = Kind("a URL without a path", _public_url)
ISSUER = Kind("an https URL", _issuer)
CLIENT_SECRET = Kind("a secret", lambda value, field: secret(value, field, 1))
MAIL_URL = Kind("smtp://…, smtps://… or file:///FOLDER", _mail_url)
SENDER = Kind("a mail address", _sender)
