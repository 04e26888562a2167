"""Abuse rules: how targets are spelt, what they cover, and which rule decides."""

from __future__ import annotations

import pytest

from purser.core.abuse import (
    ACCOUNT,
    ALLOWED,
    BLOCKED,
    DOMAIN,
    IP,
    SUSPICIOUS,
    Rule,
    candidates,
    check_designation,
    judge,
    read_target,
    targets_of_address,
    targets_of_client,
)
from purser.core.errors import Invalid

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("type_", "given", "kept"),
    [
        (DOMAIN, "Example.COM", "example.com"),
        (DOMAIN, "com", "com"),
        (DOMAIN, "xn--bcher-kva.example", "xn--bcher-kva.example"),
        (IP, "192.0.2.0/24", "192.0.2.0/24"),
        (IP, "192.0.2.7", "192.0.2.7/32"),
        (IP, "2001:DB8::/32", "2001:db8::/32"),
        (IP, "::1", "::1/128"),
        (IP, "::ffff:192.0.2.0/120", "192.0.2.0/24"),
        (IP, "::ffff:192.0.2.7", "192.0.2.7/32"),
        (IP, "::/0", "::/0"),
        (IP, "::ffff:0:0/95", None),
        (ACCOUNT, "ada", "ada"),
        (DOMAIN, "@example.com", None),
        (DOMAIN, "*.example.com", None),
        (DOMAIN, ".example.com", None),
        (DOMAIN, "example.com.", None),
        (DOMAIN, "bücher.example", None),
        (DOMAIN, "192.0.2.1", None),
        (DOMAIN, ".".join(["a" * 60] * 5), None),
        (DOMAIN, "", None),
        (DOMAIN, 7, None),
        (IP, "192.0.2.7/24", None),  # an address within it: which one is meant?
        (IP, "192.0.2", None),
        (IP, "fe80::1%eth0", None),
        (IP, 3221225985, None),
        (ACCOUNT, "Ada", None),
        (ACCOUNT, "", None),
    ],
)
def test_targets_are_kept_in_one_way(type_: str, given: object, kept: str | None) -> None:
    if kept is not None:
        assert read_target(type_, given) == kept
        assert read_target(type_, kept) == kept
        return
    with pytest.raises(Invalid) as refused:
        read_target(type_, given)
    assert refused.value.field == "target"


def test_other_types_and_designations_are_refused() -> None:
    with pytest.raises(Invalid, match="type must be one of DOMAIN, IP, ACCOUNT, not 'domain'"):
        read_target("domain", "example.com")
    with pytest.raises(Invalid, match="designation must be one of ALLOWED, BLOCKED, SUSPICIOUS, not None"):
        check_designation(None)
    assert check_designation(BLOCKED) == BLOCKED


def test_what_covers_an_address() -> None:
    assert targets_of_address("ada@Mail.Example.com") == ["mail.example.com", "example.com", "com"]
    assert targets_of_address("a@b@example.com") == ["example.com", "com"]
    assert targets_of_address("purser@localhost") == ["localhost"]


def test_what_covers_a_client() -> None:
    found = targets_of_client("192.0.2.255")
    assert (len(found), found[0], found[8], found[-1]) == (33, "192.0.2.255/32", "192.0.2.0/24", "0.0.0.0/0")
    assert targets_of_client("::ffff:192.0.2.255") == found, "IPv4 that is mapped is IPv4"
    six = targets_of_client("2001:db8::1%eth0")
    assert (len(six), six[0], six[64], six[-1]) == (129, "2001:db8::1/128", "2001:db8::/64", "::/0")
    assert targets_of_client("") == targets_of_client("unix") == []


def rule(type_: str, target: str, designation: str) -> Rule:
    return Rule(f"{designation} {target}", type_, target, designation)


WIDE = rule(DOMAIN, "example.com", BLOCKED)
WITHIN = rule(DOMAIN, "good.example.com", ALLOWED)
DEEPER = rule(DOMAIN, "bad.good.example.com", BLOCKED)
NET = rule(IP, "192.0.2.0/24", BLOCKED)
HOST = rule(IP, "192.0.2.7/32", ALLOWED)
ODD = rule(IP, "198.51.100.0/24", SUSPICIOUS)
ADA = rule(ACCOUNT, "ada", ALLOWED)
BOB = rule(ACCOUNT, "bob", SUSPICIOUS)
ALL = (WIDE, WITHIN, DEEPER, NET, HOST, ODD, ADA, BOB)


@pytest.mark.parametrize(
    ("account", "address", "client", "decides"),
    [
        ("", "x@example.com", "", WIDE),
        ("", "x@a.example.com", "", WIDE),
        ("", "x@notexample.com", "", None),
        ("", "x@example.com.net", "", None),
        ("", "x@good.example.com", "", WITHIN),
        ("", "x@a.good.example.com", "", WITHIN),
        ("", "x@bad.good.example.com", "", DEEPER),
        ("", "", "192.0.2.1", NET),
        ("", "", "192.0.2.7", HOST),
        ("", "", "192.0.3.1", None),
        ("", "", "2001:db8::1", None),
        ("", "x@good.example.com", "192.0.2.1", NET),  # the stricter of the two
        ("", "x@example.com", "192.0.2.7", WIDE),
        ("", "x@good.example.com", "198.51.100.1", ODD),
        ("", "x@example.com", "198.51.100.1", WIDE),
        ("ada", "x@example.com", "192.0.2.1", ADA),  # an account's own rule decides alone
        ("bob", "x@example.com", "", BOB),
        ("bob", "x@good.example.com", "", BOB),
        ("cyd", "x@example.net", "", None),
    ],
)
def test_which_rule_decides(account: str, address: str, client: str, decides: Rule | None) -> None:
    about = candidates(account=account, addresses=[address] if address else [], clients=[client])
    assert judge(ALL, about) is decides
    assert judge(ALL[::-1], about) is decides


def test_each_address_goes_by_its_own_rule_and_the_strictest_decides() -> None:
    about = candidates(addresses=["x@good.example.com", "y@example.com"])
    assert judge(ALL, about) is WIDE
    assert judge([], about) is None
    assert WIDE.name == "BLOCKED example.com (DOMAIN example.com)"
