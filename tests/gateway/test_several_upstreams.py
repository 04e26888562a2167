"""Several upstreams: the next is tried, the last real answer passed on, and their refusals are the operator's (H5)."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.rig import model, running
from tests.gateway.upstreams import answer, saying

pytestmark = pytest.mark.once  # what differs here is which upstream answers; it is kept like any other

DEAD = "http://127.0.0.1:9/v1"
BUSY = answer(503, b'{"error": {"message": "overloaded", "code": 503}}', b"retry-after: 7")
GATEWAY = answer(502, b'{"error": {"message": "bad gateway"}}')
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
WHOLE = answer(200, json.dumps({"model": "tiny", "choices": [], "usage": USAGE}).encode())


def refusing(status: int) -> bytes:
    """An upstream that does not take our key."""
    return answer(status, b'{"error": {"message": "Incorrect API key provided: sk-operators", "code": "bad_key"}}')


def ask(folder: Path, *upstreams: bytes | None, stream: bool = False) -> Any:
    """What a client hears of a model with these upstreams, None for a dead one, whichever comes first."""
    with ExitStack() as stack:
        urls = [DEAD if says is None else stack.enter_context(saying(says)) for says in upstreams]
        rig = stack.enter_context(running(folder, models=(model("tiny", tuple(urls)),)))
        found = [rig.chat("Hi", max_tokens=5, stream=stream) for _ in range(2 * len(urls))]
        assert rig.eventually(lambda: rig.balance().held == 0)
        assert {one.status for one in found} == {found[0].status}
        assert found[0].headers["x-request-id"].startswith("req_")
        if found[0].status != 200:
            assert not rig.events()
        return found[0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstreams", [(BUSY, None), (None, BUSY), (BUSY, None, None)])
def test_a_real_answer_is_passed_on_rather_than_silence(tmp_path: Path, upstreams: Any, stream: bool) -> None:
    found = ask(tmp_path, *upstreams, stream=stream)
    assert (found.status, found.headers["retry-after"]) == (503, "7")
    assert found.json == {"error": {"message": "overloaded", "code": 503}}, "byte for byte as it came"


def test_whatever_is_better_than_a_refusal_is_taken(tmp_path: Path) -> None:
    assert ask(tmp_path / "a", refusing(401), WHOLE).status == 200
    assert ask(tmp_path / "b", GATEWAY, WHOLE, None).status == 200
    assert ask(tmp_path / "c", refusing(401), BUSY).status == 503


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 402, 403, 407, 412])
@pytest.mark.parametrize("beside", [(), (None,)], ids=["alone", "beside a dead one"])
def test_an_upstream_that_refuses_us_is_not_the_customers_fault(
    tmp_path: Path, status: int, beside: Any, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    found = ask(tmp_path, refusing(status), *beside, stream=stream)
    assert (found.status, found.error["code"], found.error["type"]) == (502, "upstream_refused", "api_error")
    assert b"sk-operators" not in found.body
    assert any(str(status) in record.getMessage() for record in caplog.records), "the operator hears of it"


@pytest.mark.parametrize("status", [400, 404, 408, 422, 429, 500])
def test_other_errors_pass_as_they_come(tmp_path: Path, status: int) -> None:
    body = b'{"error": {"message": "odd",   "code": null}}'
    found = ask(tmp_path, answer(status, body, b"x-request-id: theirs"))
    assert (found.status, found.body) == (status, body)
