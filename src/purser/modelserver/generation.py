"""What a request gets: each choice's tokens, how it ends, and the usage that is told for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from purser.modelserver.failures import IGNORED_CAP_TOKENS, Failures
from purser.modelserver.prompts import Prompt, ToolCall, json_tokens
from purser.modelserver.text import Picks, compose, sample_json

REASONING_EIGHTHS = {"none": 0, "minimal": 1, "low": 2, "medium": 4, "high": 6}
HUGE_TOKENS = 10**15
CACHED_EXCESS = 100


@dataclass(slots=True)
class Choice:
    """One answer: its reasoning and its content token by token, and why it ends.

    `content` has one entry per generated token; entries from a stop sequence on are empty. `prompt_tokens`
    (`cached_tokens` of them cached) are those of the prompt it answers; `echo` is prompt text sent before the
    first token.
    """

    index: int
    prompt_tokens: int
    reasoning: list[str]
    content: list[str]
    finish_reason: str
    tool: ToolCall | None = None
    echo: str = ""
    cached_tokens: int = 0

    @property
    def generated(self) -> int:
        """The number of tokens generated for it."""
        return len(self.reasoning) + len(self.content)

    def usage_after(self, tokens: int) -> Usage:
        """The counts of this choice alone once so many of its tokens are out, as running usage tells them."""
        reasoning_tokens = min(tokens, len(self.reasoning)) if self.reasoning else None
        return Usage(self.prompt_tokens, self.cached_tokens, tokens, reasoning_tokens)


@dataclass(frozen=True, slots=True)
class Wish:
    """What shapes the answers of one request beside its prompt."""

    model: str
    seed: int | None = None
    cap_tokens: int | None = None
    stops: list[str] = field(default_factory=list)
    reasoning_effort: str = "none"
    tool: ToolCall | None = None
    schema: object | None = None
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request, or of one choice of it so far; `reasoning_tokens` None: no reasoning."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None


def generate(prompt: Prompt, wish: Wish, room_tokens: int, failures: Failures, candidate: int) -> Choice:
    """The answer number `candidate` to a prompt, the same whenever the same is asked of the same model.

    `room_tokens` is what the context has left. The caller sets the index and the cached tokens.
    """
    picks = Picks(wish.model.encode(), b"".join(prompt.tokens), b"%d" % candidate, str(wish.seed).encode())
    most = room_tokens if wish.cap_tokens is None else min(wish.cap_tokens, room_tokens)
    exact = prompt.exact_tokens
    if failures.ignore_cap is not None:
        exact = failures.ignore_cap or exact or IGNORED_CAP_TOKENS
        most = exact
    reasoning, content, complete = _words(picks, wish, exact, most)
    finish_reason = "tool_calls" if wish.tool else "stop"
    stopped = _stop_at(content, wish.stops)
    if stopped is not None:
        content = stopped
        finish_reason = "stop"
    elif not complete:
        finish_reason = "length"
    echo = prompt.text if wish.echo else ""
    return Choice(0, len(prompt.tokens), reasoning, content, finish_reason, wish.tool, echo)


def _words(picks: Picks, wish: Wish, exact: int | None, most: int) -> tuple[list[str], list[str], bool]:
    """Reasoning and content tokens, `most` together, and whether the content came to its own end."""
    eighths = REASONING_EIGHTHS[wish.reasoning_effort]
    if wish.tool or wish.schema is not None:
        content = json_tokens(sample_json(wish.tool.schema if wish.tool else wish.schema, picks))
        return [], content[:most], len(content) <= most
    if not eighths:
        return [], *compose(picks, exact, most)
    if exact is not None:
        reasoning_tokens = exact * eighths // 8
        exact -= reasoning_tokens
    else:
        reasoning_tokens = 20 + picks.below(20) * eighths
    reasoning, _ = compose(picks, reasoning_tokens, most)
    content, complete = compose(picks, exact, most - len(reasoning))
    return reasoning, content, complete


def _stop_at(content: list[str], stops: list[str]) -> list[str] | None:
    """The tokens up to the one that completes a stop sequence, their text cut before it; None: no stop."""
    text = "".join(content)
    found = [(start + len(stop), start) for stop in stops if (start := text.find(stop)) >= 0]
    if not found:
        return None
    end, start = min(found)
    cut: list[str] = []
    at = 0
    for token in content:
        cut.append(token[: max(0, start - at)])
        at += len(token)
        if at >= end:
            break
    return cut


def usage_object(usage: Usage, failures: Failures, *, completion: bool = True) -> dict[str, object] | None:
    """Usage as the API tells it, or as `no-usage` and `bad-usage` have it; embeddings have no completion."""
    if failures.no_usage:
        return None
    prompt_tokens, cached_tokens = usage.prompt_tokens, usage.cached_tokens
    completion_tokens = usage.completion_tokens
    if failures.bad_usage == "negative":
        completion_tokens, prompt_tokens = -completion_tokens - 1, -prompt_tokens
    elif failures.bad_usage == "cached":
        cached_tokens = prompt_tokens + CACHED_EXCESS
    elif failures.bad_usage == "huge":
        completion_tokens, prompt_tokens = HUGE_TOKENS, HUGE_TOKENS
    counts: dict[str, int] = {"prompt_tokens": prompt_tokens}
    if completion:
        counts["completion_tokens"] = completion_tokens
    counts["total_tokens"] = prompt_tokens + (completion_tokens if completion else 0)
    if failures.bad_usage == "missing-field":
        del counts["completion_tokens" if completion else "prompt_tokens"]
    told: dict[str, object] = dict(counts)
    if failures.bad_usage == "string":
        told = {name: str(count) for name, count in counts.items()}
    if not failures.no_details and (completion or failures.bad_usage == "cached"):
        told["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
        if usage.reasoning_tokens is not None:
            told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return told
