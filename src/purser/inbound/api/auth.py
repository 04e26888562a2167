"""Who may call what: the key, the account in the path, the role, and the requests per minute (X2, X3, Q1)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from purser.core import ratelimit
from purser.core.client import network_of
from purser.core.errors import Forbidden, NotFound, TooMany, Unauthenticated
from purser.core.key_checks import wrong_keys_message
from purser.flows import access, standing
from purser.flows.access import Principal
from purser.inbound.api.call import CALLER, HEADERS, client_of
from purser.inbound.api.permissions import check_operator, makes, manages
from purser.inbound.api.problem import RETRY_AFTER
from purser.inbound.desk import Desk

ACCESS, UNCOUNTED = "access", "uncounted"
PUBLIC = "public"  # no key
ANYONE = "anyone"  # any valid key
MEMBER = "member"  # any role of the account in the path
MAKER = "maker"  # a role of the account in the path that makes resources: all but inference-user
SELF = "self"  # an admin, or the user in the path
ADMIN = "admin"  # an admin of the account in the path
METERING = "metering"  # the operator, or a service account with that scope, for its own account alone
OPERATOR = "operator"
_SEND = "send Authorization: Bearer YOUR_KEY"


def may(access_: str, *, counted: bool = True) -> dict[str, Any]:
    """A route's options: who may call it, and whether a call counts toward the account's requests per minute."""
    return {ACCESS: access_, UNCOUNTED: not counted}


def secret_of(headers: Mapping[str, str]) -> str:
    """The key that a request carries, as a bearer token or as `x-api-key`; raises Unauthenticated."""
    given = headers.get("authorization")
    if given is not None:
        scheme, _, secret = given.partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return secret.strip()
        raise Unauthenticated(f"the Authorization header is not a bearer token; {_SEND}")
    secret = headers.get("x-api-key", "").strip()
    if not secret:
        raise Unauthenticated(f"no API key was sent; {_SEND}")
    return secret


async def guard(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
    """Let a request through to its route, or raise Unauthenticated, Forbidden, NotFound, TooMany."""
    who = str(route.opt.get(ACCESS, OPERATOR))
    if who == PUBLIC:
        return
    desk: Desk = connection.app.state.desk
    secret = secret_of(connection.headers)
    account = connection.path_params.get("account")
    caller = await _find(connection, desk, secret, account)
    check(caller, who, account, connection.path_params.get("user"))
    if caller.operator:
        template = str(connection.scope["path_template"]).replace("/:", ":")
        check_operator(caller.operator_role, str(connection.scope["method"]), template)  # type: ignore[typeddict-item]
    if not caller.operator and not route.opt.get(UNCOUNTED):
        wait, most, left = await desk.count_request(caller.account)
        connection.scope[HEADERS] = list(  # type: ignore[literal-required]
            ratelimit.headers(most, left, wait or None)
        )
        if wait:
            refusal = TooMany(f"over {most} requests per minute for this account; try again in {wait} s")
            setattr(refusal, RETRY_AFTER, wait)
            raise refusal
    connection.scope[CALLER] = caller  # type: ignore[literal-required]


async def _find(
    connection: ASGIConnection[Any, Any, Any, Any], desk: Desk, secret: str, account: str | None
) -> Principal:
    """Who holds a key; raises also TooMany where the client's network has sent too many that are none.

    A right key is never refused for that.
    """
    try:
        return await sync_to_thread(_authenticate, desk, secret, account)
    except Unauthenticated as error:
        network = network_of(client_of(connection, desk.trusted_proxies))
        now = int(asyncio.get_running_loop().time())
        wait = 0 if error.code == access.ACCOUNT_CLOSED else desk.key_checks.count(network, now)
        if not wait:
            raise
        refusal = TooMany(wrong_keys_message(wait))
        setattr(refusal, RETRY_AFTER, wait)
        raise refusal from None


def _authenticate(desk: Desk, secret: str, account: str | None) -> Principal:
    with desk.read() as conn:
        caller = access.authenticate(conn, secret, desk.clock.now(), access.pepper(conn))
        if caller.operator and account is not None:
            standing.require(conn, account)
        return caller


def check(caller: Principal, who: str, account: str | None, user: str | None) -> None:
    """Whether this caller may do what is open to `who`; raises Forbidden, and NotFound on another's account."""
    if caller.operator:
        return
    if who == OPERATOR:
        raise Forbidden("this is the operator's; an account's key does not open it")
    if who == METERING and access.METERING not in caller.scopes:
        raise Forbidden(
            "usage is reported with the operator's key, or by a service account to which the operator gave the scope "
            "metering; other keys of an account do not report it"
        )
    if account is not None and account != caller.account:
        raise NotFound(f"there is no account {account!r:.70}", field="account")
    if who == ADMIN and not manages(caller.role):
        raise Forbidden(f"this needs the role admin; this key's user is {caller.role}")
    if who == MAKER and not makes(caller.role):
        raise Forbidden(f"this needs the role contributor, user or admin; this key's user is {caller.role}")
    if who == SELF and not manages(caller.role) and user != caller.user:
        raise Forbidden(f"this needs the role admin, or the user's own key; this key's user is {caller.role}")
