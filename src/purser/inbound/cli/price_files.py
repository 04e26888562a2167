"""Price files: prices of several models in TOML or JSON, read with every mistake in its place, and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from purser import toml_lines
from purser.core.errors import Invalid
from purser.core.period import parse_instant
from purser.core.pricebook import PRICE_NAMES, check_price
from purser.inbound.cli.failure import Failure, clean
from purser.toml_lines import Place, Unquoted

_FIELDS = ("models", "effective_at", "effectiveAt")
_LONGEST_NAME = 200
EXAMPLE = '[models.tiny]\ninput = "0.20"\noutput = "0.80"'


@dataclass(frozen=True)
class Mistake:
    """Something wrong in a price file: in which line, where that is known, and in which field."""

    field: str
    message: str
    line: int | None = None

    def text(self, file: Path) -> str:
        """As compilers say it."""
        return f"{file}:{self.line}: {self.message}" if self.line else f"{file}: {self.message}"


@dataclass
class PriceFile:
    """What a price file says, and all that is wrong with it."""

    models: dict[str, dict[str, str]] = field(default_factory=dict)
    effective_at: str | None = None
    mistakes: list[Mistake] = field(default_factory=list)

    def body(self, effective_at: str | None = None) -> dict[str, Any]:
        """What publishes these prices, from another time than the file says where one is given."""
        at = effective_at or self.effective_at
        return {"models": self.models, **({} if at is None else {"effectiveAt": at})}


def read_sound(path: Path) -> PriceFile:
    """A price file in which nothing is wrong; raises Failure with all that is."""
    found = read(path)
    if found.mistakes:
        raise Failure("\n".join(mistake.text(path) for mistake in found.mistakes))
    return found


def read(path: Path) -> PriceFile:
    """Read a price file, JSON where its name ends so and TOML otherwise; raises Failure where it is neither."""
    lines: dict[Place, int] = {}
    if path.suffix.lower() == ".json":
        document = _read_json(path)
    else:
        try:
            document, lines = toml_lines.read(path)
        except toml_lines.Unreadable as error:
            says, _, _ = str(error).partition(": `purser init`")
            raise Failure(says) from None
    found = PriceFile()
    reader = _Reader(found, lines)
    if isinstance(document, dict):
        reader.read(document)
    else:
        reader.wrong((), "prices", f'it must hold an object such as {{"models": …}}, not {_shown(document)}')
    found.mistakes.sort(key=lambda mistake: mistake.line or 0)
    return found


def _read_json(path: Path) -> Any:
    """A JSON document in which no name is given twice; raises Failure."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise Failure(f"{path}: {clean(twice)[:80]!r} is given twice in one object")
        return dict(pairs)

    try:
        return json.loads(
            path.read_bytes(), object_pairs_hook=once, parse_float=Unquoted, parse_int=Unquoted, parse_constant=Unquoted
        )
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"{path}: it is not UTF-8") from None
    except RecursionError:
        raise Failure(f"{path}: not valid JSON: too many brackets inside one another") from None
    except ValueError as error:
        where = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise Failure(f"{path}{where}: not valid JSON: {what}") from None


class _Reader:
    """Reads a document into a price file."""

    def __init__(self, found: PriceFile, lines: Mapping[Place, int]) -> None:
        self.found, self.lines = found, lines

    def wrong(self, at: Place, name: str, message: str) -> None:
        """Note a mistake, in the line of the innermost part of its place that has one."""
        line = next((self.lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in self.lines), None)
        self.found.mistakes.append(Mistake(name, message, line))

    def read(self, document: dict[str, Any]) -> None:
        """Read the whole document."""
        for name in document:
            if name not in _FIELDS:
                self.wrong((name,), name, f"{_name(name)} is not known here; known: models, effective_at")
        given = [name for name in _FIELDS[1:] if name in document]
        if len(given) > 1:
            self.wrong((given[1],), given[1], "effective_at is given twice")
        for name in given[:1]:
            self._effective_at(name, document[name])
        models = document.get("models")
        if not isinstance(models, dict) or not models:
            self.wrong(("models",), "models", f"it has no models; write such as\n{EXAMPLE}")
            return
        for model, price in models.items():
            self._model(model, price)

    def _effective_at(self, name: str, value: Any) -> None:
        """An instant, which TOML has a type for, too."""
        text = value.isoformat() if hasattr(value, "isoformat") else value
        try:
            parse_instant(text, name)
            self.found.effective_at = text
        except Invalid as error:
            self.wrong((name,), name, error.message)

    def _model(self, model: str, price: Any) -> None:
        where = f"models.{_name(model)}"
        if not 1 <= len(model) <= _LONGEST_NAME or not model.isprintable():
            says = f"a model's name must be printable and have 1 to {_LONGEST_NAME} characters"
            self.wrong(("models", model), where, f"{says}, not {_name(model)}")
            return
        if not isinstance(price, dict):
            self.wrong(("models", model), where, f"{where} must be a table of prices, not {_shown(price)}")
            return
        before = len(self.found.mistakes)
        for name, value in price.items():
            if name in PRICE_NAMES and not isinstance(value, str):
                dollars = value.text if isinstance(value, Unquoted) else value
                in_quotes = type(dollars) in (str, int)
                hint = f': write "{dollars}" in quotes' if in_quotes else f", not {_shown(value)}"
                says = f"{where}.{name} must be dollars in quotes{hint}"
                self.wrong(("models", model, name), f"{where}.{name}", says)
        sound = {name: value if isinstance(value, str) else "0" for name, value in price.items()}
        for mistake in check_price(model, sound):
            self._note(model, where, mistake)
        if len(self.found.mistakes) == before:
            self.found.models[model] = dict(price)

    def _note(self, model: str, where: str, mistake: Invalid) -> None:
        spot = mistake.message.removeprefix(f"prices.{model}").lstrip(".").split(" ")[0]
        message = mistake.message.replace(f"prices.{model}", where, 1)
        self.wrong(("models", model, spot), f"{where}.{spot}", message)


def _name(name: str) -> str:
    return clean(name)[:80]


def _shown(value: Any) -> str:
    return clean(value.text if isinstance(value, Unquoted) else repr(value))[:60]


def write(models: Mapping[str, Mapping[str, str]], heading: str) -> str:
    """Prices as a TOML file, under a heading of comments."""
    parts = ["\n".join(f"# {line}".rstrip() for line in heading.splitlines())]
    for model, price in models.items():
        rows = [f"{name} = {_quoted(price[name])}" for name in PRICE_NAMES if name in price]
        parts.append("\n".join([f"[models.{_quoted(model)}]", *rows]))
    return "\n\n".join(parts) + "\n"


def _quoted(text: str) -> str:
    """A TOML text; JSON's is one, too, but for what it may leave as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
