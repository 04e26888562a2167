"""What the model server says that it did, by request id: the work that bills are held against."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.crash.clients import nanos_of
from tests.demo.program import Caller

_MOST = 10_000  # requests that the model server remembers
_RUNNING = "running"


class Engine:
    """The model server's log, read now and then; what it has forgotten meanwhile is counted as `missed`."""

    def __init__(self, config: Path) -> None:
        [port, *_] = re.findall(r'upstream = "http://127\.0\.0\.1:(\d+)/v1"', config.read_text())
        self._port = int(port)
        self._work: dict[str, dict[int, int]] = defaultdict(dict)  # by id and number: nanos
        self._running: dict[str, int] = {}  # by id: the first number of what ran at the last look
        self._seen = 0
        self.missed = 0

    def read(self) -> None:
        """Read what is new, and how what ran has ended."""
        with Caller(self._port, "none") as caller:
            told: Any = caller.call("GET", f"/v1/counters?requests={_MOST}").json
        started = int(told["total"]["requests_started"])
        first = started - len(told["requests"])
        self.missed += max(0, first - self._seen)
        self._seen = started
        for id_, number in self._running.items():
            if number < first:  # it has ended since, and how is forgotten: what it had done by then is not all
                del self._work[id_]
                self.missed += 1
        running: dict[str, int] = {}
        for number, record in enumerate(told["requests"], first):
            id_ = record["request_id"]
            if record["outcome"] == _RUNNING:
                running.setdefault(id_, number)
            usage = {
                "prompt_tokens": record["prompt_tokens"],
                "prompt_tokens_details": {"cached_tokens": record["cached_tokens"]},
                "completion_tokens": record["generated_tokens"],
            }
            self._work[id_][number] = nanos_of(record["model"], usage)
        self._running = running

    def most_nanos(self, id_: str) -> int | None:
        """The worth of the most that was done for a request at once; None where that is not known."""
        return max(self._work[id_].values()) if id_ in self._work and id_ not in self._running else None

    def only_nanos(self, id_: str) -> int | None:
        """The worth of what was done for a request that came but once; None for any other."""
        return next(iter(self._work[id_].values())) if len(self._work.get(id_, ())) == 1 else None
