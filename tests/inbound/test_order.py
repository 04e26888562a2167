"""Lists are newest first, and the oldest of what is alike is used first, also within one instant of a manual clock."""

from __future__ import annotations

from typing import Any

from tests.inbound.house import Client, House


def pages(client: Client, path: str, plural: str) -> list[Any]:
    """Every row of a list, read in small pages."""
    rows: list[Any] = []
    token = ""
    while True:
        page = client.get(f"{path}?pageSize=2&pageToken={token}").json
        rows += page[plural]
        token = page["nextPageToken"]
        if not token:
            return rows


def test_accounts_users_and_keys_are_listed_newest_first(house: House) -> None:
    names = ["ada", "cyd", "acme", "demo", "bob"]
    for name in names:
        house.open(name)
        house.operator.post(f"/v1/accounts/ada/users?userId={name}", {"role": "user"})
        house.operator.post("/v1/accounts/ada/apiKeys", {"userId": name, "displayName": name})
    newest = names[::-1]
    listed = pages(house.operator, "/operator/v1/accounts", "accounts")
    assert [row["name"].removeprefix("accounts/") for row in listed] == newest
    assert [row["id"] for row in pages(house.operator, "/v1/accounts/ada/users", "users")] == [*newest, "owner"]
    keys = [row["displayName"] for row in pages(house.operator, "/v1/accounts/ada/apiKeys", "apiKeys")]
    assert keys == [*newest, "default"]


def test_money_is_listed_newest_first_and_used_oldest_first(house: House) -> None:
    ada = house.open("ada", signupCreditUsd="1.00")
    cards = [house.card("ada", f"pm_card_{brand}") for brand in ("visa", "amex", "jcb", "diners")]
    for dollars in range(2, 8):
        body = {"amountUsd": f"{dollars}.00"}
        house.operator.post("/operator/v1/accounts/ada/grants", body)
        ada.post("/v1/accounts/ada/credits:purchase", body)
    methods = ada.get("/v1/accounts/ada/paymentMethods").json
    assert [row["id"] for row in methods["paymentMethods"]] == cards[::-1]
    ada.delete(f"/v1/accounts/ada/paymentMethods/{cards[3]}")
    assert ada.get("/v1/accounts/ada/paymentMethods").json["defaultPaymentMethodId"] == cards[2]
    granted = [row["grantedUsd"] for row in pages(ada, "/v1/accounts/ada/credits", "credits")]
    assert granted == [f"{n}.00" for n in (7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1)]
    receipts = [row["amountUsd"] for row in pages(ada, "/v1/accounts/ada/receipts", "receipts")]
    assert receipts == [f"{n}.00" for n in (7, 6, 5, 4, 3, 2)]
    order = [f"{n}.00" for n in (1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7)]
    assert [grant["remainingUsd"] for grant in house.balance("ada")["grants"]] == order, "A3"
    house.spend("ada", 12, "e1")
    left = ["3.00", "6.00", "7.00", "2.00", "3.00", "4.00", "5.00", "6.00", "7.00"]
    assert [grant["remainingUsd"] for grant in house.balance("ada")["grants"]] == left, "A3"


def test_the_statement_is_newest_first(house: House) -> None:
    ada = house.open("ada", signupCreditUsd="0.00")
    house.card("ada")
    for n in range(1, 6):
        house.operator.post("/operator/v1/accounts/ada/grants", {"amountUsd": f"{n}.00"})
        house.spend("ada", 1, f"e{9 - n}")
    rows = pages(ada, "/v1/accounts/ada/statement", "rows")
    told = [row["key"] for row in rows if row["kind"] == "settled"]
    assert told == [f"api/e{n}/settled" for n in (4, 5, 6, 7, 8)]
    granted = [row["postings"][0]["amountUsd"] for row in rows if row["kind"] == "granted"]
    assert granted == [f"{n}.000000000" for n in (5, 4, 3, 2, 1)]
