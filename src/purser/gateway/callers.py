"""Callers: whose key a request has, how the account stands, and where its page is for this client."""

from __future__ import annotations

from purser.flows.access import Principal
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


async def require_principal(directory: Directory, request: Request) -> Principal:
    """Who is calling; raises Unauthenticated, and Refusal where no key was sent or the operator's."""
    given = request.header(b"authorization")
    if given is not None and given[:7].lower() == b"bearer ":
        secret = given[7:].strip()
    else:
        secret = request.header(b"x-api-key") or b""
    if not secret:
        raise Refusal(401, "invalid_api_key", "No API key was sent; send Authorization: Bearer YOUR_KEY.")
    principal = await directory.principal(secret)
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
