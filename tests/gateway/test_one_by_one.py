"""Streams whose events come one by one: passed on as they come, and never beyond what is held for them."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from purser.core.policy import Policy
from tests.gateway.rig import Rig, model, running
from tests.gateway.upstreams import one_by_one

TOKENS = 40
OUTPUT_NANOS = 80_000  # a token of "dear"
INPUT_NANOS = 1_640_000  # what the input of these requests is held for
ROLE = b'data: {"model":"dear","choices":[{"index":0,"delta":{"role":"assistant","content":""}}%b}\n\n'
WORD = b'data: {"model":"dear","choices":[{"index":0,"delta":{"content":"a "}}]%b}\n\n'
BARE, COUNTED = "bare", "counted"


def events(kind: str) -> list[bytes]:
    """A role, then words of one token each, without an end; counted as vLLM does, or not."""
    counts = [b',"usage":{"prompt_tokens":9,"completion_tokens":%d}' % n for n in range(TOKENS + 1)]
    if kind == BARE:
        counts = [b""] * (TOKENS + 1)
    return [ROLE.replace(b"}}%b", b"}}]%b") % counts[0], *(WORD % count for count in counts[1:])]


@contextmanager
def asked(rig: Rig) -> Iterator[http.client.HTTPResponse]:
    """A stream that is asked for, once it has begun to come."""
    body = {"model": "dear", "messages": [{"role": "user", "content": "go"}], "stream": True, "max_tokens": 1_000}
    headers = {"authorization": f"Bearer {rig.key}", "content-type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)) as line:
        line.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        with closing(line.getresponse()) as answer:
            yield answer


def begin(go_on: threading.Semaphore) -> None:
    """Let the role go, which is kept back until a first word so that nobody sees it come, and then a word."""
    for _ in range(2):
        go_on.release()
        threading.Event().wait(0.1)


def words(rig: Rig, go_on: threading.Semaphore) -> Generator[str | None]:
    """The words of a stream and None at its finish; an event leaves the engine when the one before has come here."""
    threading.Thread(target=begin, args=(go_on,), daemon=True).start()
    with asked(rig) as answer:
        for told in answer:
            choice = json.loads(told[6:])["choices"][0] if told.startswith(b"data: {") else {"delta": {}}
            if choice.get("finish_reason"):
                yield None
            elif choice["delta"].get("content"):
                yield choice["delta"]["content"]
                go_on.release()


@pytest.mark.parametrize("kind", [BARE, COUNTED])
def test_each_event_comes_at_once_and_its_money_was_held_before(tmp_path: Path, kind: str) -> None:
    go_on = threading.Semaphore(0)
    policy = Policy(slice_tokens=4, signup_credit_nanos=1_000_000_000)
    with one_by_one(events(kind), go_on) as url, running(tmp_path, policy, (model("dear", (url,)),)) as rig:
        with closing(words(rig, go_on)) as told:
            for count in range(1, TOKENS):  # at the last event the stream is over, and nothing is held any more
                assert next(told) == "a "
                held = rig.on_loop(lambda: rig.gateway.held("ada"))
                assert INPUT_NANOS // 2 + count * OUTPUT_NANOS <= held
                assert held <= INPUT_NANOS + (count + 2 * policy.slice_tokens) * OUTPUT_NANOS
        assert rig.eventually(lambda: len(rig.events()) == 1)


@pytest.mark.parametrize("kind", [BARE, COUNTED])
def test_what_comes_is_cut_where_the_money_ends(tmp_path: Path, kind: str) -> None:
    go_on = threading.Semaphore(0)
    policy = Policy(slice_tokens=4, signup_credit_nanos=10 * OUTPUT_NANOS + INPUT_NANOS)
    with one_by_one(events(kind), go_on) as url, running(tmp_path, policy, (model("dear", (url,)),)) as rig:
        with closing(words(rig, go_on)) as told:
            came = list(told)
        (event,) = rig.events()
        assert came[-1] is None, "its finish reason"
        assert 5 < len(came) - 1 <= json.loads(event.quantities)["output_tokens"] < TOKENS, "no word was not billed"
        assert event.cost <= event.held <= policy.signup_credit_nanos
        assert event.clamped == 0


def test_an_event_in_two_pieces_comes_whole_and_in_its_place(tmp_path: Path) -> None:
    go_on = threading.Semaphore(0)
    role, word = events(BARE)[:2]
    pieces = [role, word, b"id: 1\n", word, b"id: 2\n", word, b"data: [DONE]\n\n"]

    def let_go() -> None:
        for _ in pieces:
            begin(go_on)

    threading.Thread(target=let_go, daemon=True).start()
    with one_by_one(pieces, go_on) as url, running(tmp_path, models=(model("dear", (url,)),)) as rig:
        with asked(rig) as answer:
            assert answer.read() == b"".join(pieces)
