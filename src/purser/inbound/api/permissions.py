"""Permissions as data: what each role of an account may do, and what each role of the operator's people (X2)."""

from __future__ import annotations

from collections.abc import Mapping

from purser.core.errors import Forbidden

# ── an account's people ──────────────────────────────────────────────────────────────────────────────────────────
RUN = "run inference and view resources"
OWN_KEYS = "make and end one's own API keys"
OWN = "make resources, and manage one's own"
OTHERS = "manage others' resources"
ACCOUNT = "manage users, access, money and settings of the account"
_EVERYBODY = frozenset({RUN, OWN_KEYS})
ROLES: Mapping[str, frozenset[str]] = {
    "inference-user": _EVERYBODY,
    "contributor": _EVERYBODY | {OWN},
    "user": _EVERYBODY | {OWN, OTHERS},
    "admin": _EVERYBODY | {OWN, OTHERS, ACCOUNT},
}


def manages(role: str) -> bool:
    """Whether a role of an account manages that account."""
    return ACCOUNT in ROLES.get(role, ())


def makes(role: str) -> bool:
    """Whether a role of an account makes resources, and manages its own."""
    return OWN in ROLES.get(role, ())


def manages_others(role: str) -> bool:
    """Whether a role of an account manages what others made, too."""
    return OTHERS in ROLES.get(role, ())


# ── the operator's people ────────────────────────────────────────────────────────────────────────────────────────
READ, PEOPLE, MONEY, ALL = "read", "people", "money", "all"
OPERATORS: Mapping[str, frozenset[str]] = {
    "owner": frozenset({READ, PEOPLE, MONEY, ALL}),
    "finance": frozenset({READ, MONEY}),
    "support": frozenset({READ, PEOPLE}),
    "read-only": frozenset({READ}),
}
# What each route that is no GET needs of an operator; one that is not here is the owner's. Making a customer's key is
# the owner's, since it spends the customer's money; opening an account makes one, and may give credit; and where a
# customer's events are sent is the owner's too, as is whether there is the account at all.
_A, _O = "/v1/accounts/{account}", "/operator/v1/accounts"
NEEDS: Mapping[str, str] = {
    "POST /operator/v1/audit": READ,
    f"POST {_A}/usageCosts:query": READ,
    f"POST {_A}/models/{{model}}:getUploadEndpoint": READ,  # this and the next four do nothing
    f"POST {_A}/models/{{model}}:prepare": READ,
    f"POST {_A}/datasets/{{dataset}}:getUploadEndpoint": READ,
    f"POST {_A}/datasets/{{dataset}}:upload": READ,
    f"POST {_A}/datasets/{{dataset}}:validateUpload": READ,
    f"POST {_O}/{{account}}:suspend": PEOPLE,
    f"POST {_O}/{{account}}:reinstate": PEOPLE,
    f"PATCH {_O}/{{account}}/tokenLimits": PEOPLE,
    "POST /operator/v1/abuseRules": PEOPLE,
    "DELETE /operator/v1/abuseRules/{rule}": PEOPLE,
    f"POST {_A}/users": PEOPLE,
    f"PATCH {_A}/users/{{user}}": PEOPLE,
    f"POST {_A}/invitations": PEOPLE,
    f"DELETE {_A}/invitations/{{invitation}}": PEOPLE,
    f"PATCH {_A}/apiKeys/{{key}}": PEOPLE,
    f"POST {_A}/apiKeys:delete": PEOPLE,
    f"POST {_A}/users/{{user}}/apiKeys:delete": PEOPLE,
    f"POST {_A}/alerts": PEOPLE,
    f"PATCH {_A}/notificationSettings": PEOPLE,
    f"PATCH {_A}/usageLimits": PEOPLE,
    f"PATCH {_A}/users/{{user}}/usageLimits": PEOPLE,
    f"POST {_A}/usageLimitIncreaseRequests": PEOPLE,
    f"POST {_A}/usageLimitIncreaseRequests/{{increase}}:approve": PEOPLE,
    f"POST {_A}/usageLimitIncreaseRequests/{{increase}}:reject": PEOPLE,
    f"POST {_A}/groupUsageLimitTiers": PEOPLE,
    f"PATCH {_A}/groupUsageLimitTiers/{{tier}}": PEOPLE,
    f"DELETE {_A}/groupUsageLimitTiers/{{tier}}": PEOPLE,
    f"PATCH {_A}/groups/{{group}}/usageLimits": PEOPLE,
    f"POST {_A}/models": PEOPLE,
    f"PATCH {_A}/models/{{model}}": PEOPLE,
    f"DELETE {_A}/models/{{model}}": PEOPLE,
    f"POST {_A}/datasets": PEOPLE,
    f"PATCH {_A}/datasets/{{dataset}}": PEOPLE,
    f"DELETE {_A}/datasets/{{dataset}}": PEOPLE,
    f"POST {_A}/deployments:preview": READ,
    f"POST {_A}/deployments": PEOPLE,
    f"PATCH {_A}/deployments/{{deployment}}": PEOPLE,
    f"PATCH {_A}/deployments/{{deployment}}:scale": PEOPLE,
    f"DELETE {_A}/deployments/{{deployment}}": PEOPLE,
    f"POST {_A}/deployments/{{deployment}}:undelete": PEOPLE,
    f"POST {_O}/{{account}}/reservations": MONEY,
    f"DELETE {_O}/{{account}}/reservations/{{reservation}}": MONEY,
    f"PATCH {_A}/quotas/{{quota}}": MONEY,
    f"PATCH {_A}/billingProfile": MONEY,
    f"POST {_A}/paymentMethods": MONEY,
    f"DELETE {_A}/paymentMethods/{{method}}": MONEY,
    f"POST {_A}/credits:purchase": MONEY,
    f"POST {_A}/invoices/{{invoice}}:pay": MONEY,
    f"POST {_O}/{{account}}/grants": MONEY,
    f"POST {_O}/{{account}}:setBillingMode": MONEY,
    f"POST {_O}/{{account}}:clearFlags": MONEY,
    "POST /operator/v1/creditCodes": MONEY,
    "DELETE /operator/v1/creditCodes/{code}": MONEY,
    "POST /v1/creditCodes:redeem": MONEY,
    "POST /operator/v1/prices": MONEY,
    "POST /operator/v1/months/{month}:close": MONEY,
}


def needed(method: str, route: str) -> str:
    """What a route needs of an operator."""
    return READ if method in ("GET", "HEAD") else NEEDS.get(f"{method} {route}", ALL)


def check_operator(role: str, method: str, route: str) -> None:
    """Whether an operator of this role may call a route; raises Forbidden naming the roles that may."""
    need = needed(method, route)
    if need not in OPERATORS.get(role, ()):
        able = ", ".join(name for name, may in OPERATORS.items() if need in may)
        raise Forbidden(f"this is not open to an operator of the role {role}; to: {able}")
