"""Rendering: templates and the style sheet, and the headers under which every page is sent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(_HERE / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render_page(template: str, values: Mapping[str, object], status: int = 200) -> Response[str]:
    """A page from a template."""
    text = _environment().get_template(template).render(values)
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=HEADERS)


@cache
def read_style() -> bytes:
    """The style sheet."""
    return (_HERE / "static" / "style.css").read_bytes()
