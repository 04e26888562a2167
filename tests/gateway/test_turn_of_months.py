"""A month that was closed elsewhere: a worker that had not heard of it looks at the clock again (D1)."""

from __future__ import annotations

import pytest

from purser.core.period import parse_instant
from purser.flows import invoicing
from purser.gateway.heartbeat import Heartbeat
from tests.gateway.beside import Beside, beside
from tests.gateway.rig import Rig

LAST_SECOND = parse_instant("2026-03-31T23:59:59Z")
APRIL = parse_instant("2026-04-01T00:00:00Z")


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_request_after_the_clock_was_moved_is_served(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    async def deaf(_: Heartbeat) -> None:
        return

    def reload_clock(other: Beside) -> None:
        other.world.at = rig.world.at

    monkeypatch.setattr(Heartbeat, "_beat", deaf)
    with beside(rig, reload_clock) as other:
        other.world.at = LAST_SECOND
        rig.world.at = APRIL
        rig.write(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
        answer = other.chat("hi [[tokens=3]]", max_tokens=3, stream=stream)
        assert answer.status == 200, answer.body
        assert [(event.month, event.bill_month) for event in rig.events()] == [("2026-04", "2026-04")]


def test_a_month_that_is_closed_although_the_clock_has_not_moved_is_503(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with beside(rig) as other:
        other.world.at = LAST_SECOND
        rig.world.at = APRIL
        rig.write(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
        answer = other.chat("hi", max_tokens=3)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert not rig.events()
