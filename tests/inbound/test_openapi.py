"""The OpenAPI document: whole, valid, and true in what can be read off the routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from purser.inbound.api import openapi
from purser.inbound.api.app import ROUTES
from purser.inbound.api.auth import ACCESS, PUBLIC
from purser.inbound.api.front import join_verb
from tests.inbound.house import House

pytestmark = pytest.mark.once
Json = dict[str, Any]


@pytest.fixture
def document(house: House) -> Json:
    answer = house.nobody.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: Json = answer.json
    return found


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Every operation: its method, its path and what is said of it."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def every(value: Any) -> Iterator[Json]:
    """Every object within."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from every(inner)


def test_it_is_valid_as_openapi_3_1(document: Json) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()
    del document["paths"]["/v1/me"]["get"]["responses"]["200"]["description"]
    with pytest.raises(Exception, match="description"):
        schemathesis.openapi.from_dict(document).validate()


def test_it_lists_every_route_once(document: Json) -> None:
    written = re.compile(r"\{(\w+):str\}")
    routes = {
        (method, join_verb(written.sub(r"{\1}", path)))
        for route in ROUTES
        if route.resolve_include_in_schema()
        for path in route.paths
        for method in route.http_methods
        if method not in ("OPTIONS", "HEAD")
    }
    listed = [(method, path) for method, path, _ in operations(document)]
    assert len(listed) == len(set(listed))
    assert set(listed) == routes
    assert not [path for _, path in listed if "/:" in path or path.startswith(("/-", "/dashboard"))]


def test_every_operation_is_named_told_and_tagged(document: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert all(tags.values())
    assert not [text for text in tags.values() if re.search(r"\((?:[A-Z]\d+|transition)", text)]
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert not re.search(r"\([A-Z]\d+", operation["description"]), (method, path)
        assert set(operation["tags"]) <= set(tags)
        named = {one["name"] for one in operation.get("parameters", []) if one.get("in") == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))


def test_whatever_is_referred_to_is_there(document: Json) -> None:
    found = {each["$ref"] for each in every(document) if "$ref" in each}
    assert found
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place
    for kind in ("schemas", "responses", "headers", "securitySchemes"):
        for name in document["components"][kind]:
            where = f"#/components/{kind}/{name}"
            used = any(name in each for one in operations(document) for each in one[2]["security"])
            assert where in found or (kind == "securitySchemes" and used), f"{where} is used nowhere"


def test_what_an_operation_refuses_is_a_problem_and_told_by_its_status(document: Json) -> None:
    shared = document["components"]["responses"]
    for method, path, operation in operations(document):
        refusals = {status: answer for status, answer in operation["responses"].items() if status >= "300"}
        assert {"500", "503"} <= set(refusals), (method, path)
        for answer in refusals.values():
            told = shared[answer["$ref"].rpartition("/")[2]]
            assert set(told["content"]) == {"application/problem+json"}
        assert ("401" in refusals) == bool(operation["security"]), (method, path)
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= set(refusals), (method, path)
        if "{" in path:
            assert {"400", "404"} <= set(refusals), (method, path)


def test_which_key_opens_what(document: Json) -> None:
    public = {
        join_verb(path.replace(":str", ""))
        for route in ROUTES
        if route.resolve_include_in_schema() and route.opt[ACCESS] == PUBLIC
        for path in route.paths
    }
    assert {path for _, path, operation in operations(document) if not operation["security"]} == public
    for _, path, operation in operations(document):
        kinds = {name for each in operation["security"] for name in each}
        if path.startswith("/operator/"):
            assert kinds == {"operatorKey", "keyHeader"}
        elif kinds:
            assert kinds == {"accountKey", "operatorKey", "keyHeader"}
    assert document["components"]["securitySchemes"]["accountKey"] == {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of an account.",
    }


def test_bodies_are_told_as_strictly_as_they_are_read(document: Json) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["NewAccount"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["ChangedQuota"]  # compatible clients send back what they were answered
    assert schemas["NewAccount"]["properties"]["billingMode"]["type"] == ["string", "null"]
    bodies = {path: one["requestBody"] for _, path, one in operations(document) if "requestBody" in one}
    optional = {path for path, body in bodies.items() if not body["required"]}
    assert optional == {
        "/operator/v1/accounts/{account}:clearFlags",
        "/operator/v1/accounts/{account}:reinstate",
        "/v1/accounts/{account}/invoices/{invoice}:pay",
        "/v1/accounts/{account}/usageLimitIncreaseRequests/{increase}:approve",
        "/v1/accounts/{account}/usageLimitIncreaseRequests/{increase}:reject",
        "/v1/accounts/{account}:close",
    }
    for body in bodies.values():
        assert body["content"]["application/json"]["schema"]


def test_a_field_that_is_not_told_is_refused_where_the_document_says_so(house: House, document: Json) -> None:
    house.open("ada")
    schemas = document["components"]["schemas"]
    refusing = 0
    for method, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        closed = "$ref" in schema and not schemas[schema["$ref"].rpartition("/")[2]].get("additionalProperties", True)
        place = re.sub(r"\{\w+\}", "x", path.replace("{account}", "ada"))
        answer = house.operator.call(method, place, {"unheardOf": 1})
        fields = [each["field"] for each in answer.json.get("errors", [])]
        if path != "/v1/usage":  # it reads events by itself, and refuses such a one as well
            assert (fields == ["unheardOf"]) == closed, (method, path, answer.text)
        refusing += closed
    assert refusing > 20


@pytest.mark.parametrize("body, status", [([{"id": "e1"}], 200), ([1], 200), ([], 400), ({"id": "e1"}, 400), (1, 400)])
def test_a_list_of_usage_may_hold_what_is_no_event(house: House, document: Json, body: Any, status: int) -> None:
    told = document["paths"]["/v1/usage"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert jsonschema_rs.is_valid({**told, "components": document["components"]}, body) == (status == 200)
    assert house.operator.post("/v1/usage", body).status == status


def test_what_is_no_json_is_told_as_it_is(document: Json) -> None:
    told = {
        path: list(operation["responses"]["200"]["content"])
        for _, path, operation in operations(document)
        if "application/json" not in operation["responses"].get("200", {"content": "application/json"})["content"]
    }
    assert told == {
        "/metrics": ["text/plain; version=0.0.4"],
        "/operator/v1/ledger:export": ["text/plain"],
        "/v1/accounts/{account}/ledger:export": ["text/plain"],
        "/v1/accounts/{account}:export": ["application/zip"],
    }


def test_examples_are_of_the_form_that_they_are_examples_of(document: Json) -> None:
    found = [each for each in every(document) if "examples" in each and "$ref" not in each]
    assert len(found) > 50
    for schema in found:
        for example in schema["examples"]:
            assert jsonschema_rs.is_valid(schema, example), schema


def test_the_framework_s_own_document_is_served_nowhere(house: House) -> None:
    assert openapi.CONFIG.path == "/-"
    assert house.nobody.get("/-/openapi.json").status == 404
