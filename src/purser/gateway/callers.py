"""Callers: whose key a request has, how the account stands, and where its page is for this client."""

from __future__ import annotations

import asyncio

from purser.core.client import address_of, network_of
from purser.core.errors import Unauthenticated
from purser.core.key_checks import KeyChecks
from purser.flows.access import ACCOUNT_CLOSED, Principal
from purser.gateway import refusals
from purser.gateway.directory import Directory, Standing
from purser.gateway.refusals import Refusal
from purser.http.exchange import Request


def known_principal(directory: Directory, request: Request) -> Principal | None:
    """Who is calling, where that is in memory and a customer."""
    given = request.header(b"authorization")
    if given is None or given[:7] != b"Bearer ":
        return None
    found = directory.known_principal(given[7:])
    return found if found is not None and not found.operator else None


class Callers:
    """Who holds the keys that requests bring, where that is not in memory; wrong ones are counted by network."""

    def __init__(self, directory: Directory, checks: KeyChecks, trusted_proxies: tuple[str, ...]) -> None:
        self._directory, self._checks, self._trusted = directory, checks, trusted_proxies
        self._line = asyncio.Lock()

    async def find(self, secret: bytes, request: Request) -> Principal:
        """Who holds a key; raises Unauthenticated, and Refusal where the network has sent too many wrong ones.

        A right key is never refused for that: from such a network too it is looked up, one key at a time.
        """
        if self._directory.knows(secret):
            return await self._directory.principal(secret)
        forwarded = b",".join([value for name, value in request.headers if name == b"x-forwarded-for"])
        network = network_of(address_of(request.client, forwarded.decode("latin-1"), self._trusted))
        try:
            if not self._checks.is_over(network, _seconds()):
                return await self._directory.principal(secret)
            async with self._line:
                return await self._directory.principal(secret)
        except Unauthenticated as error:
            wait = 0 if error.code == ACCOUNT_CLOSED else self._checks.count(network, _seconds())
            if wait:
                raise refusals.too_many_wrong_keys(wait) from None
            raise


def _seconds() -> int:
    return int(asyncio.get_running_loop().time())


async def require_principal(callers: Callers, request: Request) -> Principal:
    """Who is calling; raises Unauthenticated, and Refusal where no key was sent, the operator's, or many wrong ones."""
    given = request.header(b"authorization")
    if given is not None and given[:7].lower() == b"bearer ":
        secret = given[7:].strip()
    else:
        secret = request.header(b"x-api-key") or b""
    if not secret:
        raise Refusal(401, "invalid_api_key", "No API key was sent; send Authorization: Bearer YOUR_KEY.")
    principal = await callers.find(secret, request)
    if principal.operator:
        raise Refusal(403, "permission_denied", "The operator key runs no inference; use an account's API key.")
    return principal


async def require_good_standing(directory: Directory, principal: Principal) -> Standing:
    """How the account stands; raises Refusal where it is suspended."""
    standing = directory.known_standing(principal.account)
    if standing is None:
        standing = await directory.standing(principal.account)
    if standing.causes:
        raise refusals.suspended(principal.account, standing.causes, prepaid=standing.prepaid)
    return standing


def dashboard_url(request: Request, otherwise: str) -> str:
    """The account's page, under the name by which this client reaches us."""
    host = request.header(b"host")
    if host is None or not host.isascii() or not 0 < len(host) <= 255:
        return otherwise
    scheme = "https" if request.header(b"x-forwarded-proto") == b"https" else "http"
    return f"{scheme}://{host.decode()}/dashboard"
