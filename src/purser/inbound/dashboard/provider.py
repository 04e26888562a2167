"""Signing in at the operator's own provider (OpenID Connect): sent there, and back with what it says."""

from __future__ import annotations

import hmac
from typing import Annotated

from litestar.params import QueryParameter
from litestar.response import Redirect

from purser.core.errors import Forbidden, NotFound
from purser.core.period import MINUTE, SECOND
from purser.inbound.api.auth import PUBLIC
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.dashboard.forms import Page, make_cookie, told_plainly
from purser.inbound.dashboard.rendering import HEADERS
from purser.inbound.dashboard.session import Errand, errand_token, read_errand
from purser.inbound.dashboard.signing_in import enter_or_open
from purser.inbound.desk import IdentityProvider

COOKIE = "purser_errand"
_BACK = "/dashboard/oidc/callback"
_GOOD_FOR = 10 * MINUTE
_BITS = 256
Text = Annotated[str | None, QueryParameter(max_length=4_000)]
State = Annotated[str | None, QueryParameter(name="state", max_length=4_000)]


def _provider(call: Call) -> IdentityProvider:
    if call.desk.identity is None:
        raise NotFound("no sign-in provider is set up here; sign in by e-mail")
    return call.desk.identity


@get("/dashboard/oidc", PUBLIC, listed=False)
@told_plainly
def go_to_provider(request: Call) -> Page:
    """Send the browser to the provider, with an errand that only this browser brings back."""
    desk, provider = request.desk, _provider(request)
    state, nonce, verifier = (f"{desk.queue.writer.world.entropy(_BITS):064x}" for _ in range(3))
    wall = desk.wall()
    url = provider.begin(desk.public_url + _BACK, state, nonce, verifier, wall)
    cookie = errand_token(desk, Errand(state, nonce, verifier, wall + _GOOD_FOR))
    cookies = [make_cookie(request, cookie, _GOOD_FOR // SECOND, COOKIE)]
    return Redirect(url, status_code=303, cookies=cookies, headers=HEADERS)


@get(_BACK, PUBLIC, listed=False)
@told_plainly
def come_from_provider(request: Call, code: Text = None, brought: State = None, error: Text = None) -> Page:
    """Take what the provider says for this browser's errand, once, and sign the person in."""
    desk, provider = request.desk, _provider(request)
    errand = read_errand(desk, request.cookies.get(COOKIE))
    if errand is None or not hmac.compare_digest(errand.state.encode(), (brought or "").encode()):
        raise Forbidden("this is not the answer to a sign-in that this browser began, or it came late; begin again")
    if error is not None or not code:
        raise Forbidden("the provider did not sign you in; begin again")
    email = provider.finish(code, desk.public_url + _BACK, errand.nonce, errand.verifier, desk.wall())
    page = enter_or_open(request, email)
    page.set_cookie(make_cookie(request, "", 0, COOKIE))
    return page


ROUTES = [go_to_provider, come_from_provider]
