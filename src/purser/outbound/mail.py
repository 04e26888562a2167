"""Mail: by SMTP to the operator's own server, or into a folder for whoever tries things out."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Callable
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from urllib.parse import unquote, urlsplit

from purser.core.address import is_email
from purser.core.message import MAIL
from purser.core.period import moment
from purser.outbound.messages import Message, Sender, Undelivered

log = logging.getLogger("purser.mail")
_TIMEOUT_SECONDS = 20
_LONGEST_LINE = 900  # of 998 that mail may have
_LOCAL = ("localhost", "127.0.0.1", "::1")


def compose(message: Message, sender: str) -> EmailMessage:
    """The mail, the same at every attempt, its Message-ID too; raises Undelivered where it cannot be one."""
    if not is_email(message.target):
        raise Undelivered(f"{message.target!r:.70} is not one mail address", final=True)
    mail = EmailMessage(policy=SMTP)
    try:
        name, address = parseaddr(sender)
        mail["From"], mail["To"] = Address(name, addr_spec=address), Address(addr_spec=message.target)
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(moment(message.written_at))
        mail["Message-ID"] = f"<{message.id}@{address.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        plain = message.body.isascii() and all(len(line) <= _LONGEST_LINE for line in message.body.splitlines())
        # Left as it is where that will do, so that a long link can be read and copied from the mail's file.
        mail.set_content(message.body, cte="7bit" if plain else None)
        mail.as_bytes()  # what cannot be written out is found here
    except Exception as error:  # the library raises whatever it stumbles over
        raise Undelivered(f"no mail can be made of it: {error}", final=True) from error
    return mail


def _leave(server: smtplib.SMTP) -> None:
    """Say goodbye: whatever is answered, the mail is taken or refused by now."""
    try:
        server.quit()
    except (OSError, smtplib.SMTPException) as error:
        log.debug("a mail server ended badly: %s", error)
    finally:
        server.close()


class SmtpMail:
    """Sends through one SMTP server: smtps://user:password@host:465, or smtp://host:587 with STARTTLS.

    Over smtp:// a password is sent only after STARTTLS, or to this machine itself.
    """

    kind = MAIL
    at_once = 1

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        self._host, self._wrapped = parts.hostname or "", parts.scheme == "smtps"
        self._port = parts.port or (465 if self._wrapped else 587 if parts.username else 25)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender = sender

    def send(self, message: Message) -> int | None:
        """Hand one mail to the server; raises Undelivered, final where it refuses this address or this mail."""
        mail = compose(message, self._sender)
        try:
            server = self._connect()
            try:
                server.send_message(mail)
            finally:
                _leave(server)
        except smtplib.SMTPRecipientsRefused as refused:
            status, words = next(iter(refused.recipients.values()))
            raise _refused(status, words, final=status >= 500) from None
        except smtplib.SMTPDataError as refused:
            raise _refused(refused.smtp_code, refused.smtp_error, final=refused.smtp_code >= 500) from None
        except smtplib.SMTPResponseException as refused:
            raise _refused(refused.smtp_code, refused.smtp_error, final=False) from None
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(f"the mail server at {self._host}:{self._port}: {error}") from error
        return 250

    def _connect(self) -> smtplib.SMTP:
        secure = ssl.create_default_context()
        if self._wrapped:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_SECONDS, context=secure)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            server.ehlo_or_helo_if_needed()
            if not self._wrapped and server.has_extn("starttls"):
                if self._host in _LOCAL:  # nobody has a certificate for it
                    secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
                server.starttls(context=secure)
            elif self._user and not self._wrapped and self._host not in _LOCAL:
                raise smtplib.SMTPException("it offers no STARTTLS, so the password is not sent; use smtps://")
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server


def _refused(status: int, words: bytes | str, *, final: bool) -> Undelivered:
    said = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return Undelivered(f"the mail server says {status} {said[:200]}", status=status, final=final)


class FolderMail:
    """Writes every mail as a file into a folder, and a line about it into the log."""

    kind = MAIL
    at_once = 1

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder, self._sender = folder, sender

    def send(self, message: Message) -> int | None:
        """Write one mail; the same one again is the same file."""
        path = self._folder / f"{message.id}.eml"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(compose(message, self._sender).as_bytes())
        except OSError as error:
            raise Undelivered(str(error)) from error
        log.info("mail to %s: %s (%s)", message.target, message.subject, path)
        return None


_BY_SCHEME: dict[str, Callable[[str, str], Sender]] = {
    "smtp": SmtpMail,
    "smtps": SmtpMail,
    "file": lambda url, sender: FolderMail(Path(unquote(urlsplit(url).path)), sender),
}


def mail_by(url: str, sender: str) -> Sender:
    """The way that a setting such as "smtp://mail.example.com" asks for; `sender` is the From of every mail."""
    return _BY_SCHEME[urlsplit(url).scheme](url, sender)
