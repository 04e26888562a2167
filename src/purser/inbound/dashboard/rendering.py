"""Rendering: templates, scripts and style sheets, and the headers under which every page is sent."""

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
# For a page with scripts: its own, which may ask this server alone. The pictures of its style sheet are in that sheet.
SCRIPTED = _POLICY.replace("img-src 'self'", "script-src 'self'; connect-src 'self'; img-src 'self' data:")
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


def render_page(
    template: str, values: Mapping[str, object], status: int = 200, *, policy: str = _POLICY
) -> Response[str]:
    """A page from a template."""
    text = _environment().get_template(template).render(values)
    headers = {**HEADERS, "content-security-policy": policy}
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=headers)


@cache
def read_static(name: str) -> bytes:
    """A script or style sheet, of ours or of the vendored UI."""
    folder = _HERE / "static"
    own = folder / name
    return (own if own.exists() else folder / "vendor" / "swagger-ui" / name).read_bytes()
