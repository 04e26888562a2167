"""Problem documents (RFC 9457): how errors look outside the data plane, with a code and the request's id."""

import secrets
from http import HTTPStatus
from typing import Any

import msgspec

from purser.http.head import Headers

MEDIA_TYPE = "application/problem+json"
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


def code_of(status: int) -> str:
    """The code of an error that has no other by its status."""
    return _CODES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")


def render(status: int, code: str, detail: str, request_id: str, field: str | None = None, **more: Any) -> bytes:
    """A problem document; `field` is the input at fault."""
    return msgspec.json.encode(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "code": code,
            "request_id": request_id,
            "errors": [] if field is None else [{"field": field, "message": detail}],
            **more,
        }
    )


def refuse_in_problem(status: int, code: str, message: str, target: bytes) -> tuple[Headers, bytes]:
    """Headers and body of an answer that the server gives by itself, as a problem document."""
    request_id = "req_" + secrets.token_hex(12)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"x-request-id", request_id.encode())]
    return headers, render(status, code_of(status), message, request_id)
