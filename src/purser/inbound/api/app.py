"""The control plane as one ASGI application: every route, its guard, and the answers to what goes wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from litestar import Litestar
from litestar.concurrency import set_asyncio_executor

from purser.inbound.api import (
    abuse_rules,
    accounts,
    alerts,
    audit_logs,
    billing,
    billing_profile,
    books,
    charges,
    credit_codes,
    credits,
    datasets,
    deployments,
    dossier,
    explain,
    export,
    health,
    holds,
    invitations,
    invoices,
    keys,
    leaving,
    limit_requests,
    metering,
    models,
    openapi,
    operator,
    operators,
    payment_methods,
    quotas,
    rate_limits,
    reservations,
    sign_in,
    token_limits,
    token_usage,
    usage,
    usage_limits,
    users,
    webhooks,
)
from purser.inbound.api.auth import guard
from purser.inbound.api.bodies import MOST_BODY_BYTES
from purser.inbound.api.call import Call
from purser.inbound.api.front import App, Front
from purser.inbound.api.problem import answer_error
from purser.inbound.api.routes import tell_methods
from purser.inbound.dashboard import pages, people, provider, signing_in
from purser.inbound.desk import Desk

_MODULES = (
    accounts,
    leaving,
    users,
    invitations,
    sign_in,
    usage_limits,
    limit_requests,
    keys,
    models,
    datasets,
    credits,
    credit_codes,
    explain,
    charges,
    payment_methods,
    invoices,
    quotas,
    deployments,
    reservations,
    rate_limits,
    token_usage,
    alerts,
    webhooks,
    usage,
    audit_logs,
    billing,
    billing_profile,
    metering,
    holds,
    export,
    dossier,
    operator,
    token_limits,
    abuse_rules,
    operators,
    books,
    health,
    openapi,
    pages,
    signing_in,
    provider,
    people,
)
ROUTES = [route for module in _MODULES for route in module.ROUTES]
# Threads of our own: a long answer, such as a month's close, must not take those that the gateway reads with.
set_asyncio_executor(ThreadPoolExecutor(16, thread_name_prefix="purser-api"))


def create_app(desk: Desk, routes: Litestar) -> App:
    """The control plane for a desk, by routes that are nobody else's; serve it by purser.http.asgi.answer_with."""
    routes.state.desk = desk
    return Front(routes, desk.queue.writer.world)


def create_routes() -> Litestar:
    """Every route, for whichever desk they are given to."""
    return Litestar(
        route_handlers=[tell_methods(ROUTES), *ROUTES],
        request_class=Call,
        guards=[guard],
        exception_handlers={Exception: answer_error},
        openapi_config=openapi.CONFIG,
        request_max_body_size=MOST_BODY_BYTES,
        logging_config=None,
    )
