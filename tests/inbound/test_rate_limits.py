"""The rate limits in force, through the API and the command line (Q1, Q2, S88)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from purser.core.policy import Policy
from purser.flows import rates, token_limits
from tests.inbound.house import House
from tests.inbound.terminal import Terminal

PATH = "/v1/accounts/ada/serverlessRateLimits"
POLICY = Policy(prompt_tokens_per_minute=1_000_000, generated_tokens_per_minute=10_000, model_sizes={"tiny": "small"})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path, POLICY)
    yield found
    found.close()


def test_requests_per_minute_as_the_account_stands(house: House) -> None:
    ada = house.open("ada")
    for _ in range(3):
        house.queue.run(lambda tx: rates.ask(tx, "ada"))
    told = ada.get(PATH).json
    assert told == {
        "requests": {"limit": "10", "windowSeconds": 60, "counted": "3", "sharedOut": "0", "left": "7"},
        "serverlessRateLimits": [],
        "nextPageToken": "",
        "totalSize": 0,
    }
    house.card("ada")
    house.queue.run(lambda tx: rates.ask(tx, "ada"))
    told = house.operator.get(PATH).json["requests"]
    assert told == {"limit": "6000", "windowSeconds": 60, "counted": "3", "sharedOut": "64", "left": "5933"}
    assert ada.get("/v1/accounts/ada/quotas/serverless-inference-rpm").json["usage"] == 3
    assert house.open("bob").get(PATH).status == 404
    assert "ada" not in house.counted


def test_tokens_per_minute_by_model_and_metric(house: House) -> None:
    ada = house.open("ada")
    house.queue.run(lambda tx: token_limits.note(tx, "ada", "tiny", (600_000, 0, 5)))
    house.advance("2026-03-01T09:15:00Z")
    house.queue.run(lambda tx: token_limits.note(tx, "ada", "tiny", (600_000, 0, 5)))
    house.queue.run(lambda tx: token_limits.ask(tx, "ada", "tiny", (100, 100, 0)))
    told = ada.get(PATH).json
    assert told["totalSize"] == 2
    assert told["serverlessRateLimits"][0] == {
        "model": "tiny",
        "metric": "TOKENS_PROMPT",
        "source": "ADAPTIVE",
        "limit": "1250000",
        "start": "1000000",
        "ceiling": "15000000",
        "used": "600000",
        "peak": "600000",
        "sharedOut": "4882",
        "minute": "2026-03-01T09:15:00Z",
        "changeTime": "2026-03-01T09:15:00Z",
    }
    second = told["serverlessRateLimits"][1]
    assert (second["metric"], second["limit"], second["used"]) == ("TOKENS_GENERATED", "10000", "5")
    first_page = ada.get(f"{PATH}?pageSize=1").json
    assert len(first_page["serverlessRateLimits"]) == 1
    assert ada.get(f"{PATH}?pageSize=1&pageToken={first_page['nextPageToken']}").json["serverlessRateLimits"] == [
        second
    ]


def test_the_command_line_lists_them(house: House, tmp_path: Path) -> None:
    ada = house.open("ada")
    house.queue.run(lambda tx: rates.ask(tx, "ada"))
    house.queue.run(lambda tx: token_limits.note(tx, "ada", "tiny", (600_000, 0, 5)))
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=str(ada.key), COLUMNS=120)
    assert terminal.json("rate-limit", "list")["requests"] == ada.get(PATH).json["requests"]
    lines = [line.split() for line in terminal.run("rate-limit", "list").stdout.splitlines()]
    assert lines[0][:4] == ["MODEL", "OF", "A", "MINUTE"]
    assert lines[1][:5] == ["all", "REQUESTS", "10", "9", "10"]
    assert lines[2][:5] == ["tiny", "TOKENS_PROMPT", "1,000,000", "1,000,000", "15,000,000"]
    assert lines[3][:3] == ["tiny", "TOKENS_GENERATED", "10,000"]
