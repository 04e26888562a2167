"""The data export of an account: everything of it and nothing of others, no secret, in bounded memory."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from purser.flows import dossier
from purser.store import dossier as rows
from purser.store import schema as t
from tests.inbound.house import House
from tests.inbound.terminal import Terminal
from tests.inbound.test_usage_limits import dollars

PATH = "/v1/accounts/ada:export"


def furnish(house: House) -> Any:
    """Ada and bob, each with a card, usage, an invoice, credit bought and a profile."""
    for account in ("ada", "bob"):
        client = house.open(account, displayName=f"Secret of {account}")
        house.card(account)
        house.spend(account, 5, f"event-of-{account}")
        profile = {"name": f"Works of {account}", "address": {"country": "DE"}}
        client.patch(f"/v1/accounts/{account}/billingProfile", profile)
    house.advance("2026-04-01T00:00:00Z")
    for account in ("ada", "bob"):
        house.operator.post(f"/v1/accounts/{account}/credits:purchase", {"amountUsd": "7.00"})
    house.operator.post("/operator/v1/accounts/ada:setBillingMode", {"billingMode": "prepaid"})
    house.operator.patch("/v1/accounts/ada/usageLimits", {"defaultUserLimit": dollars(10)})
    tokens = {"model": "tiny", "promptTokensPerMinute": "9000", "generatedTokensPerMinute": "unlimited"}
    assert house.operator.patch("/operator/v1/accounts/ada/tokenLimits", tokens).status == 200
    chats = {"estimatedTokenCount": "9000", "externalUrl": "s3://chats"}
    assert house.operator.post("/v1/accounts/ada/datasets", {"datasetId": "d", "dataset": chats}).status == 200
    wanted = {"requestedLimit": dollars(40), "reason": "the evaluation"}
    assert house.operator.post("/v1/accounts/ada/usageLimitIncreaseRequests", wanted).status == 200
    house.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "a test"}, {"user-agent": "Nora's browser"})
    return client


def opened(raw: bytes) -> dict[str, list[Any]]:
    """The rows of every file, by its name without the number."""
    found: dict[str, list[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        assert archive.infolist()[0].header_offset == 0, "nothing is sent twice"
        for name in archive.namelist():
            lines = archive.read(name).decode().splitlines()
            found.setdefault(name.rpartition("-")[0], []).extend(map(json.loads, lines))
    return found


def test_everything_is_in_it(house: House) -> None:
    furnish(house)
    answer = house.operator.get(PATH)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="ada.zip"'
    files = opened(answer.raw)
    assert set(files) == {file.name for file in rows.FILES}
    assert len(zipfile.ZipFile(io.BytesIO(answer.raw)).namelist()) == int(answer.headers["x-purser-parts"])
    with house.db.read() as conn:
        for file in rows.FILES:
            assert len(files[file.name]) == rows.count_rows(conn, "ada", file, 100), file.name
    assert [row["id"] for row in files["usage_events"]] == ["event-of-ada"]
    assert files["usage_events"][0]["costUsd"] == "5.000000000"
    assert files["usage_events"][0]["quantities"] == {"input_tokens": 5_000_000}
    assert files["usage_events"][0]["occurredAt"] == "2026-03-01T09:00:00Z"
    invoice = next(row for row in files["invoices"] if row["type"] == "POSTPAID_BILLING")
    assert (invoice["totalUsd"], invoice["billedTo"]["name"]) == ("4.000000000", "Works of ada")
    assert files["billing_profile"][0]["name"] == "Works of ada"
    assert [(row["was"], row["mode"]) for row in files["billing_mode_changes"]] == [("postpaid", "prepaid")]
    asked = files["limit_requests"][0]
    assert (asked["user"], asked["requestedUsd"], asked["approvedUsd"]) == ("owner", "40.000000000", None)
    assert asked["reason"] == "the evaluation"
    limits = {row["metric"]: (row["model"], row["kind"], row["tokens"]) for row in files["token_limits"]}
    assert limits == {"prompt": ("tiny", "fixed", 9000), "generated": ("tiny", "unlimited", None)}
    [written] = files["records"]
    assert (written["collection"], written["id"], written["tokenCount"]) == ("datasets", "d", 9000)
    assert written["fields"] == {"externalUrl": "s3://chats"}
    assert files["account"][0]["state"] == "READY"
    assert files["suspensions"][0]["cause"] == "BLOCKED_BY_ABUSE_RULE"
    assert {row["ledger"] for row in files["ledger"]} > {"cash", "revenue:2026-03"}
    debits = sum(int(row["amountUsd"].replace(".", "")) * (1 if row["side"] == "D" else -1) for row in files["ledger"])
    assert debits == 0
    told = [row for row in files["audit_log"] if row["operator"]]
    assert told
    assert all(not (row["actor"] or row["key"] or row["userAgent"] or row["client"]) for row in told)
    assert any(row["actor"] == "owner" for row in files["audit_log"])


def test_nothing_of_others_and_no_secret_is_in_it(house: House) -> None:
    furnish(house)
    owner = house.operator.post("/v1/accounts/ada/users/owner/apiKeys", {}).json["key"]
    hook = {"url": "https://example.com/hooks"}
    secret = house.operator.post("/v1/accounts/ada/webhookEndpoints", hook).json["secret"]
    text = json.dumps(opened(house.operator.get(PATH).raw))
    for word in ("bob", owner, secret, "pm_card_visa", "Nora's browser"):
        assert word not in text, word
    with house.db.read() as conn:
        columns = {column.name for file in rows.FILES for column in file.query.selected_columns}
        cards = [row.fingerprint for row in conn.execute(sa.select(t.payment_methods))]
    assert not columns & {"digest", "token", "fingerprint", "seal", "secret"}
    assert not any(card in text for card in cards)


def test_it_works_for_a_closed_account_and_not_for_one_that_is_not_there(house: House) -> None:
    house.open("ada")
    house.operator.post("/v1/accounts/ada:close")
    assert opened(house.operator.get(PATH).raw)["account"][0]["state"] == "DELETING"
    assert house.operator.get("/v1/accounts/dan:export").status == 404


def test_long_files_come_in_parts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dossier, "ROWS_A_PART", 3)
    house.open("ada")
    for n in range(7):
        house.spend("ada", 0, f"e{n}", quantities={"input_tokens": 1})
    raw = house.operator.get(PATH)
    names = zipfile.ZipFile(io.BytesIO(raw.raw)).namelist()
    assert [name for name in names if name.startswith("usage")] == [f"usage_events-{n:04d}.jsonl" for n in (1, 2, 3)]
    assert len(names) == int(raw.headers["x-purser-parts"])
    assert len(opened(raw.raw)["usage_events"]) == 7
    for n in (7, 8):
        house.spend("ada", 0, f"e{n}", quantities={"input_tokens": 1})
    raw = house.operator.get(PATH)
    assert len(opened(raw.raw)["usage_events"]) == 9, "the last part is full"
    assert len(zipfile.ZipFile(io.BytesIO(raw.raw)).namelist()) == int(raw.headers["x-purser-parts"])


def test_memory_does_not_grow_with_what_there_is(house: House) -> None:
    house.open("ada")
    house.spend("ada", 0, "first", quantities={"input_tokens": 1})

    def peak() -> tuple[int, int]:
        """Bytes at most while it is made, and bytes that came of it."""
        with house.db.read() as conn:
            size, pieces = 0, dossier.export_account(conn, "ada", 0)
            tracemalloc.start()
            for piece in pieces:
                size += len(piece)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most, size

    peak()
    fill(house, 2_000)
    small, little = peak()
    fill(house, 10_000)
    large, much = peak()
    assert much > 4 * little
    assert large < small + 100_000, f"{small:,} bytes with 2,000 events, {large:,} with 12,000, some 5 MB of text"


def fill(house: House, more: int) -> None:
    """Write usage events behind everybody's back, under ids that no zip makes short."""
    chance = Random(more)
    with house.db.engine.begin() as conn:
        row = conn.execute(sa.select(t.usage_events).where(t.usage_events.c.id == "first")).one()._asdict()
        have = conn.execute(sa.select(sa.func.count()).select_from(t.usage_events)).scalar_one()
        for start in range(have, have + more, 1_000):
            some = [{**row, "id": f"{chance.getrandbits(512):x}"} for n in range(start, start + 1_000)]
            conn.execute(sa.insert(t.usage_events), some)


@pytest.mark.once
def test_the_command(house: House, tmp_path: Path) -> None:
    key = house.open("ada").key or ""
    house.spend("ada", 5, "e1")
    ada = Terminal(tmp_path).using(PURSER_URL=f"http://127.0.0.1:{house.operator.port}", PURSER_API_KEY=key)
    done = ada.run("account", "export", "ada")
    assert (done.code, done.stdout) == (0, "")
    assert "ada.zip holds all data of ada" in done.stderr
    assert [row["id"] for row in opened((tmp_path / "ada.zip").read_bytes())["usage_events"]] == ["e1"]
    told = json.loads(ada.run("account", "export", "ada", "--file", "b.zip", "-o", "json").stdout)
    assert (told["account"], told["bytes"]) == ("ada", (tmp_path / "b.zip").stat().st_size)
    assert told["files"] == len(zipfile.ZipFile(tmp_path / "b.zip").namelist())
    assert ada.run("account", "export", "ada", "--file", "nowhere/b.zip").code == 1
    assert ada.run("account", "export", "dan").code == 5
    assert not list(tmp_path.glob("*.part"))
