"""Webhooks: which URLs and addresses may be told anything, and the signature as the standard's own library reads it."""

from __future__ import annotations

import json
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from purser.core.errors import Invalid
from purser.core.webhook import check_url, is_public, show_secret, sign

PUBLIC = ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
OURS = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
OURS += ["255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1"]
OURS += ["64:ff9b::a00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", OURS)
def test_an_address_that_only_we_reach(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("url", ["https://example.com/hooks?a=b", "https://example.com:8443", "https://93.184.216.34/"])
def test_a_url_that_may_be_told(url: str) -> None:
    assert check_url(url, private=False) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com", "must be an https URL"),
        ("ftp://example.com", "must be an https URL"),
        ("https://", "must be an https URL"),
        ("https://example.com:0", "must be an https URL"),
        ("https://example.com:99999", "host or port is wrong"),
        ("https://ada:secret@example.com", "user or password"),
        ("https://example.com/#part", "after #"),
        ("https://example.com/a b", "must be an https URL"),
        ("https://exämple.com", "must be an https URL"),
        ("https://example.com/" + "x" * 2_000, "must be an https URL"),
        ("https://127.0.0.1/", "public address"),
        ("https://[::1]/", "public address"),
        ("https://localhost/", "public address"),
        ("https://db.internal/", "public address"),
        (7, "must be an https URL"),
    ],
)
def test_a_url_that_may_not(url: object, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check_url(url, private=False)


def test_where_it_is_allowed_http_and_private_addresses_pass() -> None:
    assert check_url("http://127.0.0.1:8000/hooks", private=True) == "http://127.0.0.1:8000/hooks"
    with pytest.raises(Invalid, match="http or https"):
        check_url("file:///etc/passwd", private=True)


def test_the_standards_own_library_takes_a_signature_and_no_other() -> None:
    secret, body, at = bytes(range(24)), json.dumps({"type": "invoice.paid"}).encode(), int(time.time())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at)}
    headers["webhook-signature"] = sign(secret, "msg_1", at, body)
    theirs = Webhook(show_secret(secret))
    assert theirs.verify(body, headers) == {"type": "invoice.paid"}
    for wrong in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(at - 1)}):
        with pytest.raises(WebhookVerificationError):
            theirs.verify(body, headers | wrong)
    with pytest.raises(WebhookVerificationError):
        theirs.verify(body + b" ", headers)
