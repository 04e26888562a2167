"""Usage that cannot be right, of every kind: what is billed of it, and how the operator hears of it (H4, H5, P1)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.rig import Rig, model, running
from tests.gateway.upstreams import keeping

pytestmark = pytest.mark.once  # what differs here is what engines tell; it is kept like any other

CAP = 50
QUARANTINED, ESTIMATED, AS_TOLD, CLAMPED = "quarantined", "estimated", "as told", "clamped"
MOST = 10**12

# (what, the usage as an engine's answer has it, what becomes of it, the quantities billed: input, cached, output)
KINDS: list[tuple[str, str, str, tuple[int, int, int]]] = [
    ("none", "null", ESTIMATED, (0, 0, 1)),
    ("no object", '"10 and 5"', ESTIMATED, (0, 0, 1)),
    ("a list", "[10, 5]", ESTIMATED, (0, 0, 1)),
    ("empty", "{}", ESTIMATED, (0, 0, 1)),
    ("counts that are null", '{"prompt_tokens": null, "completion_tokens": null}', ESTIMATED, (0, 0, 1)),
    ("the total alone", '{"total_tokens": 15}', QUARANTINED, (0, 0, 0)),
    ("no input", '{"completion_tokens": 5}', QUARANTINED, (0, 0, 0)),
    ("no output, and a total", '{"prompt_tokens": 10, "total_tokens": 15}', AS_TOLD, (10, 0, 5)),
    ("no output", '{"prompt_tokens": 10}', AS_TOLD, (10, 0, 0)),
    ("a total below the input", '{"prompt_tokens": 10, "total_tokens": 5}', QUARANTINED, (0, 0, 0)),
    ("negative input", '{"prompt_tokens": -1, "completion_tokens": 5}', QUARANTINED, (0, 0, 0)),
    ("negative output", '{"prompt_tokens": 10, "completion_tokens": -5}', QUARANTINED, (0, 0, 0)),
    ("text", '{"prompt_tokens": "10", "completion_tokens": 5}', QUARANTINED, (0, 0, 0)),
    ("no number", '{"prompt_tokens": [10], "completion_tokens": 5}', QUARANTINED, (0, 0, 0)),
    ("true", '{"prompt_tokens": true, "completion_tokens": 5}', QUARANTINED, (0, 0, 0)),
    ("a fraction", '{"prompt_tokens": 10.5, "completion_tokens": 5}', QUARANTINED, (0, 0, 0)),
    ("whole, as a fraction", '{"prompt_tokens": 10, "completion_tokens": 5.0}', QUARANTINED, (0, 0, 0)),
    ("huge", f'{{"prompt_tokens": 10, "completion_tokens": {MOST + 1}}}', QUARANTINED, (0, 0, 0)),
    ("huger", f'{{"prompt_tokens": 1{"0" * 40}, "completion_tokens": 5}}', QUARANTINED, (0, 0, 0)),
    ("more than was held", f'{{"prompt_tokens": 10, "completion_tokens": {MOST}}}', CLAMPED, (10, 0, CAP)),
    (
        "more cached than input",
        '{"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}}',
        *(QUARANTINED, (0, 0, 0)),
    ),
    (
        "negative cached",
        '{"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": -1}}',
        *(QUARANTINED, (0, 0, 0)),
    ),
    (
        "cached as text",
        '{"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": "4"}}',
        *(QUARANTINED, (0, 0, 0)),
    ),
    (
        "details that are no object",
        '{"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": [4]}',
        *(AS_TOLD, (10, 0, 5)),
    ),
    (
        "more speech than output",
        '{"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"audio_tokens": 6}}',
        *(QUARANTINED, (0, 0, 0)),
    ),
    (
        "more reasoning than output",
        '{"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}}',
        *(AS_TOLD, (10, 0, 5)),
    ),
    (
        "a total that is another",
        '{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 99}',
        AS_TOLD,
        (10, 0, 5),
    ),
    ("nothing that has a price", '{"search_units": 1}', QUARANTINED, (0, 0, 0)),
    ("two forms", '{"prompt_tokens": 10, "completion_tokens": 5, "input_tokens": -1}', AS_TOLD, (10, 0, 5)),
]


class Engine:
    """An upstream that tells whatever usage it is to tell."""

    def __init__(self) -> None:
        self.tells = "null"

    def reply(self, request: bytes) -> bytes:
        """The answer to a request, or its stream."""
        if b'"stream":true' not in request.replace(b" ", b""):
            choices = '[{"index":0,"message":{"role":"assistant","content":"Hello, you"},"finish_reason":"stop"}]'
            return _answer(f'{{"model":"tiny","choices":{choices},"usage":{self.tells}}}', "application/json")
        first = '{"model":"tiny","choices":[{"index":0,"delta":{"content":"Hello, you"},"finish_reason":"stop"}]}'
        last = f'{{"model":"tiny","choices":[],"usage":{self.tells}}}'
        return _answer(f"data: {first}\n\ndata: {last}\n\ndata: [DONE]\n\n", "text/event-stream")


def _answer(body: str, kind: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Engine]]:
    """A gateway before such an engine."""
    engine = Engine()
    with keeping(engine.reply) as url:
        with running(tmp_path_factory.mktemp("malformed"), models=(model("tiny", (url,)),)) as rig:
            yield rig, engine


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("what", "tells", "becomes", "billed"), KINDS, ids=[kind[0] for kind in KINDS])
def test_each_kind_has_its_rule_and_is_counted(
    served: tuple[Rig, Engine],
    caplog: pytest.LogCaptureFixture,
    what: str,
    tells: str,
    becomes: str,
    billed: tuple[int, int, int],
    streamed: bool,
) -> None:
    rig, engine = served
    engine.tells = tells
    before, spent, known = _counted(rig), rig.balance().spent_this_month, {event.id for event in rig.events()}
    with caplog.at_level(logging.WARNING):
        got = rig.chat("Hi", max_tokens=CAP, stream=streamed)
    assert got.status == 200, "what was served is the client's, whatever is billed"
    (event,) = [event for event in rig.events() if event.id not in known]
    uncached, cached, output = billed
    counts = {"input_tokens": uncached, "cached_input_tokens": cached, "output_tokens": output}
    assert json.loads(event.quantities) == {unit: count for unit, count in counts.items() if count}, what
    assert event.cost == uncached * 200 + cached * 100 + output * 800
    assert rig.balance().spent_this_month == spent + event.cost
    assert rig.balance().held == 0
    assert event.state == ("quarantined" if becomes == QUARANTINED else "settled")
    assert bool(event.estimated) == (becomes == ESTIMATED)
    more = {name: count - before[name] for name, count in _counted(rig).items()}
    expected: dict[str, Any] = dict.fromkeys(more, 0)
    assert more == {**expected, **({} if becomes == AS_TOLD else {becomes: 1})}, "each is counted"
    said = [record for record in caplog.records if event.id in record.getMessage()]
    levels = {QUARANTINED: [logging.ERROR], CLAMPED: [logging.WARNING]}.get(becomes, [])
    assert [record.levelno for record in said] == levels, "and the operator's log tells which request it was"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_what_is_no_json_is_no_answer(served: tuple[Rig, Engine], number: str) -> None:
    rig, engine = served
    engine.tells = f'{{"prompt_tokens": {number}, "completion_tokens": 5}}'
    spent, voided = rig.balance().spent_this_month, rig.gateway.counters.voided
    assert rig.chat("Hi", max_tokens=CAP).status == 502
    assert rig.balance().spent_this_month == spent
    assert rig.gateway.counters.voided == voided + 1
    estimated = _counted(rig)[ESTIMATED]
    assert rig.chat("Hi", max_tokens=CAP, stream=True).chunks[-1]["error"]["code"] == "upstream_broken"
    assert rig.balance().spent_this_month == spent + 800, "one delta came"
    assert _counted(rig)[ESTIMATED] == estimated + 1
    assert rig.balance().held == 0


def _counted(rig: Rig) -> dict[str, int]:
    counters = rig.gateway.counters
    told: dict[str, int] = rig.on_loop(counters.ended)
    return {name: told[name] for name in (QUARANTINED, ESTIMATED, CLAMPED)}
