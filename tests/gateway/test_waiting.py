"""Money that running requests hold and may give back: who comes next waits for it a while, then takes what there is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gateway.rig import POLICY, Rig, running

CREDIT = 22_000_000
STREAM_TOKENS = 200  # $0.016 of the $0.022, and its input


@contextmanager
def beside_a_stream(folder: Path, wait_seconds: int, used: int, a_second: int) -> Iterator[Rig]:
    """A gateway where a stream runs that holds nearly all there is and uses so many of its tokens, so many a second."""
    policy = replace(POLICY, signup_credit_nanos=CREDIT, hold_wait_seconds=wait_seconds)
    with running(folder, policy) as rig:
        words = f"slow [[tokens={used}]] [[pace={a_second}]]"
        with closing(rig.open_stream(words, model="dear", max_tokens=STREAM_TOKENS)) as lines:
            assert next(lines)
            assert rig.eventually(lambda: held(rig) > CREDIT * 7 // 10)
            yield rig


def held(rig: Rig) -> int:
    return int(rig.on_loop(lambda: rig.gateway.held("ada")))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_whole_that_waited_for_what_a_stream_did_not_need(tmp_path: Path, stream: bool) -> None:
    with beside_a_stream(tmp_path, 20, 50, 100) as rig:
        told = rig.chat("go [[tokens=60]]", model="dear", max_tokens=60, stream=stream)
        assert told.status == 200
        assert "x-purser-max-tokens" not in told.headers
        assert rig.eventually(lambda: len(rig.events()) == 2)
        assert '"output_tokens":60' in rig.events()[-1].quantities


def test_it_is_cut_short_where_nothing_came_back_in_time(tmp_path: Path) -> None:
    with beside_a_stream(tmp_path, 1, 200, 25) as rig:
        began = time.monotonic()
        told = rig.chat("go [[tokens=60]]", model="dear", max_tokens=60)
        assert time.monotonic() - began >= 1
        assert told.status == 200
        assert 16 <= int(told.headers["x-purser-max-tokens"]) < 60
        assert held(rig) > CREDIT * 7 // 10, "the stream runs on"


def test_nobody_waits_where_waiting_is_off(tmp_path: Path) -> None:
    with beside_a_stream(tmp_path, 0, 200, 25) as rig:
        assert int(rig.chat("go", model="dear", max_tokens=60).headers["x-purser-max-tokens"]) < 60
        assert rig.chat("x" * 2_000, model="dear", max_tokens=100).status == 402
        assert held(rig) > CREDIT * 7 // 10, "the stream runs on"


def test_who_has_nothing_running_is_told_at_once(tmp_path: Path) -> None:
    with running(tmp_path, replace(POLICY, signup_credit_nanos=4_000_000, hold_wait_seconds=20)) as rig:
        began = time.monotonic()
        assert int(rig.chat("go", model="dear", max_tokens=60).headers["x-purser-max-tokens"]) < 60
        assert rig.chat("x" * 2_000, model="dear", max_tokens=100).status == 402
        assert time.monotonic() - began < 20
