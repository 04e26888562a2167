"""Refusals as error objects with their HTTP statuses and headers, in the shape of each API (interface §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from purser.core import ratelimit
from purser.core.errors import PurserError, Unsettled
from purser.core.explain import insufficient_message, suspended_message
from purser.core.key_checks import wrong_keys_message
from purser.core.money import format_usd
from purser.gateway.cashier import Shortfall
from purser.gateway.paths import QUOTES, speaks_anthropic
from purser.http import problem
from purser.http.exchange import Exchange

Headers = list[tuple[bytes, bytes]]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
JSON = (b"content-type", b"application/json")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    412: "error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPICS_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    412: "permission_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_CODES = {
    "INVALID_ARGUMENT": "invalid_request",
    "UNAUTHENTICATED": "invalid_api_key",
    "ACCOUNT_CLOSED": "invalid_api_key",
    "PERMISSION_DENIED": "permission_denied",
    "NOT_FOUND": "not_found",
    "UNAVAILABLE": "unavailable",
    "ALREADY_EXISTS": "conflict",
}


class Refusal(Exception):
    """A request that is not served: its status, error object and headers."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers: Headers = more.pop("headers", [])
        self.param: str | None = more.pop("param", None)
        self.more = more

    def tell(self, exchange: Exchange, request_id: str, headers: Headers) -> None:
        """Answer in the shape of the API that the request's path is of."""
        path = exchange.request.path
        if path in QUOTES:  # of the control plane, and here for what only the gateway knows
            its_headers, body = self.as_problem(request_id)
            exchange.answer(self.status, [*headers, *its_headers], body)
            return
        body = self.body(request_id)
        if speaks_anthropic(path):
            body = in_anthropics_shape(self.status, body)
        exchange.answer(self.status, [JSON, *headers, *self.headers], body)

    def body(self, request_id: str) -> bytes:
        """The JSON body."""
        error = {
            "message": self.message,
            "type": _TYPES.get(self.status, "api_error"),
            "param": self.param,
            "code": self.code,
            **self.more,
        }
        return _encode({"error": error, "request_id": request_id})

    def as_problem(self, request_id: str) -> tuple[Headers, bytes]:
        """Headers and body as the control plane has them."""
        headers = [(b"content-type", problem.MEDIA_TYPE.encode()), (b"cache-control", b"no-store"), *self.headers]
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        code = problem.code_of(self.status)
        return headers, problem.render(self.status, code, self.message, request_id, self.param, **self.more)


def in_anthropics_shape(status: int, body: bytes) -> bytes:
    """An error object of ours as Anthropic's API has it, with all that it tells besides."""
    told: dict[str, Any] = _decode(body)
    error = {**told["error"], "type": _ANTHROPICS_TYPES.get(status, "api_error")}
    return _encode({"type": "error", "error": error, "request_id": told["request_id"]})


def of_error(error: PurserError) -> Refusal:
    """A caller's mistake as a refusal."""
    if isinstance(error, Unsettled):
        return Refusal(503, error.code, error.message, headers=[(b"x-should-retry", b"false")])
    if error.status == 503:
        return unavailable(error.message)
    return Refusal(error.status, _CODES.get(error.code, error.code), error.message, param=error.field)


def unavailable(message: str) -> Refusal:
    """503: not just now, for no fault of the request; when to come back."""
    return Refusal(503, "unavailable", message, headers=[(b"retry-after", b"1")])


def suspended(account: str, causes: Mapping[str, str], *, prepaid: bool) -> Refusal:
    """412: why, and the way back; clients do not retry it (U2)."""
    message = suspended_message(account, causes, prepaid=prepaid)
    return Refusal(412, "PRECONDITION_FAILED", message, headers=[(b"x-should-retry", b"false")])


def too_many(wait_seconds: int, most: int) -> Refusal:
    """429: over the account's requests per minute (Q1)."""
    message = f"Over {most} requests per minute for this account; try again in {wait_seconds} s."
    headers: Headers = [(b"retry-after", b"%d" % wait_seconds), *ratelimit.headers(most, 0, wait_seconds)]
    return Refusal(429, "rate_limit_exceeded", message, headers=headers)


def too_many_wrong_keys(wait_seconds: int) -> Refusal:
    """429: this client's network has sent too many keys that are none."""
    headers: Headers = [(b"retry-after", b"%d" % wait_seconds), (b"x-should-retry", b"false")]
    return Refusal(429, "rate_limit_exceeded", wrong_keys_message(wait_seconds), headers=headers)


def too_many_tokens(wait_seconds: int, most: int, metric: str, model: str) -> Refusal:
    """429: over the account's tokens per minute with a model (Q2)."""
    what = {"prompt": "prompt tokens", "uncached": "uncached prompt tokens", "generated": "generated tokens"}[metric]
    message = (
        f"Over {most} {what} per minute with the model {model} for this account, running requests included; "
        f"try again in {wait_seconds} s."
    )
    return Refusal(429, "rate_limit_exceeded", message, headers=[(b"retry-after", b"%d" % wait_seconds)])


def no_model(model: str) -> Refusal:
    """404: no such model."""
    message = f"The model {model[:200]!r} does not exist here; GET /v1/models lists those that do."
    return Refusal(404, "model_not_found", message, param="model")


def not_by_tokens(model: str) -> Refusal:
    """404: the model is sold by something else, such as the image."""
    message = f"The model {model[:200]!r} has no price in tokens, and does not take such requests."
    return Refusal(404, "model_not_found", message, param="model")


def insufficient(short: Shortfall, resolve_url: str) -> Refusal:
    """402: which constraint, what is left, the hold it would need, the output tokens affordable (H3)."""
    return Refusal(
        402,
        "insufficient_headroom",
        insufficient_message(
            short.constraint, short.left_nanos, short.hold_nanos, short.affordable_tokens, short.held_nanos
        ),
        headers=[(b"x-should-retry", b"false")],
        cause=short.constraint,
        headroom_usd=format_usd(max(0, short.left_nanos)),
        held_usd=format_usd(short.held_nanos),
        hold_usd=format_usd(short.hold_nanos),
        affordable_output_tokens=short.affordable_tokens,
        resolve_url=resolve_url,
    )
