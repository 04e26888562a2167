"""The ways the model server can be told to fail, and where a request's own way is read from.

Directives are comma separated, in the header `x-model-fail`, in the prompt as `[[fail=…]]`, or set for
the next requests of any client with `POST /v1/fail`; the first of these that is there counts. "Deltas" are
generated tokens of each choice; where a choice has fewer, the failure comes after its last and before its
finish reason.

| directive | what happens |
|---|---|
| `status=CODE` | an error answer of that status (400 to 599; 429 and 503 with `Retry-After: 1`) |
| `refuse` | the connection is closed before any byte is sent |
| `hang` | the request is taken and never answered |
| `slow-head=MS` | the answer starts that many milliseconds late |
| `hang-after=N` | after N deltas nothing more comes and the connection stays open |
| `cut-after=N` | after N deltas the connection is dropped; not streamed: in the middle of the body |
| `error-after=N` | after N deltas an event with an error object, then `[DONE]`; not streamed: status 500 |
| `truncate` | not streamed: `Content-Length` promises more than is sent, then the connection is closed |
| `garbage` | status 200 with a body, or events, that are not JSON |
| `huge` or `huge=MB` | the answer's text is 100 MB (or MB) of padding; usage tells the tokens as without it |
| `no-usage` | no usage anywhere |
| `null-usage` | `"usage": null` on every chunk that has no usage, as some servers send it |
| `no-details` | usage without `prompt_tokens_details` and `completion_tokens_details` |
| `bad-usage=KIND` | `negative`, `cached` (more than the prompt), `huge`, `string` or `missing-field` |
| `usage-with-choice` | usage beside the last choice's finish reason and not alone |
| `no-done` | the stream ends without `[DONE]`, or without the event that ends it in its dialect |
| `failed` | a response whose status is `failed` in the end, with its usage |
| `no-stream` | a JSON answer although a stream was asked for |
| `ignore-cap` or `ignore-cap=N` | `max_tokens` ignored: N tokens, else what `[[tokens=N]]` asks, else 4,096 |
| `other-model` | the answer names the model `other/model` |
| `split` | events are sent in pieces of odd sizes and their lines end in CRLF |
| `comments` | a comment line (keep-alive) before each event |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BAD_USAGE = ("negative", "cached", "huge", "string", "missing-field")
IGNORED_CAP_TOKENS = 4_096
HUGE_MB = 100

_IN_PROMPT = re.compile(rb"\[\[fail=([a-z0-9=, -]*)\]\]")
_FLAGS = {
    name: name.replace("-", "_")
    for name in (
        "refuse",
        "hang",
        "truncate",
        "garbage",
        "no-usage",
        "null-usage",
        "no-details",
        "usage-with-choice",
        "no-done",
        "failed",
        "no-stream",
        "other-model",
        "split",
        "comments",
    )
}
_NUMBERS = {
    "status": ("status", 400, 599),
    "slow-head": ("slow_head_ms", 0, 600_000),
    "hang-after": ("hang_after", 0, 1_000_000),
    "cut-after": ("cut_after", 0, 1_000_000),
    "error-after": ("error_after", 0, 1_000_000),
    "huge": ("huge_mb", 1, 1_000),
    "ignore-cap": ("ignore_cap", 1, 1_000_000),
}
_DEFAULTS = {"huge": HUGE_MB, "ignore-cap": 0}


@dataclass(frozen=True, slots=True)
class Failures:
    """What one request is told to do wrong; the table above says what each does. None and False: nothing."""

    status: int | None = None
    refuse: bool = False
    hang: bool = False
    slow_head_ms: int = 0
    hang_after: int | None = None
    cut_after: int | None = None
    error_after: int | None = None
    truncate: bool = False
    garbage: bool = False
    huge_mb: int | None = None
    no_usage: bool = False
    null_usage: bool = False
    no_details: bool = False
    bad_usage: str | None = None
    usage_with_choice: bool = False
    no_done: bool = False
    failed: bool = False
    no_stream: bool = False
    ignore_cap: int | None = None
    other_model: bool = False
    split: bool = False
    comments: bool = False

    @property
    def stop_after(self) -> int | None:
        """The number of deltas after which the answer breaks off, if it is to."""
        told = [n for n in (self.hang_after, self.cut_after, self.error_after) if n is not None]
        return min(told) if told else None


NO_FAILURES = Failures()


def parse_failures(text: str) -> Failures:
    """The directives in a comma separated text; ValueError says which one is not known or out of range."""
    values: dict[str, object] = {}
    for directive in filter(None, (part.strip() for part in text.split(","))):
        name, has_value, value = directive.partition("=")
        if name in _FLAGS and not has_value:
            values[_FLAGS[name]] = True
        elif name in _NUMBERS and (has_value or name in _DEFAULTS):
            field, low, high = _NUMBERS[name]
            if not has_value:
                values[field] = _DEFAULTS[name]
                continue
            if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
                raise ValueError(f"{directive!r}: {name} takes a whole number from {low} to {high}")
            values[field] = int(value)
        elif name == "bad-usage":
            if value not in BAD_USAGE:
                raise ValueError(f"{directive!r}: bad-usage takes one of {', '.join(BAD_USAGE)}")
            values["bad_usage"] = value
        else:
            raise ValueError(f"{directive!r} is not a failure directive")
    return Failures(**values)  # type: ignore[arg-type]


def failures_in_prompt(body: bytes) -> Failures | None:
    """The directives a request's body carries as `[[fail=…]]`, the last ones if there are several."""
    found = _IN_PROMPT.findall(body)
    return parse_failures(found[-1].decode()) if found else None


class FailureSwitch:
    """Directives for the next requests that bring none of their own."""

    def __init__(self, directives: str = "", times: int | None = None) -> None:
        self.set(directives, times)

    def set(self, directives: str, times: int | None) -> None:
        """From now on the next `times` requests fail this way (None: all until set again).

        ValueError if the directives are not understood; the switch is then left as it was.
        """
        failures = parse_failures(directives)
        self.directives = directives
        self.times_left = 0 if failures == NO_FAILURES else times
        self._failures = failures

    def take(self) -> Failures:
        """The directives for one request, which uses one time up."""
        if self.times_left is None:
            return self._failures
        if self.times_left == 0:
            return NO_FAILURES
        self.times_left -= 1
        return self._failures
