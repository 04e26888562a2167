"""How it is put together: the `purser` command, the serving process, its supervisor and the demo."""

from __future__ import annotations


def run() -> None:
    """The `purser` command; ends the process with its exit code."""
    from purser.inbound.cli.app import app, run_app
    from purser.main.commands import add_commands

    add_commands(app)
    raise SystemExit(run_app())
