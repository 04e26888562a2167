"""Settings: what the operator configures, read from purser.toml, the environment and options, and checked whole."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from purser import setting_kinds
from purser.core.errors import Invalid
from purser.core.limits import DEFAULT_TIERS, Tier
from purser.core.policy import Policy
from purser.core.pricebook import check_price
from purser.setting_keys import (
    KEYS,
    MANUAL,
    MODELS,
    RATE_LIMITS,
    REPEATED,
    REQUIRED,
    SAMPLES,
    TIERS,
    Key,
    keys_of,
    reference,
)
from purser.setting_kinds import nearest, shown
from purser.toml_lines import Place, Unreadable, read

CONFIG_VARIABLE = "PURSER_CONFIG"
_FILE = "purser.toml"
_INSTANTS = {"clock_start": "clock_start_at", "prepaid_from": "prepaid_from_at"}
_TABLES = (RATE_LIMITS, TIERS, MODELS)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model; `upstreams` are base URLs without a last slash, `price` is as `read_price` takes it, perhaps empty."""

    name: str
    upstreams: tuple[str, ...]
    upstream_model: str
    context_tokens: int
    max_output_tokens: int
    engine: str = "vllm"
    tokens_per_byte: int = 1
    fit: str = "fit"
    timeout_seconds: int = 600
    size: str = "large"
    upstream_key: str | None = field(default=None, repr=False)
    price: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything configured; money in nano-dollars, instants in microseconds UTC. `KEYS` says what each one means."""

    database_url: str = field(repr=False)  # it may hold a password
    host: str
    port: int
    workers: int
    clock: Literal["system", "manual"]
    clock_start_at: int | None
    trusted_proxies: tuple[str, ...]
    operator_key: str | None = field(repr=False)
    max_body_mib: int
    max_connections: int
    shutdown_grace_seconds: int
    upstream_timeout_seconds: int
    upstream_connect_timeout_seconds: int
    payment_provider: Literal["test"]
    mail_url: str | None = field(repr=False)  # it may hold a password
    mail_from: str
    webhook_private_addresses: bool
    sign_up: bool
    public_url: str | None
    oidc_issuer: str | None
    oidc_client_id: str
    oidc_client_secret: str | None = field(repr=False)
    signup_credit_nanos: int
    signup_credit_rule: str
    billing_mode: str
    prepaid_from_at: int | None
    depletion_threshold_nanos: int
    minimum_charge_nanos: int
    dunning_days: tuple[int, ...]
    payment_grace_days: int
    cached_is_input: bool
    slice_tokens: int
    lease_nanos: int
    hold_wait_seconds: int
    ttl_seconds: int
    drain_seconds: int
    fleet: str
    replica_ready_seconds: int
    deployment_slice_seconds: int
    deployment_warning_seconds: int
    requests_per_minute: int
    requests_per_minute_unverified: int
    wrong_keys_per_minute: int
    prompt_tokens_per_minute: int | None
    uncached_prompt_tokens_per_minute: int | None
    generated_tokens_per_minute: int | None
    tiers: tuple[Tier, ...]
    models: tuple[ModelSettings, ...]

    def policy(self) -> Policy:
        """The operator's rules among the settings."""
        own = {"default_mode": self.billing_mode, "model_sizes": {model.name: model.size for model in self.models}}
        same = {each.name: getattr(self, each.name) for each in fields(Policy) if each.name not in own}
        return Policy(**own, **same)  # type: ignore[arg-type]

    def prices(self) -> dict[str, dict[str, str]]:
        """The configured prices by model, with which the first price book is seeded."""
        return {model.name: dict(model.price) for model in self.models if model.price}


class SettingsError(Exception):
    """The settings cannot be used; `mistakes` are all that is wrong, each with its place and what would be right."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__("\n  ".join([f"the settings have {count}:", *mistakes]))
        self.mistakes = mistakes


def find_config(explicit: Path | None, environment: Mapping[str, str], folder: Path = Path()) -> Path | None:
    """The file to load: the one named, else PURSER_CONFIG's, else purser.toml in the folder if it is there."""
    if explicit is not None:
        return explicit
    if environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE])
    return folder / _FILE if (folder / _FILE).exists() else None


def load(
    path: Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    serving: bool = True,
) -> Settings:
    """Read the file (None: no file), the environment over it and the overrides over both; raises SettingsError.

    `overrides` maps keys such as "port" or "rate_limits.requests_per_minute" to values or texts (None: not given);
    "models" and "tiers" replace the file's. What does not serve, such as an audit, needs no model and no upstream key.
    A relative SQLite file named in purser.toml, or by default, lies beside it, one named elsewhere in this folder.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        document, lines = ({}, {}) if path is None else read(path)
    except Unreadable as error:
        raise SettingsError((str(error),)) from None
    reading = _Reading(environment, serving, str(path) if path else "", lines)
    values = reading.scalars(document)
    if path is not None:
        values["database_url"] = _beside(path, values.get("database_url", ""))
    values |= reading.variables()
    values |= reading.options({key: value for key, value in given.items() if key not in REPEATED})
    if values.get("clock_start") is not None and values.get("clock", MANUAL) != MANUAL:
        reading.wrong(("clock_start",), f'clock_start is for clock = "{MANUAL}"; leave it out, or set that clock')
    tiers = reading.tiers(reading.entries(TIERS, document, given))
    models = reading.models(reading.entries(MODELS, document, given), values)
    mistakes = reading.mistakes
    if serving and not models and not mistakes:
        start = f"{path} has no model" if path else f"there is no {_FILE} here, so no model"
        advice = "add a [[models]] entry with name, upstream and context_tokens" if path else "`purser init` writes one"
        mistakes.append((0, f"{start} to serve: {advice}"))
    if mistakes:
        raise SettingsError(tuple(text for _, text in sorted(mistakes, key=lambda mistake: mistake[0])))
    named = {_INSTANTS.get(name, name.replace("_usd", "_nanos")): value for name, value in values.items()}
    return Settings(**named, tiers=tiers or DEFAULT_TIERS, models=models)


def _beside(path: Path, url: str) -> str:
    """The database URL with a relative SQLite file made absolute, beside the configuration file."""
    scheme, mark, file = url.partition("sqlite:///")
    return f"{mark}{path.parent.resolve() / file}" if mark and not scheme and not file.startswith("/") else url


class _Reading:
    """One run over the sources, collecting every mistake with its line."""

    def __init__(self, environment: Mapping[str, str], serving: bool, file: str, lines: Mapping[Place, int]) -> None:
        self.environment, self.serving = environment, serving
        self.file, self.lines = file, lines
        self.mistakes: list[tuple[int, str]] = []

    def wrong(self, at: Place, text: str) -> None:
        """Note a mistake in the file at a key, or at the nearest thing around it that has a line."""
        while at and at not in self.lines:
            at = at[:-1]
        line = self.lines.get(at, 0)
        self.mistakes.append((line, f"{self.file}:{line}: {text}" if line else text))

    def table(self, table: str, given: Mapping[str, object], at: Place, whose: str = "") -> dict[str, Any]:
        """The values of one table by key, defaults included; what is unknown, missing or wrong is noted."""
        keys = keys_of(table)
        values: dict[str, Any] = {}
        for name, value in given.items():
            key = keys.get(name)
            if key is None or not key.in_file:
                self.wrong((*at, name), _unknown(table, name))
                continue
            try:
                values[name] = key.kind.read(value, name + whose)
            except Invalid as error:
                self.wrong((*at, name), error.message)
        for key in keys.values():
            if key.name in given:
                continue
            if key.default is REQUIRED:
                self.wrong(at, f"{key.name}{whose} is missing: {key.meaning}; it must be {key.kind.words}")
            else:
                values[key.name] = None if key.default is None else key.kind.read(key.default, key.name)
        return values

    def scalars(self, document: Mapping[str, object]) -> dict[str, Any]:
        """The keys at the top of the file and those of [rate_limits]."""
        values = self.table("", {name: value for name, value in document.items() if name not in _TABLES}, ())
        limits = document.get(RATE_LIMITS, {})
        if not isinstance(limits, Mapping):
            self.wrong((RATE_LIMITS,), f"{RATE_LIMITS} is a table: write [{RATE_LIMITS}] and its keys below it")
            limits = {}
        return values | self.table(RATE_LIMITS, limits, (RATE_LIMITS,))

    def variables(self) -> dict[str, Any]:
        """The values that PURSER_… variables give."""
        known = {key.variable: key for key in KEYS if key.variable}
        values: dict[str, Any] = {}
        for variable, text in self.environment.items():
            key = known.get(variable)
            if key is not None and text.startswith("tcp://"):
                why = "looks set by Kubernetes for a service named purser: set enableServiceLinks: false in the pod"
                self.mistakes.append((0, f"{variable} {why}"))
            elif key is not None and not text:
                self.mistakes.append((0, f"{variable} is set but empty: give it a value, or unset it"))
            elif key is not None:
                self._read(key, text, variable, values)
            elif variable.startswith("PURSER_") and variable != CONFIG_VARIABLE:
                close = nearest(variable, list(known), 0.9)
                if close:
                    self.mistakes.append((0, f"{variable} is not known; did you mean {close}?"))
        return values

    def options(self, given: Mapping[str, object]) -> dict[str, Any]:
        """The values that the command line gives."""
        known = {key.path: key for key in KEYS if key.variable}
        values: dict[str, Any] = {}
        for path, value in given.items():
            if path in known:
                self._read(known[path], value, "--" + path.replace("_", "-"), values)
            else:
                self.mistakes.append((0, f"{path} is not a setting that can be given here"))
        return values

    def _read(self, key: Key, value: object, where: str, values: dict[str, Any]) -> None:
        try:
            values[key.name] = key.kind.read(key.kind.from_text(value) if isinstance(value, str) else value, where)
        except Invalid as error:
            self.mistakes.append((0, error.message))

    def entries(self, table: str, document: Mapping[str, object], given: Mapping[str, object]) -> list[dict[str, Any]]:
        """The entries of [[models]] or [[tiers]], from the overrides where they are given, else from the file."""
        if table in given:
            self.lines = {path: line for path, line in self.lines.items() if path[0] != table}
        entries = given.get(table, document.get(table, []))
        if isinstance(entries, list | tuple) and all(isinstance(entry, Mapping) for entry in entries):
            return list(entries)
        self.wrong((table,), f"{table} come one by one: write [[{table}]], in two brackets, above the keys of each")
        return []

    def tiers(self, entries: list[dict[str, Any]]) -> tuple[Tier, ...]:
        """The tiers in the order given, numbered from 1."""
        tiers: list[Tier] = []
        for index, entry in enumerate(entries):
            got = self.table(TIERS, entry, (TIERS, index), f" of tier {index + 1}")
            tier = Tier(index + 1, got.get("spend_usd", -1), got.get("limit_usd", -1))
            last = tiers[-1] if tiers else None
            if -1 in (tier.spend_nanos, tier.limit_nanos):
                continue
            if index == 0 and tier.spend_nanos:
                self.wrong((TIERS, 0, "spend_usd"), 'spend_usd of tier 1 must be "0": every account is in a tier')
            elif last and (tier.spend_nanos <= last.spend_nanos or tier.limit_nanos <= last.limit_nanos):
                self.wrong(
                    (TIERS, index), f"tier {index + 1} must have more spend_usd and limit_usd than the one before"
                )
            tiers.append(tier)
        return tuple(tiers)

    def models(self, entries: list[dict[str, Any]], settings: Mapping[str, Any]) -> tuple[ModelSettings, ...]:
        """The models; `settings` has what a model falls back to."""
        models: list[ModelSettings] = []
        first_lines: dict[str, str] = {}
        for index, entry in enumerate(entries):
            at: Place = (MODELS, index)
            name = entry.get("name")
            before = len(self.mistakes)
            got = self.table(MODELS, entry, at, f" of model {shown(name) if isinstance(name, str) else index + 1}")
            if "name" in got and got["name"] in first_lines:
                self.wrong((*at, "name"), f"model {shown(name)} is there twice, first{first_lines[got['name']]}")
            line = self.lines.get(at)
            first_lines.setdefault(got.get("name", ""), f" in line {line}" if line else "")
            self._bounds(got, at)
            self._price(got, at)
            key = self._upstream_key(got, at)
            if len(self.mistakes) == before:
                upstreams = got.pop("upstream")
                got["upstream_model"] = got["upstream_model"] or got["name"]
                got["timeout_seconds"] = got["timeout_seconds"] or settings.get("upstream_timeout_seconds", 0)
                got["price"] = got["price"] or {}
                models.append(ModelSettings(**(got | {"upstreams": upstreams, "upstream_key": key})))
        return tuple(models)

    def _bounds(self, got: dict[str, Any], at: Place) -> None:
        context = got.get("context_tokens")
        if context is None or "max_output_tokens" not in got:
            return
        most = got["max_output_tokens"] = got["max_output_tokens"] or context
        if most > context:
            whose = f" of model {shown(got['name'])}" if "name" in got else ""
            text = f"max_output_tokens{whose} must be at most context_tokens, {context}, not {most}"
            self.wrong((*at, "max_output_tokens"), text)

    def _price(self, got: Mapping[str, Any], at: Place) -> None:
        if got.get("price") is None or "name" not in got:
            return
        for error in check_price(got["name"], got["price"]):
            spot = error.message.removeprefix(f"prices.{got['name']}.").split()[0]
            text = error.message.replace(f"prices.{got['name']}", "price", 1)
            self.wrong((*at, "price", spot), f"{text} (model {shown(got['name'])})")

    def _upstream_key(self, got: Mapping[str, Any], at: Place) -> str | None:
        variable = got.get("upstream_key")
        if variable is None or not self.serving:
            return None
        try:
            if variable in self.environment:
                return setting_kinds.secret(self.environment[variable], f"the variable {variable}", 1)
            text = f"the environment variable {variable}, which upstream_key names, is not set"
        except Invalid as error:
            text = error.message
        self.wrong((*at, "upstream_key"), text)
        return None


def _unknown(table: str, name: str) -> str:
    """What is wrong with a key that the table does not have, and what would be right."""
    known, others = keys_of(table), [key for key in KEYS if key.name == name and key.table != table]
    if name in known:
        return f"{name} stays out of the file: set {known[name].variable} instead"
    if others:
        where = f"below {_heading(others[0].table)}" if others[0].table else "above the first line in brackets"
        return f"{name} does not belong here but {where}"
    place = _heading(table) if table else "the file"
    names = [key.name for key in known.values() if key.in_file] + ([] if table else list(_TABLES))
    close = nearest(name, names)
    right = f"did you mean {close}?" if close else f"known: {', '.join(names)}"
    return f"{shown(name)} is not a key of {place}; {right}"


def _heading(table: str) -> str:
    return f"[[{table}]]" if table in REPEATED else f"[{table}]"


_EXAMPLE = """\
# A model that vLLM serves on this machine: vllm serve Qwen/Qwen3-8B --port 8000
[[models]]
name = "qwen3-8b"                           # what customers call it
upstream = "http://127.0.0.1:8000/v1"       # or a list of servers, tried in turn
engine = "vllm"                             # or sglang, llamacpp, ollama, openai, other
upstream_model = "Qwen/Qwen3-8B"
# upstream_key = "env:VLLM_KEY"             # the variable that holds the server's API key
context_tokens = 32768
max_output_tokens = 8192
price = { input = "0.20", cached_input = "0.10", output = "0.80" }   # dollars per million tokens
"""


def render_default(*, database_url: str = "sqlite:///purser.db", port: int = 8080) -> str:
    """The purser.toml that `purser init` writes: every key with its default, and a model behind vLLM."""
    chosen: dict[str, object] = {"database_url": database_url, "port": port}
    lines = ["# Purser's settings. A line with # in front shows what holds without it.", ""]
    for table in ("", RATE_LIMITS):
        lines += [f"[{table}]"] if table else []
        for key in keys_of(table).values():
            if key.in_file:
                value = chosen.get(key.name, key.default)
                line = f"{key.name} = " + setting_kinds.written(SAMPLES.get(key.name) if value is None else value)
                lines.append(f"{'' if key.name in chosen else '# '}{line}".ljust(42) + f" # {key.meaning}")
        lines.append("")
    return "\n".join(lines) + "\n" + _EXAMPLE


if __name__ == "__main__":
    sys.stdout.write(reference())
