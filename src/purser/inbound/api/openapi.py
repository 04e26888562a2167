"""The OpenAPI 3.1 document, put together from the routes, and a page that lists what it says."""

from __future__ import annotations

import copy
import re
from typing import Any

from litestar import Response
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from purser import __version__
from purser.http.problem import MEDIA_TYPE
from purser.inbound.api.auth import ACCESS, ANYONE, MEMBER, PUBLIC
from purser.inbound.api.call import Call
from purser.inbound.api.front import NOWHERE, join_verb
from purser.inbound.api.routes import get
from purser.inbound.dashboard.rendering import render_page

# The framework serves its own form of the document under a path that the front answers with 404.
CONFIG = OpenAPIConfig(
    title="Purser",
    version=__version__,
    path=f"/{NOWHERE}",
    use_handler_docstrings=True,
    render_plugins=[JsonRenderPlugin()],
)
_PROBLEM = {
    "type": "object",
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
_ERROR = {
    "description": "What went wrong, and what would be right.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_REPEATABLE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with the same key, the same request has one effect and one answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_RULES = re.compile(r" \([A-Z]\d+(?:, [A-Z]\d+)*\)")  # the house's own numbers, which mean nothing to callers
_METHODS = ("get", "post", "put", "patch", "delete")
_WHO = {
    PUBLIC: "Needs no key.",
    ANYONE: "Any valid key.",
    MEMBER: "Any role of the account.",
    "self": "The role admin, or the user's own key.",
    "admin": "The role admin.",
    "metering": "The operator's key, or that of a service account with the scope `metering` for its own account.",
    "operator": "The operator's key.",
}


def build(call: Call) -> dict[str, Any]:
    """The document, made once per process."""
    state = call.app.state
    if not hasattr(state, "openapi"):
        state.openapi = _finish(call, copy.deepcopy(call.app.openapi_schema.to_schema()))
    document: dict[str, Any] = state.openapi
    return document


def _finish(call: Call, document: dict[str, Any]) -> dict[str, Any]:
    """Verbs as callers write them, the error every operation may answer, and who may call it."""
    who = {
        (route.path_format, method.lower()): str(answer.opt.get(ACCESS, "operator"))
        for route in call.app.routes
        for method, (answer, _) in getattr(route, "route_handler_map", {}).items()
    }
    paths = {}
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in _METHODS:
                _finish_operation(operation, method, who.get((path, method), PUBLIC))
        paths[join_verb(path)] = item
    document["paths"] = dict(sorted(paths.items()))
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def _finish_operation(operation: dict[str, Any], method: str, who: str) -> None:
    operation["responses"] = {
        status: response for status, response in operation.get("responses", {}).items() if status < "300"
    }
    operation["responses"]["default"] = _ERROR
    operation["security"] = [] if who == PUBLIC else [{"key": []}]
    words = _RULES.sub("", str(operation.get("description") or operation.get("summary") or ""))
    operation["summary"] = words.split("\n", 1)[0].split(". ")[0].rstrip(".:")
    operation["description"] = f"{words}\n\n{_WHO.get(who, '')}".strip()
    if method != "get" and who != PUBLIC:
        operation.setdefault("parameters", []).append(_REPEATABLE)


@get("/openapi.json", PUBLIC, listed=False)
def get_openapi(request: Call) -> dict[str, Any]:
    """The OpenAPI document."""
    return build(request)


@get("/docs", PUBLIC, listed=False)
def get_docs(request: Call) -> Response[str]:
    """Every operation on one page."""
    operations = [
        {"method": method.upper(), "path": path, "summary": operation["summary"], "text": operation["description"]}
        for path, item in build(request)["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    ]
    return render_page("docs.html", {"operations": operations})


ROUTES = [get_openapi, get_docs]
