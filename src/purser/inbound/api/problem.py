"""Errors outside the data plane: application/problem+json with a code, the request's id and the fields at fault."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from purser.core.errors import Broken, Invalid, PurserError
from purser.http.problem import MEDIA_TYPE, code_of, render
from purser.inbound.api.bodies import explain, say
from purser.inbound.api.call import PATH, REQUEST_ID
from purser.store.writers import Fenced

log = logging.getLogger("purser.api")
RETRY_AFTER = "retry_after"  # an attribute that a PurserError may carry: seconds
MORE = "more"  # and one with further members of the problem
_INTERNAL = "The request could not be answered; quote the request_id when you report this."


def headers_of(status: int, retry_after: int | None = None) -> dict[str, str]:
    """The headers that go with an error's status."""
    headers = {"cache-control": "no-store"}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in (429, 503):
        headers["retry-after"] = str(retry_after or 1)
    if status == 501:
        headers["x-should-retry"] = "false"  # clients try again what a server fails at
    return headers


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Any exception as an answer; what nobody expected is logged and told only by its request id."""
    request_id = str(request.scope.get(REQUEST_ID, ""))
    extra: dict[str, str] = {}
    if isinstance(error, HTTPException) and not isinstance(error, PurserError):
        extra = {key: value for key, value in (error.headers or {}).items() if key.lower() == "allow"}
        error = _of_http(request, error)
    if isinstance(error, PurserError):
        body = render(
            error.status, error.code, error.message, request_id, error.field, **(getattr(error, MORE, None) or {})
        )
        headers = headers_of(error.status, getattr(error, RETRY_AFTER, None)) | extra
        return Response(body, status_code=error.status, headers=headers, media_type=MEDIA_TYPE)
    log.error("request %s failed", request_id, exc_info=error)
    status = 503 if isinstance(error, Broken | Fenced) else 500
    code = "UNAVAILABLE" if status == 503 else "INTERNAL"
    body = render(status, code, _INTERNAL, request_id)
    return Response(body, status_code=status, headers=headers_of(status), media_type=MEDIA_TYPE)


def _of_http(request: Request[Any, Any, Any], error: HTTPException) -> Exception:
    """The framework's own refusals in our words."""
    status = error.status_code
    if status >= 500:
        return error
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        first = error.extra[0]
        field = _camel(str(first.get("key", ""))) if isinstance(first, dict) else ""
        what = str(first.get("message", "")) if isinstance(first, dict) else str(first)
        return Invalid(say(field, what), field=field) if field else explain(what)
    words = {
        404: f"there is no {request.method} {_shown(request)} here; GET /openapi.json lists what there is",
        405: f"{request.method} is not allowed on {_shown(request)}",
        413: "the body is too large: at most 8 MiB",
    }
    refusal = PurserError(words.get(status, error.detail), code=code_of(status))
    refusal.status = status
    return refusal


def _camel(name: str) -> str:
    """A parameter's name as callers write it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _shown(request: Request[Any, Any, Any]) -> str:
    path = str(request.scope.get(PATH, ""))
    return path if len(path) <= 100 else path[:100] + "…"
