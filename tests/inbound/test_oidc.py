"""Signing in at a provider: the whole way over HTTP, and every answer that is not to be believed."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from purser.core.errors import Unavailable
from purser.main.process import make_identity
from purser.outbound.oidc import OidcProvider
from purser.settings import load
from tests.demo.program import eventually
from tests.inbound.browser import Browser
from tests.inbound.house import Answer, House
from tests.inbound.issuer import CLIENT, SECRET, Issuer, issuer
from tests.inbound.test_sign_in import join, later

pytestmark = pytest.mark.once


@pytest.fixture
def provider() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture
def house(tmp_path: Path, provider: Issuer) -> Iterator[House]:
    """A house whose people may sign in at the provider, with an account `ada`."""
    house = House(tmp_path, identity=OidcProvider(provider.url, CLIENT, SECRET))
    try:
        house.open("ada")
        yield house
    finally:
        house.close()


def begin(browser: Browser) -> str:
    """Where the browser is sent by us."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    answer = browser.house.nobody.get("/dashboard/oidc", {"cookie": cookies})
    assert answer.status == 303, answer.text
    browser.keep(answer)
    return answer.headers["location"]


def visit(url: str) -> str:
    """Sign in at the provider; answers where that sends the browser."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        response.read()
        assert response.status == 302
        return str(response.headers["location"])
    finally:
        connection.close()


def sign_in(browser: Browser) -> Answer:
    return browser.open(visit(begin(browser)))


def test_signing_in_at_the_provider(house: House, provider: Issuer) -> None:
    browser = Browser(house)
    assert "/dashboard/oidc" in browser.open("/dashboard/sign-in").text
    page = sign_in(browser)
    assert page.status == 200
    assert "owner · ada" in page.text
    assert "purser_errand" not in browser.cookies
    assert house.audit() == []


def test_a_curve_signs_as_well_and_a_new_key_is_fetched(house: House, provider: Issuer) -> None:
    assert sign_in(Browser(house)).status == 200
    provider.sign = "curve"
    assert "owner · ada" in sign_in(Browser(house)).text
    assert provider.asked.count("/keys") == 2


def test_a_person_of_several_accounts_chooses(house: House, provider: Issuer) -> None:
    house.open("bob")
    join(house, "bob", "adas", "ada@example.com")
    provider.claims["email"] = "Ada@Example.com"
    assert "Your accounts" in sign_in(Browser(house)).text


def test_the_address_at_the_time_decides(house: House, provider: Issuer) -> None:
    """S80: another address is another person, and nothing merges."""
    house.open("bob")
    assert "owner · ada" in sign_in(Browser(house)).text
    provider.claims["email"] = "bob@example.com"
    assert "owner · bob" in sign_in(Browser(house)).text
    provider.claims["email"] = "eve@example.com"
    page = sign_in(browser := Browser(house))
    assert (page.status, "user of no account" in page.text) == (403, True)
    assert "purser_session" not in browser.cookies


LONG_AGO, FAR_AHEAD = 1_000_000_000, 4_000_000_000


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"iss": "https://login.example.com"},
        {"iss": None},
        {"sub": None},
        {"exp": LONG_AGO},
        {"exp": None},
        {"exp": "soon"},
        {"iat": FAR_AHEAD},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"email": None},
        {"email": "ada"},
    ],
    ids=str,
)
def test_what_is_not_to_be_believed_signs_nobody_in(house: House, provider: Issuer, claims: dict[str, Any]) -> None:
    provider.claims |= claims
    browser = Browser(house)
    page = sign_in(browser)
    assert page.status in (400, 403), page.text
    assert "purser_session" not in browser.cookies


@pytest.mark.parametrize("sign", ["none", "symmetric", "other", "unlisted"])
def test_what_is_not_signed_by_the_provider_signs_nobody_in(house: House, provider: Issuer, sign: str) -> None:
    provider.sign = sign
    browser = Browser(house)
    page = sign_in(browser)
    assert (page.status, "not to be believed" in page.text) == (403, True)
    assert "purser_session" not in browser.cookies


def test_an_answer_to_another_browser_is_refused(house: House) -> None:
    """Nobody is signed in as whoever sent them the answer."""
    attacker, victim = Browser(house), Browser(house)
    answer = visit(begin(attacker))
    assert victim.open(answer).status == 403
    begin(victim)
    assert victim.open(answer).status == 403
    assert "purser_session" not in victim.cookies


def test_an_answer_without_the_state_of_its_errand_is_not_looked_into(house: House, provider: Issuer) -> None:
    browser = Browser(house)
    code = parse_qs(urlsplit(visit(begin(browser))).query)["code"][0]
    for state in ("", "another", "é"):
        page = browser.open(f"/dashboard/oidc/callback?{urlencode({'code': code, 'state': state})}")
        assert (page.status, "not the answer" in page.text) == (403, True)
    assert code in provider.codes, "nobody has asked for it"


def test_a_stolen_code_is_no_use_without_its_verifier(house: House, provider: Issuer) -> None:
    victim, attacker = Browser(house), Browser(house)
    code = parse_qs(urlsplit(visit(begin(victim))).query)["code"][0]
    state = parse_qs(urlsplit(begin(attacker)).query)["state"][0]
    page = attacker.open(f"/dashboard/oidc/callback?{urlencode({'code': code, 'state': state})}")
    assert (page.status, "does not know this sign-in" in page.text) == (403, True)


def test_an_answer_is_good_once_and_for_a_while(house: House) -> None:
    browser = Browser(house)
    answer = visit(begin(browser))
    errand = dict(browser.cookies)
    assert browser.open(answer).status == 200
    again = Browser(house, errand)
    assert again.open(answer).status == 403
    late = Browser(house)
    answer = visit(begin(late))
    later(house, 600 * 1_000_000)
    assert "came late" in late.open(answer).text


@pytest.mark.parametrize("query", ["", "?error=access_denied&state={state}", "?state={state}", "?code=x"])
def test_an_answer_that_is_none(house: House, query: str) -> None:
    browser = Browser(house)
    state = parse_qs(urlsplit(begin(browser)).query)["state"][0]
    assert browser.open(f"/dashboard/oidc/callback{query.format(state=state)}").status == 403


def test_a_provider_by_another_name_is_not_used(house: House, provider: Issuer) -> None:
    provider.named = "https://login.example.com"
    page = Browser(house).open("/dashboard/oidc")
    assert (page.status, "another name" in page.text) == (503, True)


def test_a_provider_that_is_away_is_told(tmp_path: Path) -> None:
    house = House(tmp_path, identity=OidcProvider("http://127.0.0.1:9", CLIENT, None))
    try:
        page = Browser(house).open("/dashboard/oidc")
        assert (page.status, "cannot be reached" in page.text) == (503, True)
    finally:
        house.close()


def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        assert "/dashboard/oidc" not in Browser(house).open("/dashboard/sign-in").text
        assert Browser(house).open("/dashboard/oidc").status == 404
        assert Browser(house).open("/dashboard/oidc/callback?code=a&state=b").status == 404
    finally:
        house.close()


def test_the_settings_name_it() -> None:
    assert make_identity(load(None, {}, serving=False)) is None
    named = {"PURSER_OIDC_ISSUER": "https://login.example.com", "PURSER_OIDC_CLIENT_ID": "purser"}
    assert isinstance(make_identity(load(None, named, serving=False)), OidcProvider)


def test_a_provider_that_hangs_keeps_few_threads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(4) as threads:
        provider = OidcProvider(f"http://127.0.0.1:{silent.getsockname()[1]}", "purser", None)
        begun = [threads.submit(provider.begin, "http://x/back", "s", "n", "v", 0) for _ in range(4)]
        assert eventually(lambda: provider._room._value == 0, 30)
        with pytest.raises(Unavailable, match="many sign-ins are under way"):
            provider.begin("http://x/back", "s", "n", "v", 0)
        for _ in begun:
            silent.accept()[0].close()
        assert {type(each.exception()) for each in begun} == {Unavailable}
