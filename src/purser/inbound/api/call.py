"""A call: one request of the control plane, with the desk, who is calling, and its body strictly read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from litestar import Request
from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.datastructures import State

from purser.core.client import address_of
from purser.core.errors import Invalid, Unauthenticated
from purser.flows.access import Principal
from purser.flows.idempotency import Repeatable
from purser.inbound.api.bodies import read_body
from purser.inbound.desk import Desk
from purser.store.audit_log import Act

REQUEST_ID, PATH, CALLER, BODY = "purser.request_id", "purser.path", "purser.caller", "purser.body"
HEADERS = "purser.headers"  # more headers of the answer, whatever it will be
_MOST_TOLD = 300  # characters of a path, or of what a program says it is
_SMALL_BODY_BYTES = 32 * 1024


class Call(Request[Any, Any, State]):
    """A request, as the answering functions see it."""

    @property
    def desk(self) -> Desk:
        """What every door shares."""
        desk: Desk = self.app.state.desk
        return desk

    @property
    def caller(self) -> Principal:
        """Who is calling; raises Unauthenticated on a route that asked for no key."""
        caller = self.scope.get(CALLER)
        if not isinstance(caller, Principal):
            raise Unauthenticated("send Authorization: Bearer YOUR_KEY")
        return caller

    @property
    def request_id(self) -> str:
        """The id that the answer carries."""
        return str(self.scope.get(REQUEST_ID, ""))

    @property
    def act(self) -> Act:
        """What the audit log tells of this request beside what it changes."""
        caller = self.scope.get(CALLER)
        by = caller if isinstance(caller, Principal) else Principal("", "", "", "")
        return Act(
            account=by.account,
            actor=by.user,
            key=by.key,
            method=f"{self.method} {str(self.scope['path_template']).replace('/:', ':')}",
            path=_printable(str(self.scope.get(PATH, ""))),
            request=self.request_id,
            user_agent=_printable(self.headers.get("user-agent", "")),
            client=self.client_address,
        )

    def act_of(self, account: str, user: str) -> Act:
        """The same for somebody who came without a key: who has signed in, or has just proved who they are."""
        return self.act._replace(account=account, actor=user)

    @property
    def client_address(self) -> str:
        """The network address that the request comes from; "" where it has none."""
        return client_of(self, self.desk.trusted_proxies)

    @property
    def repeatable(self) -> Repeatable | None:
        """How the caller may repeat this write: None without an Idempotency-Key. Raises Invalid."""
        key = self.headers.get("idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 255 or not all(" " <= character <= "~" for character in key):
            raise Invalid(
                "Idempotency-Key must be 1 to 255 printable characters, such as a UUID", field="Idempotency-Key"
            )
        caller = self.caller  # each has answers of their own: one may hold a secret that is only theirs
        scope = f"operator:{caller.user}" if caller.operator else f"account:{caller.account}:{caller.user}"
        target = f"{self.method}\0{self.scope['path']}\0{self.scope['query_string'].decode('latin-1')}\0"
        digest = hashlib.blake2b(target.encode(), digest_size=32)
        digest.update(self.scope.get(BODY, b""))  # type: ignore[arg-type]
        return Repeatable(scope, key, digest.digest())

    async def body(self) -> bytes:
        """The body's bytes; raises Invalid where the route needs a body and none was sent, saying what it holds."""
        raw = await super().body()
        field = self.route_handler.parsed_data_field
        if not raw and field is not None and not field.is_optional:
            read_body(raw, None, field.annotation)
        return raw

    async def json(self) -> Any:
        """The body as the answering function's own type; raises Invalid naming the field and what would be right."""
        raw = await self.body()
        self.scope[BODY] = raw  # type: ignore[literal-required]
        field = self.route_handler.parsed_data_field
        kind = None if field is None else field.annotation
        content_type = self.headers.get("content-type")
        if len(raw) <= _SMALL_BODY_BYTES:
            return read_body(raw, content_type, kind)
        return await sync_to_thread(read_body, raw, content_type, kind)


def client_of(connection: ASGIConnection[Any, Any, Any, Any], trusted_proxies: Sequence[str]) -> str:
    """The network address that a request comes from; "" where it has none."""
    forwarded = ",".join(connection.headers.getall("x-forwarded-for", []))
    return address_of(connection.client.host if connection.client else "", forwarded, trusted_proxies)


def _printable(text: str) -> str:
    return "".join(letter for letter in text[:_MOST_TOLD] if letter.isprintable())
