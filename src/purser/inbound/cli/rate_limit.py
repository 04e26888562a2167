"""The rate limit commands: how many requests and tokens an account may send in a minute, and what it has used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from purser.core.adaptive import ALL_MODELS
from purser.inbound.cli import figures
from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import DAY, ID, NUMBER, TEXT, WHEN, Column, show_list, show_one, tell_dry_run
from purser.inbound.cli.wire import Caller, at

app = App(name="rate-limit", help="How many requests and tokens an account may send in a minute: list, usage, set.")

_COLUMNS = (
    Column("MODEL", "model", ID),
    Column("OF", "metric", TEXT),
    Column("A MINUTE", "limit", NUMBER),
    Column("LEFT", "left", NUMBER),
    Column("AT MOST", "ceiling", NUMBER),
    Column("BY", "source", TEXT, spare=True),
    Column("BUSIEST", "peak", NUMBER, spare=True),
    Column("CHANGED", "changeTime", WHEN, spare=True),
)


def _row(rate: Mapping[str, Any]) -> dict[str, Any]:
    if "limit" not in rate:
        return {**rate, **dict.fromkeys(("limit", "left", "ceiling"), "unlimited")}
    left = max(0, int(rate["limit"]) - int(rate["sharedOut"]))
    return {**rate, "left": str(left)}


@app.command(name="list")
def list_rate_limits(*, reach: Reach = UNSAID) -> None:
    """List the rate limits in force; what workers have for themselves is not left, used or not.

    Tokens are limited where the operator's settings say so, of models that the account has used, and where the operator
    has set a limit for this account (CUSTOM), of one model or of all ("*").

    Example: purser rate-limit list
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "serverlessRateLimits"), "serverlessRateLimits")
    requests = {"model": "all", "metric": "REQUESTS", **found["requests"], "ceiling": found["requests"]["limit"]}
    rows = [requests, *map(_row, found["serverlessRateLimits"])]
    show_list(reach.output, found, rows, _COLUMNS, "No rate limit.")


_METRICS = {
    "prompt": "TOKENS_PROMPT",
    "cached-prompt": "TOKENS_CACHED_PROMPT",
    "uncached-prompt": "TOKENS_UNCACHED_PROMPT",
    "generated": "TOKENS_GENERATED",
}
_HEADS = {"1m": ("MINUTE (UTC)", WHEN), "1h": ("HOUR (UTC)", WHEN), "1d": ("DAY", DAY)}


@app.command(name="usage")
def token_usage(
    *,
    start: Annotated[
        str | None, Parameter(help="From when, such as 2026-03-01; the month's start if not given.")
    ] = None,
    end: Annotated[str | None, Parameter(help="Until when; now if not given.")] = None,
    interval: Annotated[Literal["1m", "1h", "1d"], Parameter(help="By minute, hour or day.")] = "1h",
    model: Annotated[str | None, Parameter(help="Of this model alone.")] = None,
    metric: Annotated[
        Literal["prompt", "cached-prompt", "uncached-prompt", "generated"] | None, Parameter(help="Of these alone.")
    ] = None,
    reach: Reach = UNSAID,
) -> None:
    """Show how many tokens of each model were used, by minute, hour or day.

    Example: purser rate-limit usage --start 2026-03-01 --end 2026-03-02 --model tiny
    """
    caller = reach.call()
    asked = None if metric is None else _METRICS[metric]
    shown = {name: field for name, field in _METRICS.items() if asked in (None, field)}
    query = {"start": start, "end": end, "interval": interval, "model": model, "metric": asked, "pageSize": 200}
    found = caller.pages(reach.within(caller, "serverlessTokenUsage"), "serverlessTokenUsage", query)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for series in found["serverlessTokenUsage"]:
        for value in series["values"]:
            place = {"timestamp": value["timestamp"], "model": series["model"]}
            row = rows.setdefault((place["timestamp"], place["model"]), place | dict.fromkeys(shown.values(), "0"))
            row[series["metric"]] = value["value"]
    columns = [
        Column(_HEADS[interval][0], "timestamp", _HEADS[interval][1]),
        Column("MODEL", "model", ID),
        *(Column(name.replace("-", " ").upper(), field, NUMBER) for name, field in shown.items()),
    ]
    span = f"from {figures.when(found['start'])} to {figures.when(found['end'])} UTC"
    show_list(reach.output, found, [rows[at] for at in sorted(rows)], columns, f"No tokens were used {span}.")


# ── what the operator sets ───────────────────────────────────────────────────────────────────────────────────────
_AMOUNTS = {
    "PROMPT": "promptTokensPerMinute",
    "UNCACHED PROMPT": "uncachedPromptTokensPerMinute",
    "GENERATED": "generatedTokensPerMinute",
}
_SET = (
    Column("MODEL", "model", ID),
    *(Column(title, field, NUMBER) for title, field in _AMOUNTS.items()),
    Column("CHANGED (UTC)", "updateTime", WHEN, spare=True),
)
_SET_ONE = (
    Column("model", "model", ID),
    *(Column(f"{title.lower()} tokens a minute", field, NUMBER) for title, field in _AMOUNTS.items()),
)
_ADAPTIVE = "adaptive"
Model = Annotated[str | None, Parameter(help="Of this model.")]
AllModels = Annotated[bool, Parameter(negative="", help="Of every model that has none of its own, each by itself.")]


@app.command(name="list-set")
def list_set(*, reach: Reach = UNSAID) -> None:
    """List what is set of an account's tokens a minute, by model ("*": of all models). Needs the operator key.

    What is in force, set or not, is listed by purser rate-limit list.

    Example: purser rate-limit list-set --account ada
    """
    caller = reach.call_as_operator()
    found = caller.pages(_path(reach, caller), "tokenLimits")
    show_list(reach.output, found, found["tokenLimits"], _SET, "Nothing is set: the account's limits move with use.")


@app.command(name="set")
def set_limits(
    *,
    model: Model = None,
    all_models: AllModels = False,
    prompt: Annotated[str | None, Parameter(help="Tokens of prompts a minute, unlimited, or adaptive.")] = None,
    uncached_prompt: Annotated[str | None, Parameter(help="Those beyond what was read from cache.")] = None,
    generated: Annotated[str | None, Parameter(help="Generated ones.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Set an account's tokens a minute with one model, or with each; in force within a second.

    What is set does not move with use; adaptive takes it away again. What is not given stays. Needs the operator key.

    Example: purser rate-limit set --account ada --model tiny --prompt 5000000 --generated unlimited --dry-run
    """
    given = dict(zip(_AMOUNTS.values(), (prompt, uncached_prompt, generated), strict=True))
    body = {field: None if text == _ADAPTIVE else text for field, text in given.items() if text is not None}
    if not body:
        raise usage("give at least one of --prompt, --uncached-prompt and --generated")
    _change(reach, _model(model, all_models), body, dry_run)


@app.command(name="unset")
def unset(
    *, model: Model = None, all_models: AllModels = False, dry_run: DryRun = False, reach: Reach = UNSAID
) -> None:
    """Take away all that is set of a model, or of all models: its limits go on from where they were, and move with use.

    Needs the operator key.

    Example: purser rate-limit unset --account ada --model tiny
    """
    _change(reach, _model(model, all_models), dict.fromkeys(_AMOUNTS.values()), dry_run)


def _path(reach: Reach, caller: Caller) -> str:
    return at("operator", "v1", "accounts", reach.account_of(caller), "tokenLimits")


def _model(model: str | None, all_models: bool) -> str:
    if (model is None) == (not all_models):
        raise usage("give --model or --all-models, and not both")
    return ALL_MODELS if model is None else model


def _change(reach: Reach, model: str, body: Mapping[str, str | None], dry_run: bool) -> None:
    caller = reach.call_as_operator()
    changed = caller.patch(_path(reach, caller), {"model": model, **body}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _SET_ONE)
