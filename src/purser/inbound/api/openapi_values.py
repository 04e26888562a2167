"""Forms of values in the OpenAPI document, with examples: by the names of fields, which mean the same everywhere."""

from __future__ import annotations

from typing import Any

from purser.core.abuse import DESIGNATIONS, TYPES
from purser.core.answers import QUESTIONS
from purser.core.budget import PERIODS
from purser.core.deployment import ACCELERATORS
from purser.core.limits import CONTRACT, POSTPAID, PREPAID
from purser.core.message import TOPICS
from purser.core.plain_text import FORMATS
from purser.core.pricebook import PRICE_NAMES
from purser.core.records import DATASETS, KINDS, MODELS
from purser.core.usage import REPORTED
from purser.inbound.api.permissions import OPERATORS, ROLES
from purser.inbound.api.token_usage import METRICS

Json = dict[str, Any]
_INSTANT = "2026-03-01T00:00:00Z"


def _such_as(*examples: object, **more: object) -> Json:
    return {**more, "examples": list(examples)}


def _one_of(*values: str) -> Json:
    return {"enum": list(values), "examples": list(values)}


def _instant(example: str = _INSTANT) -> Json:
    return _such_as(example, description="An RFC 3339 time.")


# A form that names no type is for strings alone.
FORMS: dict[str, Json] = {
    "acceleratorType": _one_of(*ACCELERATORS),
    "account": _such_as("ada"),
    "amountUsd": _such_as("12.50", "1.00"),
    "baseModel": _such_as("accounts/ada/models/llama"),
    "billingMode": _one_of(PREPAID, POSTPAID, CONTRACT),
    "bucket": _one_of("1m", "1h", "1d"),
    "cause": _one_of("BLOCKED_BY_ABUSE_RULE"),
    "deploymentId": _such_as("llama"),
    "displayName": _such_as("Ada"),
    "effectiveAt": _instant("2026-06-01T00:00:00Z"),
    "email": _such_as("ada@example.com"),
    "end": _instant("2026-04-01T00:00:00Z"),
    "endTime": _instant("2026-04-01T00:00:00Z"),
    "expireTime": _instant("2027-01-01T00:00:00Z"),
    "expiresAt": _instant("2027-01-01T00:00:00Z"),
    "filter": _such_as('email = "ada@example.com"'),
    "format": _one_of(*FORMATS),
    "groupUsageLimitTierId": _such_as("researchers"),
    "id": _such_as("ada"),
    "interval": _one_of("1m", "1h", "1d"),
    "kind": _one_of("promotional", "purchased"),
    "lastRequestAt": _instant(),
    "metric": _one_of(*METRICS),
    "model": _such_as("tiny"),
    "month": _such_as("2026-03", description="A calendar month."),
    "n": _such_as("1", pattern="^[0-9]{1,9}$", description="The number of a line."),
    "orderBy": _one_of("createTime", "createTime asc", "createTime desc", "id", "id asc", "id desc"),
    "period": _one_of(*PERIODS),
    "question": _one_of(*QUESTIONS),
    "quota": _such_as("monthly-spend-usd"),
    "reason": _such_as("fraud"),
    "request": _such_as("req_01k5x8m2q7v4n9t3b6c0d1e2f3-0000002a"),
    "role": _one_of(*ROLES),
    "scaleDownWindow": _such_as("600s"),
    "scaleToZeroWindow": _such_as("3600s"),
    "scaleUpWindow": _such_as("30s"),
    "signupCreditUsd": _such_as("1.00"),
    "start": _instant(),
    "startTime": _instant(),
    "thresholdUsd": _such_as("500.00"),
    "timezone": _such_as("Europe/Berlin"),
    "to": _instant("2026-03-02T00:00:00Z"),
    "token": _such_as("pm_card_visa"),
    "usageType": _one_of("SERVERLESS"),
    "url": _such_as("https://example.com/hooks"),
    "userId": _such_as("bot"),
    "value": _such_as("200"),
    # ── more than the types of the program tell ──────────────────────────────────────────────────────────────────
    **{
        f"ChangedTokenLimits.{name}TokensPerMinute": _such_as(
            "1000000", "unlimited", None, type=["string", "integer", "null"]
        )
        for name in ("prompt", "uncachedPrompt", "generated")
    },
    **{f"{tag}.filter": _such_as('displayName = "Ada" AND state = READY') for tag in ("models", "datasets")},
    **{f"{tag}.orderBy": _such_as("displayName, createTime desc", "name") for tag in ("models", "datasets")},
    **{f"{tag}.readMask": _such_as("displayName,createTime", "*") for tag in ("models", "datasets")},
    **{f"Model{what}.kind": _one_of(*KINDS[MODELS]) for what in ("Fields", "View")},
    **{f"Dataset{what}.format": _one_of(*KINDS[DATASETS]) for what in ("Fields", "View")},
    **{
        f"DatasetFields.{name}": _such_as("1000", type=["string", "integer", "null"], minimum=0, pattern="^[0-9]+$")
        for name in ("exampleCount", "estimatedTokenCount")
    },
    "modelId": _such_as("mine"),
    "datasetId": _such_as("mine"),
    "ReplicaReport.at": {"type": ["string", "null"], **_instant()},
    "ReplicaReport.load": _such_as({"default": 0.7}, type=["object", "null"]),
    "AutoscalingPolicy.loadTargets": _such_as({"default": 0.8}, type=["object", "null"]),
    "NewEndpoint.eventTypes": {"type": "array", "items": {"type": "string", "enum": list(TOPICS)}},
    "CostQuery.scope": {"type": "string", **_one_of("SELF", "ACCOUNT")},
    "NewRule.type": {"type": "string", **_one_of(*TYPES)},
    "NewRule.target": {"type": "string", **_such_as("example.com", "192.0.2.0/24", "ada")},
    "NewRule.designation": {"type": "string", **_one_of(*DESIGNATIONS)},
    "ChangedOperator.role": {"type": "string", **_one_of(*OPERATORS)},
    "NewOperator.role": {"type": "string", **_one_of(*OPERATORS)},
    "ChangedSettings.monthlySpendThresholds": {
        "type": ["array", "null"],
        "items": {"$ref": "#/components/schemas/MoneyFields"},
    },
    "SettingsView.monthlySpendThresholds": {"type": "array", "items": {"$ref": "#/components/schemas/Money"}},
    "NewPrices.models": _such_as(
        {"tiny": {"input": "0.20", "output": "0.80"}},
        type="object",
        description=f"The prices of each model in dollars, as decimal strings: {', '.join(PRICE_NAMES)}.",
    ),
    "MoneyFields.currencyCode": {"type": "string", "enum": ["USD"]},
    "MoneyFields.nanos": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    "MoneyFields.units": _such_as("250", type=["string", "integer"], pattern="^[0-9]+$", minimum=0),
    "NewHold.quantities": _such_as({"input_tokens": 120, "output_tokens": 40}, type=["object", "null"]),
    "Used.quantities": _such_as({"input_tokens": 120, "output_tokens": 40}, type=["object", "null"]),
}

_WORD: Json = {"type": "string", "minLength": 1, "maxLength": 200}
_QUANTITIES: Json = {
    "type": "object",
    "description": f"How much was used of each unit; input_tokens counts those of every kind of input, output_tokens "
    f"those of every kind of output. Units: {', '.join(REPORTED)}.",
    "additionalProperties": {"type": "integer", "minimum": 0},
    "examples": [{"input_tokens": 120, "output_tokens": 40}],
}
_USED: Json = {
    "account": {**_WORD, "examples": ["ada"]},
    "model": {**_WORD, "examples": ["tiny"]},
    "occurredAt": {"type": ["string", "null"], "description": "An RFC 3339 time; now if not given."},
    "quantities": _QUANTITIES,
    "user": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
    "batch": {"type": "boolean", "description": "Whether it is at the batch price."},
}
# Schemas that no type of the program has.
WRITTEN: dict[str, Json] = {
    "UsageEvent": {
        "type": "object",
        "description": "Usage after the fact. An event is billed once for ever by its account and id.",
        "required": ["id", "account", "model", "quantities"],
        "properties": {"id": {**_WORD, "examples": ["e1"]}, **_USED},
        "additionalProperties": False,
    },
    "CloudEvent": {
        "type": "object",
        "description": "The same as a CloudEvent 1.0; the account is `data.account`, or the `subject`.",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"type": "string", "enum": ["1.0"]},
            "id": {**_WORD, "examples": ["e1"]},
            "source": {**_WORD, "examples": ["/engines/1"]},
            "type": {**_WORD, "examples": ["com.example.usage"]},
            "subject": _WORD,
            "time": {"type": "string", "description": "When it occurred, RFC 3339."},
            "data": {
                "type": "object",
                "required": ["model", "quantities"],
                "properties": _USED,
                "additionalProperties": False,
            },
        },
    },
}
_EVENTS: list[Json] = [{"$ref": "#/components/schemas/UsageEvent"}, {"$ref": "#/components/schemas/CloudEvent"}]
_WHATEVER: Json = {"description": "What is no event does not refuse the list: it is in `rejected`, with what is wrong."}
# Bodies that no type of the program has, by the operation.
TOLD: dict[str, Json] = {
    "V1UsageReportUsage": {
        "oneOf": [
            *_EVENTS,
            {"type": "array", "items": {"anyOf": [*_EVENTS, _WHATEVER]}, "minItems": 1, "maxItems": 1_000},
        ]
    },
}
