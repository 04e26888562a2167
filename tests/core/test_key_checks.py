"""Wrong keys: so many a minute of each network, in bounded memory."""

from __future__ import annotations

import pytest

from purser.core import key_checks
from purser.core.key_checks import MOST_NETWORKS, KeyChecks, wrong_keys_message

pytestmark = pytest.mark.once


def test_a_network_may_send_so_many_in_a_minute() -> None:
    checks = KeyChecks(3)
    assert not checks.is_over("a", 100)
    assert [checks.count("a", 100 + n) for n in range(3)] == [0, 0, 0]
    assert checks.is_over("a", 103)
    assert checks.count("a", 103) == 57, "the minute began at 100"
    assert checks.count("a", 159) == 1
    assert not checks.is_over("b", 103)
    assert checks.count("b", 103) == 0, "others are not meant"
    assert not checks.is_over("a", 160)
    assert [checks.count("a", 160 + n) for n in range(4)] == [0, 0, 0, 57]


def test_memory_is_bounded_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_NETWORKS == 10_000
    monkeypatch.setattr(key_checks, "MOST_NETWORKS", 2)
    checks = KeyChecks(1)
    for network in ("a", "b", "c"):
        assert checks.count(network, 0) == 0
    assert [checks.is_over(network, 0) for network in ("a", "b", "c")] == [False, True, True]
    assert checks.count("a", 1) == 0
    assert [checks.is_over(network, 1) for network in ("a", "b", "c")] == [True, False, True]
    assert checks.count("c", 60) == 0, "a new minute: c is the youngest now"
    assert checks.count("d", 61) == 0
    assert [checks.is_over(network, 61) for network in ("a", "c", "d")] == [False, True, True]


def test_the_words_name_the_wait() -> None:
    assert "try again in 7 s" in wrong_keys_message(7)
