"""Units beside plain tokens: priced, reported, held, invoiced and shown (M2, P1, P2, P4, H7, D1, D4)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from purser.core.usage import UNITS
from tests.inbound.house import Client, House
from tests.inbound.terminal import Terminal

MODELS = {
    "omni": {"input": "5", "output": "25", "cache_write_1h": "10", "audio_input": "32", "image_output": "40"},
    "flux": {"image": "0.04", "step": "0.00013"},
    "whisper": {"audio_minute": "0.006"},
    "rerank": {"search": "0.002"},
    "tuned": {"training": "3"},
    "NVIDIA_H100_80GB": {"gpu_hour": "3.89"},
}


@pytest.fixture
def ada(house: House) -> Client:
    """An account with a card, and models of many kinds."""
    assert house.operator.post("/operator/v1/prices", {"models": MODELS}).status == 200
    ada = house.open("ada", signupCreditUsd="0.00")
    house.card("ada")
    assert house.operator.patch("/operator/v1/accounts/ada", {"unlimited": True}).status == 200
    return ada


def use(house: House, id_: str, model: str, quantities: dict[str, int], **more: Any) -> Any:
    event = {"id": id_, "account": "ada", "model": model, "quantities": quantities, **more}
    return house.operator.post("/v1/usage", event)


def spent(house: House) -> str:
    return str(house.balance("ada")["spentThisMonthUsd"])


def test_prices_are_shown_as_they_were_published(house: House, ada: Client) -> None:
    shown = house.operator.get("/operator/v1/prices").json["models"]
    assert shown["flux"] == MODELS["flux"]
    assert shown["NVIDIA_H100_80GB"] == {"gpu_hour": "3.89"}
    assert shown["omni"] == {
        "input": "5.00",
        "cached_input": "2.50",
        "output": "25.00",
        "cache_write_1h": "10.00",
        "audio_input": "32.00",
        "image_output": "40.00",
    }


# (model, quantities, in a batch, what they cost)
COSTS = [
    ("flux", {"images": 3}, False, "0.120000000"),
    ("flux", {"images": 1, "image_steps": 30}, False, "0.043900000"),
    ("whisper", {"audio_milliseconds": 8_470}, False, "0.000847000"),
    ("rerank", {"search_units": 1}, False, "0.002000000"),
    ("tuned", {"training_tokens": 1_500_000}, False, "4.500000000"),
    ("NVIDIA_H100_80GB", {"gpu_seconds": 86_400}, False, "93.360000000"),
    ("omni", {"input_tokens": 1_000, "audio_input_tokens": 400, "cached_input_tokens": 100}, False, "0.015550000"),
    ("omni", {"input_tokens": 1_000, "audio_input_tokens": 400, "cached_input_tokens": 100}, True, "0.007775000"),
    ("omni", {"input_tokens": 1_000, "cache_write_1h_input_tokens": 1_000}, False, "0.010000000"),
    ("omni", {"output_tokens": 100, "image_output_tokens": 100}, False, "0.004000000"),
    ("omni", {"input_tokens": 9, "cache_write_5m_input_tokens": 9}, False, "0.000045000"),
    ("tiny", {"input_tokens": 1_000, "audio_input_tokens": 900, "image_input_tokens": 100}, False, "0.000200000"),
]


@pytest.mark.parametrize(("model", "quantities", "batch", "cost"), COSTS)
def test_every_unit_is_billed_at_its_price(
    house: House, ada: Client, model: str, quantities: dict[str, int], batch: bool, cost: str
) -> None:
    assert use(house, "e1", model, quantities, batch=batch).json["accepted"] == 1
    assert use(house, "e1", model, quantities, batch=batch).json["duplicates"] == 1
    assert spent(house) == cost, "M2, P2, P4"
    assert house.audit() == []


# (model, quantities, field)
REFUSED = [
    ("tiny", {"images": 1}, "quantities"),
    ("flux", {"input_tokens": 5}, "quantities"),
    ("flux", {"images": 1, "audio_milliseconds": 5}, "quantities"),
    ("tiny", {"input_tokens": 5, "audio_input_tokens": 6}, "quantities.audio_input_tokens"),
    ("tiny", {"pages": 5}, "quantities"),
]


@pytest.mark.parametrize(("model", "quantities", "field"), REFUSED)
def test_a_unit_without_a_price_is_refused(
    house: House, ada: Client, model: str, quantities: dict[str, int], field: str
) -> None:
    refused = use(house, "e1", model, quantities)
    assert (refused.status in (400, 404), refused.json["errors"][0]["field"]) == (True, field), "P1"
    assert spent(house) == "0.000000000"
    assert house.audit() == []


def test_a_retry_after_another_price_is_what_it_was(house: House, ada: Client) -> None:
    """What kinds of tokens are apart is for the prices that the event was rated by."""
    spoken = {"input_tokens": 100, "audio_input_tokens": 60}
    assert use(house, "e1", "tiny", spoken).json["accepted"] == 1
    ahead = {"occurredAt": "2026-03-02T08:59:00Z"}
    assert use(house, "e0", "tiny", spoken, **ahead).json["accepted"] == 1
    omni = {"models": {"tiny": {"input": "0.20", "output": "0.80", "audio_input": "3.20"}}}
    assert house.operator.post("/operator/v1/prices", omni | {"effectiveAt": "2026-03-01T10:00:00Z"}).status == 200
    assert use(house, "e0", "tiny", spoken, **ahead).json["duplicates"] == 1
    house.advance("2026-03-02T09:00:00Z")
    assert use(house, "e1", "tiny", spoken).json["duplicates"] == 1
    assert use(house, "e1", "tiny", {"input_tokens": 101, "audio_input_tokens": 60}).status == 409
    assert use(house, "e2", "tiny", spoken).json["accepted"] == 1
    assert spent(house) == "0.000240000", "twice 100 plain ones, then 40 plain and 60 spoken"
    assert house.audit() == []


def test_work_of_any_unit_can_be_held(house: House, ada: Client) -> None:
    asked = {"account": "ada", "model": "NVIDIA_H100_80GB", "quantities": {"gpu_seconds": 3_600}}
    held = house.operator.post("/v1/holds", asked).json
    assert held["heldUsd"] == "3.89"
    settled = house.operator.post(f"/v1/holds/{held['id']}:settle", {"quantities": {"gpu_seconds": 1_800}})
    assert settled.json["costUsd"] == "1.945000000"
    spoken = {"input_tokens": 100, "audio_input_tokens": 60}
    held = house.operator.post("/v1/holds", {"account": "ada", "model": "tiny", "quantities": spoken}).json
    assert held["heldUsd"] == "0.00002", "tiny has one price for all input"
    for _ in range(2):
        settled = house.operator.post(f"/v1/holds/{held['id']}:settle", {"quantities": spoken})
        assert settled.json["costUsd"] == "0.000020000"
    asked["quantities"] = {"images": 1}
    refused = house.operator.post("/v1/holds", asked)
    assert (refused.status, refused.json["errors"][0]["field"]) == (404, "quantities")
    assert house.audit() == []


def test_invoices_and_reports_have_a_line_for_each_unit(house: House, ada: Client, tmp_path: Path) -> None:
    for n, (model, quantities, batch, _) in enumerate(COSTS):
        assert use(house, f"e{n}", model, quantities, batch=batch).json["accepted"] == 1
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=str(ada.key), COLUMNS=140)
    used = {
        row["model"]: row
        for row in csv.DictReader(terminal.ok("billing", "usage", "--by-model", "-o", "csv").splitlines())
    }
    assert used["flux"]["quantities.images"] == "4"
    assert used["NVIDIA_H100_80GB"]["quantities.gpu_seconds"] == "86400"
    columns = [name for name in next(iter(used.values())) if name.startswith("quantities.")]
    assert columns == [f"quantities.{unit}" for unit in UNITS if f"quantities.{unit}" in columns]
    tokens = ada.get("/v1/accounts/ada/serverlessTokenUsage?interval=1d").json["serverlessTokenUsage"]
    totals = {(row["model"], row["metric"]): row["total"] for row in tokens}
    assert totals["omni", "TOKENS_PROMPT"] == "3009"
    assert totals["omni", "TOKENS_UNCACHED_PROMPT"] == "2809"
    assert totals["omni", "TOKENS_GENERATED"] == "100"
    assert not any(model == "flux" for model, _ in totals)
    span = "startTime=2026-03-01T00:00:00Z&endTime=2026-03-02T00:00:00Z"
    days = ada.get(f"/v1/accounts/ada/billingUsage?{span}").json["serverlessCosts"]
    assert [(day["promptTokens"], day["cachedPromptTokens"], day["completionTokens"]) for day in days] == [
        ("4009", "200", "100")
    ]
    house.advance("2026-04-01T00:00:00Z")
    (invoice,) = house.invoices("ada")
    lines = {(line["model"], line["unit"]): line for line in invoice["lines"]}
    gpu = lines["NVIDIA_H100_80GB", "gpu_seconds"]
    assert (gpu["quantity"], gpu["amountUsd"]) == (86_400, "93.36")
    assert lines["omni", "batch_audio_input_tokens"]["unitPriceUsd"] == "0.000016"
    assert lines["tiny", "input_tokens"]["quantity"] == 1_000
    shown = terminal.ok("billing", "invoice", invoice["number"])
    for price in ("$3.89 / GPU-hour", "$0.04 / image", "$0.00013 / step", "$0.006 / minute", "$0.002 / search unit"):
        assert price in shown
    assert "$16.00 / 1M" in shown, "half of 32"
    for line in invoice["lines"]:
        events = house.operator.get(f"/v1/accounts/ada/invoices/{invoice['id']}/lines/{line['n']}/usage").json["events"]
        assert sum(event["quantity"] for event in events) == line["quantity"], "D2"
    answers = ada.get("/v1/accounts/ada/explain?question=invoice").json
    assert "86,400 GPU seconds of NVIDIA_H100_80GB" in str(answers)
    assert house.audit() == []
