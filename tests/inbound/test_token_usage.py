"""The tokens used of each model over time, through the API and the command line (D4, Q2)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from purser.inbound.api import token_usage
from tests.inbound.house import Client, House
from tests.inbound.terminal import Terminal

PATH = "/v1/accounts/ada/serverlessTokenUsage"
MARCH_1 = "start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.close()


def used(house: House, id_: str, at: str, model: str, fresh: int, cached: int, output: int, **more: Any) -> None:
    quantities = {"input_tokens": fresh + cached, "cached_input_tokens": cached, "output_tokens": output}
    event = {"id": id_, "account": "ada", "model": model, "occurredAt": at, "quantities": quantities, **more}
    answer = house.operator.post("/v1/usage", event)
    assert answer.json["accepted"] == 1, answer.text


@pytest.fixture
def ada(house: House) -> Client:
    """An account that has used two models on two days."""
    client = house.open("ada")
    used(house, "e1", "2026-03-01T07:10:10Z", "tiny", 60, 40, 7)
    used(house, "e2", "2026-03-01T07:10:50Z", "tiny", 5, 0, 0)
    used(house, "e3", "2026-03-01T08:00:00Z", "tiny", 10, 0, 3, batch=True)
    used(house, "e4", "2026-03-01T08:59:59Z", "dollar", 0, 0, 2)
    house.advance("2026-03-02T10:00:00Z")
    used(house, "e5", "2026-03-02T09:30:00Z", "tiny", 1, 0, 0)
    return client


def series(answer: Any) -> dict[tuple[str, str], dict[str, int]]:
    """Each series by its model and metric: the tokens by the instant, shortened."""
    assert answer.status == 200, answer.text
    found = {}
    for each in answer.json["serverlessTokenUsage"]:
        values = {value["timestamp"].removesuffix(":00Z"): int(value["value"]) for value in each["values"]}
        assert int(each["total"]) == sum(values.values())
        found[each["model"], each["metric"].removeprefix("TOKENS_")] = values
    return found


def test_tokens_by_hour_model_and_metric(ada: Client) -> None:
    told = ada.get(f"{PATH}?{MARCH_1}").json
    assert {name: told[name] for name in ("start", "end", "interval", "nextPageToken", "totalSize")} == {
        "start": "2026-03-01T00:00:00Z",
        "end": "2026-03-02T00:00:00Z",
        "interval": "1h",
        "nextPageToken": "",
        "totalSize": 5,
    }
    assert told["serverlessTokenUsage"][1] == {
        "model": "tiny",
        "metric": "TOKENS_PROMPT",
        "total": "115",
        "values": [
            {"timestamp": "2026-03-01T07:00:00Z", "value": "105"},
            {"timestamp": "2026-03-01T08:00:00Z", "value": "10"},
        ],
    }
    assert list(series(ada.get(f"{PATH}?{MARCH_1}")).items()) == [
        (("dollar", "GENERATED"), {"2026-03-01T08:00": 2}),
        (("tiny", "PROMPT"), {"2026-03-01T07:00": 105, "2026-03-01T08:00": 10}),
        (("tiny", "CACHED_PROMPT"), {"2026-03-01T07:00": 40}),
        (("tiny", "UNCACHED_PROMPT"), {"2026-03-01T07:00": 65, "2026-03-01T08:00": 10}),
        (("tiny", "GENERATED"), {"2026-03-01T07:00": 7, "2026-03-01T08:00": 3}),
    ]


def test_tokens_by_day_and_by_minute(ada: Client) -> None:
    by_day = series(ada.get(f"{PATH}?interval=1d&model=tiny&metric=TOKENS_PROMPT"))
    assert by_day == {("tiny", "PROMPT"): {"2026-03-01T00:00": 115, "2026-03-02T00:00": 1}}
    minutes = "start=2026-03-01T07:10:30Z&end=2026-03-01T08:00:01Z&interval=1m"  # widened to whole minutes
    assert series(ada.get(f"{PATH}?{minutes}")) == {
        ("tiny", "PROMPT"): {"2026-03-01T07:10": 105, "2026-03-01T08:00": 10},
        ("tiny", "CACHED_PROMPT"): {"2026-03-01T07:10": 40},
        ("tiny", "UNCACHED_PROMPT"): {"2026-03-01T07:10": 65, "2026-03-01T08:00": 10},
        ("tiny", "GENERATED"): {"2026-03-01T07:10": 7, "2026-03-01T08:00": 3},
    }


def test_the_month_by_the_hour_where_nothing_is_asked(house: House, ada: Client) -> None:
    told = ada.get(PATH).json
    assert (told["start"], told["end"]) == ("2026-03-01T00:00:00Z", "2026-03-02T11:00:00Z")
    assert series(ada.get(PATH))["tiny", "PROMPT"]["2026-03-02T09:00"] == 1
    assert house.open("bob").get(PATH).status == 404
    assert house.operator.get(PATH).json == told
    assert series(ada.get(f"{PATH}?model=unheard-of")) == {}


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("interval=5m", "interval", 'interval must be "1m", "1h" or "1d"'),
        ("metric=TOKENS", "metric", "metric must be one of TOKENS_PROMPT, TOKENS_CACHED_PROMPT"),
        ("start=2026-03-02T00:00:00Z&end=2026-03-01T00:00:00Z", "start", "start must lie before end"),
        ("start=yesterday", "start", "start"),
        ("end=2026-02-30T00:00:00Z", "end", "end"),
        ("start=2025-01-01T00:00:00Z", "end", "at most 1000 intervals at once"),
        ("interval=1m", "end", "choose a shorter span or a longer interval"),
        ("pageSize=201", "pageSize", "pageSize"),
        ("pageToken=x", "pageToken", "pageToken"),
    ],
)
def test_what_is_wrong_is_told(ada: Client, query: str, field: str, words: str) -> None:
    answer = ada.get(f"{PATH}?{query}")
    assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT"), answer.text
    assert words in answer.json["detail"]
    assert answer.json["errors"][0]["field"] == field


def test_an_answer_holds_so_many_values_at_most(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 intervals a series, and at most 50 values: two series a page, whatever is asked for."""
    monkeypatch.setattr(token_usage, "MOST_VALUES", 50)
    whole, token, pages = [], "", 0
    while pages == 0 or token:
        told = ada.get(f"{PATH}?{MARCH_1}&pageSize=200&pageToken={token}").json
        assert len(told["serverlessTokenUsage"]) <= 2
        whole += told["serverlessTokenUsage"]
        token, pages = told["nextPageToken"], pages + 1
    assert (len(whole), pages) == (5, 3)
    monkeypatch.setattr(token_usage, "MOST_VALUES", 1)
    assert len(ada.get(f"{PATH}?{MARCH_1}").json["serverlessTokenUsage"]) == 1
    monkeypatch.undo()
    assert ada.get(f"{PATH}?{MARCH_1}").json["serverlessTokenUsage"] == whole


def test_the_command_line_shows_them(house: House, ada: Client, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=str(ada.key), COLUMNS=120)
    day = ("rate-limit", "usage", "--start", "2026-03-01", "--end", "2026-03-02")
    whole = ada.get(f"{PATH}?{MARCH_1}").json
    assert terminal.json(*day) == {name: value for name, value in whole.items() if name != "nextPageToken"}
    lines = [line.split() for line in terminal.run(*day).stdout.splitlines()]
    assert lines[0] == ["HOUR", "(UTC)", "MODEL", "PROMPT", "CACHED", "PROMPT", "UNCACHED", "PROMPT", "GENERATED"]
    assert [line[-5:] for line in lines[1:]] == [
        ["tiny", "105", "40", "65", "7"],
        ["dollar", "0", "0", "0", "2"],
        ["tiny", "10", "0", "10", "3"],
    ]
    rows = csv.DictReader(terminal.ok(*day, "--metric", "generated", "--interval", "1d", "-o", "csv").splitlines())
    assert [tuple(row.values()) for row in rows] == [
        ("2026-03-01T00:00:00Z", "dollar", "2"),
        ("2026-03-01T00:00:00Z", "tiny", "10"),
    ]
    assert "No tokens were used from" in terminal.run(*day, "--model", "unheard-of").stderr
