"""The vendored UI on the OpenAPI document: its files are as they were published, and the page asks nobody else."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import purser
from tests.inbound.house import House

pytestmark = pytest.mark.once
VENDORED = Path(purser.__file__).parent / "inbound" / "dashboard" / "static" / "vendor" / "swagger-ui"
# Of the package swagger-ui-dist, version 5.35.0.
PUBLISHED = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}


class Parts(HTMLParser):
    """What a page is made of: the addresses that it names, and what it carries within."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            if (address := given.get(name)) is not None:
                (self.linked if tag == "a" else self.loaded).append(address)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


def test_the_files_are_as_they_were_published_with_their_licences_beside() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDORED.iterdir()}
    assert found == PUBLISHED
    assert "Apache License" in (VENDORED / "LICENSE").read_text()


def test_the_page_names_no_outside_address_and_its_policy_allows_none(house: House) -> None:
    answer = house.nobody.get("/docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    parts = Parts(answer.text)
    assert parts.inline == []
    assert "//" not in answer.text
    for address in parts.loaded + parts.linked:
        assert re.fullmatch(r"/[^/].*", address), address
        assert house.nobody.get(address).status in (200, 401), address
    assert len(parts.loaded) == 4


def test_what_the_page_loads_is_served_from_here_and_loads_nothing_else(house: House) -> None:
    kinds = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
    for address in Parts(house.nobody.get("/docs").text).loaded:
        answer = house.nobody.get(address)
        assert (answer.status, answer.headers["content-type"]) == (200, kinds[address.rpartition(".")[2]])
        assert answer.headers["x-content-type-options"] == "nosniff"
        name = address.rpartition("/")[2]
        if name in PUBLISHED:
            assert hashlib.sha256(answer.raw).hexdigest() == PUBLISHED[name]
        if name.endswith(".css"):
            assert "@import" not in answer.text
            for target in re.findall(r"url\(\s*[\"']?([^\"')]{1,12})", answer.text):
                assert target.startswith("data:image/"), target
    ours = house.nobody.get("/docs/static/explorer.js").text
    assert "//" not in ours.replace("// Swagger UI on our own", "")
    assert 'url: "/openapi.json"' in ours
    assert "validatorUrl: null" in ours, "it would ask a server of its makers whether the document is valid"


@pytest.mark.parametrize("name", ["style.css", "LICENSE", "..%2Fstyle.css", "swagger-ui", "nothing.js"])
def test_nothing_else_is_served_there(house: House, name: str) -> None:
    answer = house.nobody.get(f"/docs/static/{name}")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
