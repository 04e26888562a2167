"""A browser for tests: it keeps cookies, follows redirects and sends the forms of a page; and a mailbox it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from purser.inbound.courier import Courier
from purser.outbound.mail import mail_by
from tests.inbound.house import Answer, Client, House
from tests.mailserver import MailServer, mail_server


class _Forms(HTMLParser):
    """The forms of a page, in order: what each sends where."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            assert given["method"] == "post"
            self.forms.append((given["action"], {}))
        if tag == "input":
            self.forms[-1][1][given["name"]] = given.get("value", "")


def forms_of(page: Answer) -> list[tuple[str, dict[str, str]]]:
    """Where the forms of a page go, and what they send as they stand."""
    found = _Forms()
    found.feed(page.text)
    return found.forms


class Door(Protocol):
    """Where browsers come in."""

    @property
    def nobody(self) -> Client:
        """Calls without a key."""


@dataclass
class Browser:
    """One visitor's browser."""

    house: Door
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookies: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def open(self, url: str) -> Answer:
        """Go to a page of ours."""
        parts = urlsplit(url)
        return self._follow("GET", f"{parts.path}?{parts.query}".rstrip("?"))

    def submit(self, page: Answer, action: str, *, n: int = 0, **fields: str) -> Answer:
        """Send the n-th form of a page that goes there, with these fields filled in."""
        sent = [each for where, each in forms_of(page) if where == action][n]
        return self.send(action, sent | fields)

    def send(self, path: str, fields: dict[str, str]) -> Answer:
        """Send a form that no page has."""
        return self._follow("POST", path, urlencode(fields).encode())

    def _follow(self, method: str, path: str, raw: bytes | None = None) -> Answer:
        for _ in range(5):
            headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **self.headers}
            if raw is not None:
                headers["content-type"] = "application/x-www-form-urlencoded"
            answer = self.house.nobody.call(method, path, raw=raw, headers=headers)
            self.keep(answer)
            if answer.status != 303:
                return answer
            method, path, raw = "GET", answer.headers["location"], None
        raise AssertionError("it leads round and round")

    def keep(self, answer: Answer) -> None:
        """Take up the cookies that an answer sets."""
        for line in answer.cookies:
            self.set_cookies.append(line)
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value


@dataclass
class Post:
    """The mail that a house sends, through a real server."""

    house: House
    server: MailServer

    def links(self, to: str) -> list[str]:
        """The links mailed to an address, after whatever is due is sent; the oldest first."""
        sender = mail_by(f"smtp://127.0.0.1:{self.server.port}", "purser@example.com")
        courier = Courier(self.house.db, self.house.queue.run, self.house.world, sender)
        while courier.deliver():
            pass
        mails = [mail for mail in self.server.mails if mail["To"] == to]
        return [found.group() for mail in mails if (found := re.search(r"https?://\S+", mail.get_content()))]


@contextmanager
def post_of(house: House) -> Iterator[Post]:
    """A mail server for a house."""
    with mail_server() as server:
        yield Post(house, server)


def sign_in(browser: Browser, post: Post, email: str) -> Answer:
    """Ask for a link, read the mail, and follow it; answers the page that it comes to."""
    answer = browser.submit(browser.open("/dashboard/sign-in"), "/dashboard/sign-in", email=email)
    assert answer.status == 200, answer.text
    return browser.submit(browser.open(post.links(email.strip().lower())[-1]), "/dashboard/link")
