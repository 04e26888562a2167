"""A real SMTP server for tests, which keeps what it is sent and answers as it is told to."""

from __future__ import annotations

import email
import email.policy
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class MailServer:
    """What came in, in order; `says` answers an address or a whole mail in another way than 250."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.says_to_address: dict[str, str] = {}
        self.says_to_mail = "250 OK"
        self.says_to_goodbye = "221 Bye"
        self.logins: list[tuple[str, str]] = []
        self.port = 0
        self._lock = threading.Lock()

    @property
    def ids(self) -> list[str]:
        """The Message-IDs of what came in."""
        return [str(mail["Message-ID"]) for mail in self.mails]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        answer = self.says_to_address.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        with self._lock:
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return self.says_to_mail

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return self.says_to_goodbye

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        if isinstance(data, LoginPassword):
            self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=True)


class _AnyPort(Controller):
    def _trigger_server(self) -> None:
        listening: Any = self.server
        self.port = listening.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def mail_server(
    host: str = "127.0.0.1", *, starttls: ssl.SSLContext | None = None, wrapped: ssl.SSLContext | None = None
) -> Iterator[MailServer]:
    """A server on a free port, until the end; it offers STARTTLS, or is wrapped in TLS from the start."""
    kept = MailServer()
    running = _AnyPort(
        kept,
        hostname=host,
        port=0,
        authenticator=kept.authenticate,
        auth_require_tls=starttls is not None,
        auth_required=False,
        tls_context=starttls,
        ssl_context=wrapped,
    )
    running.start()
    kept.port = running.port
    try:
        yield kept
    finally:
        running.stop()
