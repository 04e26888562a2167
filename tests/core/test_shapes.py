"""The usage objects of real engines, read as disjoint quantities; and the page that says how (P2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from purser.core.money import Rate
from purser.core.pricebook import PRICES
from purser.core.usage import (
    AUDIO_INPUT,
    BY_LIFETIME,
    BY_THEMSELVES,
    CACHED,
    CACHED_DETAILS,
    FORMS,
    INPUT,
    INPUT_DETAILS,
    LIFETIMES,
    NO_TOKENS,
    OUTPUT,
    OUTPUT_DETAILS,
    OUTSIDE,
    TOKEN_KINDS,
    TOKENS,
    UNITS,
    Inconsistent,
    as_priced,
    check_reported,
    normalise,
)

SHAPES = [
    pytest.param(shape, id=f"{file.stem}: {shape['api']}")
    for file in sorted((Path(__file__).parent / "shapes").glob("*.json"))
    for shape in json.loads(file.read_text())
]
PAGE = Path(__file__).parents[2] / "docs" / "meters.md"
PLAIN = dict.fromkeys(TOKENS, Rate(1, 1))
EVERYTHING = dict.fromkeys(UNITS, Rate(1, 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_usage_of_an_engine_is_read_as_what_it_tells(shape: dict[str, Any]) -> None:
    measured = normalise(shape["usage"], all_is_input="rerank" in shape["api"])
    assert measured is not None
    assert measured.quantities == shape["quantities"], "P2"
    assert list(measured.quantities) == [unit for unit in UNITS if unit in measured.quantities]
    assert not measured.estimated
    assert as_priced(measured.quantities, EVERYTHING) == shape["quantities"]


@pytest.mark.parametrize("shape", SHAPES)
def test_of_a_model_that_prices_no_kind_of_tokens_apart_all_are_plain(shape: dict[str, Any]) -> None:
    measured = normalise(shape["usage"], all_is_input="rerank" in shape["api"])
    assert measured is not None
    plain = shape.get("plain", shape["quantities"])
    if plain is None:
        with pytest.raises(Inconsistent, match="no price for"):
            as_priced(measured.quantities, PLAIN)
        return
    assert as_priced(measured.quantities, PLAIN) == plain, "P2"
    tokens = measured.prompt_tokens + measured.output_tokens
    assert sum(plain.values()) == tokens, "each token once, whatever the model prices"


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_read_of_an_engine_can_be_reported_by_hand(shape: dict[str, Any]) -> None:
    """The metering API counts every kind in the input or the output, too (H7)."""
    measured = normalise(shape["usage"], all_is_input="rerank" in shape["api"])
    assert measured is not None
    counts = {INPUT: measured.prompt_tokens, OUTPUT: measured.output_tokens}
    assert check_reported(measured.quantities | counts) == measured.quantities


def expected_page() -> list[str]:
    """The rows of the page's tables, in order."""
    rows = []
    for form in FORMS:
        inside, outside = form.input_details[0], form.output_details[0]
        rows.append(f"| {form.apis} | `{form.input}` | `{INPUT}` and its kinds |")
        rows += [f"| | `{inside}.{field}` | `{unit}` |" for field, unit in INPUT_DETAILS.items()]
        rows.append(f"| | `{form.output}` | `{OUTPUT}` and its kinds |")
        rows += [f"| | `{outside}.{field}` | `{unit}` |" for field, unit in OUTPUT_DETAILS.items()]
    rows += [f"| messages | `{field}` | `{unit}` |" for field, unit in OUTSIDE.items()]
    rows += [f"| | `{BY_LIFETIME}.{field}` | `{unit}` |" for field, unit in LIFETIMES.items()]
    rows += [f"| transcriptions, rerank | `{field}` | `{unit}` |" for field, unit in BY_THEMSELVES.items()]
    rows += [f"| `{field}` | `{price.unit}` | {price.words} |" for field, price in PRICES.items()]
    return rows


def test_the_page_on_meters_has_every_field_and_unit() -> None:
    page = PAGE.read_text().splitlines()
    assert [line for line in page if line in expected_page()] == expected_page()
    assert all(f"`{name}`" in PAGE.read_text() for name in (CACHED_DETAILS, *TOKEN_KINDS, *NO_TOKENS))


def test_every_unit_that_can_be_priced_is_priced_by_one_field() -> None:
    assert sorted(price.unit for price in PRICES.values()) == sorted((*TOKEN_KINDS, *NO_TOKENS))
    assert tuple(price.unit for price in PRICES.values())[:3] == (INPUT, CACHED, OUTPUT)
    assert AUDIO_INPUT in EVERYTHING
