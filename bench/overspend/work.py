"""The work: the model server in front of which the gateways stand, and its own count of what it read and produced."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.gateways import ROOT, free_port
from bench.overspend.judge import price
from bench.overspend.processes import Running

CONTEXT_TOKENS, MOST_OUTPUT_TOKENS = 32_768, 4_096
_IDLE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Tally:
    """What the model server has done since it started."""

    prompt_tokens: int
    output_tokens: int
    running: int

    def __sub__(self, before: Tally) -> Tally:
        return Tally(self.prompt_tokens - before.prompt_tokens, self.output_tokens - before.output_tokens, self.running)

    @property
    def nanos(self) -> int:
        """What it is worth at list price."""
        return price(self.prompt_tokens, self.output_tokens)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running model server."""

    url: str

    def tally(self) -> Tally:
        """What it has done so far, by its own count."""
        with urllib.request.urlopen(f"{self.url}/v1/counters?requests=0", timeout=30) as answer:
            total = json.load(answer)["total"]
        ended = total["requests_finished"] + total["requests_cancelled"] + total["requests_failed"]
        return Tally(total["prompt_tokens"], total["generated_tokens"], total["requests_started"] - ended)

    def wait_until_idle(self) -> Tally:
        """What it has done once nothing runs there any more."""
        end = time.monotonic() + _IDLE_SECONDS
        while (tally := self.tally()).running and time.monotonic() < end:
            time.sleep(0.1)
        return tally


@contextmanager
def upstream(tokens_per_second: int, log: str) -> Iterator[Upstream]:
    """A model server that writes at that pace and keeps no prefix cache, so that every token has one price."""
    port = free_port()
    command = [sys.executable, "-m", "purser.modelserver", "--port", str(port), "--models", "bench"]
    command += ["--pace", str(tokens_per_second), "--first-token-ms", "5", "--cache-blocks", "0"]
    command += ["--context-tokens", str(CONTEXT_TOKENS)]
    server = Running(command, port, log, folder=ROOT)
    server.start()
    try:
        yield Upstream(f"http://127.0.0.1:{port}")
    finally:
        server.stop()
