"""Settings: every key read from its three sources, and every mistake told with its line and what would be right."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.limits import DEFAULT_TIERS, Tier
from purser.core.money import NANOS_PER_USD
from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.setting_keys import KEYS, REPEATED, SAMPLES, keys_of, reference
from purser.settings import ModelSettings, Settings, SettingsError, find_config, load, render_default
from purser.toml_lines import Unquoted, read

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
SECRET = "s3cret-" + "x" * 32
TINY = '[[models]]\nname = "tiny"\nupstream = "http://127.0.0.1:8000/v1"\ncontext_tokens = 4096\n'


def settings(
    folder: Path,
    text: str,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    serving: bool = False,
) -> Settings:
    file = folder / "purser.toml"
    file.write_text(text)
    return load(file, environment or {}, overrides, serving=serving)


def mistakes(
    folder: Path,
    text: str,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    serving: bool = False,
) -> list[str]:
    """What load says is wrong, without the folder."""
    with pytest.raises(SettingsError) as raised:
        settings(folder, text, environment, overrides, serving=serving)
    assert all(mistake in str(raised.value) for mistake in raised.value.mistakes)
    return [mistake.replace(f"{folder}/", "") for mistake in raised.value.mistakes]


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────
EXAMPLE = """
database_url = "sqlite:////srv/purser/books.db"
port = 8080
prepaid_from = 2026-07-01
dunning_days = [2, 4]
trusted_proxies = ["10.0.0.0/8", "::1"]
tiers = [{ spend_usd = "0", limit_usd = "20" }, { spend_usd = "99.50", limit_usd = "1000" }]

[rate_limits]
requests_per_minute_unverified = 11
requests_per_minute = 6001

[[models]]
name = "org/tiny"
upstream = ["http://127.0.0.1:8000/v1/", "https://[::1]:8443/openai"]
engine = "sglang"
upstream_model = "tiny-7b"
upstream_key = "env:VLLM_KEY"
context_tokens = 4096
max_output_tokens = 1024
tokens_per_byte = 2
fit = "refuse"
timeout_seconds = 60
price = { input = "0.95", cached_input = "0.16", output = "4.00" }
"""


def test_everything_in_the_file_is_read(tmp_path: Path) -> None:
    found = settings(tmp_path, EXAMPLE, {"VLLM_KEY": SECRET}, serving=True)
    assert (found.port, found.database_url) == (8080, "sqlite:////srv/purser/books.db")
    assert found.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert found.models == (
        ModelSettings(
            name="org/tiny",
            upstreams=("http://127.0.0.1:8000/v1", "https://[::1]:8443/openai"),
            upstream_model="tiny-7b",
            context_tokens=4096,
            max_output_tokens=1024,
            engine="sglang",
            tokens_per_byte=2,
            fit="refuse",
            timeout_seconds=60,
            upstream_key=SECRET,
            price={"input": "0.95", "cached_input": "0.16", "output": "4.00"},
        ),
    )
    assert found.prices() == {"org/tiny": {"input": "0.95", "cached_input": "0.16", "output": "4.00"}}
    rules = found.policy()
    assert rules.tiers == (
        Tier(1, 0, 20 * NANOS_PER_USD),
        Tier(2, 99_500_000_000, 1_000 * NANOS_PER_USD),
    )
    assert (rules.requests_per_minute, rules.requests_per_minute_unverified) == (6001, 11)
    assert (rules.dunning_days, rules.prepaid_from_at) == ((2, 4), parse_instant("2026-07-01T00:00:00Z"))


def test_without_a_file_the_defaults_are_the_rules_own() -> None:
    found = load(None, {}, serving=False)
    assert found.policy() == Policy()
    assert (found.host, found.port, found.clock, found.models) == ("127.0.0.1", 8080, "system", ())
    assert found.tiers == DEFAULT_TIERS


def test_the_policy_holds_every_rule_as_set() -> None:
    options: dict[str, object] = {
        "signup_credit_usd": "2",
        "tiers": [{"spend_usd": "0", "limit_usd": "1"}],
        "billing_mode": "contract",
        "prepaid_from": "2026-07-01",
        "depletion_threshold_usd": "3",
        "minimum_charge_usd": "4",
        "dunning_days": "6",
        "payment_grace_days": 7,
        "cached_is_input": True,
        "rate_limits.requests_per_minute": 9,
        "rate_limits.requests_per_minute_unverified": 8,
        "rate_limits.prompt_tokens_per_minute": 13,
        "rate_limits.uncached_prompt_tokens_per_minute": 14,
        "rate_limits.generated_tokens_per_minute": 15,
        "slice_tokens": 80,
        "lease_usd": "5",
        "hold_wait_seconds": 16,
        "ttl_seconds": 11,
        "drain_seconds": 12,
        "fleet": "simulated",
        "replica_ready_seconds": 17,
        "deployment_slice_seconds": 18,
        "deployment_warning_seconds": 19,
    }
    assert load(None, {}, options, serving=False).policy() == Policy(
        signup_credit_nanos=2 * NANOS_PER_USD,
        tiers=(Tier(1, 0, NANOS_PER_USD),),
        default_mode="contract",
        prepaid_from_at=parse_instant("2026-07-01T00:00:00Z"),
        depletion_threshold_nanos=3 * NANOS_PER_USD,
        minimum_charge_nanos=4 * NANOS_PER_USD,
        dunning_days=(6,),
        payment_grace_days=7,
        cached_is_input=True,
        requests_per_minute=9,
        requests_per_minute_unverified=8,
        prompt_tokens_per_minute=13,
        uncached_prompt_tokens_per_minute=14,
        generated_tokens_per_minute=15,
        slice_tokens=80,
        lease_nanos=5 * NANOS_PER_USD,
        hold_wait_seconds=16,
        ttl_seconds=11,
        drain_seconds=12,
        fleet="simulated",
        replica_ready_seconds=17,
        deployment_slice_seconds=18,
        deployment_warning_seconds=19,
    )


def test_a_model_falls_back_to_its_name_its_context_and_the_general_timeout(tmp_path: Path) -> None:
    (model,) = settings(tmp_path, "upstream_timeout_seconds = 77\n" + TINY).models
    assert model == ModelSettings(
        name="tiny",
        upstreams=("http://127.0.0.1:8000/v1",),
        upstream_model="tiny",
        context_tokens=4096,
        max_output_tokens=4096,
        timeout_seconds=77,
    )


def test_options_beat_the_environment_and_the_environment_beats_the_file(tmp_path: Path) -> None:
    text = "port = 1\nworkers = 1\nmax_body_mib = 1\n"
    environment = {"PURSER_PORT": "2", "PURSER_WORKERS": "2", "PURSER_RATE_LIMITS_REQUESTS_PER_MINUTE": "7"}
    found = settings(tmp_path, text, environment, {"port": 3, "host": None, "lease_usd": "2"})
    assert (found.port, found.workers, found.max_body_mib, found.requests_per_minute) == (3, 2, 1, 7)
    assert found.lease_nanos == 2 * NANOS_PER_USD


# One text for each key that a variable can set, and what it becomes.
FROM_TEXT: dict[str, tuple[str, object]] = {
    "database_url": ("postgresql://db/purser", "postgresql://db/purser"),
    "host": ("::", "::"),
    "port": ("0", 0),
    "workers": ("4", 4),
    "clock": ("manual", "manual"),
    "clock_start": ("2026-03-01T00:00:00+01:00", parse_instant("2026-02-28T23:00:00Z")),
    "trusted_proxies": ("10.0.0.1, fd00::/8", ("10.0.0.1/32", "fd00::/8")),
    "operator_key": (SECRET, SECRET),
    "max_body_mib": ("1", 1),
    "max_connections": ("9", 9),
    "shutdown_grace_seconds": ("0", 0),
    "upstream_timeout_seconds": ("5", 5),
    "upstream_connect_timeout_seconds": ("3", 3),
    "payment_provider": ("test", "test"),
    "mail_url": ("smtps://billing:pass@mail.example.com", "smtps://billing:pass@mail.example.com"),
    "mail_from": ("Billing <billing@example.com>", "Billing <billing@example.com>"),
    "webhook_private_addresses": ("true", True),
    "sign_up": ("true", True),
    "public_url": ("https://billing.example.com/", "https://billing.example.com"),
    "oidc_issuer": ("https://login.example.com/a", "https://login.example.com/a"),
    "oidc_client_id": ("us", "us"),
    "oidc_client_secret": ("s3cret", "s3cret"),
    "signup_credit_usd": ("0", 0),
    "signup_credit_rule": ("with_card", "with_card"),
    "billing_mode": ("prepaid", "prepaid"),
    "prepaid_from": ("2026-07-01", parse_instant("2026-07-01T00:00:00Z")),
    "depletion_threshold_usd": ("0.01", 10_000_000),
    "minimum_charge_usd": ("1.5", 1_500_000_000),
    "dunning_days": ("", ()),
    "payment_grace_days": ("3", 3),
    "cached_is_input": ("true", True),
    "slice_tokens": ("16", 16),
    "lease_usd": ("0.01", 10_000_000),
    "hold_wait_seconds": ("0", 0),
    "ttl_seconds": ("2", 2),
    "drain_seconds": ("3600", 3600),
    "fleet": ("simulated", "simulated"),
    "replica_ready_seconds": ("0", 0),
    "deployment_slice_seconds": ("10", 10),
    "deployment_warning_seconds": ("0", 0),
    "requests_per_minute": ("60", 60),
    "requests_per_minute_unverified": ("6000", 6000),
    "wrong_keys_per_minute": ("1", 1),
    "prompt_tokens_per_minute": ("3600000", 3_600_000),
    "uncached_prompt_tokens_per_minute": ("900000", 900_000),
    "generated_tokens_per_minute": ("36000", 36_000),
}
FIELDS = {"clock_start": "clock_start_at", "prepaid_from": "prepaid_from_at"}


@pytest.mark.parametrize("key", [key for key in KEYS if key.variable], ids=lambda key: key.name)
def test_every_key_outside_repeated_tables_can_come_from_a_variable_and_from_an_option(key: object) -> None:
    found = next(each for each in KEYS if each == key)
    text, value = FROM_TEXT[found.name]
    field = FIELDS.get(found.name, found.name.replace("_usd", "_nanos"))
    manual = {"clock": "manual"}
    if text:
        assert getattr(load(None, {str(found.variable): text}, manual, serving=False), field) == value
    assert getattr(load(None, {}, manual | {found.path: text}, serving=False), field) == value


def test_every_field_comes_from_a_key_and_every_key_fills_a_field() -> None:
    top = {FIELDS.get(key.name, key.name.replace("_usd", "_nanos")) for key in KEYS if key.table not in REPEATED}
    assert {field.name for field in dataclasses.fields(Settings)} == top | {"tiers", "models"}
    of_model = {"upstreams" if name == "upstream" else name for name in keys_of("models")}
    assert {field.name for field in dataclasses.fields(ModelSettings)} == of_model


def test_a_relative_database_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    beside = f"sqlite:///{tmp_path}/purser.db"
    assert settings(tmp_path, "").database_url == beside
    assert settings(tmp_path, 'database_url = "sqlite:///purser.db"').database_url == beside
    elsewhere = {"PURSER_DATABASE_URL": "sqlite:///purser.db"}
    assert settings(tmp_path, "", elsewhere).database_url == "sqlite:///purser.db"


def test_models_given_by_the_program_replace_those_of_the_file(tmp_path: Path) -> None:
    model = {"name": "demo", "upstream": "http://127.0.0.1:9/v1", "context_tokens": 64}
    found = settings(tmp_path, TINY, overrides={"models": [model]}, serving=True)
    assert [model.name for model in found.models] == ["demo"]
    text = 'context_tokens of model "demo" must be a whole number from 1 to 100000000, not 0'
    assert mistakes(tmp_path, TINY, overrides={"models": [model | {"context_tokens": 0}]}) == [text]


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────
# (what the file holds, the line that is wrong, texts that the message holds)
WRONG: list[tuple[str, int, str]] = [
    ("\nprot = 1", 2, '"prot" is not a key of the file; did you mean port?'),
    ("zzz = 1", 1, '"zzz" is not a key of the file; known: database_url, host, port,'),
    ("[model]\nname = 'x'", 1, "did you mean models?"),
    ("[rate_limits]\n\nrequest_per_minute = 5", 3, "is not a key of [rate_limits]; did you mean requests_per_minute?"),
    ("requests_per_minute = 5", 1, "does not belong here but below [rate_limits]"),
    ("name = 'tiny'", 1, "does not belong here but below [[models]]"),
    (TINY + "workers = 2", 5, "does not belong here but above the first line in brackets"),
    ("operator_key = '" + SECRET + "'", 1, "operator_key stays out of the file: set PURSER_OPERATOR_KEY instead"),
    ("port = '8080'", 1, 'a whole number from 0 to 65535, not "8080"; write 8080 without quotes'),
    ("port = 65536", 1, "from 0 to 65535, not 65536"),
    ("port = -1", 1, "not -1"),
    ("port = true", 1, "not true"),
    ("port = 80.5", 1, "not 80.5"),
    ("workers = 0", 1, "from 1 to 256, not 0"),
    ("workers = []", 1, "not a list"),
    ("workers = {}", 1, "not a table"),
    ("max_body_mib = 0x" + "f" * 5000, 1, "not a number that long"),
    ("max_body_mib = 12:00:00", 1, "not 12:00:00"),
    ("lease_usd = 0.95", 1, 'not 0.95; write "0.95" in quotes'),
    ("lease_usd = 2", 1, 'write "2" in quotes'),
    ("lease_usd = nan", 1, 'not nan; write it in quotes such as "0.95"'),
    ("lease_usd = inf", 1, "not inf"),
    ("lease_usd = 1e400", 1, "not 1e400"),
    ("lease_usd = '0'", 1, 'from 0.01 to 1000000, not "0"'),
    ("lease_usd = '1000000.01'", 1, "from 0.01 to 1000000"),
    ("lease_usd = '-1'", 1, 'not "-1"'),
    ("lease_usd = '1e3'", 1, 'lease_usd must be dollars as a decimal string such as "12.50"'),
    ("lease_usd = false", 1, "not false"),
    ("host = 'http://x'", 1, 'such as "127.0.0.1", "0.0.0.0" or "::"'),
    ("host = ''", 1, "the address to listen on"),
    ("database_url = 'books.db'", 1, 'write "sqlite:///books.db"'),
    ("database_url = 'sqlite://books.db'", 1, 'three slashes before the file: "sqlite:///books.db"'),
    ("database_url = 'sqlite:///:memory:'", 1, "must name a file"),
    ("database_url = 'sqlite://'", 1, "must name a file"),
    ("database_url = 'mysql://db/x'", 1, 'not one that starts with "mysql"'),
    ("database_url = 'postgres://db/x'", 1, 'must start with "postgresql://"'),
    ("database_url = 7", 1, "must be a database URL"),
    ("clock = 'manuel'", 1, '"system" or "manual", not "manuel"; did you mean "manual"?'),
    ("billing_mode = 'free'", 1, '"postpaid", "prepaid" or "contract", not "free"'),
    ('mail_url = "mail.example.com"', 1, 'such as "smtp://mail.example.com:587"'),
    ('mail_url = "smtp://mail.example.com:99999"', 1, "its host or port is wrong"),
    ('mail_url = "file://tmp"', 1, 'or "file:///var/mail/purser"'),
    ('public_url = "billing.example.com"', 1, 'such as "https://billing.example.com"'),
    ('public_url = "https://billing.example.com/purser"', 1, 'not "https://billing.example.com/purser"'),
    ('public_url = "https://me@billing.example.com"', 1, 'such as "https://billing.example.com"'),
    ('public_url = "https://billing.example.com:0"', 1, 'such as "https://billing.example.com"'),
    ('public_url = "https://billing.example.com:x"', 1, 'such as "https://billing.example.com"'),
    ("public_url = 7", 1, 'such as "https://billing.example.com"'),
    ('oidc_issuer = "http://login.example.com"', 1, 'such as "https://login.example.com"'),
    ('oidc_issuer = "https://login.example.com?a=1"', 1, "must be the https address"),
    ('mail_from = "billing"', 1, 'must be an address, such as "billing@example.com"'),
    ('mail_from = "a@b, eve@example.com"', 1, 'must be an address, such as "billing@example.com"'),
    ('mail_from = "Billing <a@[>"', 1, 'must be an address, such as "billing@example.com"'),
    ('mail_from = "a@b, Billing <billing@example.com>"', 1, 'must be an address, such as "billing@example.com"'),
    ("payment_provider = 'stripe'", 1, 'must be "test", not "stripe"'),
    ("\nclock_start = 2026-03-01T00:00:00Z", 2, 'clock_start is for clock = "manual"'),
    ("prepaid_from = 'soon'", 1, 'an RFC 3339 time such as "2026-03-01T09:00:00Z"'),
    ("prepaid_from = 2026", 1, "not 2026"),
    ("prepaid_from = 0001-01-01", 1, "an RFC 3339 time"),
    ("cached_is_input = 'true'", 1, 'must be true or false, not "true"; write true without quotes'),
    ("cached_is_input = 1", 1, "must be true or false, not 1"),
    ("dunning_days = [1, 0]", 1, "entry 2 of dunning_days must be a whole number from 1 to 365, not 0"),
    ("dunning_days = [3, 1]", 1, "dunning_days must rise; right is [1, 3]"),
    ("dunning_days = [1, 1]", 1, "the same entry twice"),
    ("dunning_days = 3", 1, "a rising list of days, such as [1, 3, 5, 7], not 3"),
    ("trusted_proxies = ['10.0.0.1/8']", 1, 'an address or network such as "10.0.0.0/8", not "10.0.0.1/8"'),
    ("rate_limits = 5", 1, "rate_limits is a table: write [rate_limits]"),
    ("[rate_limits]\nrequests_per_minute = 0", 2, "from 1 to 1000000, not 0"),
    ("tiers = 3", 1, "write [[tiers]], in two brackets"),
    ("[[tiers]]\nspend_usd = '0'", 1, "limit_usd of tier 1 is missing"),
    ("[[tiers]]\nspend_usd = '1'\nlimit_usd = '50'", 2, 'spend_usd of tier 1 must be "0"'),
    ("[[tiers]]\nspend_usd = '0'\nlimit_usd = '50.50'", 3, 'whole dollars in quotes such as "50"'),
    ("tiers = [\n {spend_usd='0',limit_usd='9'},\n {spend_usd='5',limit_usd='9'}]", 1, "tier 2 must have more"),
    ("\n[models]\nname = 'tiny'", 2, "write [[models]], in two brackets"),
    ("models = ['tiny']", 1, "write [[models]], in two brackets"),
    ("[[models]]\nname = 'a'\nupstream = 'http://h/v1'", 1, 'context_tokens of model "a" is missing'),
    ("[[models]]\nupstream = 'http://h/v1'\ncontext_tokens = 9", 1, "name of model 1 is missing: what customers call"),
    (TINY.replace('"tiny"', "7"), 2, 'name of model 1 must be text of 1 to 200 characters, not 7; write "7" in quotes'),
    (TINY.replace("tiny", " tiny"), 2, 'not " tiny"'),
    (TINY + "\n" + TINY, 7, 'model "tiny" is there twice, first in line 1'),
    (TINY.replace("4096", "0"), 4, "from 1 to 100000000, not 0"),
    (TINY + "max_output_tokens = 4097", 5, 'max_output_tokens of model "tiny" must be at most context_tokens, 4096'),
    (TINY + "engine = 'vlm'", 5, 'did you mean "vllm"?'),
    (TINY + "fit = 'no'", 5, '"fit" or "refuse", not "no"'),
    (TINY + "upstreams = []", 5, "is not a key of [[models]]; did you mean upstream?"),
    (TINY.replace("http://127.0.0.1", "127.0.0.1"), 3, 'write "http://127.0.0.1:8000/v1"'),
    (TINY.replace("http:", "ftp:"), 3, "the base URL of a model server, such as"),
    (TINY.replace("8000", "80000"), 3, "its host or port is wrong"),
    (TINY.replace("8000", "0"), 3, "its port must be from 1 to 65535"),
    (TINY.replace("127.0.0.1:8000", "[::1"), 3, "its host or port is wrong"),
    (TINY.replace("/v1", "/v1?x=1"), 3, "leave out what follows ? or #"),
    (TINY.replace("/v1", "/v1/chat/completions"), 3, 'leave the route out: "http://127.0.0.1:8000/v1"'),
    (TINY.replace('"http', '["http').replace('v1"', 'v1", 5]'), 3, 'entry 2 of upstream of model "tiny" must be'),
    (TINY.replace('"http://127.0.0.1:8000/v1"', "[]"), 3, "a URL, or a list of them, not an empty list"),
    (TINY + "upstream_key = 'env:NOT_SET'", 5, "variable NOT_SET, which upstream_key names, is not set"),
    (TINY + "upstream_key = 'env:EMPTY'", 5, "the variable EMPTY must have 1 or more characters"),
    (TINY + "upstream_key = 'env:LINES'", 5, "the variable LINES must be ASCII without spaces and line ends"),
    (TINY + "price = 0.95", 5, 'a table such as { input = "0.95", cached_input = "0.16", output = "4.00" }, not 0.95'),
    (TINY + "price = { input = 0.95, output = '4' }", 5, 'input of price of model "tiny" must be dollars in quotes'),
    (TINY + "price = { input = 0.95, output = '4' }", 5, 'write "0.95" in quotes'),
    (TINY + "price = { outptu = '1' }", 5, 'has no "outptu"; did you mean output?'),
    (TINY + "price = { input = '1' }", 5, "price.output is missing"),
    (TINY + "price = { image = '0.04', audio_input = '1', output = '2' }", 5, "price.input is missing"),
    (TINY + "[models.price]\nimage = '0.04'\ngpu_hour = '-1'", 7, "price.gpu_hour must not be negative"),
    (TINY + "[models.price]\ninput = '1'\noutput = '-4'", 7, "price.output must not be negative"),
    (TINY + "[models.price]\n\ninput = 1.5\noutput = '4'", 5, 'write "1.5" in quotes'),
]


@pytest.mark.parametrize("text, line, says", WRONG)
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(
    text: str, line: int, says: str, tmp_path: Path
) -> None:
    (mistake,) = mistakes(tmp_path, text, {"EMPTY": "", "LINES": "a\nb"}, serving="upstream_key" in text)
    assert mistake.startswith(f"purser.toml:{line}: "), mistake
    assert says in mistake


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "workers = 0\nprot = 1\n[rate_limits]\nrequests_per_minute = 0\n" + TINY + "fit = 'x'\nprice = 1\n" + TINY
    found = mistakes(tmp_path, text, {"PURSER_PORT": "x"}, {"clock": "x"})
    assert [mistake.split()[0] for mistake in found] == [
        "PURSER_PORT",
        "--clock",
        *[f"purser.toml:{line}:" for line in (1, 2, 4, 9, 10, 12)],
    ]


# (the environment, the options, what is said)
OUTSIDE: list[tuple[dict[str, str], dict[str, object], str]] = [
    ({"PURSER_PORT": "http"}, {}, 'PURSER_PORT must be a whole number from 0 to 65535, not "http"'),
    ({"PURSER_PORT": "9" * 30}, {}, "PURSER_PORT must be a whole number from 0 to 65535"),
    ({"PURSER_PORT": "tcp://10.0.0.7:80"}, {}, "set by Kubernetes for a service named purser"),
    ({"PURSER_HOST": ""}, {}, "PURSER_HOST is set but empty"),
    ({"PURSER_CACHED_IS_INPUT": "yes"}, {}, 'PURSER_CACHED_IS_INPUT must be true or false, not "yes"'),
    ({"PURSER_DATABSE_URL": "x"}, {}, "PURSER_DATABSE_URL is not known; did you mean PURSER_DATABASE_URL?"),
    (
        {"PURSER_DUNNING_DAYS": "1,x"},
        {},
        'entry 2 of PURSER_DUNNING_DAYS must be a whole number from 1 to 365, not "x"',
    ),
    ({"PURSER_OPERATOR_KEY": "x" * 31}, {}, "PURSER_OPERATOR_KEY must have 32 or more characters"),
    ({"PURSER_OPERATOR_KEY": "x" * 32 + "\n"}, {}, "PURSER_OPERATOR_KEY must be ASCII without spaces and line ends"),
    ({}, {"port": 70_000}, "--port must be a whole number from 0 to 65535, not 70000"),
    ({}, {"lease_usd": 0.5}, '--lease-usd must be dollars in quotes such as "50"'),
    ({}, {"models[].name": "x"}, "models[].name is not a setting that can be given here"),
]


@pytest.mark.parametrize("environment, options, says", OUTSIDE)
def test_a_mistake_outside_the_file_is_told_with_the_name_of_its_source(
    environment: dict[str, str], options: dict[str, object], says: str, tmp_path: Path
) -> None:
    (mistake,) = mistakes(tmp_path, "", environment, options)
    assert says in mistake
    assert not mistake.startswith("purser.toml")


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    ours = "PURSER_CONFIG PURSER_ACCOUNT PURSER_API_KEY PURSER_PROFILE PURSER_URL"
    injected = "PURSER_SERVICE_HOST PURSER_SERVICE_PORT PURSER_PORT_8080_TCP PURSER_PORT_8080_TCP_ADDR"
    others = dict.fromkeys(f"{ours} {injected}".split(), "x")
    assert settings(tmp_path, "", others).port == 8080


def test_serving_needs_a_model_and_what_does_not_serve_needs_none_nor_a_key(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, "", serving=True)
    assert "purser.toml has no model to serve: add a [[models]] entry with name, upstream and context_tokens" in mistake
    with pytest.raises(SettingsError, match=r"no purser.toml here, so no model to serve: `purser init` writes one"):
        load(None, {})
    (model,) = settings(tmp_path, TINY + "upstream_key = 'env:NOT_SET'").models
    assert model.upstream_key is None


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    environment = {
        "VLLM_KEY": SECRET,
        "PURSER_OPERATOR_KEY": SECRET,
        "PURSER_DATABASE_URL": f"postgresql://u:{SECRET}@h/d",
    }
    assert SECRET not in repr(settings(tmp_path, EXAMPLE, environment, serving=True))
    for text in (
        TINY + f"upstream_key = '{SECRET}'",
        TINY.replace("http://", f"http://u:{SECRET}@"),
        TINY.replace("http://", f"http://u:{SECRET} @"),
        f"operator_key = '{SECRET}'",
        f"database_url = 'mysql://u:{SECRET}@h/d'",
        f"database_url = 'u:{SECRET}@h/d'",
    ):
        (mistake,) = mistakes(tmp_path, text)
        assert SECRET not in mistake
    (mistake,) = mistakes(tmp_path, "", {"PURSER_OPERATOR_KEY": f"{SECRET} "})
    assert SECRET not in mistake


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────
UNREADABLE: list[tuple[bytes, str]] = [
    (b"port = 1\n\nhost = 'caf\xe9'\n", "purser.toml:3: the byte 0xe9 is not UTF-8; save the file as UTF-8"),
    (b"port = 1\nhost = \n", "purser.toml:2: not valid TOML: invalid value (column 8)"),
    (b"port = 1\nport = 2\n", "purser.toml:2: not valid TOML: cannot overwrite a value"),
    (b"a = 1\nb = [1,\n\n", "purser.toml:2: not valid TOML: "),
    (b"port = " + b"9" * 5000, "purser.toml:1: not valid TOML: exceeds the limit"),
    (b"x = " + b"[" * 5000, "purser.toml: not valid TOML: too many brackets inside one another"),
]


@pytest.mark.parametrize("raw, says", UNREADABLE)
def test_a_file_that_is_not_toml_is_told_with_its_line(raw: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "purser.toml"
    file.write_bytes(raw)
    with pytest.raises(SettingsError, match=re.escape(says)):
        load(file, {})


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.toml does not exist: `purser init` writes one"):
        load(tmp_path / "gone.toml", {})
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "purser.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 81\r\nworkers = 0\r\n")
    with pytest.raises(SettingsError, match=r"purser.toml:2: workers must be"):
        load(file, {})


def test_lines_are_found_past_texts_comments_and_nesting(tmp_path: Path) -> None:
    text = (
        'a = """\nb = 1\n[[models]]\n"""\n'  # 1
        "# [[models]]\n"  # 5
        "'b' = '''x\n'''\n"  # 6
        "c.d = [\n  1,\n  { e = 1 },\n]\n"  # 8
        "[[models]] # one\n"  # 12
        'name = "x = 1 # y"\n'  # 13
        'price = { input = 1, "output" = 2 }\n'  # 14
        "[[models]]\n"  # 15
        "price.input = 1.50\n"  # 16
        '[ table . "sub" ]\n'  # 17
        "f = 1\n"  # 18
    )
    file = tmp_path / "any.toml"
    file.write_text(text)
    document, lines = read(file)
    assert document["models"][1]["price"] == {"input": Unquoted("1.50")}
    assert lines == {
        ("a",): 1,
        ("b",): 6,
        ("c",): 8,
        ("c", "d"): 8,
        ("models",): 12,
        ("models", 0): 12,
        ("models", 0, "name"): 13,
        ("models", 0, "price"): 14,
        ("models", 0, "price", "input"): 14,
        ("models", 0, "price", "output"): 14,
        ("models", 1): 15,
        ("models", 1, "price"): 16,
        ("models", 1, "price", "input"): 16,
        ("table", "sub"): 17,
        ("table", "sub", "f"): 18,
    }


def expect_told(error: SettingsError) -> None:
    assert error.mistakes
    assert all(mistake in str(error) for mistake in error.mistakes)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["env:A", "http://h", "1.5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("input"), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([key.path for key in KEYS]), ANY, max_size=4),
    st.lists(st.dictionaries(st.sampled_from([*keys_of("models"), "spend_usd", "other"]), ANY), max_size=2),
)
def test_whatever_is_given_is_either_taken_or_told(options: dict[str, object], entries: list[object]) -> None:
    try:
        found = load(None, {}, options | {"models": entries, "tiers": entries[:1]}, serving=False)
    except SettingsError as error:
        expect_told(error)
    else:
        assert found.policy().tiers


@given(st.binary(max_size=60))
def test_whatever_a_file_holds_is_either_taken_or_told(raw: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "purser.toml"
        file.write_bytes(raw)
        try:
            assert load(file, {}, serving=False).port
        except SettingsError as error:
            expect_told(error)


# ── the file that is found, the file that is written, and the page ───────────────────────────────────────────────
def test_the_file_named_wins_then_the_variable_then_the_one_that_is_there(tmp_path: Path) -> None:
    here = tmp_path / "purser.toml"
    assert find_config(None, {}, tmp_path) is None
    here.touch()
    assert find_config(None, {}, tmp_path) == here
    assert find_config(None, {"PURSER_CONFIG": "other.toml"}, tmp_path) == Path("other.toml")
    assert find_config(Path("named.toml"), {"PURSER_CONFIG": "other.toml"}, tmp_path) == Path("named.toml")


def test_the_starter_file_loads_back_with_its_model(tmp_path: Path) -> None:
    found = settings(tmp_path, render_default(port=8181), serving=True)
    (model,) = found.models
    assert (model.name, model.engine, model.upstreams) == ("qwen3-8b", "vllm", ("http://127.0.0.1:8000/v1",))
    assert model.price == {"input": "0.20", "cached_input": "0.10", "output": "0.80"}
    assert dataclasses.replace(found, models=(), database_url="", port=8080) == dataclasses.replace(
        load(None, {}, serving=False), database_url=""
    )


def test_the_starter_file_shows_every_default_as_it_is(tmp_path: Path) -> None:
    as_written = settings(tmp_path, render_default())
    uncommented = re.sub(r"^# (?=\w+ = )", "", render_default(), flags=re.MULTILINE)
    shown = settings(tmp_path, uncommented, {"VLLM_KEY": SECRET}, {"clock": "manual"}, serving=True)
    assert shown.models[0].upstream_key == SECRET
    assert shown.clock_start_at is not None
    limits: Any = dict.fromkeys(name for name in SAMPLES if name.endswith("_per_minute"))
    assert dataclasses.replace(
        shown,
        models=(),
        clock="system",
        clock_start_at=None,
        prepaid_from_at=None,
        mail_url=None,
        public_url=None,
        oidc_issuer=None,
        **limits,
    ) == (dataclasses.replace(as_written, models=()))
    for key in KEYS:
        if key.table not in REPEATED and key.in_file:
            assert re.search(rf"^(# )?{key.name} = ", render_default(), re.MULTILINE), key.name


def test_the_page_holds_the_table_that_the_code_writes() -> None:
    page = PAGE.read_text()
    _, _, rest = page.partition("<!-- keys: begin (python -m purser.settings writes them, do not edit) -->\n")
    table, mark, _ = rest.partition("<!-- keys: end -->\n")
    assert mark
    assert table == reference(), "put what `python -m purser.settings` prints between the page's two markers"
    for key in KEYS:
        assert key.path in table
    run = subprocess.run(
        [sys.executable, "-m", "purser.settings"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout == table


def test_the_examples_on_the_page_load(tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        assert settings(tmp_path, example, {"VLLM_KEY": SECRET}).models


def test_the_mistakes_shown_on_the_page_are_the_ones_told(tmp_path: Path) -> None:
    shown = re.search(r"^```text\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    text = 'prot = 8081\nlease_usd = 0.50\n\n[[models]]\nname = "tiny"\nupstream = "127.0.0.1:8000/v1"\n'
    assert [line.strip() for line in shown[1].splitlines()[1:]] == mistakes(tmp_path, text)


def test_defaults_are_written_as_toml() -> None:
    for key in KEYS:
        if isinstance(key.default, str):
            assert f"`{json.dumps(key.default)}`" in reference()
