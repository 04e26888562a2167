"""Requests that their clients gave an id to, before several workers: each runs once, also when its worker is killed."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from tests.demo.program import NANOS, eventually
from tests.steady import upstreams
from tests.steady.served import PATIENCE, Asking, engine, serving


def test_a_worker_killed_while_it_runs_a_named_request_lets_another_run_it(tmp_path: Path) -> None:
    """One id is served by one worker at a time; when that is gone the id is free again, and nothing is billed twice."""
    with ExitStack() as stack:
        sound = stack.enter_context(engine())
        silent = stack.enter_context(upstreams.behaving(upstreams.silent))
        server = stack.enter_context(
            serving(tmp_path, {"tiny": [sound.base_url], "silent": [silent]}, workers=3, timeout_seconds=60)
        )
        key = server.open("ada")
        callers = server.caller_per_worker(key)
        first, *others = callers
        named = {"x-request-id": "mine"}
        for n in range(3):
            asking = Asking()
            for caller in callers.values():
                asking.start(
                    caller, "[[tokens=30]] [[pace=300]]", keep=True, model="tiny", headers={"x-request-id": f"r{n}"}
                )
            assert sorted(answer.status for answer in asking.wait() if answer) == [200, 409, 409]
        assert sound.counters.by_model["tiny"].requests_started == 3, "nothing runs twice"
        assert eventually(lambda: server.left()[2] == 0, PATIENCE)
        dying = Asking()
        dying.start(callers[first], "hi", model="silent", headers=named)
        assert eventually(lambda: server.left()[2] > 0, PATIENCE)
        assert callers[others[0]].chat("hi", model="tiny", headers=named).status == 409
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: callers[others[0]].chat("hi", model="tiny", headers=named).status == 200, PATIENCE)
        again = callers[others[1]].chat("hi", model="tiny", headers=named)
        assert (again.status, again.json["error"]["code"]) == (409, "request_settled")
        assert dying.wait() == [None]
        for caller in callers.values():
            caller.close()
        events = server.check("ada")
        assert len(events) == 4
        assert Decimal(again.json["error"]["cost_usd"]) == next(e.cost for e in events if e.id == "mine") * NANOS
