"""TLS as real servers speak it: mail and webhooks go only to whom a trusted certificate names, else later."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from purser.core.letters import Letter
from purser.core.message import MAIL, PENDING, SENT, WAITS
from purser.core.policy import Policy
from purser.flows import outbox
from purser.inbound.courier import Courier
from purser.outbound.mail import SmtpMail
from purser.outbound.messages import Message, Sender, Undelivered
from purser.outbound.webhook import HttpWebhooks
from purser.store import outbox as rows
from purser.store.db import Row
from tests.inbound.house import House
from tests.mailserver import MailServer, mail_server
from tests.receiver import receiver

AUTHORITY = trustme.CA()
HOST = "127.0.0.2"  # with this machine's own names STARTTLS asks for no certificate
ADA = "ada@example.com"
FROM = "Purser <billing@example.com>"
WAYS = ("smtps", "starttls", "https")


def certificate(*names: str, expired: bool = False) -> ssl.SSLContext:
    """What a server needs to be one of these names."""
    until = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names, not_after=until).configure_cert(made)
    return made


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority of the certificates is one that this machine trusts."""
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@dataclass
class Way:
    """A sender to a real server, where it sends to, and what came in there."""

    sender: Sender
    target: str
    arrived: list[object]
    server: MailServer | None = None

    def send(self) -> int | None:
        return self.sender.send(Message("msg_1", self.target, "Hello", "{}", 0, b"secret"))


@contextmanager
def way(kind: str, context: ssl.SSLContext, host: str = HOST) -> Iterator[Way]:
    """One of WAYS to a server with this certificate."""
    if kind == "https":
        with receiver(host, context) as program:
            yield Way(HttpWebhooks(private=True), program.url, program.got)  # type: ignore[arg-type]
        return
    wrapped = {"wrapped" if kind == "smtps" else "starttls": context}
    with mail_server(host, **wrapped) as server:
        scheme = "smtps" if kind == "smtps" else "smtp"
        sender = SmtpMail(f"{scheme}://billing:secret@{host}:{server.port}", FROM)
        yield Way(sender, ADA, server.mails, server)  # type: ignore[arg-type]


@pytest.mark.once
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", WAYS)
def test_whom_a_trusted_certificate_names_gets_it(kind: str) -> None:
    with way(kind, certificate(HOST)) as to:
        assert to.send() in (250, 204)
        assert len(to.arrived) == 1
        if to.server is not None:
            assert to.server.logins == [("billing", "secret")]


@pytest.mark.once
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", WAYS)
def test_a_certificate_may_name_a_host_by_its_name(kind: str) -> None:
    with way(kind, certificate("localhost"), "localhost") as to:
        assert to.send() in (250, 204)


@pytest.mark.once
@pytest.mark.parametrize("kind", WAYS)
def test_an_untrusted_certificate_is_refused_for_now(kind: str) -> None:
    with way(kind, certificate(HOST)) as to:
        with pytest.raises(Undelivered, match=rf"{HOST}:\d+.*certificate verify failed: unable to get local") as failed:
            to.send()
        assert (failed.value.final, failed.value.status, to.arrived) == (False, None, [])
        assert to.server is None or to.server.logins == []


@pytest.mark.once
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize(
    ("context", "why"),
    [
        (certificate("127.0.0.3", "mail.example.com"), f"certificate is not valid for '{HOST}'"),
        (certificate(HOST, expired=True), "certificate has expired"),
    ],
    ids=["of another host", "expired"],
)
def test_a_certificate_that_does_not_fit_is_refused_for_now(kind: str, context: ssl.SSLContext, why: str) -> None:
    with way(kind, context) as to:
        with pytest.raises(Undelivered, match=why) as failed:
            to.send()
        assert (failed.value.final, to.arrived) == (False, [])
        assert to.server is None or to.server.logins == []


@pytest.mark.once
def test_starttls_to_this_machine_itself_asks_for_no_certificate_and_smtps_does() -> None:
    with way("starttls", certificate("mail.example.com"), "127.0.0.1") as to:
        assert to.send() == 250
    with way("smtps", certificate("mail.example.com"), "127.0.0.1") as to, pytest.raises(Undelivered, match="verify"):
        to.send()


@pytest.mark.parametrize("kind", WAYS)
def test_what_was_refused_for_a_certificate_goes_out_later_once_it_is_trusted(
    house: House, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open("ada")
    house.writer.policy = Policy(webhook_private_addresses=True)
    with way(kind, certificate(HOST)) as to:
        courier = Courier(house.db, house.queue.run, house.world, to.sender)
        target = ADA
        if to.sender.kind == MAIL:
            letter = Letter("Hello", "Hello.\n")
            house.queue.run(lambda tx: outbox.write_mail(tx, "ada", "test", "one", ADA, letter))
        else:
            made = house.operator.post("/v1/accounts/ada/webhookEndpoints", {"url": to.target})
            target = made.json["id"]
            house.queue.run(lambda tx: outbox.tell(tx, "ada", "invoice.paid", "one", {}))
        while courier.deliver():
            continue
        waiting = [row for row in listed(house, target) if "certificate verify failed" in str(row.failure)]
        assert waiting
        assert {row.state for row in waiting} == {PENDING}
        assert to.arrived == []
        request.getfixturevalue("trusted")
        due = house.world.wall() + WAITS[0]
        monkeypatch.setattr(house.world, "wall", lambda: due)
        while courier.deliver():
            continue
        assert len(to.arrived) == len(waiting)
        assert {row.state for row in listed(house, target)} == {SENT}


def listed(house: House, target: str) -> list[Row]:
    with house.db.read() as conn:
        return rows.list_for(conn, "ada", target, 100)
