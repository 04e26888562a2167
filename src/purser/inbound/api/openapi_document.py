"""What the framework cannot know of the OpenAPI document: refusals, headers, who may call, tags, forms of values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from purser.http.problem import MEDIA_TYPE
from purser.inbound.api.auth import ADMIN, ANYONE, MAKER, MEMBER, METERING, OPERATOR, PUBLIC, SELF
from purser.inbound.api.bodies import MOST_BODY_BYTES
from purser.inbound.api.front import join_verb
from purser.inbound.api.openapi_values import FORMS, TOLD, WRITTEN
from purser.inbound.api.wire import Body, Compatible

Json = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
_JSON = "application/json"
_RULES = re.compile(
    r" \((?:[A-Z]\d+(?:[,–] ?[A-Z]\d+)*|transition \d+)\)"
)  # the house's own numbers, which mean nothing to callers
_WHO = {
    PUBLIC: "Needs no key.",
    ANYONE: "Any valid key.",
    MEMBER: "Any role of the account.",
    MAKER: "The role contributor, user or admin.",
    SELF: "The role admin, or the user's own key.",
    ADMIN: "The role admin.",
    METERING: "The operator's key, or that of a service account with the scope `metering` for its own account.",
    OPERATOR: "The operator's key.",
}
_ACCOUNT_KEY, _KEY_HEADER, _OPERATOR_KEY = "accountKey", "keyHeader", "operatorKey"
_SCHEMES = {
    _ACCOUNT_KEY: {"type": "http", "scheme": "bearer", "description": "An API key of an account."},
    _KEY_HEADER: {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key, either kind."},
    _OPERATOR_KEY: {"type": "http", "scheme": "bearer", "description": "A key of the operator's people."},
}
_REFUSED = {
    400: ("Invalid", "A field is missing or wrong; `errors` says which, and what would be right."),
    401: ("Unauthenticated", "No key was sent, or one that is unknown, expired or revoked."),
    402: ("Insufficient", "Money does not cover what was asked, or the payment was declined."),
    403: ("Forbidden", "The key's role or scope does not allow it."),
    404: ("NotFound", "There is no such thing, or not for this key."),
    409: ("Conflict", "It exists already, its state does not allow this now, or the Idempotency-Key is another's."),
    412: ("Suspended", "The account is suspended; `detail` says why and what lifts it."),
    413: ("TooLarge", f"The body is larger than {MOST_BODY_BYTES // 2**20} MiB."),
    415: ("UnsupportedType", "The body is not JSON."),
    429: ("TooMany", "Over the requests per minute, or after many wrong keys; `Retry-After` says when to try again."),
    501: ("Unimplemented", "The compatible API has it, Purser does not; `detail` says what there is instead."),
    503: ("Unavailable", "It cannot be done safely just now, and was not; try again."),
}
_UNEXPECTED = "Something failed that should not; quote the request_id when you report it."
_HEADERS: Json = {
    "RequestId": {
        "description": "The request's id; the one that was sent with it, if any.",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    },
    "RetryAfter": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}},
    "Authenticate": {"description": "How to send a key.", "required": True, "schema": {"const": "Bearer"}},
}
_PROBLEM: Json = {
    "type": "object",
    "description": "What went wrong, as RFC 9457 has it. Some refusals carry further members.",
    "required": ["type", "title", "status", "detail", "code", "request_id", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong, and what would be right."},
        "code": {"type": "string", "description": "A stable name, such as INVALID_ARGUMENT."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_REPEATABLE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with the same key, the same request has one effect and one answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a route says of itself: who may call it, whether that is counted, whether it may be sent twice, refusals of
    its own, and its module."""

    who: str
    counted: bool
    repeatable: bool
    refuses: tuple[int, ...]
    tag: str
    about: str


def finish(document: Json, routes: Mapping[tuple[str, str], Told]) -> Json:
    """The framework's document made ours, in place; `routes` are by the router's path and the small method."""
    paths, tags = {}, {}
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                told = routes[path, method]
                tags[told.tag] = _plain(told.about)
                _finish_operation(item[method], join_verb(path), method, told)
        paths[join_verb(path)] = item
    document["paths"] = dict(sorted(paths.items()))
    document["tags"] = [{"name": tag, "description": tags[tag]} for tag in sorted(tags)]
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    closed = {kind.__name__ for kind in _kinds(Body)}
    bodies = closed | {kind.__name__ for kind in _kinds(Compatible)}
    for name, schema in schemas.items():
        if name in closed:
            schema["additionalProperties"] = False
        for field, form in schema.get("properties", {}).items():
            schema["properties"][field] = _form_of(name, field, _simple(form), sent=name in bodies)
    schemas["Problem"] = _PROBLEM
    schemas.update(WRITTEN)
    parts["headers"] = _HEADERS
    parts["securitySchemes"] = _SCHEMES
    parts["responses"] = {name: _refusal(status, text) for status, (name, text) in _REFUSED.items()}
    parts["responses"]["Internal"] = _refusal(500, _UNEXPECTED)
    return document


def _finish_operation(operation: Json, path: str, method: str, told: Told) -> None:
    words = _plain(str(operation.get("description") or operation.get("summary") or ""))
    operation["summary"] = words.split("\n", 1)[0].split(". ")[0].rstrip(".:")
    operation["description"] = f"{words}\n\n{_WHO[told.who]}".strip()
    operation["tags"] = [told.tag]
    operation["security"] = _security(told.who)
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        _finish_parameter(parameter, told.tag)
    if told.repeatable:
        operation["parameters"] = [*parameters, _REPEATABLE]
    if "requestBody" in operation:
        _finish_body(operation["requestBody"], operation["operationId"])
    responses = {status: answer for status, answer in operation.get("responses", {}).items() if status < "300"}
    for answer in responses.values():
        answer["headers"] = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
        for media, content in answer.get("content", {}).items():
            content["schema"] = _simple(content["schema"]) or _bytes_of(media)
    for status in sorted(_statuses(path, method, told, operation)):
        responses[str(status)] = {"$ref": f"#/components/responses/{_REFUSED[status][0]}"}
    responses["500"] = {"$ref": "#/components/responses/Internal"}
    operation["responses"] = responses


def _statuses(path: str, method: str, told: Told, operation: Json) -> Iterator[int]:
    """The refusals that an operation may answer."""
    yield from told.refuses
    yield 503
    writes = method != "get"
    if "{" in path or writes or operation.get("parameters"):
        yield 400
    if "requestBody" in operation:
        yield from (413, 415)
    if told.who == PUBLIC:
        return
    yield 401
    if "{" in path:
        yield 404
    if told.repeatable:
        yield 409
    if writes or told.who not in (ANYONE, MEMBER):
        yield 403
    yield 429


def _security(who: str) -> list[Json]:
    if who == PUBLIC:
        return []
    kinds = (_OPERATOR_KEY, _KEY_HEADER) if who == OPERATOR else (_ACCOUNT_KEY, _OPERATOR_KEY, _KEY_HEADER)
    return [{kind: []} for kind in kinds]


def _refusal(status: int, text: str) -> Json:
    headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    if status == 401:
        headers["www-authenticate"] = {"$ref": "#/components/headers/Authenticate"}
    if status in (429, 503):
        headers["retry-after"] = {"$ref": "#/components/headers/RetryAfter"}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "headers": headers, "content": {MEDIA_TYPE: {"schema": schema}}}


def _finish_parameter(parameter: Json, tag: str) -> None:
    """Nothing of a URL is null: what need not be given is left out."""
    schema = _simple(parameter["schema"])
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    parameter["schema"] = _form_of(tag, parameter["name"], schema)


def _finish_body(body: Json, operation_id: str) -> None:
    for content in body["content"].values():
        schema = _simple(content["schema"])
        options = schema.get("oneOf", [])
        if {"type": "null"} in options:
            body["required"] = False
            schema = _simple({"oneOf": [option for option in options if option != {"type": "null"}]})
        if operation_id in TOLD:
            body["required"], schema = True, TOLD[operation_id]
        content["schema"] = schema


def _form_of(owner: str, field: str, schema: Json, *, sent: bool = True) -> Json:
    """A field with what is known of its form and an example: by its owner and name, in what is sent by name alone.

    A parameter's owner is its tag.
    """
    form = FORMS.get(f"{owner}.{field}", FORMS.get(field) if sent else None)
    if form is None or ("type" not in form and "string" not in _types(schema)):
        return schema
    found = {**schema, **form}
    if "enum" in found and "null" in _types(found):
        found["enum"] = [*found["enum"], None]
    return found


def _types(schema: Json) -> list[str]:
    given = schema.get("type", [])
    return given if isinstance(given, list) else [given]


def _simple(schema: Json) -> Json:
    """The same schema in fewer words: one of one is that one, and what may be null has two types."""
    options = schema.get("oneOf")
    if options is None:
        return schema
    rest = {key: value for key, value in schema.items() if key != "oneOf"}
    some = [option for option in options if option != {"type": "null"}]
    if len(some) != 1 or ("$ref" in some[0] and len(options) > 1):
        return schema
    (one,) = some
    if len(options) == 1:
        return {**one, **rest}
    if isinstance(one.get("type"), str) and "enum" not in one and "const" not in one:
        return {**one, "type": [one["type"], "null"], **rest}
    return schema


def _bytes_of(media: str) -> Json:
    """What is no JSON: a text, or bytes as they are."""
    return {"type": "string"} if media.startswith("text/") else {"contentMediaType": media}


def _plain(words: str) -> str:
    return _RULES.sub("", words)


def _kinds(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)
