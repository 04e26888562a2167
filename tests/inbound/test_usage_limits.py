"""Usage limits of people and groups over the API: which counts, how they are set, and what is refused (L6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from purser.flows import caps
from tests.inbound.house import Answer, Client, House
from tests.inbound.terminal import Terminal


def dollars(units: int) -> Any:
    return {"currencyCode": "USD", "units": str(units), "nanos": 0}


class Limits:
    """Ada's account with a user eve, and short ways to limit her."""

    def __init__(self, house: House) -> None:
        self.ada = house.open("ada")
        self.eve = house.member("ada", "eve", "user")

    def default(self, units: int) -> Answer:
        return self.ada.patch("/v1/accounts/ada/usageLimits", {"defaultUserLimit": dollars(units)})

    def user(self, **fields: Any) -> Answer:
        return self.ada.patch("/v1/accounts/ada/users/eve/usageLimits", fields)

    def tier(self, id_: str, units: int) -> Answer:
        path = f"/v1/accounts/ada/groupUsageLimitTiers?groupUsageLimitTierId={id_}"
        return self.ada.post(path, {"limit": dollars(units)})

    def group(self, group: str, tier: str | None) -> Answer:
        return self.ada.patch(f"/v1/accounts/ada/groups/{group}/usageLimits", {"groupUsageLimitTierId": tier})

    def of(self, client: Client) -> Any:
        answer = client.get("/v1/accounts/ada/users/eve/usageLimits")
        assert answer.status == 200, answer.text
        return answer.json


@pytest.fixture
def limits(house: House) -> Limits:
    return Limits(house)


def test_which_limit_counts(limits: Limits) -> None:
    """S68, S69."""
    told = limits.of(limits.eve)
    assert (told["effectiveLimit"], told["limitSource"]) == (None, "LIMIT_SOURCE_UNSPECIFIED")
    assert limits.default(200).json == {"name": "accounts/ada/usageLimits", "defaultUserLimit": dollars(200)}
    assert limits.of(limits.eve)["limitSource"] == "ACCOUNT_DEFAULT"
    for id_, units in (("low", 100), ("high", 250), ("tiny", 50)):
        assert limits.tier(id_, units).status == 200
        assert limits.group(f"group-{id_}", id_).status == 200
    assert limits.user(limitOverride=dollars(500), groups=["group-low", "group-high"]).status == 200
    assert limits.of(limits.ada) == {
        "name": "accounts/ada/users/eve/usageLimits",
        "user": "eve",
        "used": dollars(0),
        "effectiveLimit": dollars(500),
        "limitSource": "USER_OVERRIDE",
        "limitOverride": dollars(500),
        "groups": ["group-high", "group-low"],
        "limitGroups": ["group-high", "group-low"],
        "exceededUntil": None,
    }
    without = limits.user(limitOverride=None).json
    assert (without["effectiveLimit"], without["limitSource"]) == (dollars(250), "GROUP_ASSIGNMENT")
    below = limits.user(groups=["group-tiny"]).json
    assert below["effectiveLimit"] == dollars(50), "a group's limit below the default still counts"
    nothing = limits.user(groups=["nobody-limits-this"]).json
    assert (nothing["effectiveLimit"], nothing["limitSource"]) == (dollars(200), "ACCOUNT_DEFAULT")
    assert nothing["limitGroups"] == []


def test_group_limits_are_nine_distinct_and_stay_while_assigned(limits: Limits) -> None:
    """S73."""
    for n in range(9):
        assert limits.tier(f"t{n}", n).status == 200
    tenth = limits.tier("t9", 99)
    assert (tenth.status, tenth.json["code"]) == (400, "INVALID_ARGUMENT")
    path = "/v1/accounts/ada/groupUsageLimitTiers"
    same = limits.ada.patch(f"{path}/t1?updateMask=limit", {"limit": dollars(2)})
    assert (same.status, same.json["errors"][0]["field"]) == (409, "limit")
    assert limits.ada.patch(f"{path}/t1", {"limit": dollars(1)}).status == 200, "its own amount is no other's"
    assert limits.group("research", "t3").status == 200
    kept = limits.ada.delete(f"{path}/t3")
    assert (kept.status, kept.json["code"]) == (409, "FAILED_PRECONDITION")
    assert "research" in kept.json["detail"]
    assert limits.group("research", None).json["limit"] is None
    assert limits.ada.delete(f"{path}/t3").status == 200
    assert limits.ada.get(f"{path}/t3").status == 404
    assert limits.group("research", "t3").status == 404
    assert limits.tier("t3", 33).json["limit"] == dollars(33), "an id may be used again"
    tiers = limits.ada.get(path).json
    assert [tier["id"] for tier in tiers["groupUsageLimitTiers"]] == "t0 t1 t2 t4 t5 t6 t7 t8 t3".split()
    assert limits.tier("t3", 44).status == 409


def test_groups_are_listed_with_limits_and_members(limits: Limits) -> None:
    limits.tier("few", 7)
    limits.group("research", "few")
    limits.user(groups=["research", "choir"])
    told = limits.eve.get("/v1/accounts/ada/groupUsageLimits").json["groupUsageLimits"]
    assert [(group["id"], group["limit"], group["members"]) for group in told] == [
        ("choir", None, 1),
        ("research", dollars(7), 1),
    ]
    assert limits.ada.get("/v1/accounts/ada/groups/research/usageLimits").json == told[1]


def test_an_admin_cannot_clear_the_default_and_the_operator_can(limits: Limits, house: House) -> None:
    limits.default(5)
    path, nothing = "/v1/accounts/ada/usageLimits", {"defaultUserLimit": None}
    assert limits.ada.patch(path, nothing).status == 403
    assert house.operator.patch(path, nothing).json["defaultUserLimit"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"units": "-1"},
        {"units": "1.5"},
        {"units": "1", "nanos": -1},
        {"units": "1", "nanos": 10**9},
        {"units": "1", "currencyCode": "EUR"},
        {"units": "9" * 30},
        {"units": "10000000000"},
    ],
)
def test_a_wrong_amount_is_refused(limits: Limits, wrong: Any) -> None:
    assert limits.user(limitOverride={"units": "3"}).status == 200
    refused = limits.user(limitOverride=wrong)
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, "limitOverride")
    assert limits.of(limits.eve)["limitOverride"] == dollars(3)


def test_a_user_sees_the_own_limits_alone(limits: Limits) -> None:
    assert limits.eve.get("/v1/accounts/ada/users/owner/usageLimits").status == 403
    assert limits.eve.get("/v1/accounts/ada/userUsageLimits").status == 403
    found = limits.ada.get("/v1/accounts/ada/userUsageLimits").json
    assert [row["user"] for row in found["userUsageLimits"]] == ["eve", "owner"]


def test_usage_reported_after_the_fact_does_not_count(limits: Limits, house: House) -> None:
    """S74: only requests through the gateway do."""
    limits.user(limitOverride=dollars(1))
    house.spend("ada", 3, "e1", user="eve")
    told = limits.of(limits.eve)
    assert (told["used"], told["exceededUntil"]) == (dollars(0), None)


def test_a_cap_of_nothing_is_exceeded_until_the_month_ends(limits: Limits, house: House) -> None:
    """S72."""
    assert limits.user(limitOverride=dollars(0)).json["exceededUntil"] == "2026-04-01T00:00:00Z"
    with house.db.read() as conn:
        bound = caps.get_bound(conn, "ada", "eve")
    assert bound is not None
    assert (bound.kind, bound.budget.nanos) == ("user", 0)


@pytest.mark.once
def test_the_commands_list_and_set_limits(limits: Limits, house: House, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{house.operator.port}"
    ada = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=limits.ada.key or "")
    assert ada.json("limits", "set", "30")["defaultUserLimit"] == dollars(30)
    assert ada.json("limits", "set", "12.50", "--group", "research")["groupUsageLimitTierId"] == "usd-12.5"
    assert ada.json("limits", "set", "12.50", "--group", "choir")["groupUsageLimitTierId"] == "usd-12.5"
    joined = ada.json("limits", "set", "--user", "eve", "--join", "research")
    assert (joined["effectiveLimit"]["units"], joined["limitSource"]) == ("12", "GROUP_ASSIGNMENT")
    assert ada.json("limits", "set", "7", "--user", "eve")["groups"] == ["research"]
    assert ada.json("limits", "set", "--none", "--user", "eve")["limitSource"] == "GROUP_ASSIGNMENT"
    shown = ada.run("limits", "list").stdout
    assert "eve" in shown
    assert "12.50" in shown
    assert "research" in ada.run("limits", "list", "--groups").stdout
    for wrong in (["set"], ["set", "5", "--none"], ["set", "5", "--user", "a", "--group", "b"], ["set", "--join", "x"]):
        assert ada.run("limits", *wrong).code == 2, wrong
    assert ada.run("limits", "set", "--none").code == 4
