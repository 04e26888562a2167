"""Who may call what: the permission table, one account against another, the operator, the rate (X2, X3, Q1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from purser.inbound.api.app import ROUTES
from purser.inbound.api.auth import ACCESS, UNCOUNTED
from purser.inbound.api.front import join_verb
from tests.inbound.house import Client, House

pytestmark = pytest.mark.once  # what differs here is who may do what; it is kept like any other

# Every route of an account: method, path below the account, a body that is right, and who may call it.
VIEWS = [
    "balance",
    "explain",
    "credits",
    "invoices",
    "invoices:preview",
    "invoices/{invoice}",
    "invoices/{invoice}/lines/1/usage",
    "charges:explain?request={event}",
]
VIEWS += ["paymentMethods", "paymentMethods/{method}", "quotas", "quotas/monthly-spend-usd", "receipts", "statement"]
VIEWS += ["serverlessRateLimits", "serverlessTokenUsage", "creditRedemptions"]
VIEWS += ["alerts", "notificationSettings", "billingProfile"]
VIEWS += ["usage", "users", "users/owner", "apiKeys", "ledger:export?format=hledger"]
_MARCH = "startTime=2026-03-01T00:00:00Z&endTime=2026-03-31T00:00:00Z"
VIEWS += ["usageLimits", "groupUsageLimitTiers", "groupUsageLimitTiers/few"]
VIEWS += ["groupUsageLimits", "groups/research/usageLimits", "usageLimitIncreaseRequests"]
VIEWS += ["models", "models/mine", "datasets", "datasets/chats"]
VIEWS += [f"billing/summary?{_MARCH}", f"billingUsage?{_MARCH}"]
VIEWS += ["deployments", "deployments/llama", "reservations"]
_DEPLOYMENT = {"baseModel": "llama", "acceleratorType": "NVIDIA_L4_24GB"}
# What inference-users may not.
DEPLOYING: list[tuple[str, str, Any]] = [
    ("POST", "deployments?deploymentId=other", _DEPLOYMENT),
    ("PATCH", "deployments/llama", {"displayName": "x"}),
    ("PATCH", "deployments/llama:scale", {"replicaCount": 0}),
    ("DELETE", "deployments/llama", None),
    ("POST", "deployments/llama:undelete", None),
]
# What nobody may but the operator and a service account with the scope metering.
METERS: list[tuple[str, str, Any]] = [("POST", "deployments/llama:report", {"readyReplicas": 1})]
ADMINS: list[tuple[str, str, Any]] = [
    ("POST", "users?userId=eve", {}),
    ("PATCH", "apiKeys/{key}", {"budget": {"amountUsd": "5.00", "period": "DAILY"}}),
    ("PATCH", "users/owner", {"displayName": "x"}),
    ("PATCH", "quotas/monthly-spend-usd", {"value": "10"}),
    ("POST", "alerts", {"thresholdUsd": "5.00"}),
    ("PATCH", "notificationSettings", {"forecastAlert": True}),
    ("POST", "webhookEndpoints", {"url": "https://example.com/hooks"}),
    ("DELETE", "webhookEndpoints/{endpoint}", None),
    ("POST", "webhookEndpoints/{endpoint}/deliveries/{delivery}:replay", None),
    ("POST", ":close", {"giveUpCredit": True}),
    ("POST", ":reopen", None),
    ("PATCH", "billingProfile", {"name": "Secret", "address": {"country": "DE"}}),
    ("POST", "paymentMethods", {"token": "pm_card_visa"}),
    ("DELETE", "paymentMethods/{method}", None),
    ("POST", "credits:purchase", {"amountUsd": "5.00"}),
    ("POST", "invoices/{invoice}:pay", {}),
    ("GET", "auditLogs", None),
    ("GET", ":export", None),
    ("GET", "webhookEndpoints", None),
    ("GET", "webhookEndpoints/{endpoint}", None),
    ("GET", "webhookEndpoints/{endpoint}/deliveries", None),
    ("PATCH", "usageLimits", {"defaultUserLimit": {"units": "100"}}),
    ("GET", "userUsageLimits", None),
    ("GET", "users/owner/usageLimits", None),
    ("PATCH", "users/owner/usageLimits", {"limitOverride": {"units": "100"}}),
    ("POST", "groupUsageLimitTiers?groupUsageLimitTierId=more", {"limit": {"units": "7"}}),
    ("PATCH", "groupUsageLimitTiers/few", {"limit": {"units": "8"}}),
    ("DELETE", "groupUsageLimitTiers/few", None),
    ("PATCH", "groups/research/usageLimits", {"groupUsageLimitTierId": "few"}),
    ("GET", "usageLimitIncreaseRequests/{increase}", None),
    ("POST", "usageLimitIncreaseRequests/{increase}:approve", {}),
    ("POST", "usageLimitIncreaseRequests/{increase}:reject", {}),
    ("GET", "invitations", None),
    ("POST", "invitations", {"email": "eve@example.com"}),
    ("DELETE", "invitations/{invitation}", None),
    ("GET", "users/owner/apiKeys", None),
    ("POST", "users/owner/apiKeys", {}),
    ("POST", "users/owner/apiKeys:delete", {"keyId": "{key}"}),
]
OWN: list[tuple[str, str, Any]] = [
    ("GET", "users/{me}/apiKeys", None),
    ("POST", "users/{me}/apiKeys", {}),
    ("GET", "users/{me}/usageLimits", None),
    ("POST", "apiKeys", {}),
    ("POST", "deployments:preview", _DEPLOYMENT),
    ("POST", "usageLimitIncreaseRequests", {"requestedLimit": {"units": "950"}}),
    ("POST", "usageCosts:query", {"startTime": "2026-03-01T00:00:00Z", "endTime": "2026-03-31T00:00:00Z"}),
]
# What those may that make resources: what is their own; what others made needs the role user.
MAKERS: list[tuple[str, str, Any]] = [
    ("POST", "models", {"modelId": "made-by-{me}"}),
    ("PATCH", "models/made-by-{me}", {"displayName": "Mine"}),
    ("DELETE", "models/made-by-{me}", None),
    ("POST", "datasets", {"datasetId": "made-by-{me}"}),
    ("PATCH", "datasets/made-by-{me}", {"displayName": "Mine"}),
    ("DELETE", "datasets/made-by-{me}", None),
]
OF_OTHERS: list[tuple[str, str, Any]] = [
    ("PATCH", "models/mine", {"displayName": "Ours"}),
    ("PATCH", "datasets/chats", {"displayName": "Ours"}),
    ("DELETE", "models/of-{me}", None),
    ("DELETE", "datasets/of-{me}", None),
]
NOT_OFFERED: list[tuple[str, str, Any]] = [
    ("POST", "models/mine:getUploadEndpoint", {"filenameToSize": {}}),
    ("GET", "models/mine:getDownloadEndpoint", None),
    ("GET", "models/mine:validateUpload", None),
    ("POST", "models/mine:prepare", {}),
    ("POST", "datasets/chats:getUploadEndpoint", {"filenameToSize": {}}),
    ("POST", "datasets/chats:upload", None),
    ("POST", "datasets/chats:validateUpload", {}),
    ("GET", "datasets/chats:getDownloadEndpoint", None),
]
ROLES = ("user", "contributor", "inference-user")


def write_down(house: House, account: str) -> None:
    """Records of a model and of a dataset, and more of them for each role to delete."""
    for plural, field, first in (("models", "modelId", "mine"), ("datasets", "datasetId", "chats")):
        for id_ in (first, *(f"of-{role}" for role in ROLES)):
            body = {field: id_, plural[:-1]: {"displayName": f"Secret of {account}"}}
            assert house.operator.post(f"/v1/accounts/{account}/{plural}", body).status == 200


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two accounts with all that an account can have, and a user of each role in the first."""
    house = House(Path(tmp_path_factory.mktemp("house")))
    for account in ("ada", "bob"):
        house.open(account, displayName=f"Secret of {account}", signupCreditUsd="3.00")
        house.card(account)
        few = {"limit": {"units": "5"}}
        path = f"/v1/accounts/{account}/groupUsageLimitTiers?groupUsageLimitTierId=few"
        assert house.operator.post(path, few).status == 200
        capped = {"defaultUserLimit": {"units": "900"}}
        assert house.operator.patch(f"/v1/accounts/{account}/usageLimits", capped).status == 200
        more = {"requestedLimit": {"units": "901"}, "reason": f"secret of {account}"}
        assert house.operator.post(f"/v1/accounts/{account}/usageLimitIncreaseRequests", more).status == 200
        write_down(house, account)
        house.spend(account, 5, f"secret-event-of-{account}")
        own = {**_DEPLOYMENT, "displayName": f"Secret of {account}"}
        if account == "ada":
            house.operator.post("/operator/v1/prices", {"models": {"NVIDIA_L4_24GB": {"gpu_hour": "0.70"}}})
        assert house.operator.post(f"/v1/accounts/{account}/deployments?deploymentId=llama", own).status == 200
    house.advance("2026-04-01T00:00:00Z")
    for account in ("ada", "bob"):
        guest = {"email": f"guest-of-{account}@example.com"}
        assert house.operator.post(f"/v1/accounts/{account}/invitations", guest).status == 200
        url = f"https://example.com/secret-of-{account}"
        house.operator.post(f"/v1/accounts/{account}/webhookEndpoints", {"url": url})
        house.operator.post(f"/v1/accounts/{account}/credits:purchase", {"amountUsd": "7.00"})
    try:
        yield house
    finally:
        house.close()


@cache
def somebody(house: House, role: str) -> Client:
    """A user of ada's with a role."""
    return house.member("ada", role, role)


@cache
def owner(house: House, account: str) -> Client:
    """The owner of an account."""
    key = house.operator.post(f"/v1/accounts/{account}/users/owner/apiKeys", {}).json["key"]
    return Client(house.operator.port, key)


@cache
def ids(house: House, account: str) -> dict[str, str]:
    """What the account has, by the names that the tables above use."""
    get, hooks = house.operator.get, f"/v1/accounts/{account}/webhookEndpoints"
    endpoint = get(hooks).json["webhookEndpoints"][-1]["id"]
    return {
        "{invoice}": next(row["id"] for row in house.invoices(account) if row["type"] == "POSTPAID_BILLING"),
        "{method}": get(f"/v1/accounts/{account}/paymentMethods").json["defaultPaymentMethodId"],
        "{key}": get(f"/v1/accounts/{account}/users/owner/apiKeys").json["apiKeys"][0]["keyId"],
        "{endpoint}": endpoint,
        "{invitation}": get(f"/v1/accounts/{account}/invitations").json["invitations"][-1]["id"],
        "{increase}": get(f"{hooks.rpartition('/')[0]}/usageLimitIncreaseRequests").json["usageLimitIncreaseRequests"][
            -1
        ]["id"],
        "{event}": f"secret-event-of-{account}",
        "{delivery}": get(f"{hooks}/{endpoint}/deliveries").json["deliveries"][-1]["id"],
    }


def filled(house: House, account: str, text: Any, me: str = "") -> Any:
    """A path or body with the account's own ids in it."""
    if isinstance(text, dict):
        return {name: filled(house, account, value, me) for name, value in text.items()}
    if not isinstance(text, str):
        return text
    return re.sub(r"\{\w+\}", lambda found: {**ids(house, account), "{me}": me}[found.group()], text)


@pytest.mark.parametrize("path", VIEWS)
@pytest.mark.parametrize("role", ROLES)
def test_every_role_reads(peopled: House, role: str, path: str) -> None:
    answer = somebody(peopled, role).get(f"/v1/accounts/ada/{filled(peopled, 'ada', path)}")
    assert answer.status == 200, answer.text


@pytest.mark.parametrize("method, path, body", ADMINS)
@pytest.mark.parametrize("role", ROLES)
def test_only_an_admin_manages(peopled: House, role: str, method: str, path: str, body: Any) -> None:
    before = peopled.account("ada"), peopled.balance("ada")
    client = somebody(peopled, role)
    target = join_verb(f"/v1/accounts/ada/{filled(peopled, 'ada', path)}")
    answer = client.call(method, target, filled(peopled, "ada", body))
    assert (answer.status, answer.json["code"]) == (403, "PERMISSION_DENIED")
    assert (peopled.account("ada"), peopled.balance("ada")) == before


@pytest.mark.parametrize("method, path, body", OWN)
@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_its_own_keys(peopled: House, role: str, method: str, path: str, body: Any) -> None:
    answer = somebody(peopled, role).call(method, f"/v1/accounts/ada/{filled(peopled, 'ada', path, role)}", body)
    assert answer.status == 200, answer.text


@pytest.mark.parametrize("method, path, body", [*DEPLOYING, *METERS])
def test_s78_an_inference_user_makes_no_resources(peopled: House, method: str, path: str, body: Any) -> None:
    before = peopled.operator.get("/v1/accounts/ada/deployments").json
    answer = somebody(peopled, "inference-user").call(method, f"/v1/accounts/ada/{path}", body)
    assert (answer.status, answer.json["code"]) == (403, "PERMISSION_DENIED")
    assert peopled.operator.get("/v1/accounts/ada/deployments").json == before


@pytest.mark.parametrize("method, path, body", MAKERS)
@pytest.mark.parametrize("role", ROLES)
def test_who_makes_resources_manages_its_own(peopled: House, role: str, method: str, path: str, body: Any) -> None:
    client = somebody(peopled, role)
    if method != "POST":
        plural, field = ("models", "modelId") if path.startswith("models") else ("datasets", "datasetId")
        client.post(f"/v1/accounts/ada/{plural}", {field: f"made-by-{role}"})
    target = f"/v1/accounts/ada/{filled(peopled, 'ada', path, role)}"
    answer = client.call(method, target, filled(peopled, "ada", body, role))
    if role == "inference-user":
        assert (answer.status, answer.json["code"]) == (403, "PERMISSION_DENIED")
    else:
        assert answer.status == 200, answer.text


@pytest.mark.parametrize("method, path, body", OF_OTHERS)
@pytest.mark.parametrize("role", ROLES)
def test_what_others_made_is_managed_by_whom_the_role_allows(
    peopled: House, role: str, method: str, path: str, body: Any
) -> None:
    target = f"/v1/accounts/ada/{filled(peopled, 'ada', path, role)}"
    answer = somebody(peopled, role).call(method, target, body)
    assert answer.status == (200 if role == "user" else 403), answer.text
    if role == "contributor":
        assert "is another user's" in answer.json["detail"]
    left = peopled.operator.get(target).status
    assert left == (404 if method == "DELETE" and role == "user" else 200)


@pytest.mark.parametrize("method, path, body", NOT_OFFERED)
@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_offered_says_so(peopled: House, role: str, method: str, path: str, body: Any) -> None:
    answer = somebody(peopled, role).call(method, f"/v1/accounts/ada/{path}", body)
    if role == "inference-user" and method == "POST":
        assert answer.status == 403
        return
    assert (answer.status, answer.json["code"]) == (501, "UNIMPLEMENTED")
    assert "Purser keeps records of" in answer.json["detail"]
    assert answer.headers["x-should-retry"] == "false"


EVERY = [("GET", path, None) for path in VIEWS] + ADMINS + [("GET", "", None), ("POST", "apiKeys", {})]
EVERY += [("POST", "apiKeys:delete", {"keyId": "{key}"}), *NOT_OFFERED]
EVERY += [("POST", "models", {"modelId": "new"}), ("POST", "datasets", {"datasetId": "new"})]
EVERY += [(method, re.sub(r"of-.*", "of-user", path), body) for method, path, body in OF_OTHERS]
EVERY += DEPLOYING


@pytest.mark.parametrize("method, path, body", EVERY)
def test_one_accounts_key_does_not_open_another(peopled: House, method: str, path: str, body: Any) -> None:
    before = peopled.account("bob"), peopled.balance("bob"), peopled.invoices("bob")
    ada = owner(peopled, "ada")
    target = join_verb(f"/v1/accounts/bob/{filled(peopled, 'bob', path)}".rstrip("/"))
    answer = ada.call(method, target, filled(peopled, "bob", body))
    assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")
    nobody = ada.call(method, target.replace("/bob", "/dan"), filled(peopled, "bob", body))
    assert answer.json["detail"].replace("bob", "dan") == nobody.json["detail"]
    for secret in ("Secret of bob", "secret-event-of-bob", "bob@example.com", before[2][0]["id"]):
        assert secret not in answer.text.replace(target, "")
    assert (peopled.account("bob"), peopled.balance("bob"), peopled.invoices("bob")) == before


@pytest.mark.parametrize("path", VIEWS)
def test_an_accounts_answers_hold_nothing_of_another(peopled: House, path: str) -> None:
    answer = owner(peopled, "ada").get(f"/v1/accounts/ada/{filled(peopled, 'ada', path)}")
    assert answer.status == 200
    assert "bob" not in answer.text.lower()


def test_another_accounts_ids_do_not_work_within_the_own(peopled: House) -> None:
    ada = owner(peopled, "ada")
    for path in ("invoices/{invoice}", "invoices/{invoice}/lines/1/usage", "paymentMethods/{method}"):
        assert ada.get(f"/v1/accounts/ada/{filled(peopled, 'bob', path)}").status == 404
    body = {"amountUsd": "5.00", "paymentMethod": filled(peopled, "bob", "{method}")}
    assert ada.post("/v1/accounts/ada/credits:purchase", body).status == 404
    assert ada.post(f"/v1/accounts/ada/{filled(peopled, 'bob', 'invoices/{invoice}:pay')}").status == 404
    assert ada.delete(f"/v1/accounts/ada/{filled(peopled, 'bob', 'paymentMethods/{method}')}").status == 404
    key = filled(peopled, "bob", "{key}")
    assert ada.post("/v1/accounts/ada/apiKeys:delete", {"keyId": key}).status == 404


def routes() -> list[tuple[str, str, str, bool]]:
    """Every route as (method, path, who may call it, whether it counts)."""
    found = []
    for made in ROUTES:
        for path in made.paths:
            shown = join_verb(re.sub(r"\{(\w+):str\}", r"{\1}", path))
            for method in made.http_methods:
                found.append((str(method), shown, str(made.opt[ACCESS]), not made.opt[UNCOUNTED]))
    return found


def test_every_route_of_an_account_is_in_the_tables_above() -> None:
    ours = {
        "{key}": "{}",
        "{invoice}": "{}",
        "{method}": "{}",
        "{me}": "{}",
        "{endpoint}": "{}",
        "{delivery}": "{}",
        "{invitation}": "{}",
        "{increase}": "{}",
        "owner": "{}",
        "monthly-spend-usd": "{}",
        "/few": "/{}",
        "models/mine": "models/{}",
        "models/of-user": "models/{}",
        "datasets/chats": "datasets/{}",
        "datasets/of-user": "datasets/{}",
        "research": "{}",
        "/llama": "/{}",
        "/1/": "/{}/",
    }
    tried = set()
    for method, path, _ in [*EVERY, *OWN, *METERS]:
        for name, blank in ours.items():
            path = path.replace(name, blank)
        tried.add((method, path.partition("?")[0].rstrip("/")))
    prefix = "/v1/accounts/{account}"
    there = {
        (method, re.sub(r"\{\w+\}", "{}", path.removeprefix(prefix)).strip("/"))
        for method, path, _, _ in routes()
        if path.startswith(prefix)
    }
    assert there == tried


def test_the_operators_routes_are_the_operators(peopled: House) -> None:
    ada = owner(peopled, "ada")
    paths = [(method, path) for method, path, who, _ in routes() if path.startswith("/operator") or who == "operator"]
    assert len(paths) > 12
    for method, path in paths:
        target = path.replace("{account}", "ada").replace("{month}", "2026-03")
        refused = ada.call(method, target, {} if method in ("POST", "PATCH") else None)
        assert (refused.status, refused.json["code"]) == (403, "PERMISSION_DENIED"), (method, path)
        assert peopled.nobody.call(method, target).status == 401, (method, path)


def test_no_route_but_the_public_ones_answers_without_a_key(peopled: House) -> None:
    for method, path, who, _ in routes():
        target = re.sub(r"\{account\}", "ada", path)
        target = re.sub(r"\{\w+\}", "1", target)
        answer = peopled.nobody.call(method, target)
        assert (answer.status == 401) == (who != "public" or path == "/dashboard"), (method, path, answer.status)


@pytest.mark.parametrize(
    "header",
    ["Basic YWRhOmFkYQ==", "Bearer", "Bearer  ", "Bearer nothing", "bearer\tx", "Bearer \xff\xfe", "x" * 5_000],
)
def test_a_wrong_key_is_unauthenticated(peopled: House, header: str) -> None:
    answer = peopled.nobody.get("/v1/me", {"authorization": header})
    assert (answer.status, answer.json["code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_operator_is_told_of_accounts_that_are_not_there(peopled: House) -> None:
    for path in VIEWS[:1] + VIEWS[6:]:
        answer = peopled.operator.get(f"/v1/accounts/dan/{filled(peopled, 'ada', path)}")
        assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND"), path


UNCOUNTED_PATHS = {
    "balance",
    "billingProfile",
    "explain",
    "charges",
    "paymentMethods",
    "credits",
    "creditRedemptions",
    "invoices",
    "receipts",
    "quotas",
    "serverlessRateLimits",
    "serverlessTokenUsage",
    "usage",
    "statement",
}


def test_what_counts_toward_the_rate(peopled: House) -> None:
    """Q1: nobody is locked out of paying."""
    for method, path, who, counted in routes():
        if path.startswith("/v1/accounts/{account}/"):
            noun = path.split("/")[4]
            free = any(noun == name or noun.startswith(f"{name}:") for name in UNCOUNTED_PATHS)
            assert counted != free, (method, path, who)
        assert counted or path != "/v1/accounts", "what is managed counts"
        assert not counted or path != "/v1/me", "programs ask whose key it is before they pay"


def test_over_the_rate(peopled: House) -> None:
    ada = owner(peopled, "ada")
    peopled.wait_seconds = 7
    try:
        refused = ada.get("/v1/accounts/ada/users")
        assert (refused.status, refused.json["code"]) == (429, "RESOURCE_EXHAUSTED")
        assert refused.headers["retry-after"] == "7"
        assert refused.headers["x-ratelimit-limit-requests"] == "6000"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert "6000 requests per minute" in refused.json["detail"]
        for path in ("credits", "usage", "statement", "receipts"):
            assert ada.get(f"/v1/accounts/ada/{path}").status == 200
        assert ada.get("/v1/me").status == 200
        assert ada.get("/v1/accounts/ada/balance").status == 200
        assert ada.post("/v1/accounts/ada/paymentMethods", {"token": "pm_card_visa"}).status == 200
        assert peopled.operator.get("/v1/accounts/ada/users").status == 200
        peopled.counted.clear()
        assert ada.get("/v1/accounts/bob/users").status == 404
        assert peopled.counted == []
    finally:
        peopled.wait_seconds = 0


def test_without_a_payment_method_the_rate_is_the_lower_one(house: House) -> None:
    ada = house.open("ada")
    house.wait_seconds = 3
    assert ada.get("/v1/accounts/ada/users").headers["x-ratelimit-limit-requests"] == "10"


def test_a_suspended_account_still_reads_and_pays(house: House) -> None:
    """U3."""
    ada = house.open("ada")
    house.card("ada")
    house.spend("ada", 60, "e1")
    house.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "a test"})
    for path in ("balance", "users", "invoices", "usage", "statement", "quotas"):
        assert ada.get(f"/v1/accounts/ada/{path}").status == 200
    assert ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"}).status == 200
