"""Records of models and datasets: what an account writes down about them, which costs nothing; they lie elsewhere (P9).

A record has the fields that the compatible API gives it, by their names there. What others go by is kept apart from
them: its kind (a dataset's is its format), its display name, and how many examples and tokens a dataset has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from purser.core.errors import Invalid

MODELS, DATASETS = COLLECTIONS = ("models", "datasets")
NOUNS = {MODELS: "model", DATASETS: "dataset"}
KINDS: Mapping[str, tuple[str, ...]] = {
    MODELS: tuple(
        "KIND_UNSPECIFIED HF_BASE_MODEL HF_PEFT_ADDON HF_TEFT_ADDON FLUMINA_BASE_MODEL FLUMINA_ADDON DRAFT_ADDON "
        "FIRE_AGENT LIVE_MERGE CUSTOM_MODEL EMBEDDING_MODEL SNAPSHOT_MODEL".split()
    ),
    DATASETS: ("FORMAT_UNSPECIFIED", "CHAT", "COMPLETION", "RL"),
}
DEFAULT_KIND = {MODELS: "HF_PEFT_ADDON", DATASETS: "FORMAT_UNSPECIFIED"}
READY = "READY"
STATES = ("STATE_UNSPECIFIED", "UPLOADING", READY)  # a record is ready at once: nothing is uploaded
MOST_RECORDS = 10_000  # of one account and collection
MOST_BYTES = 16 * 1024  # of one record's fields
_MOST_COUNT = 2**63 - 1
_ID = re.compile(r"[a-z0-9-]{1,63}\Z", re.ASCII)
# Which fields are kept apart, and as what.
APART: Mapping[str, Mapping[str, str]] = {
    MODELS: {"kind": "kind", "displayName": "display_name"},
    DATASETS: {
        "format": "kind",
        "displayName": "display_name",
        "exampleCount": "example_count",
        "estimatedTokenCount": "token_count",
    },
}


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down; counts are None where nobody has said."""

    kind: str
    display_name: str = ""
    example_count: int | None = None
    token_count: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def blank(collection: str) -> Record:
    """A record of which nothing is said."""
    return Record(DEFAULT_KIND[collection])


def check_id(value: object, name: str) -> str:
    """A record's id: 1 to 63 of a–z, 0–9 and "-"; raises Invalid."""
    if not isinstance(value, str) or not _ID.match(value):
        raise Invalid(f"{name} must be 1 to 63 characters of a-z, 0-9 and '-', not {value!r:.70}", field=name)
    return value


def change(collection: str, record: Record, given: Mapping[str, Any]) -> Record:
    """The record with these fields set, and those taken away that are given as None; raises Invalid."""
    apart = APART[collection]
    values: dict[str, Any] = {}
    fields = dict(record.fields)
    for name, value in given.items():
        if name in apart:
            values[apart[name]] = _read(collection, name, apart[name], value)
        elif value is None:
            fields.pop(name, None)
        else:
            fields[name] = value
    encode(fields)
    return replace(record, **values, fields=fields)


def _read(collection: str, name: str, column: str, value: Any) -> Any:
    if column == "kind":
        known = KINDS[collection]
        if value in (None, known[0]):
            return DEFAULT_KIND[collection]
        if value not in known:
            raise Invalid(f"{name} must be one of {', '.join(known)}, not {value!r:.60}", field=name)
        return value
    if column == "display_name":
        return value or ""
    return None if value is None else _count(value, name)


def _count(value: object, name: str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > _MOST_COUNT:
        raise Invalid(f'{name} must be a whole number as a string, such as "1000", not {text!r:.40}', field=name)
    return int(text)


def encode(fields: Mapping[str, Any]) -> str:
    """Fields as JSON, the same for the same ones; raises Invalid for too much of them."""
    text = msgspec.json.encode(dict(fields), order="sorted")
    if len(text) > MOST_BYTES:
        raise Invalid(f"a record's fields may take {MOST_BYTES} bytes, not {len(text)}")
    return text.decode()


def decode(text: str) -> dict[str, Any]:
    """The fields again."""
    return msgspec.json.decode(text, type=dict[str, Any])
