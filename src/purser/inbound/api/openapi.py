"""The OpenAPI 3.1 document, put together from the routes, and the pages that show it."""

from __future__ import annotations

import copy
import sys
from typing import Any

from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from purser import __version__
from purser.core.errors import NotFound
from purser.inbound.api.auth import ACCESS, OPERATOR, PUBLIC, UNCOUNTED
from purser.inbound.api.call import Call
from purser.inbound.api.front import NOWHERE
from purser.inbound.api.openapi_document import METHODS, Told, finish
from purser.inbound.api.routes import CHANGES_NOTHING, REFUSES, get
from purser.inbound.api.wire import Name
from purser.inbound.dashboard.rendering import SCRIPTED, read_static, render_page

# The framework serves its own form of the document under a path that the front answers with 404.
CONFIG = OpenAPIConfig(
    title="Purser",
    version=__version__,
    description="The control plane: accounts, money and what the operator does. Models are asked with the OpenAI API "
    "(chat/completions, completions, responses, embeddings), Anthropic's (messages) and rerank, under /v1 and "
    "/inference/v1, which are described by documents of their own.",
    path=f"/{NOWHERE}",
    use_handler_docstrings=True,
    render_plugins=[JsonRenderPlugin()],
)
_PARTS = {
    "explorer.css": "text/css",
    "explorer.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


def build(app: Litestar) -> dict[str, Any]:
    """The document, made once per process."""
    if not hasattr(app.state, "openapi"):
        app.state.openapi = finish(copy.deepcopy(app.openapi_schema.to_schema()), _routes(app))
    document: dict[str, Any] = app.state.openapi
    return document


def _routes(app: Litestar) -> dict[tuple[str, str], Told]:
    return {
        (route.path_format, method.lower()): _told(answer, method)
        for route in app.routes
        for method, (answer, _) in getattr(route, "route_handler_map", {}).items()
    }


def _told(answer: HTTPRouteHandler, method: str) -> Told:
    module = sys.modules[answer.fn.__module__]
    noun = module.__name__.rpartition(".")[2].replace("_", " ")
    about = (module.__doc__ or "").split("\n", 1)[0]
    opt = answer.opt
    who = str(opt.get(ACCESS, OPERATOR))
    repeatable = method != "GET" and who != PUBLIC and not opt.get(CHANGES_NOTHING)
    return Told(who, not opt.get(UNCOUNTED), repeatable, tuple(opt.get(REFUSES, ())), noun, about)


@get("/openapi.json", PUBLIC, listed=False)
def get_openapi(request: Call) -> dict[str, Any]:
    """The OpenAPI document."""
    return build(request.app)


@get("/docs", PUBLIC, listed=False)
def get_docs() -> Response[str]:
    """Every operation, to read and to try out: a vendored UI on the document."""
    return render_page("explorer.html", {}, policy=SCRIPTED)


@get("/docs/static/{name:str}", PUBLIC, listed=False)
def get_part(name: Name) -> Response[bytes]:
    """A script or style sheet of that page."""
    kind = _PARTS.get(name)
    if kind is None:
        raise NotFound("there is no such file", field="name")
    headers = {"cache-control": "max-age=300", "x-content-type-options": "nosniff"}
    return Response(read_static(name), media_type=kind, headers=headers)


@get("/docs/plain", PUBLIC, listed=False)
def get_plain_docs(request: Call) -> Response[str]:
    """Every operation on one page without scripts."""
    operations = [
        {"method": method.upper(), "path": path, "summary": operation["summary"], "text": operation["description"]}
        for path, item in build(request.app)["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]
    return render_page("docs.html", {"operations": operations})


ROUTES = [get_openapi, get_docs, get_part, get_plain_docs]
