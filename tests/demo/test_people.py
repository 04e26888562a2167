"""Somebody signs in by mail at the real program, whichever of its workers answers, and is signed out again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.demo.program import demo, eventually
from tests.inbound.browser import Browser
from tests.inbound.house import Client

_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Street:
    """What a browser sees of the program."""

    nobody: Client


def mailed(folder: Path) -> list[str]:
    """The links in the mails that the program wrote."""
    found = [re.search(r"http://\S+/dashboard/link\?token=\w+", mail.read_text()) for mail in folder.glob("*")]
    return [each.group() for each in found if each is not None]


def test_signing_in_by_mail(tmp_path: Path) -> None:
    with demo(tmp_path, "--workers", "2") as program:
        port = program.port
        browser = Browser(Street(Client(port)))
        page = browser.submit(browser.open("/dashboard/sign-in"), "/dashboard/sign-in", email="demo@example.com")
        assert page.status == 200
        assert eventually(lambda: mailed(program.data / "mail"), _PATIENCE_SECONDS)
        (link,) = mailed(program.data / "mail")
        assert link.startswith(f"http://127.0.0.1:{port}/")
        assert "owner · demo" in browser.submit(browser.open(link), "/dashboard/link").text
        for _ in range(6):
            assert "owner · demo" in browser.open("/dashboard").text
            assert Browser(browser.house).open(link).status == 403
        copy = Browser(browser.house, dict(browser.cookies))
        browser.submit(browser.open("/dashboard"), "/dashboard/sign-out")
        assert [copy.open("/dashboard").status for _ in range(6)] == [401] * 6
        assert program.violations() == []
