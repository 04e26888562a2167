"""Whose request it is: the peer, or whom trusted proxies name."""

from __future__ import annotations

import pytest

from purser.core.client import address_of, network_of

pytestmark = pytest.mark.once
TRUSTED = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),  # it says so itself
        ("10.1.2.3", "203.0.113.5", "203.0.113.5"),
        ("10.1.2.3", "198.51.100.7, 203.0.113.5", "203.0.113.5"),  # what is left of it may be made up
        ("10.1.2.3", "198.51.100.7, 203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("", "203.0.113.5", ""),
    ],
)
def test_the_client_behind_proxies(peer: str, forwarded: str, client: str) -> None:
    assert address_of(peer, forwarded, TRUSTED) == client
    assert address_of(peer, forwarded, ()) == peer


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_as_whose_a_request_counts(address: str, counted: str) -> None:
    assert network_of(address) == counted
