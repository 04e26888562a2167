"""Webhooks: which URLs may be told anything, which addresses are the public's, and Standard Webhooks signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from purser.core.errors import Invalid

SECRET_BYTES = 24
_PREFIX = "whsec_"
_MOST_URL = 2_000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's: not private, local, shared, reserved or multicast.

    An IPv6 address that stands for an IPv4 one is what that is.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.teredo is not None or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def check_url(url: object, *, private: bool, field: str = "url") -> str:
    """A URL that webhooks may go to; raises Invalid.

    `private` also lets http and private addresses pass. What a name stands for is looked at when something is sent.
    """
    scheme = "http or https" if private else "https"
    words = f'{field} must be an {scheme} URL such as "https://example.com/hooks"'
    if not isinstance(url, str) or len(url) > _MOST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise Invalid(words, field=field)
    try:
        parts = urlsplit(url)
        host, sound = parts.hostname, parts.port != 0
    except ValueError:
        raise Invalid(f"{words}; its host or port is wrong", field=field) from None
    if parts.scheme not in (("http", "https") if private else ("https",)) or not host or not sound:
        raise Invalid(words, field=field)
    if parts.username is not None or parts.password is not None:
        raise Invalid(f"{field} must not hold a user or password; deliveries are signed", field=field)
    if parts.fragment:
        raise Invalid(f"{field} must not have a part after #", field=field)
    if not private and not _may_be_public(host):
        raise Invalid(f"{field} must lead to a public address, not to {host}", field=field)
    return url


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:  # a name
        return not (host == "localhost" or host.endswith((".localhost", ".local", ".internal")))


def show_secret(secret: bytes) -> str:
    """A secret as its owner gets it, once."""
    return _PREFIX + base64.b64encode(secret).decode()


def sign(secret: bytes, id_: str, at_seconds: int, body: bytes) -> str:
    """The `webhook-signature` of a delivery."""
    told = f"{id_}.{at_seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, told, hashlib.sha256)).decode()
