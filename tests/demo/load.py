"""Many clients at once on one account, and what they were told."""

from __future__ import annotations

import http.client
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from tests.demo.program import Answer, Program

ASK = "hello [[tokens=24]]"
REFUSED = (402, 412)
_MOST_SECONDS = 60  # a load on a program that has died ends too


class Load:
    """What clients have sent and been answered; every answer is an acknowledgement."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, Decimal] = {}
        self.refused: list[Answer] = []
        self.odd: list[Answer] = []
        self.broken = 0
        self.unavailable: list[Answer] = []
        self.patient = False  # whether clients that are told to come back later do
        self.stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def total(self) -> Decimal:
        """The sum of all costs acknowledged, dollars."""
        return sum(self.acknowledged.values(), Decimal(0))

    def take(self, answer: Answer) -> bool:
        """Write an answer down; whether its client may go on."""
        with self._lock:
            if answer.status == 200:
                id_ = answer.headers["x-request-id"]
                assert id_ not in self.acknowledged
                self.acknowledged[id_] = answer.cost
                return True
            (self.refused if answer.status in REFUSED else self.odd).append(answer)
            return False

    def run_client(self, program: Program, key: str, *, stream: bool) -> None:
        """Ask again and again until refused or told to stop; connections that break are opened anew."""
        more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        with program.caller(key) as caller:
            end = time.monotonic() + _MOST_SECONDS
            while not self.stop.is_set() and time.monotonic() < end:
                try:
                    answer = caller.chat(
                        ASK, headers={"x-request-id": f"req_{uuid.uuid4().hex}"}, max_tokens=24, **more
                    )
                except (OSError, http.client.HTTPException):
                    with self._lock:
                        self.broken += 1
                    self.stop.wait(0.05)
                    continue
                if self.patient and answer.status == 503:
                    with self._lock:
                        self.unavailable.append(answer)
                    self.stop.wait(0.2)
                elif not self.take(answer):
                    return

    def run(
        self,
        program: Program,
        key: str,
        *,
        clients: int = 64,
        stream: bool = False,
        beside: Sequence[Program] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Let so many clients ask at once until each is refused, and do something while they do.

        Where other programs run beside this one, the clients are spread over all of them.
        """
        programs = [program, *beside]
        threads = [
            threading.Thread(target=self.run_client, args=(programs[n % len(programs)], key), kwargs={"stream": stream})
            for n in range(clients)
        ]
        for thread in threads:
            thread.start()
        try:
            meanwhile()
        except BaseException:
            self.stop.set()
            raise
        finally:
            for thread in threads:
                thread.join()
