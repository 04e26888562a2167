"""Bodies that are nested deeper than any route could want are refused, however they are written."""

from __future__ import annotations

import pytest

from purser.core.errors import Invalid
from purser.inbound.api.bodies import MOST_LEVELS, parse_json
from tests.inbound.house import House


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}"), ('{"a":[', "]}")])
@pytest.mark.parametrize("inside", ["1", '"\\u0041"'])
def test_a_hundred_levels_are_the_most(opening: str, closing: str, inside: str) -> None:
    levels = MOST_LEVELS // len([letter for letter in opening if letter in "[{"])
    text = opening * levels + inside + closing * levels
    assert parse_json(text) is not None
    for deeper in (f"[{text}]", opening * 900 + inside + closing * 900, opening * 100_000 + inside + closing * 100_000):
        with pytest.raises(Invalid, match="nested too deeply"):
            parse_json(deeper)


def test_many_brackets_beside_each_other_are_not_deep() -> None:
    assert len(parse_json("[" + ",".join(["[[],{}]"] * 1_000) + "]")) == 1_000


@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 950, 980, 990, 1_000, 5_000])
def test_a_deep_body_with_an_escape_is_no_fault_of_ours(house: House, depth: int) -> None:
    raw = b'{"id":"\\u0041","account":"x","model":"m","quantities":' + b"[" * depth + b"]" * depth + b"}"
    answer = house.operator.call("POST", "/v1/usage", raw=raw)
    assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT")


def test_a_field_given_twice_among_very_many_is_found_at_once() -> None:
    names = ",".join(f'"{n}":0' for n in range(200_000))
    with pytest.raises(Invalid, match="'199999' is given twice"):
        parse_json(f'{{{names},"199999":1}}')
