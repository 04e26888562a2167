"""The load: wrk on its own core, what it sends, and what it says of the answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cores import load_core, pinned

_SCRIPT = Path(__file__).with_name("request.lua")
PATH = "/v1/chat/completions"
KINDS = ("JSON", "streams")


@dataclass(frozen=True, slots=True)
class Round:
    """What wrk counted in one round; latencies in microseconds."""

    requests: int
    seconds: float
    refused: int
    broken: int
    p50_micros: int
    p99_micros: int

    @property
    def rate(self) -> float:
        """Whole answers per second."""
        return self.requests / self.seconds


def wrk() -> str | None:
    """The load generator, None where it is not installed."""
    return shutil.which("wrk")


def write_body(folder: Path, kind: str, model: str = "bench") -> Path:
    """The body of a request as a file, compact as clients write it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are an assistant of few words. Answer in one paragraph."},
            {"role": "user", "content": "Why do merchants keep two entries for every movement of money?"},
        ],
        "max_tokens": 256,
    }
    if kind == "streams":
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    file = folder / f"{kind}.json"
    file.write_text(json.dumps(body, separators=(",", ":")), encoding="utf-8")
    return file


def press(url: str, body: Path, key: str, *, connections: int, seconds: float) -> Round:
    """One round of requests on kept-alive connections, each sending its next when it has its answer."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    command += ["-s", os.fspath(_SCRIPT), url + PATH, "--", os.fspath(body), key]
    done = subprocess.run(pinned(command, load_core()), capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("figures "))
    figures = json.loads(line.removeprefix("figures "))
    seconds = figures.pop("micros") / 1e6
    return Round(seconds=seconds, **figures)
