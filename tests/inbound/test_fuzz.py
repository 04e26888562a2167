"""The control plane is sent what its OpenAPI document allows and what it does not, and answers as the document says."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from purser.core.policy import Policy
from tests.inbound.house import OPERATOR_KEY, House

pytestmark = pytest.mark.once
Json = dict[str, Any]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What others need is taken away last.
KEYS = ("/v1/accounts/{account}/apiKeys", "/v1/accounts/{account}/users/{user}/apiKeys")
LAST = ("delete ", *(f"post {path}:delete" for path in KEYS))
VERY_LAST = ("{account}:suspend", "{account}:reinstate", "{account}:close", "{account}:reopen")
# Bodies with which something is done or refused for a reason of its own, where the document alone does not lead there.
BODIES: dict[str, list[Json]] = {
    "patch /operator/v1/accounts/{account}/tokenLimits": [{"model": "tiny", "generatedTokensPerMinute": "unlimited"}],
    "patch /operator/v1/users/{operator}": [{"role": "finance"}],
    "patch /v1/accounts/{account}/notificationSettings": [{"forecastAlert": True}],
    "patch /v1/accounts/{account}/quotas/{quota}": [{"value": "40"}],
    "post /operator/v1/abuseRules": [
        {"type": "DOMAIN", "target": "example.net", "designation": "BLOCKED", "reason": "tried out"}
    ],
    "post /operator/v1/accounts": [{"id": "eve", "email": "eve@example.com"}],
    "post /operator/v1/clock:advance": [{"to": "2026-04-03T00:00:00Z"}],
    "post /operator/v1/creditCodes": [{"amountUsd": "5.00", "redemptions": 3, "creditDays": 30}],
    "post /operator/v1/users": [{"name": "new", "role": "support"}],
    "post /v1/accounts/{account}/deployments": [{"baseModel": "llama", "acceleratorType": "NVIDIA_L4_24GB"}],
    "post /v1/accounts/{account}/deployments:preview": [{"baseModel": "llama", "acceleratorType": "NVIDIA_L4_24GB"}],
    "patch /v1/accounts/{account}/deployments/{deployment}": [{"displayName": "Other"}],
    "patch /v1/accounts/{account}/deployments/{deployment}:scale": [{"replicaCount": 1}],
    "post /v1/accounts/{account}/deployments/{deployment}:report": [{"readyReplicas": 1}],
    "post /operator/v1/accounts/{account}/reservations": [{"acceleratorType": "NVIDIA_L4_24GB", "reservedCount": 2}],
    "post /v1/accounts/{account}/groupUsageLimitTiers": [{"limit": {"units": "11"}, "groupUsageLimitTierId": "more"}],
    "post /v1/accounts/{account}/models": [{"modelId": "new", "model": {"kind": "CUSTOM_MODEL"}}],
    "post /v1/accounts/{account}/datasets": [{"datasetId": "new", "dataset": {"format": "CHAT", "exampleCount": "7"}}],
    "post /v1/accounts/{account}/usageLimitIncreaseRequests": [
        {"requestedLimit": {"units": "99"}, "user": "third"},
        {"requestedLimit": {"units": "1"}, "user": "third"},
    ],
    "post /v1/accounts/{account}/invitations": [{"email": "new@example.com"}],
    "post /v1/accounts/{account}/paymentMethods": [{"token": "pm_card_visa"}, {"token": "pm_card_chargeDeclined"}],
    "post /v1/accounts/{account}/users": [{"userId": "new"}],
    "post /v1/holds": [
        {"account": account, "model": "tiny", "amountUsd": amount}
        for account, amount in (("ada", "0.01"), ("ada", "9000.00"), ("nobody", "0.01"), ("zoe", "0.01"))
    ],
    "post /v1/holds/{hold}:settle": [{"amountUsd": "0.01"}],
    "post /v1/usage": [
        {"id": "e5", "account": account, "model": "tiny", "quantities": {"input_tokens": 9}}
        for account in ("ada", "nobody")
    ],
}
# What is never done here, and why.
UNDONE = {
    "post /v1/accounts/{account}/invoices/{invoice}:pay": "its invoice is paid",
    "post /v1/accounts/{account}/webhookEndpoints/{endpoint}/deliveries/{delivery}:replay": "nothing was delivered",
}


# What the compatible API has and Purser has not: answered with 501.
_RECORDS = {"models/{model}": ("getUploadEndpoint", "prepare"), "datasets/{dataset}": ("getUploadEndpoint", "upload")}
NOT_OFFERED = {f"post /v1/accounts/{{account}}/{one}:{verb}" for one, verbs in _RECORDS.items() for verb in verbs}
NOT_OFFERED |= {f"get /v1/accounts/{{account}}/{one}:getDownloadEndpoint" for one in _RECORDS}
NOT_OFFERED |= {"get /v1/accounts/{account}/models/{model}:validateUpload"}
NOT_OFFERED |= {"post /v1/accounts/{account}/datasets/{dataset}:validateUpload"}
UNDONE |= dict.fromkeys(NOT_OFFERED, "these are records")


@dataclass
class Fuzz:
    """A house in which there is one of everything, and what was found when its doors were tried."""

    house: House
    admin: str
    names: dict[str, str]
    failures: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, set[int]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # the last answer to a plausible request of the operator
    said: str = ""
    sent: int = 0

    def try_every_door(self, document: Json, each: int, start: int) -> None:
        """Send every operation cases of each kind, with either key: plausible ones, allowed ones, and wrong ones."""
        wild, likely = load(closed(document)), load(plausible(closed(document), self.names))
        for label in sorted(labels(document), key=lateness):
            method, path = label.split(" ", 1)
            operation = document["paths"][path][method]
            plain = likely[path][method].as_strategy(GenerationMode.POSITIVE)
            bodies = BODIES.get(label, [])
            checks = [check for check in CHECKS if check is not not_a_server_error or label not in NOT_OFFERED]
            self._try(label, plain, checks, max(each, len(bodies)), start, bodies)
            self.refused[label] = self.said
            self._try(label, wild[path][method].as_strategy(GenerationMode.POSITIVE), checks, each, start)
            if "requestBody" in operation or any(one["in"] != "path" for one in operation.get("parameters", [])):
                wrong = wild[path][method].as_strategy(GenerationMode.NEGATIVE)
                self._try(label, wrong, [*checks, negative_data_rejection], each, start)

    def _try(
        self, label: str, cases: Any, checks: list[Any], each: int, start: int, bodies: Sequence[Json] = ()
    ) -> None:
        """Send cases; the first ones with these bodies, where there are any."""
        waiting = list(bodies)

        @seed(start)
        @settings(
            max_examples=each,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def run(case: Any) -> None:
            if waiting:
                case.body = waiting.pop(0)
            for session in self._sessions:
                answer = case.call(base_url=f"http://127.0.0.1:{self.house.operator.port}", session=session)
                self.sent += 1
                self.statuses.setdefault(label, set()).add(answer.status_code)
                self.said = f"{answer.status_code} {answer.content[:300]!r}"
                case.validate_response(answer, checks=checks)

        try:
            run()
        except FailureGroup as failure:
            self.failures.setdefault(label, str(failure))

    def __post_init__(self) -> None:
        self._sessions = []
        for key in (self.admin, OPERATOR_KEY):
            session = requests.Session()
            session.trust_env = False
            session.auth = Bearer(key)
            self._sessions.append(session)


@dataclass
class Bearer(requests.auth.AuthBase):
    """Sends a key, whatever else a case has for that header."""

    key: str

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["authorization"] = f"Bearer {self.key}"
        return request


def load(document: Json) -> Any:
    """A document as schemathesis reads it; keys are sent by us."""
    generation = GenerationConfig(with_security_parameters=False, database="none")
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=generation)))
    return schemathesis.openapi.from_dict(document, config=config)


def labels(document: Json) -> list[str]:
    return [f"{method} {path}" for path, item in document["paths"].items() for method in item]


def lateness(label: str) -> tuple[int, str]:
    """Readers come first, and whoever takes away what others need last."""
    for place, ending in enumerate(VERY_LAST):
        if label.endswith(ending):
            return 3 + place, label
    return 2 if label.startswith(LAST) else int(not label.startswith("get ")), label


def closed(document: Json) -> Json:
    """The document with answers that hold no field beyond those told, as bodies do already."""
    found = copy.deepcopy(document)
    sent = {"BaseModelDetails", "ConversationConfig", "DateFields", "PeftDetails", "ModelFields", "NewModel"}
    sent |= {"DatasetFields", "EvaluationResult", "NewDataset", "Splitted", "Transformed"}
    sent |= {"ChangedQuota", "ChangedSettings", "ChangedTier", "CloudEvent", "CostFilter", "CostQuery", "MoneyFields"}
    for name, schema in found["components"]["schemas"].items():
        if name not in sent | {"Problem"} and "properties" in schema:
            schema["additionalProperties"] = False
    return found


def plausible(document: Json, names: dict[str, str]) -> Json:
    """The document narrowed to what is there and to the examples, so that requests get past the first check."""
    found = copy.deepcopy(document)
    for path, item in found["paths"].items():
        for method, operation in item.items():
            label = f"{method} {path}"
            given = [one for one in operation.get("parameters", []) if one["name"] != "Idempotency-Key"]
            operation["parameters"] = given
            for one in given:
                own = f"{label} {one['name']}"
                if one["in"] == "path" or own in names:
                    name = names[own if own in names else one["name"]]
                    one["schema"] = {"type": "string", "enum": [name]}
            narrow(operation)
            ended = names.get(f"{label} key")
            bodies = BODIES.get(label, [] if ended is None else [{"keyId": ended}])
            if f"{label} spelt" in names:
                bodies = [{"code": names[f"{label} spelt"], "name": f"accounts/{names['account']}"}]
            if bodies:
                operation["requestBody"]["required"] = True
                operation["requestBody"]["content"]["application/json"]["schema"] = {"enum": bodies}
    for name, schema in found["components"]["schemas"].items():
        if name != "Problem":
            narrow(schema)
    return found


def narrow(value: Any) -> None:
    """Whatever has examples is one of them, or null where it may be."""
    if isinstance(value, dict):
        if "examples" in value:
            value["enum"] = value["examples"] + ([None] if "null" in value.get("type", ()) else [])
        for inner in value.values():
            narrow(inner)
    elif isinstance(value, list):
        for inner in value:
            narrow(inner)


def furnish(house: House) -> dict[str, str]:
    """Make one of everything that a path can name; answers the names, where one is used up by operation and name."""

    def made(path: str, body: Json, field: str = "id") -> str:
        answer = house.operator.post(path, body)
        assert answer.status in (200, 201), answer.text
        return str(answer.json[field])

    house.spend("ada", 1, "e0", occurredAt="2026-02-20T00:00:00Z")
    card = house.card("ada")
    house.advance("2026-04-02T00:00:00Z")
    house.spend("ada", 2, "e9")
    house.open("moe")
    house.open("zoe", signupCreditUsd="0.00")
    a, keys = "/v1/accounts/ada", "/v1/accounts/ada/users/bot/apiKeys"
    hold = {"account": "ada", "model": "tiny", "amountUsd": "0.10"}
    odd = {"type": "ACCOUNT", "designation": "SUSPICIOUS", "reason": "tried out"}
    made(f"{a}/users?userId=bot", {})
    for user in ("first", "second", "third"):  # who ask for more than their limit
        made(f"{a}/users?userId={user}", {})
        assert house.operator.patch(f"{a}/users/{user}/usageLimits", {"limitOverride": {"units": "9"}}).status == 200
    made("/operator/v1/prices", {"models": {"NVIDIA_L4_24GB": {"gpu_hour": "0.70"}}}, "version")
    own = {"baseModel": "llama", "acceleratorType": "NVIDIA_L4_24GB"}
    increases = f"{a}/usageLimitIncreaseRequests"
    made(f"{a}/groupUsageLimitTiers?groupUsageLimitTierId=low", {"limit": {"units": "9"}}, "name")
    return {
        "account": "ada",
        "post /v1/accounts/{account}:close account": "moe",
        "post /v1/accounts/{account}:reopen account": "moe",
        "rule": made("/operator/v1/abuseRules", {**odd, "target": "zoe"}),
        "post /operator/v1/accounts/{account}:clearFlags account": "zoe",
        "get /v1/accounts/{account}/charges:explain request": "e9",
        "get /v1/accounts/{account}/charges:explain source": "api",
        "code": made("/operator/v1/creditCodes", {"amountUsd": "1.00"}),
        "post /v1/creditCodes:redeem spelt": made("/operator/v1/creditCodes", {"amountUsd": "1.00"}, "code"),
        "dataset": made(f"{a}/datasets", {"datasetId": "chats"}),
        "delivery": "msg_none",
        "deployment": made(f"{a}/deployments?deploymentId=llama", own),
        "delete /v1/accounts/{account}/deployments/{deployment} deployment": made(
            f"{a}/deployments?deploymentId=other", own
        ),
        "reservation": made(
            "/operator/v1/accounts/ada/reservations", {"acceleratorType": "NVIDIA_L4_24GB", "reservedCount": 1}
        ),
        "endpoint": made(f"{a}/webhookEndpoints", {"url": "https://hooks.example.com/a"}),
        "group": "team",
        "increase": made(increases, {"requestedLimit": {"units": "12"}, "user": "first"}),
        "post /v1/accounts/{account}/usageLimitIncreaseRequests/{increase}:reject increase": made(
            increases, {"requestedLimit": {"units": "12"}, "user": "second"}
        ),
        "hold": made("/v1/holds", hold),
        "post /v1/holds/{hold}:void hold": made("/v1/holds", hold),
        "invitation": made(f"{a}/invitations", {"email": "eve@example.com"}),
        "invoice": house.invoices("ada")[0]["id"],
        "key": made(keys, {}, "keyId"),
        **{f"post {path}:delete key": made(keys, {}, "keyId") for path in KEYS},
        "method": card,
        "model": made(f"{a}/models", {"modelId": "mine"}),
        "month": "2026-03",
        "n": "1",
        "operator": made("/operator/v1/users", {"name": "ops", "role": "support"}),
        "quota": "monthly-spend-usd",
        "tier": "low",
        "user": "bot",
    }


@pytest.fixture
def fuzz(tmp_path: Path) -> Iterator[Fuzz]:
    """A house with an account that has used, owes and paid, and one of whatever else a path can name."""
    house = House(tmp_path, Policy(sign_up=True))
    try:
        ada = house.open("ada")
        names = furnish(house)
        assert ada.key is not None
        yield Fuzz(house, ada.key, names)
    finally:
        house.close()


def check(fuzz: Fuzz, each: int, start: int) -> None:
    document = fuzz.house.nobody.get("/openapi.json").json
    fuzz.try_every_door(document, each, start)
    assert not fuzz.failures, "\n\n".join(f"{label}\n{text}" for label, text in sorted(fuzz.failures.items()))
    assert set(fuzz.statuses) == set(labels(document))
    silent = sorted(label for label, statuses in fuzz.statuses.items() if not {200, 201, 202} & statuses)
    silent = [label for label in silent if label not in UNDONE]
    assert fuzz.statuses["post /v1/holds"] >= {201, 400, 402, 403, 404, 412}
    assert not silent, "\n".join(f"{label} was never done: {fuzz.refused[label]}" for label in silent)
    assert fuzz.house.audit() == []


def test_every_answer_is_as_the_document_says(fuzz: Fuzz) -> None:
    check(fuzz, each=2, start=1)


@pytest.mark.long
@pytest.mark.parametrize("start", range(2, 6))
def test_many_more_answers_are_as_the_document_says(fuzz: Fuzz, start: int) -> None:
    check(fuzz, each=12, start=start)
