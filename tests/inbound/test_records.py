"""Records of models and datasets over HTTP, by the official client and the command line: they are free (P9, S51)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fireworks
import pytest

from purser.core import records as rules
from purser.flows import records as flow
from purser.store import records as rows
from purser.store import usage
from tests.inbound.house import Client, House
from tests.inbound.terminal import Terminal
from tests.inbound.test_audit_log import entries
from tests.inbound.test_official_client import connect
from tests.store.small_books import change

MODELS, DATASETS = "/v1/accounts/ada/models", "/v1/accounts/ada/datasets"
ADAPTER: Any = {"base_model": "accounts/ada/models/base", "r": 8, "target_modules": ["q_proj", "v_proj"]}

BASE: Any = {"parameter_count": "8000000000", "world_size": 1, "default_precision": "FP8"}


@pytest.fixture
def ada(house: House) -> Client:
    return house.open("ada")


@pytest.fixture
def client(ada: Client) -> Iterator[fireworks.Fireworks]:
    with connect(ada) as found:
        yield found


def ids(answer: Any, plural: str) -> list[str]:
    return [each["id"] for each in answer.json[plural]]


# ── the official client ──────────────────────────────────────────────────────────────────────────────────────────
def test_models_of_the_official_client(client: fireworks.Fireworks) -> None:
    made = client.models.create(
        model_id="support",
        model={"display_name": "Support", "peft_details": ADAPTER, "context_length": 8192, "supports_tools": True},
    )
    assert (made.name, made.state, made.kind) == ("accounts/ada/models/support", "READY", "HF_PEFT_ADDON")
    assert (made.display_name, made.context_length, made.supports_tools) == ("Support", 8192, True)
    assert made.peft_details is not None
    assert (made.peft_details.r, made.peft_details.target_modules) == (8, ["q_proj", "v_proj"])
    assert made.status is not None
    assert (made.status.code, made.public, made.description) == ("OK", None, None)
    assert made.create_time is not None
    changed = client.models.update(
        "support",
        kind="HF_BASE_MODEL",
        base_model_details=BASE,
        deprecation_date={"year": 2027, "month": 1, "day": 31},
        conversation_config={"style": "jinja", "template": "{{ messages }}"},
    )
    assert client.models.get("support") == changed
    assert (changed.display_name, changed.kind) == ("Support", "HF_BASE_MODEL"), "what is not given stays"
    assert changed.base_model_details is not None
    assert changed.base_model_details.parameter_count == "8000000000"
    masked = client.models.get("support", read_mask="displayName")
    assert (masked.name, masked.display_name, masked.kind) == ("accounts/ada/models/support", "Support", None)
    client.models.create(model_id="other")
    assert [each.name for each in client.models.list(page_size=1)] == [
        "accounts/ada/models/other",
        "accounts/ada/models/support",
    ]
    assert [each.kind for each in client.models.list(filter='kind = "HF_BASE_MODEL"')] == ["HF_BASE_MODEL"]
    with pytest.raises(fireworks.ConflictError):
        client.with_options(max_retries=0).models.create(model_id="support")
    client.models.delete("support")
    with pytest.raises(fireworks.NotFoundError):
        client.models.get("support")


def test_datasets_of_the_official_client(house: House, client: fireworks.Fireworks) -> None:
    chats: Any = {"format": "CHAT", "example_count": "1200", "estimatedTokenCount": "480000"}  # the last has no type
    made = client.datasets.create(dataset_id="chats", dataset=chats)
    assert (made.name, made.state, made.format) == ("accounts/ada/datasets/chats", "READY", "CHAT")
    assert (made.example_count, made.estimated_token_count) == ("1200", "480000")
    assert made.created_by == "ada@example.com"
    changed = client.datasets.update("chats", external_url="s3://chats", extra_body={"estimatedTokenCount": 512_000})
    assert client.datasets.get("chats") == changed
    assert (changed.estimated_token_count, changed.external_url) == ("512000", "s3://chats")
    with house.db.read() as conn:
        assert rows.read(flow.require(conn, "ada", "datasets", "chats")).token_count == 512_000
    client.datasets.create(
        dataset_id="half", dataset={"splitted": {"source_dataset_id": "chats"}}, source_dataset_id="chats"
    )
    half = client.datasets.get("half")
    assert half.splitted is not None
    assert (half.splitted.source_dataset_id, half.format) == ("chats", "FORMAT_UNSPECIFIED")
    assert {each.name for each in client.datasets.list(order_by="name")} == {made.name, half.name}
    client.datasets.delete("half")
    assert [each.name for each in client.datasets.list()] == [made.name]


def test_nothing_is_uploaded(client: fireworks.Fireworks) -> None:
    client.models.create(model_id="m")
    calls: tuple[Callable[[], object], ...] = (
        lambda: client.models.get_upload_endpoint("m", filename_to_size={"a": "1"}),
        lambda: client.models.get_download_endpoint("m"),
        lambda: client.models.validate_upload("m"),
        lambda: client.models.prepare("m"),
        lambda: client.datasets.get_upload_endpoint("d", filename_to_size={"a": "1"}),
        lambda: client.datasets.get_download_endpoint("d"),
        lambda: client.datasets.validate_upload("d", body={}),
        lambda: client.datasets.upload("d", file=b"{}"),
    )
    for call in calls:
        with pytest.raises(fireworks.InternalServerError, match="Purser keeps records of") as refused:
            call()
        assert refused.value.status_code == 501


def test_management_costs_nothing_and_counts(house: House, client: fireworks.Fireworks) -> None:
    """S51: accounts, users, models and datasets, each listed a hundred times."""
    client.models.create(model_id="m")
    client.datasets.create(dataset_id="d", dataset={})
    before, counted = house.balance("ada"), len(house.counted)
    for _ in range(100):
        assert len(list(client.accounts.list())) == len(list(client.users.list())) == 1
        assert len(list(client.models.list())) == len(list(client.datasets.list())) == 1
    assert house.balance("ada") == before
    assert before["spentThisMonthUsd"] == "0.000000000"
    with house.db.read() as conn:
        assert usage.list_events(conn, "ada", limit=10) == []
    assert house.counted[counted:] == ["ada"] * 400


# ── what is told, and refused ────────────────────────────────────────────────────────────────────────────────────
def test_null_takes_a_field_away_and_output_may_be_sent_back(house: House, ada: Client) -> None:
    made = ada.post(MODELS, {"modelId": "m", "model": {"public": True, "displayName": "M", "unheardOf": 1}})
    assert (made.status, made.json["public"]) == (200, True)
    assert "unheardOf" not in made.json
    house.advance("2026-03-02T00:00:00Z")
    same = ada.patch(f"{MODELS}/m", made.json)
    assert same.json == made.json, "as a program may that read it before"
    less = ada.patch(f"{MODELS}/m", {"public": None, "displayName": None})
    left = {name: value for name, value in made.json.items() if name != "public"}
    assert less.json == {**left, "displayName": "", "updateTime": "2026-03-02T00:00:00Z"}


@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "modelId"),
        ({"modelId": ""}, "modelId"),
        ({"modelId": "Mine"}, "modelId"),
        ({"modelId": "m", "model": {"kind": "LLAMA"}}, "kind"),
        ({"modelId": "m", "model": {"kind": 7}}, "model.kind"),
        ({"modelId": "m", "model": {"snapshotType": "WHOLE"}}, "model.snapshotType"),
        ({"modelId": "m", "model": {"displayName": "x" * 65}}, "model.displayName"),
        ({"modelId": "m", "model": {"description": "x" * 1000}}, "model.description"),
        ({"modelId": "m", "model": {"contextLength": -1}}, "model.contextLength"),
        ({"modelId": "m", "model": {"peftDetails": {"r": 8, "targetModules": []}}}, "model.peftDetails.baseModel"),
        (
            {"modelId": "m", "model": {"peftDetails": {"baseModel": "b", "r": 3, "targetModules": []}}},
            "model.peftDetails.r",
        ),
        ({"modelId": "m", "model": {"deprecationDate": {"month": 13}}}, "model.deprecationDate.month"),
    ],
)
def test_what_is_wrong_with_a_model_is_told(ada: Client, body: Any, field: str) -> None:
    refused = ada.post(MODELS, body)
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, field), refused.text
    assert ada.get(MODELS).json["totalSize"] == 0


@pytest.mark.parametrize(
    "given, field",
    [
        ({"format": "chat"}, "format"),
        ({"exampleCount": "-1"}, "exampleCount"),
        ({"estimatedTokenCount": "many"}, "estimatedTokenCount"),
        ({"estimatedTokenCount": 1.5}, "dataset.estimatedTokenCount"),
        ({"splitted": {}}, "dataset.splitted.sourceDatasetId"),
        ({"transformed": {"sourceDatasetId": "d", "originalFormat": "XML"}}, "dataset.transformed.originalFormat"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_told(ada: Client, given: Any, field: str) -> None:
    refused = ada.post(DATASETS, {"datasetId": "d", "dataset": given})
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, field), refused.text
    assert ada.get(DATASETS).json["totalSize"] == 0


def test_words_of_what_is_wrong(ada: Client) -> None:
    def said(fields: Any) -> str:
        return str(ada.post(MODELS, {"modelId": "m", "model": fields}).json["detail"])

    assert said({"snapshotType": "WHOLE"}) == (
        "model.snapshotType must be one of the values that GET /openapi.json lists, not 'WHOLE'"
    )
    assert said({"contextLength": -1}) == "model.contextLength must be at least 0"
    assert said({"contextLength": 2**31}) == f"model.contextLength must be at most {2**31 - 1}"
    assert said({"teftDetails": {"x": "y" * 20_000}}).startswith("a record's fields may take 16384 bytes")


def test_an_id_is_used_once_and_again_once_it_is_free(house: House, ada: Client) -> None:
    ada.post(DATASETS, {"datasetId": "d", "dataset": {"format": "CHAT", "exampleCount": "3", "externalUrl": "x"}})
    taken = ada.post(DATASETS, {"datasetId": "d"})
    assert (taken.status, taken.json["code"]) == (409, "ALREADY_EXISTS")
    assert ada.post(MODELS, {"modelId": "d"}).status == 200, "a model may be called as a dataset"
    assert house.open("bob").post(DATASETS.replace("ada", "bob"), {"datasetId": "d"}).status == 200
    key = {"idempotency-key": "once"}
    for _ in range(2):
        gone = ada.delete(f"{DATASETS}/d", key)
        assert (gone.status, gone.json) == (200, {})
    for answer in (ada.delete(f"{DATASETS}/d"), ada.get(f"{DATASETS}/d"), ada.patch(f"{DATASETS}/d", {})):
        assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")
    house.advance("2026-03-02T00:00:00Z")
    anew = ada.post(DATASETS, {"datasetId": "d"}).json
    assert "exampleCount" not in anew
    assert "externalUrl" not in anew
    assert (anew["format"], anew["createTime"]) == ("FORMAT_UNSPECIFIED", "2026-03-02T00:00:00Z")
    assert house.audit() == []


def test_lists_are_filtered_ordered_and_paged(house: House, ada: Client) -> None:
    for n, name in enumerate(("beta", "alpha", "beta")):
        ada.post(MODELS, {"modelId": f"m{n}", "model": {"displayName": name, "kind": "CUSTOM_MODEL" if n else None}})
    house.advance("2026-03-02T00:00:00Z")
    ada.patch(f"{MODELS}/m1", {"public": True})
    assert ids(ada.get(MODELS), "models") == ["m2", "m1", "m0"], "newest first, also of one instant"
    for order, found in {
        "name": ["m0", "m1", "m2"],
        "id%20desc": ["m2", "m1", "m0"],
        "displayName,name": ["m1", "m0", "m2"],
        "displayName%20desc,%20name%20asc": ["m0", "m2", "m1"],
        "updateTime%20desc,name": ["m1", "m0", "m2"],
        "createTime": ["m2", "m1", "m0"],
    }.items():
        assert ids(ada.get(f"{MODELS}?orderBy={order}"), "models") == found, order
    first = ada.get(f"{MODELS}?orderBy=name&pageSize=2").json
    assert ([each["id"] for each in first["models"]], first["totalSize"]) == (["m0", "m1"], 3)
    second = ada.get(f"{MODELS}?orderBy=name&pageSize=2&pageToken={first['nextPageToken']}").json
    assert ([each["id"] for each in second["models"]], second["nextPageToken"]) == (["m2"], "")
    assert ada.get(f"{MODELS}?pageSize=3").json["nextPageToken"] == ""
    for filter_, found in {
        'displayName%20=%20"beta"': ["m2", "m0"],
        "kind=CUSTOM_MODEL%20AND%20displayName=beta": ["m2"],
        'name="accounts/ada/models/m1"': ["m1"],
        'name="accounts/bob/models/m1"': [],
        'name="accounts/ada/models/m1"%20AND%20id=m0': [],
        "state=READY%20AND%20id=m0": ["m0"],
        "state=UPLOADING": [],
    }.items():
        answer = ada.get(f"{MODELS}?filter={filter_}")
        assert (ids(answer, "models"), answer.json["totalSize"]) == (found, len(found)), filter_
    masked = ada.get(f"{MODELS}?readMask=kind,%20status.code&pageSize=1").json["models"]
    assert masked == [
        {"name": "accounts/ada/models/m2", "kind": "CUSTOM_MODEL", "status": {"code": "OK", "message": ""}}
    ]
    assert ada.get(f"{MODELS}?readMask=*").json == ada.get(MODELS).json
    for query, field in (
        ("orderBy=size", "orderBy"),
        ("orderBy=name,id", "orderBy"),
        ("orderBy=name%20upwards", "orderBy"),
        ("filter=size=3", "filter"),
        ("filter=kind=LLAMA", "filter"),
        ("filter=state=GONE", "filter"),
        ("readMask=size", "readMask"),
        ("pageToken=x", "pageToken"),
        ("pageSize=0", "pageSize"),
    ):
        refused = ada.get(f"{MODELS}?{query}")
        assert (refused.status, refused.json["errors"][0]["field"]) == (400, field), query
    assert ids(ada.get(f"{DATASETS}?filter=format=CHAT"), "datasets") == []


def test_there_is_a_most_of_records(house: House, ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "MOST_RECORDS", 2)
    for id_ in ("a", "b"):
        assert ada.post(MODELS, {"modelId": id_}).status == 200
    refused = ada.post(MODELS, {"modelId": "c"})
    assert (refused.status, refused.json["code"]) == (409, "FAILED_PRECONDITION")
    assert ada.post(DATASETS, {"datasetId": "c"}).status == 200
    ada.delete(f"{MODELS}/a")
    assert ada.post(MODELS, {"modelId": "c"}).status == 200
    assert rules.MOST_RECORDS == 10_000


def test_a_suspended_account_writes_down_and_a_closed_one_does_not(house: House, ada: Client) -> None:
    house.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "a test"})
    assert ada.post(MODELS, {"modelId": "m"}).status == 200
    house.operator.post("/operator/v1/accounts/ada:reinstate")
    house.operator.post("/v1/accounts/ada:close", {"giveUpCredit": True})
    for answer in (
        house.operator.post(MODELS, {"modelId": "n"}),
        house.operator.patch(f"{MODELS}/m", {"public": True}),
    ):
        assert (answer.status, answer.json["code"]) == (409, "FAILED_PRECONDITION")
    assert house.operator.delete(f"{MODELS}/m").status == 200


def test_the_audit_log_tells_who_wrote_what(house: House, ada: Client) -> None:
    bot = house.member("ada", "bot", "contributor")
    made = bot.post(DATASETS, {"datasetId": "d", "dataset": {"estimatedTokenCount": "9", "externalUrl": "x"}})
    assert made.json["createdBy"] == "bot"
    bot.patch(f"{DATASETS}/d", {"estimatedTokenCount": "10"})
    bot.patch(f"{DATASETS}/d", {"estimatedTokenCount": "10"})
    ada.delete(f"{DATASETS}/d")
    found = [entry for entry in entries(house) if "datasets" in entry["resource"]]
    resource = "accounts/ada/datasets/d"
    assert [(entry["principal"], entry["changes"]) for entry in found[1:]] == [
        ("bot", [{"resource": resource, "before": {"tokenCount": 9}, "after": {"tokenCount": 10}}]),
        (
            "bot",
            [
                {
                    "resource": resource,
                    "before": None,
                    "after": {
                        "kind": "FORMAT_UNSPECIFIED",
                        "tokenCount": 9,
                        "fields": '{"externalUrl":"x"}',
                        "createdBy": "bot",
                    },
                }
            ],
        ),
    ], "and nothing of what was so already"
    assert found[0]["principal"] == "ada@example.com"
    assert found[0]["changes"][0]["after"] == {"removedAt": "2026-03-01T09:00:00Z"}


def test_a_record_changed_behind_everybodys_back_is_found(house: House, ada: Client) -> None:
    ada.post(DATASETS, {"datasetId": "d", "dataset": {"estimatedTokenCount": "9"}})
    change(house.db, "UPDATE records SET token_count = 8")
    [found] = house.audit()
    assert found["check"] == "seals"


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────────
def test_the_commands(house: House, ada: Client, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=str(ada.key), COLUMNS=120)
    more = '{"public": true, "displayName": "Other"}'
    made = terminal.json("model", "create", "m", "--display-name", "Mine", "--context-length", 4096, "--fields", more)
    assert made == ada.get(f"{MODELS}/m").json
    assert (made["displayName"], made["public"], made["contextLength"]) == ("Mine", True, 4096)
    terminal.ok("dataset", "create", "d", "--format", "CHAT", "--examples", 1200, "--tokens", 480_000)
    lines = [line.split() for line in terminal.ok("dataset", "list").splitlines()]
    assert lines[0][:4] == ["ID", "FORMAT", "EXAMPLES", "TOKENS"]
    assert lines[1][:4] == ["d", "CHAT", "1,200", "480,000"]
    terminal.ok("dataset", "update", "d", "--tokens", 512_000)
    shown = [line.split() for line in terminal.ok("dataset", "get", "d").splitlines()]
    assert shown[:4] == [
        ["dataset", "d"],
        ["format", "CHAT"],
        ["examples", "1,200"],
        ["tokens,", "estimated", "512,000"],
    ]
    assert ada.get(f"{DATASETS}/d").json["estimatedTokenCount"] == "512000"
    assert terminal.json("model", "update", "m", "--fields", '{"public": null}').get("public") is None
    assert terminal.json("model", "list", "--filter", "id = m")["models"] == ada.get(MODELS).json["models"]
    assert terminal.run("model", "list", "--order-by", "size").code == 2
    assert terminal.run("model", "update", "m").code == 2
    assert terminal.run("model", "update", "m", "--fields", "[]").code == 2
    assert terminal.run("model", "update", "m", "--fields", "{").code == 2
    assert terminal.run("model", "create", "m").code == 7
    assert terminal.run("model", "delete", "m").code == 2, "nobody is there to be asked"
    assert terminal.run("model", "delete", "m", "--yes").stderr == "The record of model m is deleted.\n"
    assert terminal.run("model", "get", "m").code == 5
    assert terminal.run("dataset", "delete", "d", "--yes").code == 0
    assert terminal.run("dataset", "list").stderr == "No record of datasets.\n"
