"""The official client of the compatible API, unmodified but for its base URL (interface §4, facts §15)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fireworks
import pytest

from tests.inbound.house import Client, House

PATH = "/v1/accounts/ada"


def connect(client: Client) -> fireworks.Fireworks:
    """The official client with a key of ada's."""
    return fireworks.Fireworks(api_key=client.key, account_id="ada", base_url=f"http://127.0.0.1:{client.port}")


@pytest.fixture
def ada(house: House) -> Iterator[fireworks.Fireworks]:
    """Ada's own client."""
    with connect(house.open("ada")) as client:
        yield client


def report(house: House, id_: str, at: str, dollars: int = 1, **more: Any) -> None:
    """Usage of a time and, where it says so, of a user."""
    house.spend("ada", dollars, id_, occurredAt=at, **more)


def usd(units: int, nanos: int = 0) -> dict[str, Any]:
    return {"currencyCode": "USD", "units": str(units), "nanos": nanos}


# ── what it has types for ────────────────────────────────────────────────────────────────────────────────────────
def test_accounts(ada: fireworks.Fireworks) -> None:
    (listed,) = list(ada.accounts.list())
    account = ada.accounts.get()
    assert account.name == listed.name == "accounts/ada"
    assert (account.email, account.state, account.suspend_state) == ("ada@example.com", "READY", "UNSUSPENDED")
    assert account.create_time is not None
    assert list(ada.accounts.list(filter='id = "bob"')) == []
    with pytest.raises(fireworks.NotFoundError):
        ada.accounts.get(account_id="bob")


def test_users(ada: fireworks.Fireworks) -> None:
    made = ada.users.create(user_id="bot", role="user", service_account=True)
    assert (made.name, made.role, made.service_account) == ("accounts/ada/users/bot", "user", True)
    changed = ada.users.update("bot", role="contributor", display_name="Bot")
    assert ada.users.get("bot") == changed
    assert (changed.role, changed.display_name) == ("contributor", "Bot")
    assert {user.name for user in ada.users.list(page_size=1)} == {"accounts/ada/users/owner", "accounts/ada/users/bot"}
    with pytest.raises(fireworks.ConflictError):
        ada.with_options(max_retries=0).users.create(user_id="bot", role="user")
    with pytest.raises(fireworks.BadRequestError, match="role must be"):
        ada.users.create(user_id="other", role="king")


def test_api_keys(house: House, ada: fireworks.Fireworks) -> None:
    made = ada.api_keys.create("owner", api_key={"display_name": "ci"})
    assert made.key is not None
    assert made.key_id is not None
    assert (made.display_name, made.prefix) == ("ci", made.key[:11])
    shown = {key.key_id: key.key for key in ada.api_keys.list("owner")}
    assert shown[made.key_id] is None, "a key is shown once"
    with connect(Client(house.operator.port, made.key)) as second:
        assert second.accounts.get().name == "accounts/ada"
        ada.api_keys.delete("owner", key_id=made.key_id)
        with pytest.raises(fireworks.AuthenticationError):
            second.accounts.get()


# ── what it has none for ─────────────────────────────────────────────────────────────────────────────────────────
def test_quotas(ada: fireworks.Fireworks) -> None:
    told: Any = ada.get(f"{PATH}/quotas", cast_to=object, options={"params": {"pageSize": 200}})
    spend = next(quota for quota in told["quotas"] if quota["name"].endswith("monthly-spend-usd"))
    assert (spend["value"], spend["maxValue"], spend["usage"]) == ("50", "50", 0)


def test_the_summary_counts_whole_days_of_which_the_last_is_not_in(house: House, ada: fireworks.Fireworks) -> None:
    house.advance("2026-03-08T12:00:00Z")
    for day, dollars in (("04", 1), ("05", 2), ("06", 3), ("07", 4)):
        report(house, f"e{day}", f"2026-03-{day}T00:00:00Z", dollars)
    asked = {"startTime": "2026-03-05T07:18:00Z", "endTime": "2026-03-07T23:00:00Z"}
    told: Any = ada.get(f"{PATH}/billing/summary", cast_to=object, options={"params": asked})
    assert (told["startTime"], told["endTime"]) == ("2026-03-05T00:00:00Z", "2026-03-07T00:00:00Z")
    (line,) = told["lineItems"]
    assert (line["category"], line["groupingKey"], line["groupingValue"]) == ("SERVERLESS", "model_name", "dollar")
    assert (line["secondaryGroupingKey"], line["secondaryGroupingValue"]) == ("unit", "input_tokens")
    assert (line["quantity"], line["unitAmount"]) == ("5000000", usd(0, 1_000))
    assert line["totalCost"] == told["totalCost"] == usd(5)


def test_usage_of_a_day_in_tokens_by_model_and_key(house: House, ada: fireworks.Fireworks) -> None:
    quantities = {"input_tokens": 1_000, "cached_input_tokens": 250, "output_tokens": 7}
    for id_, model in (("a", "dollar"), ("b", "dollar"), ("c", "tiny")):
        counts = quantities if model == "dollar" else {"input_tokens": 5}
        body = {"id": id_, "account": "ada", "model": model, "quantities": counts}
        assert house.operator.post("/v1/usage", body).status == 200
    batch = {"id": "d", "account": "ada", "model": "dollar", "quantities": {"output_tokens": 3}, "batch": True}
    assert house.operator.post("/v1/usage", batch).status == 200
    asked = {
        "startTime": "2026-03-01T00:00:00Z",
        "endTime": "2026-03-02T00:00:00Z",
        "groupBy": ["model_name", "api_key_id"],
        "usageType": "SERVERLESS",
    }
    told: Any = ada.get(f"{PATH}/billingUsage", cast_to=object, options={"params": asked})
    assert told["dedicatedCosts"] == []
    first, second = told["serverlessCosts"]
    assert first == {
        "startTime": "2026-03-01T00:00:00Z",
        "endTime": "2026-03-02T00:00:00Z",
        "usageType": "TEXT_COMPLETION_INFERENCE_USAGE",
        "promptTokens": "2000",
        "cachedPromptTokens": "500",
        "uncachedPromptTokens": "1500",
        "completionTokens": "17",
        "modelName": "dollar",
        "apiKeyId": "",
    }
    assert (second["modelName"], second["promptTokens"]) == ("tiny", "5")


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", [("2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z"), ("2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z")]),
        # In Berlin the 29th has 23 hours; in Kathmandu a day begins at a quarter to.
        ("Europe/Berlin", [("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")]),
        ("Asia/Kathmandu", [("2026-03-28T18:15:00Z", "2026-03-29T18:15:00Z")]),
    ],
)
def test_days_of_any_time_zone(house: House, ada: fireworks.Fireworks, zone: str, days: list[tuple[str, str]]) -> None:
    house.advance("2026-03-31T00:00:00Z")
    report(house, "late", "2026-03-28T23:30:00Z")
    report(house, "early", "2026-03-29T10:00:00Z")
    asked = {"startTime": "2026-03-20T00:00:00Z", "endTime": "2026-03-31T00:00:00Z", "timezone": zone}
    told: Any = ada.get(f"{PATH}/billingUsage", cast_to=object, options={"params": asked})
    assert [(row["startTime"], row["endTime"]) for row in told["serverlessCosts"]] == days


def ask(client: fireworks.Fireworks, **more: Any) -> Any:
    """A question about the costs of March's first days."""
    body = {"scope": "ACCOUNT", "startTime": "2026-03-01T00:00:00Z", "endTime": "2026-03-04T00:00:00Z", **more}
    return client.post(f"{PATH}/usageCosts:query", cast_to=object, body=body)


def test_costs_by_day_and_by_user(house: House, ada: fireworks.Fireworks) -> None:
    house.advance("2026-03-04T00:00:00Z")
    report(house, "a", "2026-03-01T10:00:00Z", 1, user="bob")
    report(house, "b", "2026-03-02T11:00:00Z", 2, user="bob")
    report(house, "c", "2026-03-02T12:00:00Z", 3)
    told = ask(ada, groupBy=["DAY", "USER"])
    assert [(row["dimensions"], row["subtotal"]) for row in told["rows"]] == [
        ({"DAY": "2026-03-01T00:00:00Z", "USER": "bob"}, usd(1)),
        ({"DAY": "2026-03-02T00:00:00Z", "USER": "bob"}, usd(2)),
        ({"DAY": "2026-03-02T00:00:00Z", "USER": "unattributed"}, usd(3)),
    ]
    assert (told["subtotal"], told["totalSize"], told["attributionCompleteness"]) == (usd(6), 3, "COMPLETE")
    assert ask(ada)["rows"] == [{"dimensions": {}, "subtotal": usd(6)}]
    bobs = ask(ada, groupBy=["MODEL"], filter={"users": ["bob"]})
    assert bobs["rows"] == [{"dimensions": {"MODEL": "dollar"}, "subtotal": usd(3)}]
    assert ask(ada, filter={"users": ["bob"], "models": ["tiny"]})["rows"] == []
    first = ask(ada, groupBy=["HOUR"], pageSize=2)
    second = ask(ada, groupBy=["HOUR"], pageSize=2, pageToken=first["nextPageToken"])
    hours = [row["dimensions"]["HOUR"][11:13] for row in first["rows"] + second["rows"]]
    assert (hours, second["nextPageToken"], first["subtotal"]) == (["10", "11", "12"], "", usd(6))


def test_who_may_ask_for_whose_costs(house: House, ada: fireworks.Fireworks) -> None:
    report(house, "a", "2026-03-01T09:00:00Z", 1, user="bob")
    report(house, "b", "2026-03-01T09:00:00Z", 2, user="cyd")
    with connect(house.member("ada", "bob", "user")) as bob:
        with pytest.raises(fireworks.PermissionDeniedError):
            ask(bob)
        assert ask(bob, scope="SELF")["subtotal"] == usd(1)
        days = {"startTime": "2026-03-01T00:00:00Z", "endTime": "2026-03-02T00:00:00Z", "groupBy": "api_key_name"}
        for path, params in (("billingUsage", days), ("usage", {"groupBy": "user"})):
            with pytest.raises(fireworks.PermissionDeniedError):
                bob.get(f"{PATH}/{path}", cast_to=object, options={"params": params})
        assert ask(bob, scope="SELF", filter={"users": ["cyd"]})["subtotal"] == usd(0)
    assert ask(ada, scope="SELF")["subtotal"] == usd(0)
    house.open("eve")
    with pytest.raises(fireworks.NotFoundError):
        ada.get("/v1/accounts/eve/billing/summary", cast_to=object, options={"params": {"startTime": "x"}})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"groupBy": ["HOUR", "DAY"]}, "not both"),
        ({"groupBy": ["MODEL", "USER", "API_KEY"]}, "at most two"),
        ({"groupBy": ["COLOUR"]}, "groupBy must be of"),
        ({"scope": "WORLD"}, "scope must be"),
        ({"endTime": "2026-04-02T00:00:00Z"}, "at most 31 days"),
        ({"endTime": "2026-02-01T00:00:00Z"}, "must lie before"),
        ({"pageSize": 0}, "pageSize"),
        ({"filter": {"users": [str(n) for n in range(1_001)]}}, "at most 1,000 values"),
    ],
)
def test_what_is_wrong_with_a_question_is_said(ada: fireworks.Fireworks, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(fireworks.BadRequestError, match=says):
        ask(ada, **changed)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"endTime": "2026-04-02T00:00:00Z"}, "at most 31 days"),
        ({"timezone": "Mars/Olympus"}, "timezone must be"),
        ({"timezone": "/".join("a" * 500)}, "timezone must be"),
        ({"groupBy": "colour"}, "groupBy must be of"),
        ({"usageType": "TRAINING"}, "usageType must be"),
    ],
)
def test_what_is_wrong_with_a_report_is_said(ada: fireworks.Fireworks, asked: dict[str, Any], says: str) -> None:
    params = {"startTime": "2026-03-01T00:00:00Z", "endTime": "2026-03-02T00:00:00Z", **asked}
    with pytest.raises(fireworks.BadRequestError, match=says):
        ada.get(f"{PATH}/billingUsage", cast_to=object, options={"params": params})
