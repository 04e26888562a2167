"""Records of models and datasets: what they may say, and what becomes of it when it is changed (P9)."""

from __future__ import annotations

from typing import Any

import pytest

from purser.core.errors import Invalid
from purser.core.records import (
    COLLECTIONS,
    DATASETS,
    DEFAULT_KIND,
    KINDS,
    MODELS,
    MOST_BYTES,
    Record,
    blank,
    change,
    check_id,
    decode,
    encode,
)


def test_fields_are_set_and_taken_away() -> None:
    record = change(MODELS, blank(MODELS), {"displayName": "Support", "public": True, "contextLength": 8192})
    assert record == Record("HF_PEFT_ADDON", "Support", fields={"public": True, "contextLength": 8192})
    record = change(MODELS, record, {"displayName": None, "public": None, "kind": "CUSTOM_MODEL", "githubUrl": None})
    assert record == Record("CUSTOM_MODEL", fields={"contextLength": 8192})
    assert change(MODELS, record, {"kind": None}).kind == change(MODELS, record, {"kind": "KIND_UNSPECIFIED"}).kind
    assert change(MODELS, record, {}) == record


def test_a_datasets_counts_are_whole_numbers_as_strings_or_not() -> None:
    given = {"format": "CHAT", "exampleCount": "12", "estimatedTokenCount": 2**63 - 1}
    assert change(DATASETS, blank(DATASETS), given) == Record("CHAT", "", 12, 2**63 - 1)
    assert change(DATASETS, Record("CHAT", "", 12, 5), {"exampleCount": None}).example_count is None
    for wrong in ("", "x", "-1", -1, "1.5", "٣", str(2**63), "9" * 30, True):
        with pytest.raises(Invalid, match="exampleCount must be a whole number") as refused:
            change(DATASETS, blank(DATASETS), {"exampleCount": wrong})
        assert refused.value.field == "exampleCount"
    counts = change(MODELS, blank(MODELS), {"exampleCount": "x"})
    assert (counts.example_count, counts.fields) == (None, {"exampleCount": "x"}), "a model has none"


@pytest.mark.parametrize("collection, field", [(MODELS, "kind"), (DATASETS, "format")])
def test_kinds(collection: str, field: str) -> None:
    assert blank(collection).kind == DEFAULT_KIND[collection]
    for kind in KINDS[collection][1:]:
        assert change(collection, blank(collection), {field: kind}).kind == kind
    with pytest.raises(Invalid, match=f"{field} must be one of {KINDS[collection][0]}, .* not 'chat'"):
        change(collection, blank(collection), {field: "chat"})


def test_ids() -> None:
    for right in ("a", "0-", "-", "a" * 63):
        assert check_id(right, "modelId") == right
    wrong: list[Any] = ["", "A", "a b", "a.b", "a/b", "a_b", "a" * 64, "ä", "a\n", None, 7]
    for each in wrong:
        with pytest.raises(Invalid, match="modelId must be 1 to 63 characters of a-z, 0-9 and '-'"):
            check_id(each, "modelId")


def test_there_is_a_most_of_what_is_said() -> None:
    room = MOST_BYTES - len('{"description":""}')
    assert change(MODELS, blank(MODELS), {"description": "x" * room}).fields
    with pytest.raises(Invalid, match=f"may take {MOST_BYTES} bytes, not {MOST_BYTES + 1}"):
        change(MODELS, blank(MODELS), {"description": "x" * (room + 1)})


def test_fields_are_kept_the_same_way_whatever_their_order() -> None:
    fields = {"b": {"y": [1, 10**30], "x": None}, "a": "ü"}
    assert encode(fields) == encode({"a": "ü", "b": {"x": None, "y": [1, 10**30]}})
    assert decode(encode(fields)) == fields
    assert COLLECTIONS == (MODELS, DATASETS)
