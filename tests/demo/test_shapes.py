"""The shape of an error follows its path, also where the server refuses a request before anybody reads it."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from typing import Any

import pytest

from tests.demo.program import Answer, Program

TOO_MUCH = f"Content-Length: {40 * 1024 * 1024}\r\n"
pytestmark = pytest.mark.once
PROBLEM, OBJECT = "application/problem+json", "application/json"
ANTHROPICS = "application/json "  # an object in the shape of Anthropic's API


def ask(program: Program, method: str, target: str, headers: str = "") -> Answer:
    """One request as it is written here, of which no body is sent."""
    with socket.create_connection(("127.0.0.1", program.port), timeout=30) as line:
        line.sendall(f"{method} {target} HTTP/1.1\r\nHost: purser\r\n{headers}\r\n".encode())
        response = HTTPResponse(line, method=method)
        response.begin()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, response.read())


# (method, target, headers, status, media type)
REFUSED = [
    ("POST", "/v1/chat/completions", TOO_MUCH, 413, OBJECT),
    ("POST", "/inference/v1/embeddings", TOO_MUCH, 413, OBJECT),
    ("POST", "/v1/responses", TOO_MUCH, 413, OBJECT),
    ("POST", "/v1/messages", TOO_MUCH, 413, ANTHROPICS),
    ("GET", "/v1/models/%zz", "", 400, OBJECT),
    ("GET", "/v1/models/%00?x=y", "", 400, OBJECT),
    ("POST", "/v1/accounts/demo/users", TOO_MUCH, 413, PROBLEM),
    ("POST", "/v1/usage", TOO_MUCH, 413, PROBLEM),
    ("POST", "/v1/quote", TOO_MUCH, 413, PROBLEM),
    ("POST", "/operator/v1/prices", TOO_MUCH, 413, PROBLEM),
    ("GET", "/v1/accounts/%/balance", "", 400, PROBLEM),
    ("GET", "/v1/accounts/%ff%fe?pageSize=1", "", 400, PROBLEM),
    ("GET", "/operator/v1/accounts/%00", "", 400, PROBLEM),
    ("GET", "/v1/accounts#demo", "", 400, PROBLEM),
]


@pytest.mark.parametrize("method, target, headers, status, media", REFUSED)
def test_what_the_server_refuses_has_the_shape_of_its_plane(
    program: Program, method: str, target: str, headers: str, status: int, media: str
) -> None:
    answer = ask(program, method, target, headers)
    assert (answer.status, answer.headers["content-type"]) == (status, media.strip())
    found: Any = answer.json
    assert found["request_id"] == answer.headers["x-request-id"]
    if media == OBJECT:
        assert set(found) == {"error", "request_id"}
        assert found["error"]["code"]
        assert found["error"]["message"]
    elif media == ANTHROPICS:
        assert (found["type"], found["error"]["type"]) == ("error", "request_too_large")
    else:
        assert (found["status"], found["code"], found["errors"]) == (status, "INVALID_ARGUMENT", [])
        assert found["detail"]


def test_a_quotes_errors_have_the_shape_of_the_control_plane(program: Program) -> None:
    wrong: list[Any] = [[], {"path": "/v1/chat/completions", "body": {"model": "none", "messages": []}}]
    with program.caller() as caller:
        for body in wrong:
            answer = caller.call("POST", "/v1/quote", body)
            assert answer.status in (400, 404)
            assert answer.headers["content-type"] == PROBLEM
            assert answer.json["request_id"] == answer.headers["x-request-id"]
        assert caller.call("POST", "/v1/chat/completions", []).headers["content-type"] == OBJECT
