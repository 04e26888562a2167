"""Sign-up by a provider that has proved the address: by the rules of sign-up by mail, and with no mail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from purser.core.money import NANOS_PER_USD
from purser.core.period import MINUTE
from purser.core.policy import Policy
from purser.flows import people
from purser.flows.queue import WriteQueue
from purser.outbound.oidc import OidcProvider
from purser.store.writers import Writer
from tests import databases
from tests.inbound.browser import Browser, Post, forms_of, post_of
from tests.inbound.house import Answer, House
from tests.inbound.issuer import CLIENT, SECRET, Issuer, issuer
from tests.inbound.test_oidc import sign_in
from tests.inbound.test_sign_in import join, later
from tests.inbound.test_sign_up import all_accounts, ask, follow

ADA = "ada@example.com"


@pytest.fixture
def provider() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture
def post(tmp_path: Path, provider: Issuer) -> Iterator[Post]:
    """A house where anybody may sign up, by mail or at the provider; the books are in order at the end."""
    policy = Policy(sign_up=True, signup_credit_nanos=2 * NANOS_PER_USD)
    house = House(tmp_path, policy, identity=OidcProvider(provider.url, CLIENT, SECRET))
    try:
        with post_of(house) as running:
            yield running
        assert house.audit() == []
    finally:
        house.close()


def open_account(browser: Browser, page: Answer | None = None) -> Answer:
    """Push the button of the page to which the provider has led."""
    return browser.submit(sign_in(browser) if page is None else page, "/dashboard/link")


def test_who_has_no_account_opens_one_by_a_button(post: Post) -> None:
    house, browser = post.house, Browser(post.house)
    assert "/dashboard/oidc" in browser.open("/dashboard/sign-up").text
    page = sign_in(browser)
    assert (page.status, "Open the account" in page.text, ADA in page.text) == (200, True, True)
    assert all_accounts(house) == [], "nothing is opened before that is wanted"
    assert "purser_session" not in browser.cookies
    opened = open_account(browser, page)
    assert "Your account is open" in opened.text
    assert "$2.00" in opened.text
    (account,) = all_accounts(house)
    name = account["name"].removeprefix("accounts/")
    assert (account["email"], house.balance(name)["creditUsd"]) == (ADA, "2.00")
    assert f"owner · {name}" in browser.open("/dashboard").text
    entry = house.operator.get(f"/v1/accounts/{name}/auditLogs").json["auditLogs"][0]
    assert (entry["principal"], entry["isAdminAction"]) == (ADA, False)
    assert post.links(ADA) == [], "no mail has proved anything"
    assert f"owner · {name}" in sign_in(Browser(house)).text, "from now on it is signing in"
    assert len(all_accounts(house)) == 1


def test_one_button_is_good_once_and_an_address_opens_one_account(post: Post) -> None:
    house, first, second = post.house, Browser(post.house), Browser(post.house)
    pages = [sign_in(first), sign_in(second)]
    assert "Your account is open" in open_account(first, pages[0]).text
    for browser, page in ((first, pages[0]), (second, pages[1])):
        assert open_account(browser, page).status == 403
    assert len(all_accounts(house)) == 1


def test_buttons_pushed_at_once_at_two_processes_open_one_account_with_one_credit(post: Post) -> None:
    house = post.house
    clients = [f"192.0.2.{n}" for n in range(4)]
    secrets = house.queue.run(lambda tx: [people.offer_sign_up(tx, ADA, client) for client in clients])
    writers = [Writer(house.db, house.world, house.desk.policy, host="there", pid=n) for n in (2, 3)]
    queues = [WriteQueue(writer) for writer in writers]
    done: list[people.SignedUp | None] = []

    def push(n: int) -> None:
        done.append(queues[n % 2].run(lambda tx: people.sign_up(tx, secrets[n], f"ada-{n}")))

    threads = [threading.Thread(target=push, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for queue, writer in zip(queues, writers, strict=True):
        queue.stop()
        writer.close()
    assert len(done) == 4
    assert len([each for each in done if each is not None and each.opened is not None]) == 1
    (account,) = all_accounts(house)
    assert house.balance(account["name"].removeprefix("accounts/"))["creditUsd"] == "2.00"


def test_a_button_is_good_for_a_while(post: Post) -> None:
    browser = Browser(post.house)
    page = sign_in(browser)
    later(post.house, people.LINK_MINUTES * MINUTE)
    assert open_account(browser, page).status == 403
    assert all_accounts(post.house) == []


def test_a_button_is_of_one_browser(post: Post) -> None:
    page = sign_in(Browser(post.house))
    thief = Browser(post.house)
    thief.open("/dashboard/sign-in")
    assert thief.submit(page, "/dashboard/link").status == 403
    assert all_accounts(post.house) == []


def test_a_mailbox_has_the_credit_once_by_mail_and_provider(post: Post) -> None:
    follow(Browser(post.house), ask(post, "ada+1@example.com"))
    assert "had its free credit before" in open_account(Browser(post.house)).text
    assert len(all_accounts(post.house)) == 2


def test_whoever_is_a_user_somewhere_is_signed_in_there(post: Post) -> None:
    post.house.open("bob")
    join(post.house, "bob", "adas", ADA)
    assert "adas · bob" in sign_in(Browser(post.house)).text
    assert databases.rows(post.house.db)["links"] == []


def test_so_many_accounts_a_day_from_one_client_by_mail_and_provider(post: Post, provider: Issuer) -> None:
    house = post.house
    for n in range(people.SIGN_UPS_PER_CLIENT):
        if n % 2:
            assert follow(Browser(house), ask(post, f"a{n}@example.com")).status == 200
        else:
            provider.claims["email"] = f"a{n}@example.com"
            assert open_account(Browser(house)).status == 200
    provider.claims["email"] = ADA
    assert open_account(Browser(house)).status == 429
    assert follow(Browser(house), ask(post, "b@example.com")).status == 429
    assert len(all_accounts(house)) == people.SIGN_UPS_PER_CLIENT


def test_buttons_count_among_the_links_that_a_client_asks_for(post: Post) -> None:
    for _ in range(people.PER_CLIENT):
        assert sign_in(Browser(post.house)).status == 200
    assert sign_in(Browser(post.house)).status == 429
    assert post.house.nobody.post("/v1/signUpLinks", {"email": ADA}).status == 429
    assert len(post.links(ADA)) == 0


def test_buttons_take_nothing_from_the_links_that_an_address_is_sent(post: Post) -> None:
    """What was never mailed cannot be the last letter, which is good again."""
    for _ in range(people.PER_ADDRESS + 1):
        sign_in(Browser(post.house))
    assert "Your account is open" in follow(Browser(post.house), ask(post, ADA)).text


@pytest.mark.parametrize(
    "rule", [{"type": "DOMAIN", "target": "example.com"}, {"type": "IP", "target": "127.0.0.1"}], ids=str
)
def test_abuse_rules_refuse_it(post: Post, rule: dict[str, str]) -> None:
    house, begun = post.house, Browser(post.house)
    page = sign_in(begun)
    body = {**rule, "designation": "BLOCKED", "reason": "tried out"}
    assert house.operator.post("/operator/v1/abuseRules", body).status == 201
    assert open_account(begun, page).status == 403, "also what was offered before"
    browser = Browser(house)
    assert sign_in(browser).status == 403
    assert forms_of(sign_in(browser)) == []
    assert all_accounts(house) == []


def test_a_suspicious_one_has_no_credit_before_a_review(post: Post) -> None:
    body = {"type": "DOMAIN", "target": "example.com", "designation": "SUSPICIOUS", "reason": "tried out"}
    assert post.house.operator.post("/operator/v1/abuseRules", body).status == 201
    assert open_account(Browser(post.house)).status == 200
    (account,) = all_accounts(post.house)
    assert post.house.balance(account["name"].removeprefix("accounts/"))["creditUsd"] == "0.00"


@pytest.mark.parametrize("verified", [False, None, "true"])
def test_without_a_verified_address_nothing_is_offered(post: Post, provider: Issuer, verified: object) -> None:
    provider.claims["email_verified"] = verified
    page = sign_in(Browser(post.house))
    assert page.status in (400, 403)
    assert "/dashboard/link" not in [action for action, _ in forms_of(page)]
    assert databases.rows(post.house.db)["links"] == []


def test_switched_off_meanwhile_a_button_opens_nothing(post: Post) -> None:
    browser = Browser(post.house)
    page = sign_in(browser)
    post.house.writer.policy = Policy()
    refused = open_account(browser, page)
    assert (refused.status, "off here" in refused.text) == (403, True)
    assert all_accounts(post.house) == []
