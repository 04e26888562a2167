"""The command line as a person runs it: a process of its own, with or without a terminal around it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import purser
from tests.loaded import PROGRAM, run

SOURCES = str(Path(purser.__file__).parent.parent)
PATIENCE_SECONDS = 30
PROMPTS = (b"[y/N] ", b"API key: ")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Terminal:
    """A folder to work in and an environment of which nothing is inherited that Purser would read."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def using(self, **variables: str | int) -> Terminal:
        """The same terminal with more variables set."""
        return replace(self, variables={**self.variables, **{name: str(value) for name, value in variables.items()}})

    def environment(self) -> dict[str, str]:
        """What the program finds in its environment."""
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        fixed = {"PYTHONPATH": SOURCES, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config")}
        return {**inherited, **fixed, "TERM": "xterm-256color", **self.variables}

    def run(self, *arguments: object, typed: str = "") -> Done:
        """Run `purser` with these arguments, `typed` being what is piped into it; a traceback fails the test."""
        command = [*PROGRAM, *map(str, arguments)]
        done = run(command, env=self.environment(), cwd=self.folder, typed=typed, timeout=4 * PATIENCE_SECONDS)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object) -> str:
        """What a command that must succeed prints on stdout."""
        done = self.run(*arguments)
        assert done.code == 0, done
        return done.stdout

    def json(self, *arguments: object) -> Any:
        """The JSON that a command that must succeed prints."""
        return json.loads(self.ok(*arguments, "-o", "json"))

    def sit(self, *arguments: object, typed: str = "") -> tuple[int, str]:
        """Run `purser` on a terminal and type; answers the exit code and all that the screen was sent."""
        return on_screen([*PROGRAM, *map(str, arguments)], self.environment(), self.folder, typed)


def on_screen(command: Sequence[str], environment: dict[str, str], folder: Path, typed: str) -> tuple[int, str]:
    """Run a command on a pseudo-terminal, and type once it has asked: what is typed before that may be lost."""
    ours, its = pty.openpty()
    child = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    sent = b""
    while select.select([ours], [], [], PATIENCE_SECONDS)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is gone
            break
        sent += part
        if typed and sent.endswith(PROMPTS):
            os.write(ours, typed.encode())
            typed = ""
    child.kill()
    os.close(ours)
    return child.wait(), sent.decode()
