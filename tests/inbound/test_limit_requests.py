"""Requests for a higher usage limit: who may ask and decide, what is in force then, and who is told (L6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.inbound.house import Answer, Client, House
from tests.inbound.terminal import Terminal
from tests.inbound.test_usage_limits import dollars

PATH = "/v1/accounts/ada/usageLimitIncreaseRequests"
NOBODY_NAMED = "ulir_00000000000000000000000000"


class Asking:
    """Ada's account, where each user may spend $10 a month, and its user eve."""

    def __init__(self, house: House) -> None:
        self.house, self.ada = house, house.open("ada")
        self.eve = house.member("ada", "eve", "user")
        self.bob = house.member("ada", "bob", "user")
        assert self.ada.patch("/v1/accounts/ada/users/eve", {"email": "eve@example.com"}).status == 200
        assert self.ada.patch("/v1/accounts/ada/usageLimits", {"defaultUserLimit": dollars(10)}).status == 200

    def ask(self, client: Client, units: int, **more: Any) -> Answer:
        return client.post(PATH, {"requestedLimit": dollars(units), **more})

    def decide(self, id_: str, what: str, **body: Any) -> Answer:
        return self.ada.post(f"{PATH}/{id_}:{what}", body)

    def limit(self, user: str = "eve") -> Any:
        told = self.ada.get(f"/v1/accounts/ada/users/{user}/usageLimits").json
        return told["effectiveLimit"], told["limitSource"]

    def mails(self) -> list[tuple[str, str]]:
        """To whom and about what, oldest first, of those that tell of requests."""
        with self.house.db.read() as conn:
            found = conn.execute(
                sa.text("SELECT target, subject FROM outbox WHERE topic LIKE 'increase.%' ORDER BY created_at, topic")
            )
            return [(row[0], row[1]) for row in found]


@pytest.fixture
def asking(house: House) -> Asking:
    return Asking(house)


def test_a_request_is_approved_and_in_force(asking: Asking) -> None:
    made = asking.ask(asking.eve, 40, reason="the evaluation runs until Friday").json
    assert made == asking.eve.get(f"{PATH}/{made['id']}").json
    told = ("PENDING", "eve", dollars(40), "the evaluation runs until Friday", None)
    assert tuple(made[name] for name in ("state", "user", "requestedLimit", "reason", "approvedLimit")) == told
    assert asking.limit() == (dollars(10), "ACCOUNT_DEFAULT"), "nobody has decided"
    decided = asking.decide(made["id"], "approve").json
    assert (decided["state"], decided["decidedBy"], decided["approvedLimit"]) == ("APPROVED", "owner", dollars(40))
    assert asking.limit() == (dollars(40), "USER_OVERRIDE")
    assert asking.limit("bob") == (dollars(10), "ACCOUNT_DEFAULT")
    assert asking.mails() == [
        ("ada@example.com", "Account ada: user eve asks for a limit of $40.00 a month"),
        ("eve@example.com", "Account ada: your limit is $40.00 a month"),
    ]


def test_every_admin_with_an_address_is_told_once_but_not_whoever_asks(asking: Asking) -> None:
    house, acme = asking.house, asking.house.open("acme", email="Info@Acme.example")
    for user, role, email in (
        ("ann", "admin", "ann@acme.example"),
        ("art", "admin", "art@acme.example"),
        ("ida", "admin", ""),
        ("una", "user", "una@acme.example"),
    ):
        house.member("acme", user, role)
        assert acme.patch(f"/v1/accounts/acme/users/{user}", {"email": email} if email else {}).status == 200
    assert acme.patch("/v1/accounts/acme/usageLimits", {"defaultUserLimit": dollars(10)}).status == 200
    wanted = {"requestedLimit": dollars(40), "user": "ann"}
    assert acme.post("/v1/accounts/acme/usageLimitIncreaseRequests", wanted).status == 200
    subject = "Account acme: user ann asks for a limit of $40.00 a month"
    assert sorted(asking.mails()) == [("Info@Acme.example", subject), ("art@acme.example", subject)]


def test_a_request_is_rejected_with_a_reason(asking: Asking) -> None:
    made = asking.ask(asking.bob, 40).json
    decided = asking.decide(made["id"], "reject", reason="not before next month").json
    assert (decided["state"], decided["answer"], decided["approvedLimit"]) == (
        "REJECTED",
        "not before next month",
        None,
    )
    assert asking.limit("bob") == (dollars(10), "ACCOUNT_DEFAULT")
    assert asking.mails()[1:] == [("ada@example.com", "Account ada: your request for $40.00 a month is rejected")]
    assert asking.ask(asking.bob, 30).status == 200, "he may ask again"


def test_an_approval_never_lowers_a_limit(asking: Asking) -> None:
    made = asking.ask(asking.eve, 40).json["id"]
    asking.ada.patch("/v1/accounts/ada/users/eve/usageLimits", {"limitOverride": dollars(100)})
    refused = asking.decide(made, "approve")
    assert (refused.status, refused.json["code"]) == (400, "INVALID_ARGUMENT")
    assert "$100.00 a month that user eve may spend already" in refused.json["detail"]
    assert asking.limit() == (dollars(100), "USER_OVERRIDE")
    assert asking.decide(made, "approve", limit=dollars(120)).status == 200
    assert asking.limit() == (dollars(120), "USER_OVERRIDE")


def test_what_is_decided_stays_decided(asking: Asking) -> None:
    made = asking.ask(asking.eve, 40).json["id"]
    assert asking.decide(made, "reject").status == 200
    for what in ("approve", "reject"):
        again = asking.decide(made, what)
        assert (again.status, again.json["code"]) == (409, "FAILED_PRECONDITION")
    assert asking.limit() == (dollars(10), "ACCOUNT_DEFAULT")
    assert len(asking.mails()) == 2


def test_who_may_ask_and_see_and_decide(asking: Asking) -> None:
    made = asking.ask(asking.eve, 40).json["id"]
    assert asking.ask(asking.eve, 50).status == 409, "one at a time"
    assert asking.ask(asking.bob, 50, user="eve").status == 403
    assert asking.bob.get(f"{PATH}/{made}").status == 403
    for what in ("approve", "reject"):
        assert asking.eve.post(f"{PATH}/{made}:{what}", {}).status == 403
    theirs = asking.ask(asking.ada, 50, user="bob").json
    assert theirs["user"] == "bob"

    def seen(client: Client, query: str = "") -> list[str]:
        return [each["user"] for each in client.get(PATH + query).json["usageLimitIncreaseRequests"]]

    assert (seen(asking.ada), seen(asking.eve), seen(asking.bob)) == (["bob", "eve"], ["eve"], ["bob"])
    assert asking.decide(made, "approve").status == 200
    assert (seen(asking.ada, "?state=PENDING"), seen(asking.ada, "?state=APPROVED")) == (["bob"], ["eve"])


@pytest.mark.parametrize(
    "body, why",
    [
        ({"requestedLimit": dollars(10)}, "must be more than the $10.00 a month that user eve may spend already"),
        ({"requestedLimit": {"units": "-1"}}, "must be an amount such as"),
        ({"requestedLimit": dollars(20), "reason": "x" * 501}, "a reason is one line of at most 500 characters"),
        ({"requestedLimit": dollars(20), "reason": "a\nb"}, "a reason is one line of at most 500 characters"),
        ({}, "requestedLimit"),
    ],
)
def test_what_is_refused(asking: Asking, body: Any, why: str) -> None:
    refused = asking.eve.post(PATH, body)
    assert (refused.status, refused.json["code"]) == (400, "INVALID_ARGUMENT")
    assert why in refused.text
    assert asking.mails() == []


def test_whom_nothing_limits_has_nothing_to_ask_for(house: House) -> None:
    ada = house.open("ada")
    refused = ada.post(PATH, {"requestedLimit": dollars(20)})
    assert refused.status == 400
    assert "there is nothing to raise" in refused.text
    assert ada.post(f"{PATH}/{NOBODY_NAMED}:approve", {}).status == 404


@pytest.mark.once
def test_the_commands(asking: Asking, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path).using(PURSER_URL=f"http://127.0.0.1:{asking.house.operator.port}")
    ada = terminal.using(PURSER_API_KEY=asking.ada.key or "")
    eve = terminal.using(PURSER_API_KEY=asking.eve.key or "")
    eve.json("limits", "ask", "40", "--dry-run")
    assert ada.json("limits", "requests")["usageLimitIncreaseRequests"] == [], "that was a dry run"
    made = eve.json("limits", "ask", "40", "--reason", "the evaluation")
    assert [each["id"] for each in ada.json("limits", "requests", "--pending")["usageLimitIncreaseRequests"]] == [
        made["id"]
    ]
    for tried in (("approve", made["id"], "25.50"), ("reject", made["id"])):
        ada.json("limits", *tried, "--dry-run")
    assert len(ada.json("limits", "requests", "--pending")["usageLimitIncreaseRequests"]) == 1
    assert ada.json("limits", "approve", made["id"], "25.50")["approvedLimit"] == {**dollars(25), "nanos": 500_000_000}
    again = eve.json("limits", "ask", "60")["id"]
    assert ada.json("limits", "reject", again, "--reason", "enough")["state"] == "REJECTED"
    assert ada.json("limits", "requests", "--pending")["usageLimitIncreaseRequests"] == []
