"""The commands that only this package can put together: `purser serve`, `purser demo` and `purser simulate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    import socket

    from purser.settings import Settings


def add_commands(app: App) -> None:
    """Register the commands that only this package can put together."""
    app.command(serve)
    app.command(demo)
    app.command(simulate, group="Try it out")


def serve(
    *,
    config: Annotated[Path | None, Parameter(help="purser.toml (default: PURSER_CONFIG, else ./purser.toml)")] = None,
    host: Annotated[str | None, Parameter(help="address to listen on")] = None,
    port: Annotated[int | None, Parameter(help="port to listen on")] = None,
    workers: Annotated[int | None, Parameter(help="serving processes")] = None,
    database_url: Annotated[
        str | None, Parameter(help="such as sqlite:///purser.db or postgresql://user@host/purser")
    ] = None,
    clock: Annotated[
        str | None, Parameter(help="system, or manual (billing time stands still until it is set)")
    ] = None,
    clock_start: Annotated[str | None, Parameter(help="where a manual clock starts, RFC 3339")] = None,
    accept_loss: Annotated[
        bool, Parameter(negative="", help="start on a database that is older than it was, and close its writers")
    ] = False,
) -> int:
    """Run the gateway and the control plane until Ctrl-C.

    What it has to say goes to stderr, one line an event.
    """
    overrides: dict[str, Any] = {
        "host": host,
        "port": port,
        "workers": workers,
        "database_url": database_url,
        "clock": clock,
        "clock_start": clock_start,
    }
    given = {name: value for name, value in overrides.items() if value is not None}
    return run_server(config, given, take_older=accept_loss)


def run_server(config: Path | None, overrides: dict[str, Any], *, take_older: bool = False) -> int:
    """Load the settings and serve, alone or with several workers; answers the exit code."""
    from purser import settings as loading

    try:
        settings = loading.load(loading.find_config(config, os.environ), os.environ, overrides)
    except loading.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    from purser.main.log import set_up_log
    from purser.store.db import told_when_unusable

    set_up_log()
    with told_when_unusable(settings.database_url):
        return _run_server(settings, take_older)


def _run_server(settings: Settings, take_older: bool) -> int:
    from purser.main.process import accept_loss, check_database, listen

    if take_older:
        accept_loss(settings)
    check_database(settings)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        print(f"purser: cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)
        return 1
    ready = f"purser serves on http://{settings.host}:{listener.getsockname()[1]} (Ctrl-C ends it)"
    return serve_settings(settings, listener, lambda: print(ready, file=sys.stderr, flush=True))


def serve_settings(settings: Settings, listener: socket.socket, on_ready: Callable[[], None]) -> int:
    """Serve on a socket, in this process or in several workers; answers the exit code."""
    from purser.inbound.api import create_routes
    from purser.main.process import serve_until_stopped
    from purser.main.supervisor import Supervisor
    from purser.store.db import told_when_unusable

    routes = create_routes()  # they take a good deal of a start: workers find them made

    def serve() -> None:
        with told_when_unusable(settings.database_url):
            serve_until_stopped(settings, listener, routes)

    if settings.workers == 1:
        serve_until_stopped(settings, listener, routes, on_ready=on_ready)
        return 0
    return Supervisor(serve, listener, settings.workers).run(on_ready)


def demo(
    *,
    host: Annotated[str, Parameter(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="port to listen on")] = 8080,
    workers: Annotated[int, Parameter(help="serving processes")] = 1,
    clock: Annotated[str, Parameter(help="system or manual")] = "system",
    clock_start: Annotated[
        str | None, Parameter(help="where a manual clock starts, RFC 3339; goes with --clock manual")
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="a folder to keep the demo's database in; a later start goes on from there")
    ] = None,
    credentials: Annotated[
        Path | None, Parameter(help="also write address and keys to this file, as JSON, once it is ready")
    ] = None,
) -> int:
    """Run everything at once: a small model server, the gateway, and a demo account with its $1.00 of credit.

    The keys, the dashboard's link and a command to paste go to stdout.
    """
    from purser.main.demo import Demo

    return Demo(host, port, workers, clock, clock_start, data, credentials).run()


def simulate(
    *,
    seeds: Annotated[int, Parameter(help="how many runs")] = 100,
    first: Annotated[int, Parameter(name="--from", help="the first run's seed; the others follow it")] = 1,
    seed: Annotated[int | None, Parameter(help="run this one seed again and print all that happens")] = None,
    only: Annotated[str | None, Parameter(help="of that seed's plan only these items, as in 3,17,21")] = None,
    steps: Annotated[int | None, Parameter(help="of that seed only so many steps")] = None,
) -> int:
    """Run real gateways, store and flows in a simulated world where processes die, messages get lost and clocks jump.

    Every commit is checked against the invariants. A run that breaks one is told as the shortest story found that
    does; from 100 runs on also a situation that never came up is a failure.
    """
    from purser.main.simulate import run_again, run_seeds

    if seeds < 1 or (steps is not None and steps < 0):
        print("purser simulate: --seeds must be at least 1, --steps at least 0", file=sys.stderr)
        return 2
    if only is not None and not all(part.isdecimal() for part in only.split(",") if part):
        print(
            f"purser simulate: --only must be numbers of a plan's items, as in 3,17,21, not {only!r:.60}",
            file=sys.stderr,
        )
        return 2
    if seed is None and (only is not None or steps is not None):
        print("purser simulate: --only and --steps go with --seed", file=sys.stderr)
        return 2
    return run_seeds(seeds, first) if seed is None else run_again(seed, only, steps)
