"""Routes: how a plain function becomes one, run in a thread, open to those it names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from litestar import Request, Response, route
from litestar.concurrency import sync_to_thread
from litestar.handlers import HTTPRouteHandler

from purser.flows.audit_log import acting
from purser.inbound.api.auth import PUBLIC, may

# For the OpenAPI document: statuses of refusals that are a route's own, and whether it looks at no Idempotency-Key.
REFUSES, CHANGES_NOTHING = "refuses", "changes_nothing"
Answer = Callable[..., Any]
Made = Callable[[Answer], HTTPRouteHandler]


def _make(
    method: Any,
    path: str,
    who: str,
    *,
    counted: bool,
    status: int,
    listed: bool,
    refuses: tuple[int, ...] = (),
    changes_nothing: bool = False,
    **options: Any,
) -> Made:
    def make(answer: Answer) -> HTTPRouteHandler:
        @wraps(answer)
        async def in_thread(**given: Any) -> Any:
            if method == "GET":
                return await sync_to_thread(answer, **given)
            with acting(given["request"].act):
                return await sync_to_thread(answer, **given)

        decorate = route(
            path,
            http_method=method,
            status_code=status,
            opt={**may(who, counted=counted), REFUSES: refuses, CHANGES_NOTHING: changes_nothing},
            include_in_schema=listed,
            **options,
        )
        made: HTTPRouteHandler = decorate(in_thread)
        return made

    return make


def tell_methods(routes: Sequence[HTTPRouteHandler]) -> HTTPRouteHandler:
    """What answers OPTIONS on every path of some routes, with all methods that it has; to be added before them.

    The framework's own would allow only the methods of the route that comes first.
    """
    methods: dict[str, set[str]] = {}
    for each in routes:
        for path in each.paths:
            methods.setdefault(path, {"OPTIONS"}).update(each.http_methods)
    # A route is told with its path's parameters without their types.
    allowed = {re.sub(r":\w+}", "}", path): ", ".join(sorted(of)) for path, of in methods.items()}

    async def answer(request: Request[Any, Any, Any]) -> Response[None]:
        return Response(None, status_code=204, headers={"allow": allowed[request.scope["path_template"]]})

    made: HTTPRouteHandler = route(
        [*methods], http_method="OPTIONS", status_code=204, opt=may(PUBLIC), include_in_schema=False
    )(answer)
    return made


def get(path: str, who: str, *, counted: bool = True, listed: bool = True, **options: Any) -> Made:
    """A route that reads."""
    return _make("GET", path, who, counted=counted, status=200, listed=listed, **options)


def post(path: str, who: str, *, counted: bool = True, status: int = 200, listed: bool = True, **options: Any) -> Made:
    """A route that does something."""
    return _make("POST", path, who, counted=counted, status=status, listed=listed, **options)


def patch(path: str, who: str, *, counted: bool = True, **options: Any) -> Made:
    """A route that changes something."""
    return _make("PATCH", path, who, counted=counted, status=200, listed=True, **options)


def delete(path: str, who: str, *, counted: bool = True, **options: Any) -> Made:
    """A route that takes something away; it answers 200 with an empty object."""
    return _make("DELETE", path, who, counted=counted, status=200, listed=True, **options)
