"""Tokens a minute that the operator sets for an account: through the API, the command line and the audit log (Q2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from purser.flows import token_limits
from tests.inbound.house import House
from tests.inbound.terminal import Terminal
from tests.store.small_books import change

PATH = "/operator/v1/accounts/ada/tokenLimits"
RATES = "/v1/accounts/ada/serverlessRateLimits"


def view(model: str, prompt: str | None, uncached: str | None, generated: str | None, at: str | None) -> Any:
    return {
        "model": model,
        "promptTokensPerMinute": prompt,
        "uncachedPromptTokensPerMinute": uncached,
        "generatedTokensPerMinute": generated,
        "updateTime": at,
    }


def test_set_listed_and_taken_away(house: House) -> None:
    house.open("ada")
    given = house.operator.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "5000000"})
    assert (given.status, given.json) == (200, view("tiny", "5000000", None, None, "2026-03-01T09:00:00Z"))
    house.advance("2026-03-01T10:00:00Z")
    given = house.operator.patch(PATH, {"model": "*", "generatedTokensPerMinute": "unlimited"})
    everything = view("*", None, None, "unlimited", "2026-03-01T10:00:00Z")
    assert given.json == everything
    given = house.operator.patch(PATH, {"model": "tiny", "uncachedPromptTokensPerMinute": 7})
    tiny = view("tiny", "5000000", "7", None, "2026-03-01T10:00:00Z")
    assert given.json == tiny, "what is not given stays"
    listed = house.operator.get(PATH).json
    assert listed == {"tokenLimits": [everything, tiny], "nextPageToken": "", "totalSize": 2}
    first = house.operator.get(f"{PATH}?pageSize=1").json
    assert house.operator.get(f"{PATH}?pageSize=1&pageToken={first['nextPageToken']}").json["tokenLimits"] == [tiny]
    nothing = dict.fromkeys(("promptTokensPerMinute", "uncachedPromptTokensPerMinute"))
    assert house.operator.patch(PATH, {"model": "tiny", **nothing}).json == view("tiny", None, None, None, None)
    assert house.operator.get(PATH).json["tokenLimits"] == [everything]
    again = house.operator.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "8"})
    assert again.json["promptTokensPerMinute"] == "8", "set once more"
    assert house.audit() == []


def test_the_customer_sees_what_is_in_force(house: House) -> None:
    ada = house.open("ada")
    house.operator.patch(PATH, {"model": "*", "promptTokensPerMinute": "9000", "generatedTokensPerMinute": "unlimited"})
    house.queue.run(lambda tx: token_limits.note(tx, "ada", "tiny", (600, 0, 5)))
    told = ada.get(RATES).json["serverlessRateLimits"]
    assert [(each["model"], each["metric"], each["source"], each.get("limit")) for each in told] == [
        ("*", "TOKENS_PROMPT", "CUSTOM", "9000"),
        ("*", "TOKENS_GENERATED", "CUSTOM", None),
        ("tiny", "TOKENS_PROMPT", "CUSTOM", "9000"),
    ]
    assert told[2] == {
        "model": "tiny",
        "metric": "TOKENS_PROMPT",
        "source": "CUSTOM",
        "limit": "9000",
        "start": "9000",
        "ceiling": "9000",
        "used": "600",
        "peak": "600",
        "sharedOut": "0",
        "minute": "2026-03-01T09:00:00Z",
        "changeTime": "2026-03-01T09:00:00Z",
    }
    assert house.open("bob").get(RATES.replace("ada", "bob")).json["serverlessRateLimits"] == []


@pytest.mark.parametrize(
    "body, words",
    [
        ({"model": "tiny"}, "at least one of promptTokensPerMinute"),
        ({"model": "huge", "promptTokensPerMinute": "9"}, "no model 'huge' has a price"),
        ({"model": "tiny", "promptTokensPerMinute": "0"}, "from 1 to 1000000000000 tokens a minute, not 0"),
        ({"model": "tiny", "promptTokensPerMinute": "1000000000001"}, "from 1 to 1000000000000"),
        ({"model": "tiny", "promptTokensPerMinute": "9" * 40}, "a whole number of tokens"),
        ({"model": "tiny", "generatedTokensPerMinute": "-1"}, "a whole number of tokens"),
        ({"model": "tiny", "generatedTokensPerMinute": -1}, "a whole number of tokens"),
        ({"model": "tiny", "uncachedPromptTokensPerMinute": "٣"}, "a whole number of tokens"),
        ({"promptTokensPerMinute": "9"}, "model"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(house: House, body: Any, words: str) -> None:
    house.open("ada")
    refused = house.operator.patch(PATH, body)
    assert (refused.status, words in refused.text) == (400, True), refused.text
    assert house.operator.get(PATH).json["tokenLimits"] == []


def test_it_is_the_operators_alone(house: House) -> None:
    assert house.operator.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "9"}).status == 404
    assert house.operator.get(PATH).status == 404
    ada = house.open("ada")
    assert ada.get(PATH).status == ada.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "9"}).status == 403
    assert house.operator.get(RATES).json["serverlessRateLimits"] == []


def test_the_audit_log_tells_who_set_what(house: House) -> None:
    house.open("ada")
    house.operator.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "9"})
    house.operator.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "unlimited"})
    house.operator.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "unlimited"})
    told = [entry["changes"] for entry in house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"]]
    resource = "accounts/ada/tokenLimits/tiny/prompt"
    found = [each for changes in told for each in changes if each["resource"] == resource]
    assert [(each["before"], each["after"]) for each in found] == [
        ({"kind": "fixed", "tokens": 9}, {"kind": "unlimited", "tokens": None}),
        (None, {"kind": "fixed", "tokens": 9}),
    ], "and nothing of what was set already"


def test_a_limit_changed_behind_everybodys_back_is_found(house: House) -> None:
    house.open("ada")
    house.operator.patch(PATH, {"model": "tiny", "promptTokensPerMinute": "9"})
    change(house.db, "UPDATE custom_token_limits SET tokens = 900")
    [found] = house.audit()
    assert found["check"] == "seals"


def test_the_command_line_sets_and_shows_them(house: House, tmp_path: Path) -> None:
    house.open("ada")
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=str(house.operator.key), COLUMNS=120)
    ada = ("--account", "ada")
    given = ("--prompt", "5000000", "--generated", "unlimited")
    done = terminal.run("rate-limit", "set", "--model", "tiny", *given, *ada)
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["model", "tiny"],
        ["prompt", "tokens", "a", "minute", "5,000,000"],
        ["generated", "tokens", "a", "minute", "unlimited"],
    ]
    assert terminal.run("rate-limit", "set", "--all-models", "--prompt", "adaptive", *ada).code == 0
    listed = terminal.json("rate-limit", "list-set", *ada)
    assert listed["tokenLimits"] == house.operator.get(PATH).json["tokenLimits"]
    lines = [line.split() for line in terminal.run("rate-limit", "list-set", *ada).stdout.splitlines()]
    assert lines[1][:4] == ["tiny", "5,000,000", "–", "unlimited"]
    lines = [line.split() for line in terminal.run("rate-limit", "list", *ada).stdout.splitlines()]
    assert lines[2][:6] == ["tiny", "TOKENS_PROMPT", "5,000,000", "5,000,000", "5,000,000", "CUSTOM"]
    assert lines[3][:5] == ["tiny", "TOKENS_GENERATED", "unlimited", "unlimited", "unlimited"]
    for wrong in (["--model", "tiny"], ["--prompt", "9"], ["--model", "tiny", "--all-models", "--prompt", "9"]):
        assert terminal.run("rate-limit", "set", *wrong, *ada).code == 2
    assert terminal.json("rate-limit", "unset", "--model", "tiny", *ada)["promptTokensPerMinute"] is None
    assert terminal.run("rate-limit", "list-set", *ada).stderr.startswith("Nothing is set")
