"""Webhooks by HTTP: signed as Standard Webhooks say, to public addresses only, without following anywhere else."""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from purser import __version__
from purser.core.errors import Invalid
from purser.core.message import WEBHOOK
from purser.core.webhook import check_url, is_public, sign
from purser.outbound.messages import Message, Undelivered

log = logging.getLogger("purser.webhook")
_TIMEOUT_SECONDS = 10
_MOST_SECONDS = 20  # for all of it, however slowly an answer comes in
_READ_BYTES = 4_096


class HttpWebhooks:
    """Posts each message to its URL; an answer of 2xx within 20 s is a delivery.

    With `private` also http and private addresses are let pass. A name is looked up once, and the connection goes to
    the address that was looked at, whatever the name stands for a moment later.
    """

    kind = WEBHOOK
    at_once = 8

    def __init__(self, *, private: bool = False, now: Callable[[], float] = time.time) -> None:
        self._private, self._now = private, now

    def send(self, message: Message) -> int | None:
        """Post one; raises Undelivered, final where the endpoint says that it is gone (410)."""
        try:
            url = urlsplit(check_url(message.target, private=self._private))
        except Invalid as error:
            raise Undelivered(error.message, final=True) from None
        host, secure = url.hostname or "", url.scheme == "https"
        port = url.port or (443 if secure else 80)
        body, at = message.body.encode(), int(self._now())
        headers = {
            "content-type": "application/json",
            "user-agent": f"Purser/{__version__}",
            "webhook-id": message.id,
            "webhook-timestamp": str(at),
            "webhook-signature": sign(message.secret, message.id, at, body),
        }
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection = _connection(host, port, self._address(host, port), secure=secure)
        deadline = threading.Timer(_MOST_SECONDS, _cut, (connection,))
        deadline.start()
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read(_READ_BYTES)
            status = answer.status
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Undelivered(f"{host}:{port}: {str(error) or type(error).__name__}") from error
        finally:
            deadline.cancel()
            connection.close()
        if not 200 <= status < 300:
            where = ", and nothing is followed" if 300 <= status < 400 else ""
            raise Undelivered(f"it answers {status}{where}", status=status, final=status == 410)
        return status

    def _address(self, host: str, port: int) -> str:
        """One of the addresses of a name, all of which must be the public's."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            log.info("a webhook to %s: %s", host, error)
            raise Undelivered(f"{host} has no public address") from error
        addresses = [str(each[4][0]) for each in found]
        wrong = next((each for each in addresses if not (self._private or is_public(each))), None)
        if wrong is not None:
            log.info("a webhook to %s leads to %s", host, wrong)
            raise Undelivered(f"{host} has no public address")  # and no more is told: it may be a name of this network
        return addresses[0]


def _connection(host: str, port: int, address: str, *, secure: bool) -> http.client.HTTPConnection:
    """A connection to one address of a host, by whose name it is asked and its certificate checked."""

    def connect(_: tuple[str, int], timeout: float = _TIMEOUT_SECONDS, *__: object) -> socket.socket:
        return socket.create_connection((address, port), timeout)

    made = (
        http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context())
        if secure
        else http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    )
    made._create_connection = connect  # type: ignore[attr-defined]
    return made


def _cut(connection: http.client.HTTPConnection) -> None:
    """Whoever answers so slowly is not waited for."""
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
