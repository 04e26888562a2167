"""How it is put together: the `purser` command and the supervisor of its serving processes."""

from __future__ import annotations


def run() -> None:
    """The `purser` command; ends the process with its exit code."""
    from cyclopts import App

    from purser.inbound.cli.replay import replay

    app = App(name="purser", help="Purser, the billing desk for AI inference.")
    app.command(replay)
    app()
