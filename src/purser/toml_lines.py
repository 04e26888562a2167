"""TOML with the line of each key, so that a mistake in a configuration file can say where it is."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Place = tuple[str | int, ...]

# Texts and comments, matched so that what looks like a key inside them is not taken for one.
_TEXTS = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'|#[^\n]*", re.DOTALL
)
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"\s*({_DOTTED})[ \t]*=")
_INNER = re.compile(rf"[{{,]\s*({_DOTTED})[ \t]*=")


@dataclass(frozen=True, slots=True)
class Unquoted:
    """A fractional number as written: it is never made a float, so a message shows it digit by digit."""

    text: str


class Unreadable(Exception):
    """The file cannot be read, or is not UTF-8 or not TOML; says where and what would be right."""


def read(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    """The file's document, and the lines of its keys, by path: ("models", 0, "price", "input").

    A list's entries other than tables of their own have their list's line. Raises Unreadable.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(text, parse_float=Unquoted), _lines(text)
    except FileNotFoundError:
        raise Unreadable(f"{path} does not exist: `purser init` writes one, --config names another") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + 1, raw[error.start]
        raise Unreadable(f"{path}:{line}: the byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise Unreadable(f"{path}: not valid TOML: too many brackets inside one another") from None
    except ValueError as error:
        raise Unreadable(f"{path}:{_not_toml(str(error), text)}") from None


def _not_toml(message: str, text: str) -> str:
    """tomllib's message with its line in front, where an editor looks for it."""
    what, _, where = message.partition(" (at ")
    spot = re.match(r"line (\d+), column (\d+)", where)
    line = spot[1] if spot else text.rstrip().count("\n") + 1
    column = f" (column {spot[2]})" if spot else ""
    return f"{line}: not valid TOML: {what[:1].lower()}{what[1:]}{column}"


def _lines(text: str) -> dict[Place, int]:
    found: dict[Place, int] = {}
    entries: dict[Place, int] = {}  # the newest entry of each [[list of tables]]
    table: Place = ()
    for number, line in enumerate(_TEXTS.sub(_blank, text).split("\n"), start=1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = ()
            for part in _parts(header[2]):
                table = (*table, entries[table], part) if table in entries else (*table, part)
            if header[1] == "[[":
                entries[table] = entries.get(table, -1) + 1
                found.setdefault(table, number)
                table = (*table, entries[table])
            found[table] = number
        elif key:
            path = table
            for part in _parts(key[1]):
                path = (*path, part)
                found.setdefault(path, number)
            for inner in _INNER.finditer(line, key.end()):
                found.setdefault((*path, *_parts(inner[1])), number)
    return found


def _blank(match: re.Match[str]) -> str:
    """A key in quotes stays; every other text leaves its line ends and an x, a comment nothing."""
    token = match[0]
    if token[0] == "#":
        return ""
    return token if re.fullmatch(_PART, token) else "x" + "\n" * token.count("\n")


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, dotted)]
