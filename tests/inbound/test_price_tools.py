"""Prices in files: checked, compared, published and imported (P1, P8)."""

from __future__ import annotations

import csv
import json
import sys
import tomllib
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from purser.core.money import format_usd, parse_usd
from purser.core.pricebook import check_price
from purser.inbound.cli import price_files, price_sources
from purser.inbound.cli.failure import Failure
from purser.inbound.cli.prices import _percent
from tests.inbound.house import OPERATOR_KEY, House
from tests.inbound.terminal import Terminal

LITELLM = Path(__file__).parent / "prices" / "litellm.json"
NOW = 1_790_000_000_000_000  # 2026-09-21
GOOD = """
effective_at = "2026-04-01T00:00:00Z"

[models.tiny]
input = "0.25"
output = "0.80"

[models."org/omni"]
input = "5"
output = "25"
audio_input = "32"
image = "0.04"
priority = "1.5"
"""
WRONG = """effective_at = "soon"
colour = "red"
[models.tiny]
input = 0.20
ouput = "1"

[models."org/big"]
image = "x"
gpu_hour = "-1"
[models]
small = 7
large.output = 5
"""
# (line, field, what is said)
MISTAKES = [
    (1, "effective_at", "RFC 3339"),
    (2, "colour", "is not known here"),
    (3, "models.tiny.output", "models.tiny.output is missing"),
    (4, "models.tiny.input", 'write "0.20" in quotes'),
    (5, "models.tiny.ouput", "is not a price; known: input, cached_input"),
    (8, "models.org/big.image", "dollars as a decimal string"),
    (9, "models.org/big.gpu_hour", "must not be negative"),
    (11, "models.small", "must be a table of prices, not 7"),
    (12, "models.large.output", 'write "5" in quotes'),
    (12, "models.large.input", "is missing"),
]


@pytest.fixture
def operator(house: House, tmp_path: Path) -> Terminal:
    """The operator's terminal."""
    url = f"http://127.0.0.1:{house.operator.port}"
    return Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=OPERATOR_KEY, COLUMNS=140)


def written(folder: Path, text: str, name: str = "prices.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


# ── check ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_file_is_checked_without_calling_anybody(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    file = written(tmp_path, GOOD)
    assert terminal.run("prices", "check", file).stderr == f"{file}: 2 models, nothing wrong.\n"
    assert terminal.json("prices", "check", file) == {"models": 2, "mistakes": []}


def test_all_that_is_wrong_with_a_file_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    file = written(tmp_path, WRONG)
    done = terminal.run("prices", "check", file)
    assert done.code == 1
    lines = done.stderr.splitlines()
    assert len(lines) == len(MISTAKES), "P1"
    for line, (number, _, says) in zip(lines, MISTAKES, strict=True):
        assert f"{file}:{number}: " in line
        assert says in line
    told = terminal.run("prices", "check", file, "-o", "json")
    assert told.code == 1
    assert [(one["line"], one["field"]) for one in told.json["mistakes"]] == [row[:2] for row in MISTAKES]


# (name, text, what is said)
UNREADABLE = [
    ("prices.toml", "[models", ":1: not valid TOML"),
    ("prices.json", '{"models": {', ":1: not valid JSON"),
    ("prices.json", '{"models": {"a": {"input": "1", "input": "2", "output": "1"}}}', "'input' is given twice"),
    ("prices.json", "[1]", "must hold an object"),
    ("prices.json", "[" * 100_000, "too many brackets"),
    ("prices.json", '{"models": {}}', "it has no models"),
    ("prices.json", '{"models": {"a": {"input": 0.20, "output": 1}}}', 'write "0.20" in quotes'),
    ("prices.json", '{"models": {"a": {"input": NaN, "output": "1"}}}', "models.a.input must be dollars in quotes"),
    ("prices.json", '{"models": {"a": {"input": null, "output": "1"}}}', "dollars in quotes, not None"),
    ("prices.json", '{"models": {"a": {"input": true, "output": "1"}}}', "dollars in quotes, not True"),
    ("prices.json", '{"models": {"": {"input": "1", "output": "1"}}}', "1 to 200 characters"),
    ("prices.json", '{"models": {"a": []}}', "must be a table of prices, not []"),
    ("prices.json", '{"models": {"a": {"image": "1"}}, "effectiveAt": 5}', "RFC 3339"),
    (
        "prices.json",
        '{"models": {"a": {"image": "1"}}, "effectiveAt": "2026-04-01", "effective_at": "2026-04-01"}',
        "twice",
    ),
    ("prices.toml", 'effective_at = "2026-04-01"', "it has no models"),
]


@pytest.mark.parametrize(("name", "text", "says"), UNREADABLE)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(Failure) as failed:
        price_files.read_sound(written(tmp_path, text, name))
    assert says in failed.value.says


def test_a_file_that_is_not_there_or_no_text_says_so(tmp_path: Path) -> None:
    for name in ("none.toml", "none.json"):
        with pytest.raises(Failure, match=f"{name} (does not exist|cannot be read)"):
            price_files.read(tmp_path / name)
    for name in ("odd.toml", "odd.json"):
        (tmp_path / name).write_bytes(b'{"models": "\xff"}')
        with pytest.raises(Failure, match="UTF-8"):
            price_files.read(tmp_path / name)


def test_json_and_times_of_toml_are_read_alike(tmp_path: Path) -> None:
    document = {"effectiveAt": "2026-04-01T00:00:00+00:00", "models": {"flux": {"image": "0.04"}}}
    found = price_files.read_sound(written(tmp_path, json.dumps(document), "prices.JSON"))
    assert found.body() == document
    toml = 'effective_at = 2026-04-01T00:00:00Z\nmodels.flux = { image = "0.04" }'
    assert price_files.read_sound(written(tmp_path, toml)).body() == document
    assert found.body("2026-05-01")["effectiveAt"] == "2026-05-01", "what is said on the command line counts"


ODD = {"a b\"c'd\\e": {"input": "1.00", "output": "2.00", "priority": "1.25"}, "é/ß:1": {"gpu_hour": "3.89"}}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    text = price_files.write(ODD, "Prices.\n\nLook through them.")
    assert tomllib.loads(text) == {"models": ODD}
    assert price_files.read_sound(written(tmp_path, text)).models == ODD


# ── publish and diff ─────────────────────────────────────────────────────────────────────────────────────────────
def test_a_file_is_published_whole_and_what_it_changes_is_shown_first(operator: Terminal, house: House) -> None:
    file = written(operator.folder, GOOD)
    changes = operator.json("prices", "diff", file)
    assert changes == {
        "before": 1,
        "after": 2,
        "changes": [
            change("org/omni", "input", "1M", None, "5.00"),
            change("org/omni", "cached_input", "1M", None, "2.50"),
            change("org/omni", "output", "1M", None, "25.00"),
            change("org/omni", "audio_input", "1M", None, "32.00"),
            change("org/omni", "image", "image", None, "0.04"),
            {**change("org/omni", "priority", "", None, "1.50"), "per": "×"},
            change("tiny", "input", "1M", "0.20", "0.25", "+25.0 %"),
            change("tiny", "cached_input", "1M", "0.10", "0.125", "+25.0 %"),
        ],
    }
    assert operator.json("prices", "show")["version"] == 1, "nothing is published by looking"
    tried = operator.run("prices", "publish", file, "--dry-run")
    assert "nothing was changed" in tried.stderr.lower()
    assert operator.json("prices", "publish", file)["effectiveAt"] == "2026-04-01T00:00:00Z"
    assert operator.json("prices", "show")["models"]["tiny"]["input"] == "0.20", "not yet in force"
    assert operator.json("prices", "diff", 2)["changes"] == changes["changes"]
    assert operator.json("prices", "diff", 1, 2)["changes"][-1]["change"] == "−20.0 %"
    again = operator.run("prices", "diff", file, 2)
    assert (again.stdout, again.stderr) == ("", "Nothing differs from version 2.\n")
    assert operator.run("prices", "diff", 7).code == 5
    assert operator.run("prices", "diff", "1", "7").code == 5
    table = operator.run("prices", "diff", "2")
    assert "+25.0 %" in table.stdout
    assert "$0.125" in table.stdout
    assert table.stderr == "Dollars; from version 1 to 2.\n"
    rows = list(csv.DictReader(operator.ok("prices", "diff", "2", "-o", "csv").splitlines()))
    assert rows[-1] == {
        "model": "tiny",
        "price": "cached_input",
        "per": "/ 1M",
        "before": "0.10",
        "after": "0.125",
        "change": "+25.0 %",
    }
    house.advance("2026-04-01T00:00:00Z")
    shown = operator.ok("prices", "show")
    assert "AUDIO INPUT" in shown
    assert "PER IMAGE" in shown
    assert "GPU" not in shown, "a column for what some model is priced by"
    first = operator.json("prices", "diff", "1")
    assert {row["model"] for row in first["changes"]} == {"tiny", "dollar"}, "there was nothing before"
    assert operator.json("prices", "diff")["after"] == 2


def change(
    model: str, price: str, per: str, before: str | None, after: str | None, change: str | None = None
) -> dict[str, Any]:
    return {
        "model": model,
        "price": price,
        "per": f"/ {per}",
        "before": before,
        "after": after,
        "change": change,
    }


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("0.20", "0.25", "+25.0 %"),
        ("3", "2", "−33.3 %"),
        ("3", "4", "+33.3 %"),
        ("1", "1.0005", "+0.1 %"),
        ("1", "1.0004", "+0.0 %"),
        ("1", "0", "−100.0 %"),
        ("0", "1", None),
        (None, "1", None),
        ("1", None, None),
    ],
)
def test_a_change_in_percent(before: str | None, after: str | None, said: str | None) -> None:
    assert _percent(before, after) == said


# (what is given, exit code, what is said)
REFUSED = [
    (["publish"], 2, "give either a FILE"),
    (["publish", "prices.toml", "--model", "tiny"], 2, "give either a FILE"),
    (["publish", "prices.toml", "--image", "1"], 2, "give either a FILE"),
    (["publish", "--model", "tiny", "--input", "1"], 2, "prices.tiny.output is missing"),
    (["publish", "--model", "tiny", "--image", "-1"], 2, "prices.tiny.image must not be negative"),
    (["publish", "prices.toml", "--effective-at", "2026-02-01"], 2, "effectiveAt lies in the past"),
    (["publish", "wrong.toml"], 1, "wrong.toml:1: models.a.output is missing"),
    (["diff", "wrong.toml"], 1, "wrong.toml:1: models.a.output is missing"),
    (["import", "--from", "litellm"], 2, "needs a FILE"),
    (["import", "--from", "genai-prices"], 2, "needs --provider"),
    (["import", "prices.toml", "--from", "genai-prices", "--provider", "fireworks"], 2, "and no FILE"),
    (["import", "--from", "genai-prices", "--provider", "nobody"], 2, "no provider of genai-prices"),
    (["import", "--from", "genai-prices", "--provider", "fireworks", "--model", "none"], 2, "has no model 'none'"),
    (["import", "none.json", "--from", "litellm"], 1, "none.json cannot be read"),
    (["import", "{litellm}", "--from", "litellm", "--model", "none"], 2, "has no model 'none'"),
    (
        ["import", "{litellm}", "--from", "litellm", "--model", "other/long", "--publish"],
        1,
        "there is no price to publish",
    ),
]


@pytest.mark.parametrize(("given", "code", "says"), REFUSED)
def test_what_cannot_be_published_is_refused(operator: Terminal, given: Sequence[str], code: int, says: str) -> None:
    written(operator.folder, GOOD)
    written(operator.folder, 'models.a = { input = "1" }', "wrong.toml")
    done = operator.run("prices", *(word.format(litellm=LITELLM) for word in given))
    assert (done.code, done.stdout) == (code, "")
    assert says in done.stderr
    assert operator.json("prices", "show")["version"] == 1


def test_one_model_is_published_by_options(operator: Terminal) -> None:
    operator.ok("prices", "publish", "--model", "NVIDIA_H100_80GB", "--gpu-hour", "3.89")
    options = (
        "--input",
        "5",
        "--output",
        "25",
        "--cache-write-5m",
        "6.25",
        "--audio-output",
        "64",
        "--priority",
        "1.5",
    )
    models = operator.json("prices", "publish", "--model", "omni", *options)["models"]
    assert models["NVIDIA_H100_80GB"] == {"gpu_hour": "3.89"}
    expected = {"input": "5.00", "cached_input": "2.50", "output": "25.00", "cache_write_5m": "6.25"}
    assert models["omni"] == {**expected, "audio_output": "64.00", "priority": "1.50"}
    shown = list(csv.DictReader(operator.ok("prices", "show", "-o", "csv").splitlines()))
    assert {row["model"]: row["gpu_hour"] for row in shown}["NVIDIA_H100_80GB"] == "3.89"
    assert [*shown[0]][:4] == ["model", "input", "cached_input", "output"]


# ── import ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_prices_of_a_provider_are_taken_over_from_the_package(operator: Terminal) -> None:
    printed = operator.run("prices", "import", "--from", "genai-prices", "--provider", "fireworks")
    assert printed.code == 0
    assert printed.stdout.startswith("# Prices of fireworks in genai-prices.\n")
    models = tomllib.loads(printed.stdout)["models"]
    assert models["deepseek-v3p2"] == {"input": "0.56", "cached_input": "0.28", "output": "1.68"}
    assert len(models) > 20
    file = written(operator.folder, printed.stdout)
    assert operator.json("prices", "check", file) == {"models": len(models), "mistakes": []}
    whole = "accounts/fireworks/models/deepseek-v3p2"
    published = operator.json(
        *("prices", "import", "--from", "genai-prices", "--provider", "fireworks", "--model", whole, "--publish"),
        *("--effective-at", "2026-04-01"),
    )
    assert published["models"][whole] == models["deepseek-v3p2"], "by whatever name the package knows it"
    assert published["effectiveAt"] == "2026-04-01T00:00:00Z"


def test_every_price_in_the_package_is_taken_over_exactly_or_listed() -> None:
    from genai_prices.data import providers

    taken = listed = 0
    for provider in providers:
        found = price_sources.from_genai(provider.id, (), NOW)
        left = {(one.model, one.price) for one in found.left_out}
        for model in provider.models:
            price = found.models.get(model.id)
            if price is None:
                assert any(name == model.id for name, _ in left), model.id
                listed += 1
                continue
            assert check_price(model.id, price) == []
            taken += 1
            if not isinstance(model.prices, list):
                for key, value in vars(model.prices).items():
                    if value is not None and value and (model.id, key) not in left:
                        name, scale = price_sources._GENAI[key]
                        assert Fraction(parse_usd(price[name]), 10**9) == Fraction(value) * scale, "exact, P1"
    assert taken > 1_000
    assert listed > 50


def test_prices_that_depend_on_more_than_we_price_by_are_left_out_with_the_reason() -> None:
    reasons = {one.model: one.reason for one in price_sources.from_genai("deepseek", (), NOW).left_out}
    assert reasons["deepseek-reasoner"] == "its price depends on the time of day"
    found = price_sources.from_genai("perplexity", ["sonar"], NOW)
    assert ("sonar", "requests_kcount") in {(one.model, one.price) for one in found.left_out}
    assert found.models["sonar"]["input"] == "1.00"
    whisper = price_sources.from_genai("groq", ["whisper-large-v3"], NOW)
    assert whisper.models == {"whisper-large-v3": {"audio_minute": "0.00185"}}, "0.111 an hour"
    before = price_sources.from_genai("anthropic", ["claude-sonnet-4-6"], 1_767_225_600_000_000)
    assert ("claude-sonnet-4-6", "from 2026-03-13") in {(one.model, one.price) for one in before.left_out}
    assert before.models == {}, "until then it depended on how long the prompt is"
    after = price_sources.from_genai("anthropic", ["claude-sonnet-4-6"], NOW)
    price = after.models["claude-sonnet-4-6"]
    assert (price["cache_write_5m"], price["cache_write_1h"]) == ("3.75", "6.00")


def test_prices_in_a_batch_and_with_priority_are_taken_over_where_they_are_ours() -> None:
    from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, PriceVariant, Provider

    def imported(when: dict[str, str], **prices: str) -> price_sources.Found:
        variant = PriceVariant(when=when, prices=ModelPrice(**{key: Decimal(value) for key, value in prices.items()}))
        standard = ModelPrice(input_mtok=Decimal("1.25"), output_mtok=Decimal(10), web_searches_kcount=Decimal(0))
        model = ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=standard, price_variants=[variant])
        found = price_sources.Found()
        price_sources._take_genai(found, "m", Provider(id="p", name="P", api_pattern="", models=[model]).models[0], NOW)
        return found

    batch, priority = {"processing": "batch"}, {"service_tier": "priority"}
    assert imported(batch, input_mtok="0.625", output_mtok="5").left_out == []
    assert imported({"service_tier": "default"}, input_mtok="1.25", output_mtok="10").left_out == []
    assert imported(priority, input_mtok="2.5", output_mtok="20").models["m"]["priority"] == "2.00"
    for when, prices in (
        (batch, {"input_mtok": "0.625"}),
        (batch, {"input_mtok": "0.625", "output_mtok": "6"}),
        (priority, {"input_mtok": "2.5", "output_mtok": "30"}),
        (priority, {"input_mtok": "2.5", "output_mtok": "20", "web_searches_kcount": "1"}),
        ({"service_tier": "flex"}, {"input_mtok": "0.625", "output_mtok": "5"}),
    ):
        found = imported(when, **prices)
        assert [one.model for one in found.left_out] == ["m"], (when, prices)
        assert found.models["m"] == {"input": "1.25", "output": "10.00"}


def test_without_the_package_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    with pytest.raises(Failure, match="not installed") as failed:
        price_sources.from_genai("fireworks", (), NOW)
    assert failed.value.then == 'pip install "purser[prices]"'


TAKEN = {
    "plain/chat": {"input": "0.56", "cached_input": "0.028", "output": "1.68"},
    "plain/tenth": {"input": "0.10", "output": "0.30", "priority": "1.75"},
    "plain/uneven": {"input": "1.00", "cached_input": "0.10", "output": "2.00"},
    "plain/embedding": {"input": "0.02", "output": "0.00"},
    "other/caching": {
        "input": "5.00",
        "cached_input": "0.50",
        "output": "25.00",
        "cache_write_5m": "6.25",
        "cache_write_1h": "10.00",
        "audio_input": "32.00",
        "audio_output": "64.00",
        "image_input": "8.00",
        "image_output": "40.00",
    },
    "other/writing": {"input": "1.00", "output": "2.00", "cache_write_5m": "1.25", "cache_write_1h": "1.25"},
    "other/pictures": {"image": "0.04"},
    "other/hearing": {"audio_minute": "0.006"},
    "other/listening": {"audio_minute": "0.0015"},
    "other/unpaid": {"audio_minute": "0.00"},
    "other/sorting": {"input": "0.00", "output": "0.00", "search": "0.002"},
    "other/hosted": None,
}
LEFT_OUT = [
    ("plain/uneven", "output_cost_per_token_batches", "in a batch all tokens cost half here"),
    ("plain/uneven", "search_context_cost_per_query", "it is no number"),
    ("plain/uneven", "priority", "it does not multiply every price alike"),
    ("other/long", None, "its price depends on how long the prompt is (input_cost_per_token_above_200k_tokens)"),
    ("other/tiered", None, "its price depends on how long the prompt is (tiered_pricing)"),
    ("other/nightly", None, "its price depends on the time of day"),
    ("other/hosted", "input_cost_per_second", "there is no such unit here"),
    ("other/hosted", None, "it has no price that could be taken over"),
    ("other/pixels", "input_cost_per_pixel", "there is no such unit here"),
    ("other/pixels", None, "it has no price that could be taken over"),
    ("other/fine", "input", "its dollars are negative or have more than nine decimals"),
    ("other/free", None, "it has no price that could be taken over"),
    ("other/unread", "input_cost_per_token", "it is no number"),
    ("other/unread", None, 'its price.input is missing: dollars per million tokens, such as "0.20"'),
    ("other/wrong", None, "it is no object"),
]


def test_prices_in_litellms_format_are_taken_over_exactly(operator: Terminal) -> None:
    found = price_sources.from_litellm(LITELLM, None, ())
    assert found.models == {name: price for name, price in TAKEN.items() if price is not None}
    assert [(one.model, one.price, one.reason) for one in found.left_out] == LEFT_OUT
    some = price_sources.from_litellm(LITELLM, "plain", ["plain/chat", "other/pictures"])
    assert list(some.models) == ["plain/chat"]
    printed = operator.json("prices", "import", LITELLM, "--from", "litellm", "--provider", "plain")
    assert printed["models"] == {name: price for name, price in found.models.items() if name.startswith("plain/")}
    assert [one["reason"] for one in printed["leftOut"]] == [reason for name, _, reason in LEFT_OUT if "plain" in name]
    told = operator.run("prices", "import", LITELLM, "--from", "litellm", "-o", "csv")
    assert {row["model"]: row["audio_minute"] for row in csv.DictReader(told.stdout.splitlines())}[
        "other/hearing"
    ] == "0.006"
    assert "left out: other/pixels, input_cost_per_pixel: there is no such unit here\n" in told.stderr
    published = operator.json("prices", "import", LITELLM, "--from", "litellm", "--publish")
    assert published["models"]["other/sorting"]["search"] == "0.002"


def test_figures_are_read_as_they_are_written(tmp_path: Path) -> None:
    """As binary fractions 1e-07 + 2e-07 and the like are others, and a million of them are not what was written."""
    for text in ("1e-07", "3e-7", "0.0000001", "2.8E-08", "5.6e-07", "1.005e-6", "0.5"):
        entry = f'{{"m": {{"input_cost_per_token": {text}, "output_cost_per_token": {text}}}}}'
        found = price_sources.from_litellm(written(tmp_path, entry, "costs.json"), None, ())
        assert found.models["m"]["input"] == format_usd(int(Decimal(text) * 10**15))
    for text in ("NaN", "Infinity", "-Infinity", "-1e-7", '"x"', "1e-16"):
        entry = f'{{"m": {{"input_cost_per_token": {text}, "output_cost_per_token": 1e-7}}}}'
        found = price_sources.from_litellm(written(tmp_path, entry, "costs.json"), None, ())
        assert found.models == {}
    for text in ("[", "[]", "5", "[" * 100_000):
        with pytest.raises(Failure, match=r"costs\.json: (not valid JSON|it must hold an object)"):
            price_sources.from_litellm(written(tmp_path, text, "costs.json"), None, ())
