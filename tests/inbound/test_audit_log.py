"""The audit log: every write leaves an entry with who, how, before and after; none holds a secret or another's data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from purser.core.period import parse_instant
from purser.store import audit_log, seals
from purser.store.schema import metadata
from tests import databases
from tests.inbound.house import OPERATOR_KEY, Answer, House
from tests.inbound.terminal import Terminal
from tests.inbound.writes import WRITES, Write, name_invoice, prepare, publish_prices, turn_the_month
from tests.store.small_books import change

# Writes that are in the books themselves, and so under the hash chain: who reported or held is in the usage event.
IN_THE_BOOKS = {"POST /v1/usage", "POST /v1/holds", "POST /v1/holds/{hold}:settle", "POST /v1/holds/{hold}:void"}


def entries(house: House, account: str = "ada", **more: str) -> list[Any]:
    """An account's entries, newest first, as the operator reads them."""
    query = "&".join(f"{name}={value}" for name, value in {"pageSize": "200", **more}.items())
    answer = house.operator.get(f"/v1/accounts/{account}/auditLogs?{query}")
    assert answer.status == 200, answer.text
    found: list[Any] = answer.json["auditLogs"]
    return found


def everything(house: House) -> list[Any]:
    """Everybody's entries."""
    found: list[Any] = house.operator.get("/operator/v1/auditLogs?pageSize=200").json["auditLogs"]
    return found


# Sealed rows that no entry tells of.
UNTOLD = {
    "idempotency": "answers kept, which may hold secrets",
    "causes": "they follow from what is told, and are a history of their own",
    "headroom": "amounts follow from limits, budgets and credit",
    "rates": "a version of the prices never changes, and lists them",
    "invoice_lines": "an issued invoice never changes, and lists them",
    "holds": "they are in the books",
    "slices": "they are in the books",
    "links": "they change nothing; what follows from one is told",
    "signups": "the account that was opened is told",
    "ended_sessions": "who is signed in changes nothing",
    "outbox": "messages tell what is told elsewhere",
    "alerts": "they follow from usage and what is told, and are a history of their own",
    "code_attempts": "what was refused changes nothing",
    "abuse_due": "a note of what is still to be done; what becomes of it is told",
    "credited_cards": "the credit that it is about is told",
}


def test_every_sealed_table_is_told_of_or_said_not_to_be() -> None:
    sealed = {table.name for table in seals.TABLES}
    assert sealed == set(audit_log.TOLD) | set(UNTOLD)
    for table, (_, columns) in audit_log.TOLD.items():
        assert set(columns) <= set(metadata.tables[table].c.keys()), table


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
def test_every_write_leaves_an_entry(house: House, write: Write) -> None:
    """A new route is found here by way of WRITES, where every writing route must be."""

    def call(method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        return house.operator.call(method, path, body, headers={"x-request-id": "ours-1", **headers})

    publish_prices(call)
    sent = prepare(call, write, "ada")
    turn_the_month(call)
    sent = name_invoice(call, sent, "ada")
    if ":close" in sent.path:
        house.world.set(parse_instant("2026-05-01T00:00:00Z"))
    before = len(everything(house))
    answer = house.operator.call(sent.method, sent.path, sent.body, headers={"x-request-id": "asked-1"})
    assert answer.status in (200, 201), answer.text
    new = everything(house)[: -before or None]
    if write.name in IN_THE_BOOKS:
        assert new == []
        return
    assert new
    for entry in new:
        assert (entry["requestId"], entry["method"]) == ("asked-1", write.name)
        assert entry["cause"] == f"{write.name} {sent.path.partition('?')[0]}"
        assert entry["isAdminAction"]
        assert entry["principal"]
        assert entry["changes"]
        assert all(told["after"] for told in entry["changes"])
    assert house.audit() == []


def test_a_change_is_told_before_and_after(house: House) -> None:
    ada = house.open("ada")
    house.operator.post("/v1/accounts/ada/users?userId=bot", {"role": "user"})
    answer = ada.patch("/v1/accounts/ada/users/bot", {"role": "admin", "displayName": "Bot"}, {"user-agent": "me/1"})
    assert answer.status == 200
    entry = entries(house)[0]
    assert entry["changes"] == [
        {
            "resource": "accounts/ada/users/bot",
            "before": {"displayName": "", "role": "user"},
            "after": {"displayName": "Bot", "role": "admin"},
        }
    ]
    assert entry["principal"] == "ada@example.com"
    assert entry["apiKeyId"].startswith("key_")
    assert entry["requestId"] == answer.headers["x-request-id"]
    assert entry["method"] == "PATCH /v1/accounts/{account}/users/{user}"
    assert (entry["userAgent"], entry["clientIp"], entry["isAdminAction"]) == ("me/1", "127.0.0.1", False)
    assert entry["message"] == "accounts/ada/users/bot: displayName  → Bot, role user → admin"
    assert entry["timestamp"] == "2026-03-01T09:00:00Z"


def test_a_limit_is_told_in_dollars_and_a_reason_as_it_was_given(house: House) -> None:
    ada = house.open("ada")
    ada.patch("/v1/accounts/ada/quotas/monthly-spend-usd", {"value": "10"})
    ada.patch("/v1/accounts/ada/quotas/monthly-spend-usd", {"value": "20"})
    house.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "scraping"})
    blocked, raised, *_ = entries(house)
    assert raised["changes"][0]["before"] == {"limitUsd": "10.00"}
    assert raised["payload"] == {"accounts/ada": {"limitUsd": "20.00"}}
    assert blocked["changes"][0]["after"] == {"blockedReason": "scraping"}


def test_what_changes_nothing_leaves_no_entry(house: House) -> None:
    ada = house.open("ada")
    before = len(everything(house))
    assert ada.patch("/v1/accounts/ada/users/owner", {"displayName": ""}).status == 200
    assert ada.patch("/v1/accounts/ada/users/owner", {"role": "user"}).status == 409
    assert ada.post("/v1/accounts/ada/users", {}).status == 400
    assert ada.get("/v1/accounts/ada/users").status == 200
    assert len(everything(house)) == before


def test_a_repeated_request_leaves_one_entry(house: House) -> None:
    ada = house.open("ada")
    before = len(everything(house))
    for _ in range(3):
        assert ada.post("/v1/accounts/ada/apiKeys", {}, {"idempotency-key": "once"}).status == 200
    assert len(everything(house)) == before + 1


def test_no_entry_holds_a_secret(house: House) -> None:
    ada = house.open("ada")
    made = ada.post("/v1/accounts/ada/apiKeys", {"displayName": "ci"}).json["key"]
    house.card("ada")
    hook = house.operator.post("/v1/accounts/ada/webhookEndpoints", {"url": "https://example.com/hooks/s3cr3t"}).json
    kept = str(databases.rows(house.db)["audit_log"])
    assert hook["id"] in kept
    rows = databases.rows(house.db)
    columns = [column.name for column in metadata.tables["meta"].c]
    pepper = next(dict(zip(columns, row, strict=True))["value"] for row in rows["meta"] if row[0] == "key_pepper")
    for secret in (made, "s3cr3t", hook["secret"], ada.key, OPERATOR_KEY, "pm_card_visa", pepper):
        assert secret
        assert str(secret) not in kept
    assert made[:11] in kept, "the key is told by how it begins"
    secret_columns = {"digest", "secret", "token", "fingerprint", "seal", "provider_id"}
    assert all(not secret_columns & set(told) for _, told in audit_log.TOLD.values())


def test_an_account_sees_its_own_entries_alone(house: House) -> None:
    """X3: and not who of the operator's people did what, nor from where."""
    ada, bob = house.open("ada"), house.open("bob")
    bob.patch("/v1/accounts/bob/users/owner", {"displayName": "Secret of bob"})
    house.operator.patch("/operator/v1/accounts/ada", {"unlimited": True})
    seen = ada.get("/v1/accounts/ada/auditLogs")
    assert "bob" not in seen.text
    by_operator = seen.json["auditLogs"][0]
    assert (by_operator["principal"], by_operator["apiKeyId"], by_operator["clientIp"]) == ("operator", "", "")
    assert ada.get("/v1/accounts/bob/auditLogs").status == 404
    assert house.member("ada", "eve", "user").get("/v1/accounts/ada/auditLogs").status == 403


def test_pages_spans_and_filters(house: House) -> None:
    ada = house.open("ada")
    bot = house.operator.post("/v1/accounts/ada/users?userId=bot", {"role": "admin", "serviceAccount": True})
    assert bot.status == 200
    for n in range(12):
        ada.patch("/v1/accounts/ada/users/bot", {"displayName": f"n{n}"})
    first = ada.get("/v1/accounts/ada/auditLogs").json
    assert len(first["auditLogs"]) == 10, "ten by default, as the compatible API has it"
    assert first["auditLogs"][0]["changes"][0]["after"] == {"displayName": "n11"}
    second = ada.get(f"/v1/accounts/ada/auditLogs?pageToken={first['nextPageToken']}").json
    ids = [entry["id"] for entry in first["auditLogs"] + second["auditLogs"]]
    assert len(ids) == len(set(ids)) == len(entries(house))
    assert second["nextPageToken"] == ""
    assert len(entries(house, filter="resource%3D%22users/bot%22")) == 13
    assert len(entries(house, filter="principal%3D%22ada@example.com%22")) == 12
    assert entries(house, filter="email%3D%22eve@example.com%22") == []
    house.advance("2026-04-15T00:00:00Z")
    assert entries(house) == []
    assert len(entries(house, startTime="2026-03-01T00:00:00Z", endTime="2026-03-02T00:00:00Z")) == len(ids)
    for wrong in (
        "filter=colour%3Dred",
        "startTime=x",
        "pageSize=201",
        "startTime=2026-03-02T00:00:00Z&endTime=2026-03-01T00:00:00Z",
    ):
        assert ada.get(f"/v1/accounts/ada/auditLogs?{wrong}").status == 400, wrong


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'somebody else' WHERE account = 'ada'",
        "UPDATE audit_log SET changes = replace(changes, '\"user\"', '\"admin\"') WHERE account = 'ada'",
        "DELETE FROM audit_log WHERE account = 'ada'",
        "UPDATE audit_log SET account = 'bob' WHERE account = 'ada'",
    ],
)
def test_the_audit_finds_a_changed_or_missing_entry(house: House, statement: str) -> None:
    house.open("ada")
    assert house.audit() == []
    change(house.db, statement)
    found = house.audit()
    assert {violation["check"] for violation in found} == {"B6"}


@pytest.mark.once
def test_the_command_lists_who_changed_what(house: House, tmp_path: Path) -> None:
    key = house.open("ada").key or ""
    url = f"http://127.0.0.1:{house.operator.port}"
    ada = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=key, PURSER_OPERATOR_KEY=OPERATOR_KEY)
    assert ada.run("user", "create", "bot", "--account", "ada").code == 0
    told = ada.run("audit-log", "list", "--who", "ada@example.com", "--since", "2026-03-01")
    assert "accounts/ada/users/bot made" in told.stdout
    assert len(ada.json("audit-log", "list", "--resource", "users/bot")["auditLogs"]) == 1
    assert ada.run("audit-log", "list", "--who", "nobody").stderr == "Nothing was changed in that time.\n"
    shared = ada.json("audit-log", "list", "--everybody")["auditLogs"]
    assert "operator/auditLogs" in str(shared)


def test_what_falls_due_is_not_the_doing_of_whoever_moves_the_clock(house: House) -> None:
    """Nor does it matter then which of several processes does it."""
    house.open("ada", signupCreditUsd="0")
    house.card("ada")
    house.spend("ada", 3, "e1")
    house.advance("2026-04-02T00:00:00Z")
    assert len(house.invoices("ada")) == 1
    moved = [entry for entry in everything(house) if entry["method"] == "POST /operator/v1/clock:advance"]
    assert {change["resource"] for entry in moved for change in entry["changes"]} == {"settings/clock_at"}
