"""The client of a request: its network address, as the proxies that are trusted tell it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=16)
def _networks(trusted: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in trusted)


def address_of(peer: str, forwarded: str, trusted: Sequence[str]) -> str:
    """Whose request it is: who sent it, or, where that is a trusted proxy, the last of X-Forwarded-For that is none."""
    networks = _networks(tuple(trusted))
    found = peer
    for hop in reversed(forwarded.split(",") if forwarded else ()):
        if not _is_within(found, networks):
            break
        found = hop.strip() if _is_address(hop.strip()) else found
    return found


def network_of(address: str) -> str:
    """The address as requests are counted by it: of IPv6 its /64, which is one customer's."""
    found = read_address(address)
    if found is None:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def read_address(text: str) -> Address | None:
    """A network address without its zone, one of IPv4 that is mapped into IPv6 as that; None for what is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_within(address: str, networks: Sequence[_Network]) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in each for each in networks)
