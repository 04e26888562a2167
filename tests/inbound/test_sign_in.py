"""Signing in by a mailed link: good once and for a while, telling nothing to whoever asks; and switching accounts."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from purser.core.ids import digest_key
from purser.core.period import HOUR, MINUTE
from purser.flows import people
from purser.flows.access import pepper
from purser.store.schema import metadata
from purser.store.writers import Tx, Writer
from tests import databases
from tests.inbound.browser import Browser, Post, forms_of, post_of, sign_in
from tests.inbound.house import Client, House

ADA = "ada@example.com"
LINK_COLUMNS = [column.name for column in metadata.tables["links"].c]


@pytest.fixture
def post(house: House) -> Iterator[Post]:
    """A house's mail, and an account `ada`; the books are in order at the end."""
    house.open("ada")
    with post_of(house) as running:
        yield running
    assert house.audit() == []


def later(house: House, microseconds: int) -> None:
    """Wall-clock time passes, and not the billing time of the manual clock."""
    was = house.world.wall()
    house.world.wall = lambda: was + microseconds  # type: ignore[method-assign]


def token_of(link: str) -> str:
    (token,) = parse_qs(urlsplit(link).query)["token"]
    return token


def sessions(browser: Browser) -> list[str]:
    """The session cookies that were set."""
    return [line for line in browser.set_cookies if line.startswith("purser_session=")]


def test_a_mailed_link_signs_in(post: Post) -> None:
    browser = Browser(post.house)
    page = sign_in(browser, post, " Ada@Example.com ")
    assert page.status == 200
    assert "owner · ada" in page.text
    (link,) = post.links(ADA)
    assert link.startswith("http://127.0.0.1:8080/dashboard/link?token=link_")
    (cookie,) = sessions(browser)
    assert {"HttpOnly", "SameSite=lax", "Max-Age=43200", "Path=/dashboard"} <= set(cookie.split("; "))


def test_a_program_may_ask_too(post: Post) -> None:
    answer = post.house.nobody.post("/v1/signInLinks", {"email": ADA})
    assert (answer.status, answer.json) == (202, {"validSeconds": 900})
    assert len(post.links(ADA)) == 1
    assert post.house.nobody.post("/v1/signInLinks", {"email": "ada"}).status == 400


def test_a_link_is_good_once(post: Post) -> None:
    browser, other = Browser(post.house), Browser(post.house)
    sign_in(browser, post, ADA)
    (link,) = post.links(ADA)
    gone = other.open(link)
    assert (gone.status, forms_of(gone)) == (403, [])
    assert "has been used" in gone.text


def test_looking_at_a_link_does_not_use_it(post: Post) -> None:
    """Programs that look through mail follow links."""
    post.house.nobody.post("/v1/signInLinks", {"email": ADA})
    (link,) = post.links(ADA)
    browser = Browser(post.house)
    for _ in range(3):
        page = browser.open(link)
        assert ADA in page.text
    assert "owner · ada" in browser.submit(page, "/dashboard/link").text


def test_two_who_follow_one_link_at_once_are_not_both_signed_in(post: Post) -> None:
    post.house.nobody.post("/v1/signInLinks", {"email": ADA})
    (link,) = post.links(ADA)
    browsers = [Browser(post.house) for _ in range(4)]
    pages = [browser.open(link) for browser in browsers]
    done: list[int] = []

    def follow(n: int) -> None:
        done.append(browsers[n].submit(pages[n], "/dashboard/link").status)

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [200, 403, 403, 403]
    assert sum(len(sessions(browser)) for browser in browsers) == 1


@pytest.mark.postgresql  # on SQLite one transaction writes at a time
def test_two_processes_do_not_both_use_one_link(post: Post) -> None:
    house = post.house
    house.nobody.post("/v1/signInLinks", {"email": ADA})
    token = token_of(post.links(ADA)[0])
    used = threading.Event()
    done: list[str | None] = []
    writers = [Writer(house.db, house.world, house.desk.policy, host="there", pid=n) for n in (2, 3)]

    def first(tx: Tx) -> str | None:
        email = people.sign_in(tx, token)
        used.set()
        threading.Event().wait(1)  # not committed yet while the other one looks
        return email

    def second() -> None:
        used.wait(30)
        done.append(writers[1].run(lambda tx: people.sign_in(tx, token)))

    thread = threading.Thread(target=second)
    thread.start()
    done.append(writers[0].run(first))
    thread.join(60)
    for writer in writers:
        writer.close()
    assert sorted(map(str, done)) == ["None", ADA]


def test_a_link_is_good_for_a_while(post: Post) -> None:
    post.house.nobody.post("/v1/signInLinks", {"email": ADA})
    (link,) = post.links(ADA)
    browser = Browser(post.house)
    page = browser.open(link)
    later(post.house, 15 * MINUTE)
    assert browser.submit(page, "/dashboard/link").status == 403
    assert browser.open(link).status == 403
    assert sessions(browser) == []


def test_signing_in_ends_the_other_links(post: Post) -> None:
    browser = Browser(post.house)
    post.house.nobody.post("/v1/signInLinks", {"email": ADA})
    sign_in(browser, post, ADA)
    assert [Browser(post.house).open(link).status for link in post.links(ADA)] == [403, 403]


def test_a_link_is_kept_as_a_keyed_hash_alone(post: Post) -> None:
    house = post.house
    house.nobody.post("/v1/signInLinks", {"email": ADA})
    token = token_of(post.links(ADA)[-1])
    kept = databases.rows(house.db)
    assert token not in str(kept), "what the mail said is forgotten once it is sent"
    (row,) = [dict(zip(LINK_COLUMNS, each, strict=True)) for each in kept["links"]]
    with house.db.read() as conn:
        salt = pepper(conn)
    assert row["digest"] == digest_key(token, salt)
    assert row["digest"] != digest_key(token, bytes(32)), "it is keyed"


def test_nobody_learns_whether_an_address_is_known(post: Post) -> None:
    house = post.house
    answers = [house.nobody.post("/v1/signInLinks", {"email": email}) for email in (ADA, "eve@example.com")]
    assert answers[0].raw == answers[1].raw
    assert answers[0].status == answers[1].status == 202
    browser = Browser(house)
    page = browser.open("/dashboard/sign-in")
    known = browser.submit(page, "/dashboard/sign-in", email=ADA)
    unknown = browser.submit(page, "/dashboard/sign-in", email="eve@example.com")
    assert (known.status, known.raw) == (unknown.status, unknown.raw)
    assert len(post.links(ADA)) == 2
    assert post.links("eve@example.com") == []
    kept = databases.rows(house.db)
    assert len(kept["links"]) == 4, "both are written down alike"


@pytest.mark.parametrize("email", [ADA, "eve@example.com"])
def test_an_address_is_sent_so_many_links_an_hour(post: Post, email: str) -> None:
    """Known or not: the answers are the same, and as much is written down."""
    nobody = post.house.nobody
    answers = [nobody.post("/v1/signInLinks", {"email": email}) for _ in range(people.PER_ADDRESS + 3)]
    assert {(answer.status, answer.text) for answer in answers} == {(202, answers[0].text)}
    assert len(post.links(email)) == (people.PER_ADDRESS if email == ADA else 0)
    kept: list[dict[str, Any]] = [
        dict(zip(LINK_COLUMNS, each, strict=True)) for each in databases.rows(post.house.db)["links"]
    ]
    assert len(kept) == len(answers)
    last = sorted(kept, key=lambda row: row["created_at"])[people.PER_ADDRESS - 1]
    assert last["expires_at"] > last["created_at"] + 15 * MINUTE, "it was renewed"
    later(post.house, HOUR + MINUTE)
    assert nobody.post("/v1/signInLinks", {"email": email}).status == 202
    assert len(post.links(email)) == (people.PER_ADDRESS + 1 if email == ADA else 0)


def test_a_stranger_who_asks_for_all_of_an_addresss_links_keeps_nobody_out(tmp_path: Path) -> None:
    """The last letter in the mail works for whoever asks, however often somebody else has asked before."""
    house = House(tmp_path, trusted_proxies=("127.0.0.0/8",))
    try:
        house.open("ada")
        with post_of(house) as post:
            for n in range(people.PER_CLIENT):
                stranger = {"x-forwarded-for": f"203.0.113.{n}"}
                assert house.nobody.post("/v1/signInLinks", {"email": ADA}, stranger).status == 202
            assert len(post.links(ADA)) == people.PER_ADDRESS
            browser = Browser(house)
            for minutes in (20, 20, 15):  # in an hour she signs in three times; each link has expired when she asks
                later(house, minutes * MINUTE)
                last = post.links(ADA)[-1]
                assert browser.open(last).status == 403
                assert "owner · ada" in sign_in(browser, post, ADA).text
            assert len(post.links(ADA)) == people.PER_ADDRESS + 2, "the first time by the last of the stranger's"
        assert house.audit() == []
    finally:
        house.close()


def test_a_link_that_was_used_is_not_good_again(post: Post) -> None:
    for _ in range(people.PER_ADDRESS):
        post.house.nobody.post("/v1/signInLinks", {"email": ADA})
    sign_in(Browser(post.house), post, ADA)
    links = post.links(ADA)
    assert len(links) == people.PER_ADDRESS, "the last of them was good"
    for _ in range(2):
        post.house.nobody.post("/v1/signInLinks", {"email": ADA})
    assert {Browser(post.house).open(link).status for link in links} == {403}
    assert [Browser(post.house).open(link).status for link in post.links(ADA)[-2:]] == [200, 200]


def test_too_many_links_from_one_client(post: Post) -> None:
    nobody = post.house.nobody
    for n in range(people.PER_CLIENT):
        email = ADA if n % 2 else f"a{n}@example.com"  # those that make a link good again count too
        assert nobody.post("/v1/signInLinks", {"email": email}).status == 202
    sent = post.links(ADA)
    refused = nobody.post("/v1/signInLinks", {"email": ADA})
    assert (refused.status, refused.json["code"]) == (429, "RESOURCE_EXHAUSTED")
    assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
    browser = Browser(post.house)
    page = browser.submit(browser.open("/dashboard/sign-in"), "/dashboard/sign-in", email=ADA)
    assert (page.status, "try again in" in page.text) == (429, True)
    assert 3_500 < int(page.headers["retry-after"]) <= 3_600
    assert post.links(ADA) == sent
    forwarded = {"x-forwarded-for": "192.0.2.9"}
    assert nobody.post("/v1/signInLinks", {"email": ADA}, forwarded).status == 429, "no proxy is trusted here"


def test_behind_a_trusted_proxy_each_client_counts_alone(tmp_path: Path) -> None:
    house = House(tmp_path, trusted_proxies=("127.0.0.0/8",))
    try:
        for n in range(people.PER_CLIENT):
            sent = house.nobody.post(
                "/v1/signInLinks", {"email": f"a{n}@example.com"}, {"x-forwarded-for": f"203.0.113.{n}, 192.0.2.1"}
            )
            assert sent.status == 202
        for client, status in (("192.0.2.1", 429), ("192.0.2.2", 202), ("192.0.2.1, 127.0.0.9", 429)):
            answer = house.nobody.post("/v1/signInLinks", {"email": "b@example.com"}, {"x-forwarded-for": client})
            assert answer.status == status, client
    finally:
        house.close()


@pytest.mark.parametrize(
    "address",
    ["ada@example.com,eve@example.com", "ada", "", "Ada <ada@example.com>", "ada@example.com\nBcc: eve@example.com"],
)
def test_only_one_plain_address_is_written_to(post: Post, address: str) -> None:
    assert post.house.nobody.post("/v1/signInLinks", {"email": address}).status == 400
    assert post.server.mails == []


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────
def join(house: House, account: str, user: str, email: str, **more: object) -> None:
    """Make an address a user of an account."""
    made = house.operator.post(f"/v1/accounts/{account}/users?userId={user}", {"email": email, **more})
    assert made.status == 200, made.text


def test_a_person_of_several_accounts_chooses_one_and_switches(post: Post) -> None:
    house = post.house
    house.open("bob", displayName="Bob & Co")
    house.open("carl")
    join(house, "bob", "adas", "ADA@example.com", role="contributor")
    browser = Browser(house)
    page = sign_in(browser, post, ADA)
    assert "Your accounts" in page.text
    assert "Bob &amp; Co" in page.text
    assert "carl" not in page.text
    assert browser.open("/dashboard").text == browser.open("/dashboard/accounts").text, "none is chosen yet"
    chosen = browser.submit(page, "/dashboard/accounts", n=1)
    assert "adas · bob" in chosen.text
    page = browser.open("/dashboard/accounts")
    assert "You are here" in page.text
    switched = browser.submit(page, "/dashboard/accounts")
    assert "owner · ada" in switched.text
    values = [line.partition(";")[0] for line in sessions(browser)]
    assert len(values) == len(set(values)) == 3, "each under a session of its own"
    for old in values[:-1]:
        stale = Browser(house, dict([old.split("=", 1)]))
        assert stale.open("/dashboard").status == 401


def test_nobody_enters_an_account_that_is_not_theirs(post: Post) -> None:
    house = post.house
    house.open("bob")
    join(house, "ada", "robot", ADA, serviceAccount=True)
    browser = Browser(house)
    page = sign_in(browser, post, ADA)
    assert "owner · ada" in page.text, "a program has no way in, so there is one user to be"
    token = forms_of(browser.open("/dashboard/people"))[0][1]["form"]
    for account, user in (("bob", "owner"), ("ada", "robot"), ("bob", ""), ("", ""), ("nowhere", "owner")):
        refused = browser.send("/dashboard/accounts", {"form": token, "account": account, "user": user})
        assert refused.status == 404, (account, user)
    assert "owner · ada" in browser.open("/dashboard").text


def test_whoever_is_a_user_of_nothing_any_more_is_told_so(post: Post) -> None:
    house = post.house
    house.open("bob")
    join(house, "bob", "adas", ADA)
    browser = Browser(house)
    assert "Your accounts" in sign_in(browser, post, ADA).text
    for account, user in (("ada", "owner"), ("bob", "adas")):
        house.operator.patch(f"/v1/accounts/{account}/users/{user}", {"email": ""})
    assert "is a user of no account here any more" in browser.open("/dashboard").text


def test_an_operators_link_is_for_one_account(post: Post) -> None:
    """Nobody has shown there that the address is theirs."""
    house = post.house
    house.open("bob")
    join(house, "bob", "adas", ADA)
    browser = Browser(house)
    assert "owner · ada" in browser.open(f"/dashboard/sign-in?token={house.link('ada')}").text
    page = browser.open("/dashboard/accounts")
    assert "bob" not in page.text
    token = forms_of(page)[0][1]["form"]
    fields = {"form": token, "account": "bob", "user": "adas"}
    assert browser.send("/dashboard/accounts", fields).status == 404


def test_a_session_ends_when_the_address_is_no_longer_the_users(post: Post) -> None:
    house = post.house
    browser = Browser(house)
    sign_in(browser, post, ADA)
    assert browser.open("/dashboard").status == 200
    house.operator.patch("/v1/accounts/ada/users/owner", {"email": "eve@example.com"})
    assert browser.open("/dashboard").status == 401
    assert sign_in(Browser(house), post, "eve@example.com").status == 200


def test_a_session_lasts_twelve_hours_however_often_one_switches(post: Post) -> None:
    house = post.house
    house.open("bob")
    join(house, "bob", "adas", ADA)
    browser = Browser(house)
    page = sign_in(browser, post, ADA)
    later(house, 11 * HOUR)
    assert browser.submit(page, "/dashboard/accounts").status == 200
    later(house, HOUR)
    assert browser.open("/dashboard").status == 401


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_form_of_another_site_does_nothing(post: Post) -> None:
    house = post.house
    house.nobody.post("/v1/signInLinks", {"email": ADA})
    (link,) = post.links(ADA)
    victim, attacker = Browser(house), Browser(house)
    stolen = forms_of(attacker.open("/dashboard/sign-in"))[0][1]["form"]
    forms = {
        "/dashboard/sign-in": {"email": ADA},
        "/dashboard/link": {"token": token_of(link)},
        "/dashboard/accounts": {"account": "ada", "user": "owner"},
        "/dashboard/sign-out": {"more": "1"},
    }
    victim.open("/dashboard/sign-in")
    for path, fields in forms.items():
        for form in ({}, {"form": ""}, {"form": stolen}, {"form": "é"}):
            assert victim.send(path, {**fields, **form}).status == 403, (path, form)
    sign_in(victim, post, ADA)
    for form in ({}, {"form": stolen}):
        assert victim.send("/dashboard/sign-out", {"more": "1", **form}).status == 403
    assert "owner · ada" in victim.open("/dashboard").text


def test_no_cookie_from_before_is_good_after(post: Post) -> None:
    """A cookie planted in a browser is not taken up at sign-in."""
    house = post.house
    house.open("bob")
    planted = Browser(house)
    planted.open(f"/dashboard/sign-in?token={house.link('bob')}")
    victim = Browser(house, dict(planted.cookies))
    assert "owner · ada" in sign_in(victim, post, ADA).text
    assert victim.cookies["purser_session"] != planted.cookies["purser_session"]
    assert planted.open("/dashboard").status == 401


def test_under_https_every_cookie_is_secure(tmp_path: Path) -> None:
    house = House(tmp_path, public_url="https://billing.example.com")
    try:
        house.open("ada")
        with post_of(house) as post:
            browser = Browser(house)
            sign_in(browser, post, ADA)
            assert post.links(ADA)[0].startswith("https://billing.example.com/dashboard/link?")
        assert len(browser.set_cookies) == 2
        assert all("Secure" in line.split("; ") for line in browser.set_cookies)
    finally:
        house.close()


def test_a_link_goes_where_the_operator_said_whatever_host_is_asked_for(post: Post) -> None:
    client = Client(post.house.operator.port)
    headers = {"host": "evil.example.com", "x-forwarded-host": "evil.example.com"}
    assert client.post("/v1/signInLinks", {"email": ADA}, headers).status == 202
    assert re.match(r"http://127\.0\.0\.1:8080/", post.links(ADA)[0])
