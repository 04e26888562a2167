"""Abuse rules: what each one covers, and which of them decides about an account or a sign-up."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from purser.core.client import read_address
from purser.core.errors import Invalid
from purser.core.ids import check_account_id
from purser.core.people import lower

DOMAIN, IP, ACCOUNT = "DOMAIN", "IP", "ACCOUNT"
TYPES = (DOMAIN, IP, ACCOUNT)
ALLOWED, BLOCKED, SUSPICIOUS = "ALLOWED", "BLOCKED", "SUSPICIOUS"
DESIGNATIONS = (ALLOWED, BLOCKED, SUSPICIOUS)
_MILDEST_FIRST = (ALLOWED, SUSPICIOUS, BLOCKED)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")
_LONGEST_DOMAIN = 253


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that stands: its target is a domain with all below it, a network, or an account's id."""

    id: str
    type: str
    target: str
    designation: str
    reason: str = ""

    @property
    def name(self) -> str:
        """The rule as an operator recognises it."""
        return f"{self.id} ({self.type} {self.target})"


def read_target(type_: object, value: object) -> str:
    """What a rule is about, in the one way in which it is kept: "Example.com" is "example.com", "::1" is "::1/128".

    Raises Invalid, also for a network that is written with an address within it.
    """
    if type_ == DOMAIN:
        domain = lower(value) if isinstance(value, str) else ""
        if len(domain) > _LONGEST_DOMAIN or _DOMAIN.fullmatch(domain) is None:
            raise _wrong(f'a domain such as "example.com" (an international one as xn--…), not {value!r:.60}')
        return domain
    if type_ == IP:
        try:
            network = ipaddress.ip_network(value if isinstance(value, str) and "%" not in value else "")
        except ValueError:
            words = 'an address, or a network by its first address, such as "192.0.2.0/24" or "2001:db8::/32"'
            raise _wrong(f"{words}, not {value!r:.60}") from None
        return str(_as_clients_are(network))
    if type_ == ACCOUNT:
        return check_account_id(value, "target")
    raise Invalid(f"type must be one of {', '.join(TYPES)}, not {type_!r:.40}", field="type")


def _as_clients_are(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network of IPv4 that is mapped into IPv6 as that, which is what its clients are taken for."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))


def _wrong(words: str) -> Invalid:
    return Invalid(f"target must be {words}", field="target")


def check_designation(value: object) -> str:
    """Raises Invalid for what is no designation."""
    if value not in DESIGNATIONS:
        raise Invalid(f"designation must be one of {', '.join(DESIGNATIONS)}, not {value!r:.40}", field="designation")
    return str(value)


def targets_of_address(email: str) -> list[str]:
    """The domains that an e-mail address is of, the longest first."""
    labels = lower(email).rpartition("@")[2].split(".")
    return [".".join(labels[n:]) for n in range(len(labels))]


def targets_of_client(client: str) -> list[str]:
    """The networks that a network address is of, the longest first; none for what is no address."""
    address = read_address(client)
    if address is None:
        return []
    most = address.max_prefixlen
    return [str(ipaddress.ip_network(f"{address}/{length}", strict=False)) for length in range(most, -1, -1)]


def candidates(
    *, account: str = "", addresses: Iterable[str] = (), clients: Iterable[str] = ()
) -> dict[str, list[list[str]]]:
    """The targets by which rules may cover this, by type: for each thing that is looked at the longest first."""
    return {
        ACCOUNT: [[account]] if account else [],
        DOMAIN: [targets_of_address(each) for each in addresses],
        IP: [targets_of_client(each) for each in clients],
    }


def judge(rules: Iterable[Rule], about: dict[str, list[list[str]]]) -> Rule | None:
    """The rule that decides, None where none covers it.

    A rule for the account itself decides alone. Else each address, and each network address, goes by its most exact
    rule, and of these the strictest decides: blocked before suspicious before allowed.
    """
    by_target = {(rule.type, rule.target): rule for rule in rules}
    for types in ((ACCOUNT,), (DOMAIN, IP)):
        exact = [_first(by_target, type_, targets) for type_ in types for targets in about[type_]]
        found = [rule for rule in exact if rule is not None]
        if found:
            return max(found, key=lambda rule: _MILDEST_FIRST.index(rule.designation))
    return None


def _first(by_target: dict[tuple[str, str], Rule], type_: str, targets: list[str]) -> Rule | None:
    return next((by_target[type_, target] for target in targets if (type_, target) in by_target), None)
