"""Figures as the command line spells them."""

from __future__ import annotations

from typing import Any

import pytest

from purser.inbound.cli import figures


@pytest.mark.parametrize(
    "amounts, spelt",
    [
        (["12", "0.5"], ["$12.00", "$0.50"]),
        (["1234567.891", "-0.25", None], ["$1,234,567.891", "−$0.25 ", "–"]),
        (["11.290270200", "0.00"], ["$11.29027", "$0.00   "]),  # beyond six decimals only what would else be nothing
        (["1.0000005", "-1.0000005"], ["$1.000001", "−$1.000001"]),
        (["0.000000001", "1"], ["$0.000000001", "$1.00       "]),
        (["-0.000000000"], ["$0.00"]),
        (["4611686018.427387903"], ["$4,611,686,018.427388"]),
        ([{"currencyCode": "USD", "units": "-1", "nanos": -750000000}], ["−$1.75"]),
        ([], []),
    ],
)
def test_dollars_of_a_column(amounts: list[Any], spelt: list[str]) -> None:
    assert figures.dollars(amounts) == spelt


def test_one_figure_alone() -> None:
    assert figures.usd("0.10") == "$0.10"
    assert figures.usd(None) == "–"
    assert figures.plain_usd("3.000000000") == "3.00"


@pytest.mark.parametrize(
    "value, unit, spelt",
    [
        ("0.00000095", "input_tokens", "$0.95 / 1M"),
        ("0.0000000125", "cached_input_tokens", "$0.0125 / 1M"),
        ("0.0000012345678901", "output_tokens", "$1.2345678901 / 1M"),
        ("0.04", "images", "$0.04 / image"),
        ("0.00013", "image_steps", "$0.00013 / step"),
        ("0.0000001", "audio_milliseconds", "$0.006 / minute"),
        ("0.002", "search_units", "$0.002 / search unit"),
        ("0.000003", "training_tokens", "$3.00 / 1M"),
        ("0.001080555555555555555555", "gpu_seconds", "$3.89 / GPU-hour"),
        ("0.00000000000025", "batch_cached_input_tokens", "$0.00000025 / 1M"),
        ("0.00001", "priority_audio_output_tokens", "$10.00 / 1M"),
        ("0.000000001", "nano_usd", "$0.000000001"),
        ("0", "input_tokens", "$0.00 / 1M"),
    ],
)
def test_a_unit_price(value: str, unit: str, spelt: str) -> None:
    assert figures.unit_price(value, unit) == spelt


def test_counts_and_dates() -> None:
    assert [figures.count(value) for value in (1234, "5678", None, "many")] == ["1,234", "5,678", "–", "many"]
    assert figures.when("2026-03-01T09:30:15.123456Z") == "2026-03-01 09:30"
    assert figures.day("2026-03-01T09:30:15Z") == "2026-03-01"
    assert figures.when(None) == figures.day(None) == "–"
