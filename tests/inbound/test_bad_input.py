"""Bad input of every kind is a 4xx that names the field and says what would be right; never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.inbound.house import Answer, Client, House

pytestmark = pytest.mark.once

A = "/v1/accounts/ada"
O = "/operator/v1"  # noqa: E741 - the operator's prefix, as short as the account's


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with one account that has a card, usage and an invoice."""
    house = House(Path(tmp_path_factory.mktemp("house")))
    house.open("ada")
    house.card("ada")
    house.spend("ada", 5, "e1")
    house.advance("2026-04-01T00:00:00Z")
    try:
        yield house
    finally:
        house.close()


def check_problem(answer: Answer, *statuses: int) -> None:
    """The answer is a well-made problem of one of these statuses."""
    assert answer.status in (statuses or (400,)), f"{answer.status} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json
    assert {"type", "title", "status", "detail", "code", "request_id", "errors"} <= set(body)
    assert (body["type"], body["status"]) == ("about:blank", answer.status)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["detail"]
    assert "msgspec" not in body["detail"]
    for error in body["errors"]:
        assert error["field"]
        assert error["message"]


# Every route that takes a body, with a right one, and those whose compatible clients may send back all they were told.
BODIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "open": ("POST", f"{O}/accounts", {"id": "new", "email": "n@example.com", "billingMode": "postpaid"}),
    "change": ("PATCH", f"{O}/accounts/ada", {"unlimited": False}),
    "grant": ("POST", f"{O}/accounts/ada/grants", {"amountUsd": "1.00", "kind": "promotional"}),
    "suspend": ("POST", f"{O}/accounts/ada:suspend", {"reason": "why", "cause": "BLOCKED_BY_ABUSE_RULE"}),
    "reinstate": ("POST", f"{O}/accounts/ada:reinstate", {"cause": "BLOCKED_BY_ABUSE_RULE"}),
    "prices": ("POST", f"{O}/prices", {"models": {"m": {"input": "1", "output": "1"}}, "effectiveAt": "2027-01-01"}),
    "advance": ("POST", f"{O}/clock:advance", {"to": "2026-04-01T00:00:00Z"}),
    "purchase": ("POST", f"{A}/credits:purchase", {"amountUsd": "1.00", "paymentMethod": "pm_none"}),
    "card": ("POST", f"{A}/paymentMethods", {"token": "pm_card_visa"}),
    "user": ("POST", f"{A}/users", {"userId": "bot", "role": "user", "email": "b@example.com"}),
    "role": ("PATCH", f"{A}/users/owner", {"role": "admin", "displayName": "x"}),
    "key": ("POST", f"{A}/users/owner/apiKeys", {"displayName": "x", "expireTime": "2027-01-01T00:00:00Z"}),
    "keys": ("POST", f"{A}/apiKeys", {"apiKey": {"displayName": "x"}, "userId": "owner"}),
    "end": ("POST", f"{A}/apiKeys:delete", {"keyId": "key_none"}),
    "end own": ("POST", f"{A}/users/owner/apiKeys:delete", {"keyId": "key_none"}),
    "quota": ("PATCH", f"{A}/quotas/monthly-spend-usd", {"value": "20"}),
    "alert": ("POST", f"{A}/alerts", {"thresholdUsd": "5.00"}),
    "alerts": ("PATCH", f"{A}/notificationSettings", {"monthlySpendThresholds": [{"units": "5"}]}),
    "webhook": ("POST", f"{A}/webhookEndpoints", {"url": "https://example.com/hooks"}),
    "usage": ("POST", "/v1/usage", {"id": "u", "account": "ada", "model": "tiny", "quantities": {"input_tokens": 1}}),
}
COMPATIBLE = {"quota", "alerts"}
RAW: dict[str, bytes] = {
    "empty object": b"{}",
    "null": b"null",
    "list of nothing": b"[null]",
    "string": b'"x"',
    "number": b"1",
    "truncated": b'{"amountUsd": "1.0',
    "trailing": b"{} {}",
    "not utf-8": b'{"a": "\xff\xfe"}',
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "nan": b'{"amountUsd": NaN, "value": NaN}',
    "infinity": b'{"amountUsd": -Infinity}',
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "huge number": b'{"value": ' + b"9" * 5_000 + b"}",
    "form": b"amountUsd=1.00&token=x",
    "half a pair": b'{"id": "\\ud800", "reason": "\\udfff", "token": "\\ud800", "displayName": "\\ud800"}',
    "nul": b'{"reason": "a\\u0000b", "displayName": "\\u0000", "token": "\\u0000", "id": "\\u0000"}',
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
@pytest.mark.parametrize("route", BODIES)
def test_what_is_no_right_body(lived_in: House, route: str, raw: bytes) -> None:
    method, path, _ = BODIES[route]
    answer = lived_in.operator.call(method, path, raw=raw)
    if answer.status == 200:  # an empty object is a right body where every field has a default
        right = {(b"{}", name) for name in ("key", "keys", "role")} | {(b"[null]", "usage")}
        assert (raw, route) in right, answer.text
        return
    check_problem(answer, 400, 409 if route == "reinstate" else 400)


@pytest.mark.parametrize("route", BODIES)
def test_a_field_given_twice(lived_in: House, route: str) -> None:
    method, path, body = BODIES[route]
    name = next(iter(body))
    text = json.dumps(body)[:-1] + f', "{name}": ' + json.dumps(body[name]) + "}"
    answer = lived_in.operator.call(method, path, raw=text.encode())
    check_problem(answer)
    assert answer.json["errors"][0]["field"] == name


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", "/"])
@pytest.mark.parametrize("route", BODIES)
def test_another_content_type(lived_in: House, route: str, media: str) -> None:
    method, path, body = BODIES[route]
    answer = lived_in.operator.call(method, path, body, headers={"content-type": media})
    check_problem(answer, 415)
    assert "application/json" in answer.json["detail"]


@pytest.mark.parametrize("raw", [None, b"", b"null"])
@pytest.mark.parametrize("route", BODIES)
def test_no_body_at_all(lived_in: House, route: str, raw: bytes | None) -> None:
    method, path, body = BODIES[route]
    answer = lived_in.operator.call(method, path, raw=raw)
    if route == "reinstate":  # its body may be left out
        check_problem(answer, 409)
        return
    check_problem(answer)
    assert answer.json["detail"].startswith("a JSON body is required: an ")
    assert any(name in answer.json["detail"] for name in body)


WRONG: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", " ", "x" * 10_000, "-1", "1e3", "NaN", [], [[]], {}, {"a": 1}]
WRONG += ["9" * 40, "\u202e", "💸" * 100, "'; DROP TABLE accounts; --", "../../etc", "<script>"]
OPTIONAL = {"paymentMethod", "billingMode", "expireTime", "effectiveAt", "cause", "userId", "apiKey", "role", "value"}
OPTIONAL |= {"monthlySpendThresholds"}
FREE = {"displayName", "reason", "token", "keyId", "paymentMethod", "apiKey"}  # texts of the caller's own choice


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("route, field", [(route, field) for route, (_, _, body) in BODIES.items() for field in body])
def test_a_wrong_value_names_its_field(lived_in: House, route: str, field: str, wrong: Any) -> None:
    method, path, body = BODIES[route]
    answer = lived_in.operator.call(method, path, {**body, field: wrong})
    if answer.status in (200, 201):
        harmless = field in FREE | OPTIONAL | {"email", "id", "model", "unlimited", "models"}
        opened = field == "account" and lived_in.operator.get(f"{O}/accounts/{wrong}").status == 200
        assert harmless or opened, answer.text
        return
    check_problem(answer, 400, 402, 404, 409)
    if answer.status == 400 and answer.json["errors"] and field not in ("id", "userId"):
        assert answer.json["errors"][0]["field"].startswith((field, "prices.")), answer.text


@pytest.mark.parametrize("route", BODIES)
def test_an_unknown_field(lived_in: House, route: str) -> None:
    method, path, body = BODIES[route]
    answer = lived_in.operator.call(method, path, {**body, "colour": "red"})
    if route in COMPATIBLE:
        assert answer.status < 500
        assert "colour" not in answer.text
        return
    check_problem(answer)
    assert answer.json["errors"][0]["field"] == "colour"
    assert next(iter(body)) in answer.json["detail"]


LISTS = [f"{A}/users", f"{A}/apiKeys", f"{A}/credits", f"{A}/receipts", f"{A}/invoices", f"{A}/statement"]
LISTS += [f"{A}/quotas", f"{A}/users/owner/apiKeys", "/v1/accounts", f"{O}/accounts"]


@pytest.mark.parametrize("size", ["0", "-1", "1000000000", "abc", "9" * 40, "1.5", "", "%00", "NaN", "201"])
@pytest.mark.parametrize("path", LISTS)
def test_a_wrong_page_size(lived_in: House, path: str, size: str) -> None:
    answer = lived_in.operator.get(f"{path}?pageSize={size}")
    check_problem(answer)
    assert answer.json["errors"] == [{"field": "pageSize", "message": answer.json["detail"]}]
    assert "1 to 200" in answer.json["detail"]


TOKENS = [
    "x",
    "%00",
    "W10",
    "bnVsbA",
    "WzFd",
    "W10=",
    "WzkyMjMzNzIwMzY4NTQ3NzU4MDgsImEiXQ",
    "A" * 600,
    "WyJhIiwxXQ",
    "%ff",
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("path", LISTS)
def test_a_wrong_page_token(lived_in: House, path: str, token: str) -> None:
    answer = lived_in.operator.get(f"{path}?pageToken={token}")
    if token == "WzFd" and answer.status == 200:  # [1]: a place in a list that is at hand
        return
    check_problem(answer)
    assert answer.json["errors"][0]["field"] == "pageToken"


@pytest.mark.parametrize("query", ["filter=x", "filter=%22", "filter=email", "filter=email=a+AND+email=b", "orderBy=x"])
def test_a_wrong_filter(lived_in: House, query: str) -> None:
    check_problem(lived_in.operator.get(f"{O}/accounts?{query}"))


@pytest.mark.parametrize(
    "query, field",
    [
        ("start=yesterday", "start"),
        ("start=1", "start"),
        ("start=0001-01-01T00:00:00Z", "start"),
        ("end=99999-01-01T00:00:00Z", "end"),
        ("end=2026-03-01T25:00:00Z", "end"),
        ("start=2026-03-02T00:00:00Z&end=2026-03-01T00:00:00Z", "start"),
        ("start=1970-01-01T00:00:00Z&bucket=1h", "end"),
        ("bucket=1s", "bucket"),
        ("start=2026-01-01T00:00:00Z&bucket=1m", "end"),
        ("bucket=", "bucket"),
        ("groupBy=colour", "groupBy"),
        ("start=%00", "start"),
    ],
)
def test_a_wrong_span_of_usage(lived_in: House, query: str, field: str) -> None:
    answer = lived_in.operator.get(f"{A}/usage?{query}")
    check_problem(answer)
    assert answer.json["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "query, says",
    [
        ("bucket=1s", 'bucket must be "1m", "1h" or "1d", not \'1s\''),
        ("groupBy=colour", "groupBy must be of model, key, user, each once, with commas; not 'colour'"),
        ("groupBy=model,model", "each once"),
    ],
)
def test_what_the_sums_of_usage_cannot_answer_is_said(lived_in: House, query: str, says: str) -> None:
    answer = lived_in.operator.get(f"{A}/usage?{query}")
    check_problem(answer)
    assert says in answer.json["detail"]


def test_the_farthest_span_of_usage(lived_in: House) -> None:
    answer = lived_in.operator.get(f"{A}/usage?start=9998-12-01T00:00:00Z&end=9998-12-31T23:59:59Z")
    assert (answer.status, answer.json["rows"]) == (200, [])


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-3", "26-03", "0000-01", "abc", "2026-03-01", "9999-12", "２０２６-03"]
)
def test_a_wrong_month(lived_in: House, month: str) -> None:
    from urllib.parse import quote

    answer = lived_in.operator.post(f"{O}/months/{quote(month, safe='%')}:close")
    check_problem(answer)
    assert answer.json["errors"][0]["field"] == "month"


@pytest.mark.parametrize("name", ["a%2Fb", "..", "%20", "x" * 5_000, "💸", "ADA", "'--"])
def test_a_name_that_is_none(lived_in: House, name: str) -> None:
    from urllib.parse import quote

    written = quote(name, safe="%'.")
    paths = [f"/v1/accounts/{written}", f"/v1/accounts/{written}/balance", f"{O}/accounts/{written}"]
    paths += [f"{A}/{noun}/{written}" for noun in ("users", "invoices", "quotas", "paymentMethods")]
    paths += [f"{A}/invoices/{written}/lines/1/usage", f"{A}/invoices/x/lines/{written}/usage"]
    for path in paths:
        answer = lived_in.operator.get(path)
        if answer.status == 200:
            assert name == "..", path  # a server may read /a/.. as /
            continue
        check_problem(answer, 400, 404)


@pytest.mark.parametrize("name", ["%00", "%ff%fe", "ada%00", "%"])
def test_a_path_that_is_no_text(lived_in: House, name: str) -> None:
    """The server refuses it before anybody reads it."""
    for path in (f"/v1/accounts/{name}/balance", f"{A}/users/{name}", f"{O}/months/{name}:close"):
        check_problem(lived_in.operator.get(path))


@pytest.mark.parametrize("n", ["0", "-1", "99", "abc", "9" * 40, "１"])
def test_a_line_that_is_none(lived_in: House, n: str) -> None:
    from urllib.parse import quote

    invoice = lived_in.invoices("ada")[0]["id"]
    check_problem(lived_in.operator.get(f"{A}/invoices/{invoice}/lines/{quote(n)}/usage"), 400, 404)


def test_a_body_that_is_too_large(lived_in: House) -> None:
    raw = b'{"token": "' + b"x" * (9 * 1024 * 1024) + b'"}'
    check_problem(lived_in.operator.call("POST", f"{A}/paymentMethods", raw=raw), 413)


def test_a_body_that_is_too_large_for_the_server_itself(lived_in: House) -> None:
    said = {"content-length": str(40 * 1024 * 1024)}  # it is refused before it is sent
    answer = lived_in.operator.call("POST", f"{A}/paymentMethods", raw=b"", headers=said)
    check_problem(answer, 413)
    assert answer.json["code"] == "INVALID_ARGUMENT"


def test_paths_and_methods_that_are_none(lived_in: House) -> None:
    for path in ("/nope", "/v1/nope", f"{A}/nope", f"{A}/invoices/x:void", f"{A}/invoices/:preview", "/-/openapi.json"):
        answer = lived_in.operator.get(path)
        check_problem(answer, 404)
        assert path in answer.json["detail"]
    answer = lived_in.operator.delete(f"{A}/users")
    check_problem(answer, 405)
    assert "GET" in answer.headers["allow"]
    check_problem(lived_in.operator.call("PUT", f"{A}/credits:purchase", {}), 405)


@pytest.mark.parametrize(
    "path, allowed",
    [
        (f"{A}/apiKeys", "GET, OPTIONS, POST"),
        (f"{A}/webhookEndpoints/x", "DELETE, GET, OPTIONS"),
        (f"{A}/groupUsageLimitTiers/x", "DELETE, GET, OPTIONS, PATCH"),
        (f"{A}/credits:purchase", "OPTIONS, POST"),
        ("/openapi.json", "GET, OPTIONS"),
    ],
)
def test_options_tell_every_method_of_a_path_to_anybody(house: House, path: str, allowed: str) -> None:
    answer = house.nobody.call("OPTIONS", path)
    assert (answer.status, answer.headers["allow"], answer.raw) == (204, allowed, b"")
    assert sorted(house.nobody.call("PUT", path).headers["allow"].split(", ")) == allowed.split(", ")


def test_an_unexpected_failure_tells_only_its_request_id(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(house.desk.worker, "buy_credit", fail)
    house.open("ada")
    answer = house.operator.post(f"{A}/credits:purchase", {"amountUsd": "1.00"})
    check_problem(answer, 500)
    assert "secret" not in answer.text


def test_a_request_id_is_taken_over_where_it_is_one(lived_in: House) -> None:
    client = Client(lived_in.operator.port)
    assert client.get("/healthz", {"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/healthz", {"x-request-id": "no good"}).headers["x-request-id"].startswith("req_")
