"""Invitations: sent by an admin, taken up by whoever reads the mail, listed, revoked, expired, and told in the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from purser.core.period import DAY, MINUTE
from purser.flows import invitations
from tests import databases
from tests.inbound.browser import Browser, Post, forms_of, post_of, sign_in
from tests.inbound.house import Client, House
from tests.inbound.test_sign_in import later, token_of

EVE = "eve@example.com"
PATH = "/v1/accounts/ada/invitations"


@pytest.fixture
def post(house: House) -> Iterator[Post]:
    """A house with two accounts, and its mail; the books are in order at the end."""
    house.open("bob")
    with post_of(house) as running:
        yield running
    assert house.audit() == []


@pytest.fixture
def ada(post: Post) -> Client:
    """The owner of an account."""
    return post.house.open("ada")


def invite(by: Client, email: str = EVE, role: str = "contributor") -> Any:
    answer = by.post(PATH, {"email": email, "role": role})
    assert answer.status == 200, answer.text
    return answer.json


def take_up(browser: Browser, link: str) -> Any:
    return browser.submit(browser.open(link), "/dashboard/invitation")


def users(house: House, account: str) -> list[tuple[str, str, str]]:
    rows = house.operator.get(f"/v1/accounts/{account}/users").json["users"]
    return sorted((row["id"], row["email"], row["role"]) for row in rows)


def test_an_invitation_is_taken_up(post: Post, ada: Client) -> None:
    house = post.house
    made = invite(ada, " Eve@Example.com ")
    assert (made["email"], made["role"], made["state"], made["user"]) == (EVE, "contributor", "PENDING", None)
    assert made["invitedBy"] == "owner"
    (link,) = post.links(EVE)
    mail = post.server.mails[-1].get_content()
    assert "ada@example.com invites you to account ada, as contributor" in mail
    browser = Browser(house)
    assert "is invited to account <strong>ada</strong>, as contributor" in browser.open(link).text
    assert users(house, "ada") == [("owner", "ada@example.com", "admin")], "looking does nothing"
    page = take_up(browser, link)
    assert "eve · ada" in page.text
    assert users(house, "ada")[0] == ("eve", EVE, "contributor")
    (listed,) = ada.get(PATH).json["invitations"]
    assert (listed["state"], listed["user"], listed["id"]) == ("ACCEPTED", "eve", made["id"])
    assert "eve · ada" in sign_in(Browser(house), post, EVE).text, "and she may come again"


def test_it_is_told_in_the_audit_log_as_whose_doing_it_was(post: Post, ada: Client) -> None:
    made = invite(ada)
    (link,) = post.links(EVE)
    take_up(Browser(post.house), link)
    taken, sent, *_ = ada.get("/v1/accounts/ada/auditLogs").json["auditLogs"]
    assert (sent["principal"], sent["method"]) == ("ada@example.com", "POST /v1/accounts/{account}/invitations")
    assert sent["resource"] == f"accounts/ada/invitations/{made['id']}"
    assert (taken["principal"], taken["isAdminAction"]) == (EVE, False)
    assert taken["method"] == "POST /dashboard/invitation"
    told = {change["resource"]: change["after"] for change in taken["changes"]}
    assert told["accounts/ada/users/eve"]["role"] == "contributor"
    assert told[f"accounts/ada/invitations/{made['id']}"] == {"state": "accepted", "user": "eve"}
    assert token_of(link) not in str(databases.rows(post.house.db))
    ada.delete(f"{PATH}/{invite(ada, 'dan@example.com')['id']}")
    revoked = ada.get("/v1/accounts/ada/auditLogs").json["auditLogs"][0]
    assert revoked["changes"][0]["after"] == {"state": "revoked"}


def test_an_invitation_is_good_once(post: Post, ada: Client) -> None:
    invite(ada)
    (link,) = post.links(EVE)
    first, second = Browser(post.house), Browser(post.house)
    page = second.open(link)
    take_up(first, link)
    assert second.submit(page, "/dashboard/invitation").status == 403
    assert second.open(link).status == 403
    assert "purser_session" not in second.cookies
    assert len(users(post.house, "ada")) == 2


def test_a_revoked_invitation_opens_nothing(post: Post, ada: Client) -> None:
    made = invite(ada)
    (link,) = post.links(EVE)
    browser = Browser(post.house)
    page = browser.open(link)
    assert ada.delete(f"{PATH}/{made['id']}").status == 200
    assert browser.submit(page, "/dashboard/invitation").status == 403
    assert browser.open(link).status == 403
    assert ada.get(PATH).json["invitations"][0]["state"] == "REVOKED"
    assert ada.delete(f"{PATH}/{made['id']}").status == 404
    assert len(users(post.house, "ada")) == 1


def test_an_invitation_expires(post: Post, ada: Client) -> None:
    invite(ada)
    (link,) = post.links(EVE)
    browser = Browser(post.house)
    page = browser.open(link)
    later(post.house, 7 * DAY - MINUTE)
    assert browser.open(link).status == 200
    later(post.house, MINUTE)
    assert browser.submit(page, "/dashboard/invitation").status == 403
    assert ada.get(PATH).json["invitations"][0]["state"] == "EXPIRED"


def test_another_invitation_ends_the_one_before(post: Post, ada: Client) -> None:
    invite(ada)
    invite(ada, role="admin")
    old, new = post.links(EVE)
    assert Browser(post.house).open(old).status == 403
    take_up(Browser(post.house), new)
    assert users(post.house, "ada")[0] == ("eve", EVE, "admin")
    assert [row["state"] for row in ada.get(PATH).json["invitations"]] == ["ACCEPTED", "REVOKED"]


def test_whoever_is_a_user_already_is_not_invited(post: Post, ada: Client) -> None:
    refused = ada.post(PATH, {"email": "ADA@example.com"})
    assert (refused.status, refused.json["code"]) == (409, "ALREADY_EXISTS")
    assert post.server.mails == []


def test_one_who_became_a_user_meanwhile_stays_what_they_are(post: Post, ada: Client) -> None:
    invite(ada, role="admin")
    (link,) = post.links(EVE)
    assert ada.post("/v1/accounts/ada/users?userId=e", {"email": EVE, "role": "inference-user"}).status == 200
    assert "e · ada" in take_up(Browser(post.house), link).text
    assert users(post.house, "ada") == [("e", EVE, "inference-user"), ("owner", "ada@example.com", "admin")]


def test_a_name_that_is_taken_is_not_taken_again(post: Post, ada: Client) -> None:
    ada.post("/v1/accounts/ada/users?userId=eve", {"email": "eve@elsewhere.example.com"})
    invite(ada)
    take_up(Browser(post.house), post.links(EVE)[0])
    assert [row[0] for row in users(post.house, "ada")] == ["eve", "eve-2", "owner"]


def test_an_invitation_merges_nothing(post: Post, ada: Client) -> None:
    """X1: whoever has an account keeps it as it is, and switches."""
    house = post.house
    invite(ada, "bob@example.com", "user")
    browser = Browser(house)
    assert "bob · ada" in take_up(browser, post.links("bob@example.com")[0]).text
    assert users(house, "bob") == [("owner", "bob@example.com", "admin")]
    page = browser.open("/dashboard/accounts")
    assert "owner · bob" in browser.submit(page, "/dashboard/accounts").text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "eve"},
        {"email": EVE, "role": "owner"},
        {"email": f"{EVE},bob@example.com"},
        {"email": EVE, "x": 1},
    ],
)
def test_a_wrong_invitation_is_refused(post: Post, ada: Client, body: Any) -> None:
    assert ada.post(PATH, body).status == 400
    assert ada.get(PATH).json["totalSize"] == 0


def test_a_closed_account_invites_nobody_and_takes_nobody_in(post: Post, ada: Client) -> None:
    invite(ada)
    (link,) = post.links(EVE)
    house = post.house
    assert house.operator.post("/v1/accounts/ada:close").status == 200
    assert house.operator.post(PATH, {"email": "dan@example.com"}).status == 409
    page = take_up(Browser(house), link)
    assert (page.status, "was closed at" in page.text) == (409, True)
    assert users(house, "ada") == [("owner", "ada@example.com", "admin")]


def test_so_many_invitations_a_day(post: Post, ada: Client) -> None:
    for n in range(invitations.A_DAY):
        invite(ada, f"a{n}@example.com")
    refused = ada.post(PATH, {"email": EVE})
    assert (refused.status, refused.json["code"]) == (429, "RESOURCE_EXHAUSTED")
    assert refused.headers["retry-after"] == "86400"
    later(post.house, DAY + MINUTE)
    invite(ada)


def test_another_account_has_no_part_in_it(post: Post, ada: Client) -> None:
    """X3."""
    house = post.house
    made = invite(ada)
    assert house.operator.delete(f"/v1/accounts/bob/invitations/{made['id']}").status == 404
    assert house.operator.get("/v1/accounts/bob/invitations").json["invitations"] == []
    bob = Browser(house)
    sign_in(bob, post, "bob@example.com")
    page = bob.open("/dashboard/people")
    assert EVE not in page.text
    token = forms_of(page)[0][1]["form"]
    assert bob.send("/dashboard/people/revoke", {"form": token, "invitation": made["id"]}).status == 404
    assert ada.get(PATH).json["invitations"][0]["state"] == "PENDING"


def test_the_page_of_people(post: Post, ada: Client) -> None:
    house = post.house
    admin, member = Browser(house), Browser(house)
    sign_in(admin, post, "ada@example.com")
    page = admin.submit(admin.open("/dashboard/people"), "/dashboard/people", email=EVE, role="user")
    assert EVE in page.text
    assert "PENDING" in page.text
    take_up(member, post.links(EVE)[0])
    seen = member.open("/dashboard/people")
    assert "ada@example.com" in seen.text
    assert "Invite somebody" not in seen.text
    token = forms_of(seen)[0][1]["form"]
    fields = {"form": token, "email": "dan@example.com", "role": "admin"}
    assert member.send("/dashboard/people", fields).status == 403
    assert member.send("/dashboard/people/revoke", {"form": token, "invitation": "invt_1"}).status == 403
    wrong = admin.submit(admin.open("/dashboard/people"), "/dashboard/people", email="nobody", role="user")
    assert (wrong.status, "must be one e-mail address" in wrong.text) == (400, True)
    page = admin.submit(admin.open("/dashboard/people"), "/dashboard/people", email="dan@example.com", role="user")
    page = admin.submit(page, "/dashboard/people/revoke")
    assert "REVOKED" in page.text
    by = [entry["principal"] for entry in ada.get("/v1/accounts/ada/auditLogs").json["auditLogs"][:2]]
    assert by == ["ada@example.com", "ada@example.com"]


def test_a_form_of_another_site_takes_up_and_invites_nothing(post: Post, ada: Client) -> None:
    invite(ada)
    (link,) = post.links(EVE)
    admin, other = Browser(post.house), Browser(post.house)
    sign_in(admin, post, "ada@example.com")
    stolen = forms_of(other.open(link))[0][1]["form"]
    forms = {
        "/dashboard/invitation": {"token": token_of(link)},
        "/dashboard/people": {"email": "mallory@example.com", "role": "admin"},
        "/dashboard/people/revoke": {"invitation": ada.get(PATH).json["invitations"][0]["id"]},
    }
    for path, fields in forms.items():
        for form in ({}, {"form": stolen}):
            assert admin.send(path, {**fields, **form}).status == 403, (path, form)
    assert [row["state"] for row in ada.get(PATH).json["invitations"]] == ["PENDING"]
