"""Peers: other gateways, measured beside Purser where somebody has installed and started them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence

from bench.gateways import Gateway

# Name, and the programs or modules by which it shows that it is installed.
_KNOWN = {
    "LiteLLM": ("litellm",),
    "Portkey": ("portkey-gateway", "portkey_gateway"),
    "experiential": ("experiential",),
}


def installed() -> list[str]:
    """The peers found on this machine."""
    return [
        name
        for name, marks in _KNOWN.items()
        if any(shutil.which(mark) or (mark.isidentifier() and importlib.util.find_spec(mark)) for mark in marks)
    ]


def remarks(given: Sequence[Gateway], model_server_url: str) -> Iterator[str]:
    """A line about every peer that is not measured, and why."""
    found, measured = installed(), {gateway.name.lower() for gateway in given}
    for name in _KNOWN:
        if name.lower() in measured:
            continue
        if name in found:
            yield f"{name} is installed: start it in front of {model_server_url}/v1 and name it with --peer"
        else:
            yield f"{name} is not installed, left out"


def read_peer(text: str) -> Gateway:
    """A peer as given: NAME=URL,PID,KEY; raises ValueError where it is not like that."""
    name, _, rest = text.partition("=")
    url, pid, key = [*rest.split(","), "bench"][:3]
    if not name or not url.startswith("http://"):
        raise ValueError(text)
    return Gateway(name, url.rstrip("/"), int(pid), key)
