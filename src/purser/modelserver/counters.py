"""What the model server has done: token and request counts by model, and a log of the last requests.

Prompt tokens count when the prompt has been read, which is just before the first token; generated tokens
count as they are produced. Started requests are finished, cancelled (the client left), failed (told to, or
refused), or running.
"""

from __future__ import annotations

from collections import deque

import msgspec

LOG_REQUESTS = 10_000
UNKNOWN_MODEL = "unknown"

_METRICS = (
    ("prompt_tokens", "Prompt tokens read, cached ones included."),
    ("cached_tokens", "Prompt tokens found in the prefix cache."),
    ("generated_tokens", "Tokens generated."),
    ("requests_started", "Requests received."),
    ("requests_finished", "Requests answered to their end."),
    ("requests_cancelled", "Requests whose client left before the end."),
    ("requests_failed", "Requests refused, or broken off because a failure was asked for."),
)


class Tally(msgspec.Struct):
    """The counts of one model since the start."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    requests_started: int = 0
    requests_finished: int = 0
    requests_cancelled: int = 0
    requests_failed: int = 0


class RequestRecord(msgspec.Struct):
    """One request as the log keeps it; `outcome` is running, finished, cancelled or failed."""

    request_id: str
    model: str
    path: str
    stream: bool
    max_tokens: int | None = None
    usage_asked: bool = False
    running_usage_asked: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    finish_reason: str | None = None
    outcome: str = "running"
    cancelled: bool = False


class Counters:
    """Counts by model and the last 10,000 requests."""

    def __init__(self, models: list[str]) -> None:
        self.by_model = {model: Tally() for model in [*models, UNKNOWN_MODEL]}
        self._log: deque[RequestRecord] = deque(maxlen=LOG_REQUESTS)

    def begin(self, record: RequestRecord) -> None:
        """A request has come in; a model that is not served counts as `unknown`."""
        if record.model not in self.by_model:
            record.model = UNKNOWN_MODEL
        self.by_model[record.model].requests_started += 1
        self._log.append(record)

    def read_prompt(self, record: RequestRecord, prompt_tokens: int, cached_tokens: int) -> None:
        """The prompt has been read."""
        record.prompt_tokens += prompt_tokens
        record.cached_tokens += cached_tokens
        tally = self.by_model[record.model]
        tally.prompt_tokens += prompt_tokens
        tally.cached_tokens += cached_tokens

    def generate(self, record: RequestRecord, tokens: int) -> None:
        """So many more tokens have been produced."""
        record.generated_tokens += tokens
        self.by_model[record.model].generated_tokens += tokens

    def end(self, record: RequestRecord, outcome: str, finish_reason: str | None = None) -> None:
        """The request is over: finished, cancelled or failed."""
        record.outcome = outcome
        record.finish_reason = finish_reason
        record.cancelled = outcome == "cancelled"
        tally = self.by_model[record.model]
        tally.requests_finished += outcome == "finished"
        tally.requests_cancelled += outcome == "cancelled"
        tally.requests_failed += outcome == "failed"

    def as_json(self, last_requests: int = LOG_REQUESTS) -> bytes:
        """Totals, counts by model and the last requests, oldest first."""
        total = {name: sum(getattr(tally, name) for tally in self.by_model.values()) for name, _ in _METRICS}
        log = list(self._log)[-last_requests:] if last_requests else []
        return msgspec.json.encode({"total": total, "models": self.by_model, "requests": log})

    def as_prometheus(self) -> bytes:
        """The counts in the Prometheus text format."""
        lines: list[str] = []
        for name, what in _METRICS:
            metric = f"modelserver_{name}_total"
            lines += [f"# HELP {metric} {what}", f"# TYPE {metric} counter"]
            for model, tally in self.by_model.items():
                lines.append(f'{metric}{{model="{_label(model)}"}} {getattr(tally, name)}')
        return ("\n".join(lines) + "\n").encode()


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
