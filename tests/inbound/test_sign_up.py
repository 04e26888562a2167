"""Sign-up by a mailed link: off unless switched on, one account for an address, one credit for a mailbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from purser.core.limits import PREPAID
from purser.core.money import NANOS_PER_USD
from purser.core.period import DAY, MINUTE
from purser.core.policy import Policy
from purser.flows import people
from purser.flows.queue import WriteQueue
from purser.store.writers import Writer
from tests.inbound.browser import Browser, Post, forms_of, post_of, sign_in
from tests.inbound.house import Answer, House
from tests.inbound.test_sign_in import later, token_of

ADA = "ada@example.com"


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """A house where anybody may sign up; the books are in order at the end."""
    house = House(tmp_path, Policy(sign_up=True, signup_credit_nanos=2 * NANOS_PER_USD))
    try:
        with post_of(house) as running:
            yield running
        assert house.audit() == []
    finally:
        house.close()


def ask(post: Post, email: str) -> str:
    """Ask to sign up, and answer the link that was sent."""
    assert post.house.nobody.post("/v1/signUpLinks", {"email": email}).status == 202
    return post.links(email)[-1]


def follow(browser: Browser, link: str) -> Answer:
    return browser.submit(browser.open(link), "/dashboard/link")


def all_accounts(house: House) -> list[Any]:
    found: list[Any] = house.operator.get("/v1/accounts").json["accounts"]
    return found


def test_signing_up_opens_an_account_with_its_credit(post: Post) -> None:
    house = post.house
    browser = Browser(house)
    page = browser.submit(browser.open("/dashboard/sign-up"), "/dashboard/sign-up", email="Ada.B@Example.com")
    assert page.status == 200
    (link,) = post.links("ada.b@example.com")
    assert all_accounts(house) == [], "nothing is opened before the address is proved"
    page = follow(browser, link)
    assert "Your account is open" in page.text
    assert "$2.00" in page.text
    (account,) = all_accounts(house)
    name = account["name"].removeprefix("accounts/")
    assert name.startswith("ada-b-")
    assert account["email"] == "ada.b@example.com"
    assert house.balance(name)["creditUsd"] == "2.00"
    assert f"owner · {name}" in browser.open("/dashboard").text
    key = page.text.partition("<code>pk_")[2].partition("</code>")[0]
    mine = house.nobody.get("/v1/me", {"authorization": f"Bearer pk_{key}"})
    assert mine.status == 200
    assert name in mine.text
    entry = house.operator.get(f"/v1/accounts/{name}/auditLogs").json["auditLogs"][0]
    assert (entry["principal"], entry["isAdminAction"]) == ("ada.b@example.com", False)


def test_an_address_opens_one_account_however_many_links_it_follows(post: Post) -> None:
    house = post.house
    ask(post, ADA)
    second = ask(post, ADA)
    follow(Browser(house), second)
    assert [Browser(house).open(link).status for link in post.links(ADA)] == [403, 403]
    third = ask(post, ADA)
    assert "Sign in" in (page := Browser(house).open(third)).text
    assert page.status == 200, "who has an account is sent a link to sign in with"
    assert "owner · ada-" in follow(Browser(house), third).text
    assert len(all_accounts(house)) == 1


def test_links_followed_at_once_by_two_processes_open_one_account_with_one_credit(post: Post) -> None:
    house = post.house
    secrets = [token_of(ask(post, ADA)) for _ in range(4)]
    writers = [Writer(house.db, house.world, house.desk.policy, host="there", pid=n) for n in (2, 3)]
    queues = [WriteQueue(writer) for writer in writers]
    done: list[object] = []

    def run(n: int) -> None:
        done.append(queues[n % 2].run(lambda tx: people.sign_up(tx, secrets[n], f"ada-{n}")))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for queue, writer in zip(queues, writers, strict=True):
        queue.stop()
        writer.close()
    opened = [each for each in done if isinstance(each, people.SignedUp) and each.opened is not None]
    assert len(done) == 4
    assert len(opened) == len(all_accounts(house)) == 1
    name = all_accounts(house)[0]["name"].removeprefix("accounts/")
    assert house.balance(name)["creditUsd"] == "2.00"


def test_a_mailbox_has_the_credit_once(post: Post) -> None:
    """A1: it withholds the free credit, it does not refuse the account."""
    house = post.house
    for email, credit in (("ada+1@example.com", "2.00"), (ADA, "0.00"), ("ada+2@example.com", "0.00")):
        page = follow(Browser(house), ask(post, email))
        assert ("had its free credit before" in page.text) == (credit == "0.00")
        (account,) = [row for row in all_accounts(house) if row["email"] == email]
        assert house.balance(account["name"].removeprefix("accounts/"))["creditUsd"] == credit


def test_an_account_is_opened_by_the_configured_rule(tmp_path: Path) -> None:
    house = House(tmp_path, Policy(sign_up=True, signup_credit_nanos=0, default_mode=PREPAID))
    try:
        with post_of(house) as post:
            page = follow(Browser(house), ask(post, ADA))
            assert "none" in page.text
            (account,) = all_accounts(house)
            assert account["billingMode"] == "PREPAID".lower()
            assert house.balance(account["name"].removeprefix("accounts/"))["creditUsd"] == "0.00"
    finally:
        house.close()


def test_what_others_wrote_keeps_no_address_from_an_account_of_its_own(post: Post) -> None:
    """X1: whoever is written among the users of an account has one of their own beside it."""
    house = post.house
    bob = house.open("bob")
    assert bob.post("/v1/accounts/bob/users?userId=ada", {"email": ADA}).status == 200
    browser = Browser(house)
    page = browser.open(ask(post, ADA))
    assert ("Open an account" in page.text, "a user of bob already" in page.text) == (True, True)
    assert bob.post("/v1/accounts/bob/users?userId=ada-2", {"email": ADA}).status == 200, "and meanwhile"
    assert "Your account is open" in (opened := browser.submit(page, "/dashboard/link")).text
    assert "$2.00" in opened.text
    assert len(all_accounts(house)) == 2
    assert "owner · ada-" in browser.open("/dashboard").text
    assert "bob" in browser.open("/dashboard/accounts").text, "nothing merges"
    assert "Sign in" in Browser(house).open(ask(post, ADA)).text
    assert len(all_accounts(house)) == 2


def test_who_is_a_user_by_invitation_or_has_signed_in_opens_one_too(post: Post) -> None:
    house = post.house
    house.open("bob")
    house.operator.post("/v1/accounts/bob/users?userId=ada", {"email": ADA})
    assert "ada · bob" in sign_in(Browser(house), post, ADA).text
    assert "Your account is open" in follow(Browser(house), ask(post, ADA)).text


def test_who_was_put_out_of_the_account_that_they_opened_opens_another(post: Post) -> None:
    house = post.house
    follow(Browser(house), ask(post, ADA))
    (account,) = [row["name"].removeprefix("accounts/") for row in all_accounts(house)]
    changed = house.operator.patch(f"/v1/accounts/{account}/users/owner", {"email": "eve@example.com"})
    assert changed.status == 200, changed.text
    page = follow(Browser(house), ask(post, ADA))
    assert "had its free credit before" in page.text
    assert "Sign in" in Browser(house).open(ask(post, ADA)).text
    assert len(all_accounts(house)) == 2


def test_whose_account_the_operator_has_opened_with_credit_has_none_for_the_next(post: Post) -> None:
    """A1."""
    house = post.house
    house.open("one", email="Ada@example.com")
    assert "had its free credit before" in follow(Browser(house), ask(post, ADA)).text
    house.open("two", email="cyd@example.com", signupCreditUsd="0")
    assert "$2.00" in follow(Browser(house), ask(post, "cyd@example.com")).text


def test_a_link_is_good_once_and_for_a_while(post: Post) -> None:
    link = ask(post, ADA)
    browser = Browser(post.house)
    page = browser.open(link)
    later(post.house, 15 * MINUTE)
    assert browser.submit(page, "/dashboard/link").status == 403
    assert all_accounts(post.house) == []


def test_off_it_says_so_plainly(house: House) -> None:
    refused = house.nobody.post("/v1/signUpLinks", {"email": ADA})
    assert (refused.status, refused.json["code"]) == (403, "PERMISSION_DENIED")
    assert "sign-up is off here" in refused.json["detail"]
    browser = Browser(house)
    page = browser.open("/dashboard/sign-up")
    assert (page.status, "Sign-up is off" in page.text) == (403, True)
    sign_in_page = browser.open("/dashboard/sign-in")
    assert "The operator of this gateway opens accounts" in sign_in_page.text
    token = forms_of(sign_in_page)[0][1]["form"]
    assert browser.send("/dashboard/sign-up", {"form": token, "email": ADA}).status == 403
    with post_of(house) as post:
        assert post.links(ADA) == []


def test_switched_off_meanwhile_a_link_opens_nothing(post: Post) -> None:
    link = ask(post, ADA)
    post.house.writer.policy = Policy()
    refused = follow(Browser(post.house), link)
    assert (refused.status, "off here" in refused.text) == (403, True)
    assert all_accounts(post.house) == []


def test_so_many_accounts_a_day_from_one_client(post: Post) -> None:
    house = post.house
    links = [ask(post, f"a{n}@example.com") for n in range(people.SIGN_UPS_PER_CLIENT + 1)]
    pages = [follow(Browser(house), link) for link in links]
    assert [page.status for page in pages] == [200] * people.SIGN_UPS_PER_CLIENT + [429]
    assert "accounts a day can be opened from one network address" in pages[-1].text
    assert len(all_accounts(house)) == people.SIGN_UPS_PER_CLIENT
    later(house, DAY + MINUTE)
    assert "Your account is open" in follow(Browser(house), ask(post, "a9@example.com")).text


def test_only_links_that_are_followed_count_as_accounts(post: Post) -> None:
    """Whoever asks more than once has still opened one account."""
    for email in ("a@example.com", "b@example.com", "c@example.com"):
        for _ in range(3):
            ask(post, email)
        assert follow(Browser(post.house), post.links(email)[-1]).status == 200
    assert len(all_accounts(post.house)) == 3


def test_an_address_is_sent_so_many_links_and_the_last_one_stays_good(post: Post) -> None:
    nobody = post.house.nobody
    for n in range(2 * people.PER_ADDRESS + 4):
        assert nobody.post(f"/v1/sign{('In', 'Up')[n % 2]}Links", {"email": ADA}).status == 202
    assert len(post.links(ADA)) == people.PER_ADDRESS, "to sign in there was nobody"
    later(post.house, 20 * MINUTE)
    assert Browser(post.house).open(post.links(ADA)[-1]).status == 403
    assert "Your account is open" in follow(Browser(post.house), ask(post, ADA)).text
    assert len(post.links(ADA)) == people.PER_ADDRESS


def test_links_to_sign_up_that_a_stranger_asked_for_keep_nobody_from_signing_in(post: Post) -> None:
    post.house.open("ada")
    for _ in range(people.PER_ADDRESS + 1):
        ask(post, ADA)
    later(post.house, 20 * MINUTE)
    assert "owner · ada" in sign_in(Browser(post.house), post, ADA).text
    assert len(all_accounts(post.house)) == 1


def test_signing_in_does_not_sign_up(post: Post) -> None:
    assert post.house.nobody.post("/v1/signInLinks", {"email": ADA}).status == 202
    assert post.links(ADA) == []
    follow(Browser(post.house), ask(post, ADA))
    assert "owner · ada-" in sign_in(Browser(post.house), post, ADA).text
