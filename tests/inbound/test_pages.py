"""Health, metrics and the overview page."""

from __future__ import annotations

import base64
import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.inbound.browser import Browser
from tests.inbound.house import Answer, House


def signed_in(house: House, account: str = "ada") -> dict[str, str]:
    """The cookie header of a visitor who followed a sign-in link."""
    answer = house.nobody.get(f"/dashboard/sign-in?token={house.link(account)}")
    assert (answer.status, answer.headers["location"]) == (303, "/dashboard")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Max-Age=43200", "Path=/dashboard"} <= set(cookie.split("; "))
    return {"cookie": cookie.partition(";")[0]}


def check_page(answer: Answer, status: int = 200) -> None:
    """A page in HTML under the strict content policy, without scripts or styles of its own."""
    assert answer.status == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in answer.text
    assert not re.search(r"\sstyle=|\son\w+=", answer.text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)


def test_health_needs_no_key(house: House) -> None:
    assert house.nobody.get("/healthz").json == {"status": "ok"}
    assert house.nobody.get("/readyz").json == {"status": "ready"}
    assert house.nobody.get("/status").json["now"] == "2026-03-01T09:00:00Z"
    head = house.nobody.call("HEAD", "/healthz")
    assert (head.status, head.raw) == (200, b"")


def test_a_closed_writer_is_not_ready(house: House) -> None:
    house.writer.open = False
    answer = house.nobody.get("/readyz")
    house.writer.open = True
    assert (answer.status, answer.json["code"]) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"
    assert house.nobody.get("/healthz").status == 200


def test_metrics_count_and_name_nobody(house: House) -> None:
    house.open("ada")
    house.spend("ada", 2, "e1")
    answer = house.nobody.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert "purser_accounts 1" in lines
    assert "purser_writers 1" in lines
    assert 'purser_suspended_accounts{cause="CREDIT_DEPLETED"} 1' in lines
    assert "purser_unbilled_usd 0.000000000" in lines
    assert "ada" not in answer.text
    for line in lines:
        assert line.startswith("# ") or re.fullmatch(r'[a-z_]+(\{[a-z]+="\w+"\})? [\d.]+', line), line


def test_metrics_tell_how_the_requests_of_the_process_ended(tmp_path: Path) -> None:
    with closing(House(tmp_path, ended=lambda: {"settled": 7, "quarantined": 2})) as house:
        text = house.nobody.get("/metrics").text
    assert "# TYPE purser_requests_total counter\n" in text
    assert 'purser_requests_total{ended="settled"} 7\npurser_requests_total{ended="quarantined"} 2\n' in text


def test_the_page_of_routes(house: House) -> None:
    answer = house.nobody.get("/docs/plain")
    check_page(answer)
    assert "/v1/accounts/{account}/invoices:preview" in answer.text


def test_the_root_leads_to_the_dashboard(house: House) -> None:
    answer = house.nobody.get("/")
    assert (answer.status, answer.headers["location"]) == (303, "/dashboard")


def test_nobody_sees_nothing(house: House) -> None:
    house.open("ada")
    answer = house.nobody.get("/dashboard")
    check_page(answer, 401)
    assert "Send me a sign-in link" in answer.text


def test_the_overview(house: House) -> None:
    ada = house.open("ada", displayName="Ada & <Sons>")
    house.card("ada")
    house.spend("ada", 60, "e1")
    ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "7.00"})
    house.advance("2026-04-01T00:00:00Z")
    house.spend("ada", 3, "e2")
    answer = house.nobody.get("/dashboard", signed_in(house))
    check_page(answer)
    assert "Ada &amp; &lt;Sons&gt;" in answer.text
    for shown in ("In good standing", "ADA-0001", "ADA-0002", "$3.00", "unbilled $7.00", "<progress"):
        assert shown in answer.text, shown
    assert house.counted.count("ada") == 0


def test_the_overview_of_a_suspended_account_says_the_way_back(house: House) -> None:
    house.open("ada")
    house.spend("ada", 2, "e1")
    answer = house.nobody.get("/dashboard", signed_in(house))
    check_page(answer)
    assert "CREDIT_DEPLETED" in answer.text
    assert "Add a payment method or credit" in answer.text


def test_a_limit_of_nothing_and_no_limit_are_shown(house: House) -> None:
    ada = house.open("ada")
    ada.patch("/v1/accounts/ada/quotas/monthly-spend-usd", {"value": "0"})
    check_page(house.nobody.get("/dashboard", signed_in(house)))
    house.open("bob", billingMode="contract")
    assert "No monthly limit" in house.nobody.get("/dashboard", signed_in(house, "bob")).text


def forge(token: str) -> list[str]:
    """Tokens that look like one and are none."""
    body, _, signature = token.partition(".")
    other = base64.urlsafe_b64encode(b'["link","bob","owner",99999999999999999,"",""]').decode().rstrip("=")
    return ["", ".", "x", body, f"{body}.", f"{other}.{signature}", f"{body}.{'0' * 64}", f"é.{signature}", "x" * 900]


def test_a_forged_link_signs_nobody_in(house: House) -> None:
    house.open("ada")
    house.open("bob")
    token = house.link("ada")
    for bad in forge(token):
        answer = house.nobody.get(f"/dashboard/sign-in?token={bad.replace('é', '%C3%A9')}")
        check_page(answer, 403)
        assert "purser_session" not in answer.headers.get("set-cookie", "")
    check_page(house.nobody.get("/dashboard", {"cookie": f"purser_session={token}"}), 401)


def test_a_link_expires_and_ends_with_its_user(house: House) -> None:
    house.open("ada")
    check_page(house.nobody.get(f"/dashboard/sign-in?token={house.link('ada', valid_seconds=0)}"), 403)
    check_page(house.nobody.get(f"/dashboard/sign-in?token={house.link('ada', 'nobody')}"), 403)


def test_signing_out_forgets_the_session(house: House) -> None:
    house.open("ada")
    browser = Browser(house)
    browser.open(f"/dashboard/sign-in?token={house.link('ada')}")
    copy = dict(browser.cookies)
    answer = browser.submit(browser.open("/dashboard"), "/dashboard/sign-out")
    assert answer.status == 200
    assert "purser_session" not in browser.cookies
    assert browser.open("/dashboard").status == 401
    browser.cookies = copy
    assert browser.open("/dashboard").status == 401, "a copy of the cookie opens nothing either"


@pytest.mark.parametrize("proto, secure", [("https", True), ("http", False)])
def test_behind_tls_the_cookie_is_secure(house: House, proto: str, secure: bool) -> None:
    house.open("ada")
    answer = house.nobody.get(f"/dashboard/sign-in?token={house.link('ada')}", {"x-forwarded-proto": proto})
    assert ("Secure" in answer.headers["set-cookie"]) == secure


def test_the_style_sheet_serves_light_and_dark(house: House) -> None:
    answer = house.nobody.get("/dashboard/style.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in answer.text
