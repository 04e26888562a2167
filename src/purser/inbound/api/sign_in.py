"""Links to sign in and to sign up with, asked for by programs; they are sent by mail."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from purser.flows import people
from purser.inbound.api.auth import PUBLIC
from purser.inbound.api.call import Call
from purser.inbound.api.routes import post
from purser.inbound.api.wire import Body, View


class Address(Body):
    """Whom to send a link."""

    email: str


class LinkSent(View):
    """How long the link is good, if one was sent; it looks the same whether the address is known or not."""

    valid_seconds: int


def _sent() -> Response[LinkSent]:
    return Response(LinkSent(people.LINK_MINUTES * 60), status_code=202, headers={"cache-control": "no-store"})


@post("/v1/signInLinks", PUBLIC, status=202, refuses=(403, 429))
def send_sign_in_link(request: Call, data: JSONBody[Address]) -> Response[LinkSent]:
    """Send a link to sign in with, if the address is a user's, which the answer does not tell; 403 by an abuse rule."""
    desk, client = request.desk, request.client_address
    desk.write(lambda tx: people.ask_to_sign_in(tx, data.email, client, desk.public_url))
    return _sent()


@post("/v1/signUpLinks", PUBLIC, status=202, refuses=(403, 429))
def send_sign_up_link(request: Call, data: JSONBody[Address]) -> Response[LinkSent]:
    """Send a link that opens an account, or signs in where the address has opened one; 403 if that is refused here."""
    desk, client = request.desk, request.client_address
    desk.write(lambda tx: people.ask_to_sign_up(tx, data.email, client, desk.public_url))
    return _sent()


ROUTES = [send_sign_in_link, send_sign_up_link]
