"""Peers: other gateways, measured beside Purser where somebody has installed and started them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.gateways import Gateway

# Name, and the programs or modules by which it shows that it is installed.
_KNOWN = {
    "LiteLLM": ("litellm",),
    "Portkey": ("portkey-gateway", "portkey_gateway"),
    "experiential": ("experiential",),
}
PYTHON_VARIABLE = "PURSER_BENCH_PYTHON"  # the interpreter for peers that need a newer one than ours


class Missing(Exception):
    """A peer is not installed, or cannot be; says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway from a Python package, installed into an environment of its own below a folder of the user's choice."""

    name: str
    package: str
    requirements: tuple[str, ...]
    oldest_python: tuple[int, int]

    def python(self, folder: Path) -> Path:
        """Its interpreter; raises Missing where it is not installed."""
        found = folder / self.package / "bin" / "python"
        if not found.exists():
            raise Missing(f"{self.name} is not installed in {folder}: --install does it")
        return found

    def version(self, folder: Path) -> str:
        """The version installed; raises Missing where none is."""
        asked = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        told = subprocess.run([self.python(folder), "-c", asked], capture_output=True, text=True, check=False)
        if told.returncode:
            raise Missing(f"{self.name} is not whole in {folder}: --install does it again")
        return told.stdout.strip()

    def install(self, folder: Path) -> None:
        """Install it there; raises Missing with pip's last word where that fails."""
        place = folder / self.package
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([self._interpreter(), "-m", "venv", place], check=True)
        command: list[str | Path] = [
            place / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        told = subprocess.run([*command, *self.requirements], capture_output=True, text=True, check=False)
        if told.returncode:
            shutil.rmtree(place)
            last = [line for line in told.stderr.splitlines() if line.startswith("ERROR")][-1:]
            raise Missing(f"{self.name} cannot be installed: {' '.join(last) or told.stderr[-300:]}")

    def _interpreter(self) -> str:
        if sys.version_info[:2] >= self.oldest_python:
            return sys.executable
        names = [os.environ.get(PYTHON_VARIABLE), *(f"python3.{minor}" for minor in range(20, 11, -1))]
        for found in filter(None, (shutil.which(name) for name in names if name)):
            told = subprocess.run(
                [found, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
            )
            if not told.returncode and tuple(map(int, told.stdout.split())) >= self.oldest_python:
                return found
        needed = ".".join(map(str, self.oldest_python))
        raise Missing(f"{self.name} needs Python {needed} or newer: name one with {PYTHON_VARIABLE}")


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
