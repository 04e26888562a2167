"""Every write of the API, one for each route: what must be there before it, and another request under its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from purser.store.db import Database
from purser.store.schema import metadata

_GPUS = {"NVIDIA_L4_24GB": {"gpu_hour": "0.70"}}
PRICE = {"m": {"input": "1", "output": "1"}}
USAGE = {"id": "e", "model": "tiny", "quantities": {"input_tokens": 1_000}}


class Answered(Protocol):
    """What any client of the tests answers."""

    @property
    def status(self) -> int: ...

    @property
    def json(self) -> Any: ...


Call = Callable[[str, str, Any, Mapping[str, str]], Answered]  # method, path, body, headers: with the operator's key


@dataclass(frozen=True)
class Write:
    """A request that writes: `{account}` and `{made}` in its path and bodies stand for what was made for it."""

    method: str
    route: str  # as in the document of the API
    path: str
    body: Any = None
    other: Any = None  # where there is no body, another query is another request
    make: str = ""  # a path and a body of what is made before; its id is `made`
    made_of: Any = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.route}"


_RULES = "/operator/v1/abuseRules"
_RULE = {"type": "ACCOUNT", "target": "{account}", "reason": "tried out"}
_HOLD = {"account": "{account}", "model": "dollar"}
_A = "/v1/accounts/{account}"
_O = "/operator/v1/accounts/{account}"
_HOOKS = f"{_A}/webhookEndpoints"
_TIERS = f"{_A}/groupUsageLimitTiers"
_MODELS, _DATASETS = f"{_A}/models", f"{_A}/datasets"
_KEYS, _USERS = f"{_A}/apiKeys", f"{_A}/users"
_INCREASES = f"{_A}/usageLimitIncreaseRequests"
_DEPLOYMENTS = f"{_A}/deployments"
_DEPLOYMENT = {"baseModel": "llama", "acceleratorType": "NVIDIA_L4_24GB", "minReplicaCount": 1}
_MADE: dict[str, Any] = {"make": f"{_DEPLOYMENTS}?deploymentId=llama", "made_of": _DEPLOYMENT}
_RESERVED = {"acceleratorType": "NVIDIA_L4_24GB", "reservedCount": 2}
_MORE = {"requestedLimit": {"units": "20"}, "user": "owner"}  # than the ten of the account's owner


def _limits(field: str) -> tuple[Any, Any]:
    """Two bodies with an amount."""
    return {field: {"units": "100"}}, {field: {"units": "200"}}


WRITES = (
    Write("POST", "/operator/v1/accounts", "/operator/v1/accounts", {"id": "new-{account}", "email": "n@example.com"}),
    Write("PATCH", _O, _O, {"unlimited": True}, {"unlimited": False}),
    Write(
        *("POST", f"{_O}:setBillingMode", f"{_O}:setBillingMode"),
        *({"billingMode": "postpaid"}, {"billingMode": "prepaid"}),
    ),
    Write(
        *("POST", f"{_A}:close", f"{_A}:close", {"giveUpCredit": True}, {"giveUpCredit": False}),
        make=f"{_O}/grants",
        made_of={"amountUsd": "9.00", "kind": "purchased"},  # what is owed
    ),
    Write("POST", f"{_A}:reopen", f"{_A}:reopen", make=f"{_A}:close", made_of={}),
    Write("POST", f"{_O}/grants", f"{_O}/grants", {"amountUsd": "5.00"}, {"amountUsd": "6.00"}),
    Write("POST", f"{_O}/grants", f"{_O}/grants", {"amountUsd": "5.00", "kind": "purchased"}, {"amountUsd": "5.00"}),
    Write(
        *("PATCH", f"{_O}/tokenLimits", f"{_O}/tokenLimits"),
        *({"model": "tiny", "promptTokensPerMinute": "9"}, {"model": "*", "promptTokensPerMinute": "9"}),
    ),
    Write("POST", f"{_O}:suspend", f"{_O}:suspend", {"reason": "one"}, {"reason": "two"}),
    Write("POST", f"{_O}:reinstate", f"{_O}:reinstate", make=f"{_O}:suspend", made_of={"reason": "one"}),
    Write("POST", _USERS, f"{_USERS}?userId=bot", {"role": "user"}, {"role": "admin"}),
    Write("PATCH", f"{_USERS}/{{user}}", f"{_USERS}/owner", {"displayName": "a"}, {"displayName": "b"}),
    Write(
        *("POST", f"{_A}/invitations", f"{_A}/invitations"),
        *({"email": "eve@example.com"}, {"email": "eve@example.com", "role": "admin"}),
    ),
    Write(
        *("DELETE", f"{_A}/invitations/{{invitation}}", f"{_A}/invitations/{{made}}"),
        make=f"{_A}/invitations",
        made_of={"email": "eve@example.com"},
    ),
    Write("POST", _KEYS, _KEYS, {"displayName": "a"}, {"displayName": "b"}),
    Write(
        *("PATCH", f"{_KEYS}/{{key}}", f"{_KEYS}/{{made}}"),
        *({"budget": {"amountUsd": "5.00", "period": "DAILY"}}, {"budget": None}),
        make=_KEYS,
        made_of={},
    ),
    Write("POST", f"{_KEYS}:delete", f"{_KEYS}:delete", {"keyId": "{made}"}, {"keyId": "key_0"}, _KEYS, {}),
    Write("POST", f"{_USERS}/{{user}}/apiKeys", f"{_USERS}/owner/apiKeys", {"displayName": "a"}, {"displayName": "b"}),
    Write(
        *("POST", f"{_USERS}/{{user}}/apiKeys:delete", f"{_USERS}/owner/apiKeys:delete"),
        *({"keyId": "{made}"}, {"keyId": "key_0"}),
        make=_KEYS,
        made_of={},
    ),
    Write(
        *("POST", f"{_A}/paymentMethods", f"{_A}/paymentMethods"),
        *({"token": "pm_card_visa"}, {"token": "pm_card_amex"}),
    ),
    Write(
        *("DELETE", f"{_A}/paymentMethods/{{method}}", f"{_A}/paymentMethods/{{made}}"),
        make=f"{_A}/paymentMethods",
        made_of={"token": "pm_card_jcb"},
    ),
    Write(
        *("PATCH", f"{_A}/billingProfile", f"{_A}/billingProfile"),
        *({"name": "A", "address": {"country": "DE"}}, {"name": "B", "address": {"country": "DE"}}),
    ),
    Write("POST", f"{_A}/credits:purchase", f"{_A}/credits:purchase", {"amountUsd": "5.00"}, {"amountUsd": "6.00"}),
    Write("POST", f"{_A}/invoices/{{invoice}}:pay", f"{_A}/invoices/{{invoice}}:pay", {}, {"paymentMethod": "pm_0"}),
    Write(
        *("PATCH", f"{_A}/quotas/{{quota}}", f"{_A}/quotas/monthly-spend-usd"),
        *({"value": "10"}, {"value": "20"}),
    ),
    Write(
        *("POST", _DEPLOYMENTS, f"{_DEPLOYMENTS}?deploymentId=llama"),
        *(_DEPLOYMENT, {**_DEPLOYMENT, "acceleratorCount": 2}),
    ),
    Write(
        *("PATCH", f"{_DEPLOYMENTS}/{{deployment}}", f"{_DEPLOYMENTS}/{{made}}"),
        *({"displayName": "a"}, {"displayName": "b"}),
        **_MADE,
    ),
    Write(
        *("PATCH", f"{_DEPLOYMENTS}/{{deployment}}:scale", f"{_DEPLOYMENTS}/{{made}}:scale"),
        *({"replicaCount": 0}, {"replicaCount": 1}),
        **_MADE,
    ),
    Write(
        *("POST", f"{_DEPLOYMENTS}/{{deployment}}:report", f"{_DEPLOYMENTS}/{{made}}:report"),
        *({"readyReplicas": 1}, {"readyReplicas": 2}),
        **_MADE,
    ),
    Write("DELETE", f"{_DEPLOYMENTS}/{{deployment}}", f"{_DEPLOYMENTS}/{{made}}", **_MADE),
    Write("POST", f"{_DEPLOYMENTS}/{{deployment}}:undelete", f"{_DEPLOYMENTS}/{{made}}:undelete", **_MADE),
    Write(
        *("POST", f"{_O}/reservations", f"{_O}/reservations"),
        *(_RESERVED, {**_RESERVED, "reservedCount": 3}),
    ),
    Write(
        *("DELETE", f"{_O}/reservations/{{reservation}}", f"{_O}/reservations/{{made}}"),
        make=f"{_O}/reservations",
        made_of=_RESERVED,
    ),
    Write("POST", f"{_A}/alerts", f"{_A}/alerts", {"thresholdUsd": "5.00"}, {"thresholdUsd": "6.00"}),
    Write(
        *("PATCH", f"{_A}/notificationSettings", f"{_A}/notificationSettings"),
        *({"forecastAlert": True}, {"forecastAlert": False}),
    ),
    Write("POST", _HOOKS, _HOOKS, {"url": "https://example.com/a"}, {"url": "https://example.com/b"}),
    Write(
        *("DELETE", f"{_HOOKS}/{{endpoint}}", f"{_HOOKS}/{{made}}"),
        make=_HOOKS,
        made_of={"url": "https://example.com/c"},
    ),
    Write("PATCH", f"{_A}/usageLimits", f"{_A}/usageLimits", *_limits("defaultUserLimit")),
    Write(
        *("PATCH", f"{_USERS}/{{user}}/usageLimits", f"{_USERS}/owner/usageLimits"),
        *_limits("limitOverride"),
    ),
    Write(
        *("POST", _INCREASES, _INCREASES),
        *(_MORE, {**_MORE, "reason": "another one"}),
    ),
    Write(
        *("POST", f"{_INCREASES}/{{increase}}:approve", f"{_INCREASES}/{{made}}:approve"),
        *({}, {"limit": {"units": "21"}}),
        make=_INCREASES,
        made_of=_MORE,
    ),
    Write(
        *("POST", f"{_INCREASES}/{{increase}}:reject", f"{_INCREASES}/{{made}}:reject"),
        *({"reason": "one"}, {"reason": "two"}),
        make=_INCREASES,
        made_of=_MORE,
    ),
    Write("POST", _TIERS, f"{_TIERS}?groupUsageLimitTierId=few", *_limits("limit")),
    Write(
        *("PATCH", f"{_TIERS}/{{tier}}", f"{_TIERS}/{{made}}"),
        *_limits("limit"),
        make=f"{_TIERS}?groupUsageLimitTierId=few",
        made_of={"limit": {"units": "9"}},
    ),
    Write(
        *("DELETE", f"{_TIERS}/{{tier}}", f"{_TIERS}/{{made}}"),
        make=f"{_TIERS}?groupUsageLimitTierId=few",
        made_of={"limit": {"units": "9"}},
    ),
    Write(
        *("PATCH", f"{_A}/groups/{{group}}/usageLimits", f"{_A}/groups/research/usageLimits"),
        *({"groupUsageLimitTierId": "{made}"}, {"groupUsageLimitTierId": None}),
        make=f"{_TIERS}?groupUsageLimitTierId=few",
        made_of={"limit": {"units": "9"}},
    ),
    Write("POST", _MODELS, _MODELS, {"modelId": "mine"}, {"modelId": "other"}),
    Write(
        *("PATCH", f"{_MODELS}/{{model}}", f"{_MODELS}/{{made}}", {"displayName": "a"}, {"displayName": "b"}),
        make=_MODELS,
        made_of={"modelId": "mine"},
    ),
    Write("DELETE", f"{_MODELS}/{{model}}", f"{_MODELS}/{{made}}", make=_MODELS, made_of={"modelId": "mine"}),
    Write("POST", _DATASETS, _DATASETS, {"datasetId": "mine"}, {"datasetId": "other"}),
    Write(
        *("PATCH", f"{_DATASETS}/{{dataset}}", f"{_DATASETS}/{{made}}"),
        *({"estimatedTokenCount": "9"}, {"estimatedTokenCount": "8"}),
        make=_DATASETS,
        made_of={"datasetId": "mine"},
    ),
    Write("DELETE", f"{_DATASETS}/{{dataset}}", f"{_DATASETS}/{{made}}", make=_DATASETS, made_of={"datasetId": "mine"}),
    Write(
        *("POST", "/v1/usage", "/v1/usage"),
        *({**USAGE, "account": "{account}"}, {**USAGE, "account": "{account}", "model": "dollar"}),
    ),
    Write(
        *("POST", "/v1/holds", "/v1/holds"),
        *({**_HOLD, "amountUsd": "0.10"}, {**_HOLD, "amountUsd": "0.20"}),
    ),
    Write(
        *("POST", "/v1/holds/{hold}:settle", "/v1/holds/{made}:settle"),
        *({"amountUsd": "0.10"}, {"amountUsd": "0.05"}),
        make="/v1/holds",
        made_of={**_HOLD, "amountUsd": "0.20"},
    ),
    Write(
        *("POST", "/v1/holds/{hold}:void", "/v1/holds/{made}:void"),
        make="/v1/holds",
        made_of={**_HOLD, "amountUsd": "0.20"},
    ),
    Write(
        *("POST", "/operator/v1/users", "/operator/v1/users"),
        *({"name": "nora", "role": "finance"}, {"name": "nora", "role": "support"}),
    ),
    Write(
        *("PATCH", "/operator/v1/users/{operator}", "/operator/v1/users/{made}"),
        *({"role": "support"}, {"role": "read-only"}),
        make="/operator/v1/users",
        made_of={"name": "nora-{account}", "role": "finance"},
    ),
    Write(
        *("DELETE", "/operator/v1/users/{operator}", "/operator/v1/users/{made}"),
        make="/operator/v1/users",
        made_of={"name": "nora-{account}", "role": "finance"},
    ),
    Write(
        *("POST", "/operator/v1/creditCodes", "/operator/v1/creditCodes"),
        *({"amountUsd": "5.00"}, {"amountUsd": "6.00"}),
    ),
    Write(
        *("DELETE", "/operator/v1/creditCodes/{code}", "/operator/v1/creditCodes/{made}"),
        make="/operator/v1/creditCodes",
        made_of={"amountUsd": "5.00"},
    ),
    Write(
        *("POST", "/v1/creditCodes:redeem", "/v1/creditCodes:redeem"),
        *({"code": "{code}", "name": "accounts/{account}"}, {"code": "another", "name": "accounts/{account}"}),
        make="/operator/v1/creditCodes",
        made_of={"amountUsd": "5.00"},
    ),
    Write("POST", _RULES, _RULES, {**_RULE, "designation": "BLOCKED"}, {**_RULE, "designation": "SUSPICIOUS"}),
    Write(
        *("DELETE", f"{_RULES}/{{rule}}", f"{_RULES}/{{made}}"),
        make=_RULES,
        made_of={**_RULE, "designation": "BLOCKED"},
    ),
    Write(
        *("POST", f"{_O}:clearFlags", f"{_O}:clearFlags", {"grantCredit": True}, {"grantCredit": False}),
        make=_RULES,
        made_of={**_RULE, "designation": "SUSPICIOUS"},
    ),
    Write("POST", "/operator/v1/prices", "/operator/v1/prices", {"models": PRICE}, {"models": {}}),
    Write(
        *("POST", "/operator/v1/clock:advance", "/operator/v1/clock:advance"),
        *({"to": "2026-05-01T00:00:00Z"}, {"to": "2026-05-02T00:00:00Z"}),
    ),
    Write("POST", "/operator/v1/months/{month}:close", "/operator/v1/months/2026-04:close"),
)
# Routes that write nothing to the books, so that there is nothing to repeat.
READING = {
    "POST /operator/v1/audit": "it checks",
    "POST /v1/accounts/{account}/usageCosts:query": "it asks",
    "POST /v1/accounts/{account}/deployments:preview": "it asks",
    "POST /v1/accounts/{account}/webhookEndpoints/{endpoint}/deliveries/{delivery}:replay": (
        "it sends again what has ended, and is refused while that is under way"
    ),
    **dict.fromkeys(
        (
            f"POST {_MODELS}/{{model}}:getUploadEndpoint",
            f"POST {_MODELS}/{{model}}:prepare",
            f"POST {_DATASETS}/{{dataset}}:getUploadEndpoint",
            f"POST {_DATASETS}/{{dataset}}:upload",
            f"POST {_DATASETS}/{{dataset}}:validateUpload",
        ),
        "it is not offered: these are records",
    ),
    "POST /v1/signInLinks": "it sends a link each time",
    "POST /v1/signUpLinks": "it sends a link each time",
    **dict.fromkeys(
        (
            "POST /dashboard/sign-in",
            "POST /dashboard/sign-up",
            "POST /dashboard/link",
            "POST /dashboard/accounts",
            "POST /dashboard/sign-out",
            "POST /dashboard/invitation",
            "POST /dashboard/people",
            "POST /dashboard/people/revoke",
            "POST /dashboard/redeem",
        ),
        "a browser's form, which sends no key",
    ),
}


@dataclass(frozen=True)
class Prepared:
    """A write as it is sent for one account."""

    method: str
    path: str
    body: Any
    other_path: str
    other: Any


def publish_prices(call: Call) -> None:
    """The prices of what is used here."""
    price = {"input": "1.00", "output": "1.00"}
    _done(call, "/operator/v1/prices", {"models": {"dollar": price, "tiny": price, "grand": price, **_GPUS}})


def prepare(call: Call, write: Write, account: str) -> Prepared:
    """Make what a write needs: an account with a card and an invoice that nobody has paid, and more where it says so.

    The clock is in March before and in April after it.
    """
    opened = {"id": account, "email": f"{account}@example.com", "billingMode": "contract"}
    _done(call, "/operator/v1/accounts", opened)
    _done(call, f"/v1/accounts/{account}/paymentMethods", {"token": "pm_card_visa"})
    used = {"id": "used", "account": account, "model": "dollar", "quantities": {"input_tokens": 9_000_000}}
    _done(call, "/v1/usage", used)
    named = {"account": account}
    if write.path.startswith(_INCREASES):
        capped = call("PATCH", f"/v1/accounts/{account}/usageLimits", {"defaultUserLimit": {"units": "10"}}, {})
        assert capped.status == 200, capped
    if write.make:
        made = _done(call, _fill(write.make, named), _fill(write.made_of, named))
        named["made"] = made.get("keyId", made.get("id", ""))
        named["code"] = made.get("code", "")
    if write.path.endswith(":undelete"):
        gone = call("DELETE", _fill(f"{_DEPLOYMENTS}/{{made}}", named), None, {})
        assert gone.status == 200, gone
    body, other = _fill(write.body, named), _fill(write.other, named)
    path = _fill(write.path, named)
    if other is None:
        return Prepared(write.method, path, body, f"{path}{'&' if '?' in path else '?'}another=1", body)
    return Prepared(write.method, path, body, path, other)


def turn_the_month(call: Call) -> None:
    """March ends, and is billed."""
    _done(call, "/operator/v1/clock:advance", {"to": "2026-04-01T00:00:00Z"})


def name_invoice(call: Call, write: Prepared, account: str) -> Prepared:
    """The same, with the account's invoice in its path."""
    if "{invoice}" not in write.path:
        return write
    (invoice,) = call("GET", f"/v1/accounts/{account}/invoices", None, {}).json["invoices"]
    assert invoice["state"] == "ISSUED"
    path = write.path.replace("{invoice}", invoice["id"])
    return Prepared(write.method, path, write.body, path, write.other)


def _done(call: Call, path: str, body: Any) -> Any:
    answer = call("POST", path, body, {})
    assert answer.status in (200, 201), answer
    return answer.json


def _fill(given: Any, named: Mapping[str, str]) -> Any:
    if isinstance(given, str):
        for name, value in named.items():
            given = given.replace(f"{{{name}}}", value)
        return given
    return {key: _fill(value, named) for key, value in given.items()} if isinstance(given, dict) else given


_SKIPPED = {"idempotency", "changes", "commits", "writers", "balances", "rollups"}
_COUNTED = [table for table in metadata.sorted_tables if table.name not in _SKIPPED]
_COUNTS = sa.select(
    *(sa.select(sa.func.count()).select_from(table).scalar_subquery().label(table.name) for table in _COUNTED)
)


def count_rows(db: Database) -> dict[str, int]:
    """How many rows every table has, but for the kept answers, what each commit adds, and each writer's own sums."""
    with db.read() as conn:
        return dict(conn.execute(_COUNTS).one()._asdict())
