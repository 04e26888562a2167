"""The operator's list of accounts: filtered by what is stored and by what is derived, in either of two orders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.inbound.house import House

ACCOUNTS = "/operator/v1/accounts"


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Accounts of every tier and with every cause, opened out of the order of their ids, an hour apart."""
    house = House(Path(tmp_path_factory.mktemp("house")))
    spends = {"tier-0": "", "tier-1": "", "tier-2": "50", "tier-4": "5000", "fine": "0.50", "unlimited": ""}
    for hour, name in enumerate(["tier-2", "tier-0", "unlimited", "tier-4", "tier-1", "fine", "spent", "over", "both"]):
        house.advance(f"2026-03-02T{hour:02}:00:00Z")
        house.open(name)
        if spends.get(name):
            house.operator.post(f"{ACCOUNTS}/{name}/grants", {"amountUsd": spends[name], "kind": "purchased"})
    for name in ("tier-1", "over", "both"):
        house.card(name)
    house.operator.patch(f"{ACCOUNTS}/unlimited", {"unlimited": True})
    house.spend("spent", 3, "e1")
    house.spend("over", 60, "e2")
    house.spend("both", 60, "e3")
    house.operator.post(f"{ACCOUNTS}/both:suspend", {"reason": "a test"})
    try:
        yield house
    finally:
        house.close()


def listed(house: House, filter_: str, order: str = "id") -> list[str]:
    answer = house.operator.get(f"{ACCOUNTS}?filter={quote(filter_)}&orderBy={quote(order)}")
    assert answer.status == 200, answer.text
    assert answer.json["totalSize"] == len(answer.json["accounts"])
    return [account["id"] for account in answer.json["accounts"]]


@pytest.mark.parametrize(
    "filter_, expected",
    [
        ("suspendState = CREDIT_DEPLETED", ["spent"]),
        ("suspendState = MONTHLY_SPEND_LIMIT_EXCEEDED", ["over"]),
        ("suspendState = BLOCKED_BY_ABUSE_RULE", ["both"]),
        ("suspendState = FAILED_PAYMENTS", []),
        ("suspendState = UNSUSPENDED", ["fine", "tier-0", "tier-1", "tier-2", "tier-4", "unlimited"]),
        ("tier = 0", ["fine", "spent", "tier-0"]),
        ("tier = 1", ["both", "over", "tier-1"]),
        ("tier = 2", ["tier-2"]),
        ('tier = "3"', []),
        ("tier = 4", ["tier-4"]),
        ("tier = unlimited", ["unlimited"]),
        ("hasPaymentMethod = true", ["both", "over", "tier-1"]),
        ("hasPaymentMethod = false AND tier = 2", ["tier-2"]),
        ("hasPaymentMethod = true AND tier = 0", []),
        ("tier = 1 AND suspendState = UNSUSPENDED AND hasPaymentMethod = true", ["tier-1"]),
        ("id = accounts/fine AND tier = 0", ["fine"]),
    ],
)
def test_a_filter_finds_what_it_means(street: House, filter_: str, expected: list[str]) -> None:
    assert listed(street, filter_) == expected


def test_a_filter_agrees_with_what_each_account_says(street: House) -> None:
    accounts = street.operator.get(ACCOUNTS).json["accounts"]
    assert len(accounts) == 9
    for field in ("suspendState", "tier", "hasPaymentMethod"):
        for value in {account[field] for account in accounts}:
            spelt = str(value).lower() if isinstance(value, bool) else str(value)
            same = [account["id"] for account in accounts if account[field] == value]
            assert listed(street, f"{field} = {spelt}") == sorted(same), (field, value)


@pytest.mark.parametrize(
    "filter_, says",
    [
        ("tier = 5", "tiers: 0, 1, 2, 3, 4, unlimited"),
        ("tier = gold", "such as tier = 2"),
        ("suspendState = SLOW", "UNSUSPENDED, BLOCKED_BY_ABUSE_RULE"),
        ("hasPaymentMethod = yes", "hasPaymentMethod = true"),
        ("unlimited = 1", "suspendState, tier, hasPaymentMethod"),
        ("tier = 1 AND tier = 2", "joined by AND"),
    ],
)
def test_a_filter_that_means_nothing_says_what_would(street: House, filter_: str, says: str) -> None:
    answer = street.operator.get(f"{ACCOUNTS}?filter={quote(filter_)}")
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "filter")
    assert says in answer.json["detail"]


BY_TIME = ["tier-2", "tier-0", "unlimited", "tier-4", "tier-1", "fine", "spent", "over", "both"]


@pytest.mark.parametrize(
    "order, expected",
    [
        ("", BY_TIME[::-1]),
        ("createTime", BY_TIME),
        ("createTime asc", BY_TIME),
        ("createTime desc", BY_TIME[::-1]),
        ("id", sorted(BY_TIME)),
        ("id asc", sorted(BY_TIME)),
        ("id desc", sorted(BY_TIME)[::-1]),
    ],
)
@pytest.mark.parametrize("size", [2, 9])
def test_every_order_is_paged_through_without_gap_or_repetition(
    street: House, order: str, expected: list[str], size: int
) -> None:
    seen: list[str] = []
    token = ""
    while True:
        page = street.operator.get(f"{ACCOUNTS}?pageSize={size}&orderBy={quote(order)}&pageToken={token}").json
        seen += [account["id"] for account in page["accounts"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert seen == expected


def test_an_order_that_is_none_and_a_token_of_another_order(street: House) -> None:
    refused = street.operator.get(f"{ACCOUNTS}?orderBy=email")
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, "orderBy")
    assert "createTime desc" in refused.json["detail"]
    token = street.operator.get(f"{ACCOUNTS}?pageSize=1&orderBy=id").json["nextPageToken"]
    assert street.operator.get(f"{ACCOUNTS}?pageSize=1&pageToken={token}").status == 400


def test_an_accounts_key_sees_its_own_account_through_the_same_filter(street: House) -> None:
    key = street.operator.post("/v1/accounts/spent/users/owner/apiKeys", {}).json["key"]
    for filter_, count in [("suspendState = CREDIT_DEPLETED", 1), ("tier = 2", 0), ("id = both", 0), ("", 1)]:
        headers = {"authorization": f"Bearer {key}"}
        answer = street.nobody.get(f"/v1/accounts?filter={quote(filter_)}&orderBy=id", headers).json
        assert (len(answer["accounts"]), answer["totalSize"]) == (count, count)
