"""One serving process: database, writer, gateway, control plane and worker behind one port, until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import resource
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import uvloop
from litestar import Litestar

from purser.core.errors import Unavailable
from purser.core.policy import Policy
from purser.flows import access, closing, setup
from purser.flows.queue import WriteQueue
from purser.gateway.app import Gateway
from purser.gateway.models import serve_models
from purser.gateway.paths import is_data_plane, speaks_anthropic
from purser.gateway.refusals import in_anthropics_shape
from purser.http.asgi import answer_with
from purser.http.exchange import Exchange
from purser.http.head import Headers
from purser.http.limits import Limits
from purser.http.problem import refuse_in_problem
from purser.http.server import Server, refuse_in_json
from purser.inbound.api import create_app
from purser.inbound.courier import Courier
from purser.inbound.desk import Desk, IdentityProvider
from purser.inbound.worker import Worker
from purser.inbound.world import ManualWorld, SystemWorld
from purser.outbound.mail import mail_by
from purser.outbound.messages import Sender
from purser.outbound.testpay import TestProvider
from purser.outbound.webhook import HttpWebhooks
from purser.settings import Settings, SettingsError
from purser.store import seen
from purser.store.db import Database, until_unlocked
from purser.store.inspection import OURS, whose_tables
from purser.store.seen import Seen
from purser.store.upgrade import upgrade
from purser.store.writers import Writer, list_steps

log = logging.getLogger("purser")
_FATAL_EXIT = 70


def make_world(settings: Settings, db: Database) -> SystemWorld:
    """The clock that the settings ask for; a manual one goes on from where the database keeps it."""
    if settings.clock != "manual":
        return SystemWorld()
    started = SystemWorld().wall() if settings.clock_start_at is None else settings.clock_start_at
    world = ManualWorld(started)
    world.reload(db)
    return world


def open_books(settings: Settings) -> tuple[Database, SystemWorld, Policy]:
    """The database with its tables brought up to date, the clock, and the rules."""
    db = Database(settings.database_url)
    until_unlocked(lambda: upgrade(db))
    return db, make_world(settings, db), settings.policy()


def check_database(settings: Settings) -> None:
    """Look before anything starts whether a database that should be there can be opened, and is no older than it was.

    Raises Unavailable.
    """
    db = Database(settings.database_url)
    if not db.is_sqlite or db.path.exists():
        until_unlocked(db.reach)
        until_unlocked(lambda: look_back(db))
    elif (folder := seen.folder_of(db)) is not None and seen.list_records(folder):
        raise Unavailable(
            f"the database {db.name} is gone: {folder} says that it was there. Restore it; or, as what is lost "
            "cannot be billed, begin a new one: purser serve --accept-loss"
        )
    db.dispose()


def find_seen(db: Database) -> Seen | None:
    """What this machine has seen of a database; None where that is kept nowhere."""
    folder = seen.folder_of(db)
    if folder is None:
        return None
    before = seen.list_records(folder) if db.is_sqlite else ()  # whoever wrote there knew the identity by then
    with db.read() as conn:
        identity = access.pepper(conn) if whose_tables(conn) == OURS else b""
    return Seen(folder, identity, before) if identity or before else None


def look_back(db: Database) -> None:
    """Raises Unavailable where the database is older than it was seen: commits that were acknowledged are lost."""
    found = find_seen(db)
    if found is None:
        return
    with db.read() as conn:
        lost = found.list_lost(conn)
    if lost:
        raise Unavailable(
            f"the database {db.name} has lost commits, as one restored from an old backup has: {'; '.join(lost)}. "
            "Restore a newer one; or, as what is lost cannot be billed, take it as it is: purser serve --accept-loss"
        )


def accept_loss(settings: Settings) -> None:
    """Take a database as it is, whatever of it was seen before: what is lost is lost, and every writer is closed."""
    db, world, policy = open_books(settings)
    found = find_seen(db)
    with db.read() as conn:
        were_open = list_steps(conn)
        for words in found.list_lost(conn) if found is not None else ():
            log.error("given up: %s", words)
    if found is not None:
        found.forget_all()
    writer = open_writer(db, world, policy)
    for other in were_open:
        writer.run(lambda tx, other=other: closing.close_restored(tx, other))  # type: ignore[misc]
    writer.close()
    db.dispose()


def open_writer(db: Database, world: SystemWorld, policy: Policy) -> Writer:
    """A writer of this process."""
    return Writer(db, world, policy, host=platform.node() or "localhost", pid=os.getpid())


def prepare(settings: Settings, queue: WriteQueue, more: Mapping[str, dict[str, str]] | None = None) -> None:
    """Set up what a new database needs, with `more` prices than the settings have; nothing where it is there."""
    queue.run(lambda tx: setup.prepare(tx, {**settings.prices(), **(more or {})}, settings.operator_key))


def keep_seen(db: Database, writer: Writer) -> None:
    """Have a writer note beside the database how far it has come; where that cannot be written it goes without."""
    kept = find_seen(db)
    if kept is None:
        return
    try:
        writer.keep(kept)
        with db.read() as conn:
            kept.forget_closed(conn)
    except OSError as error:
        log.warning("an older database will not be noticed here: %s", error)


@dataclass(slots=True)
class Running:
    """What a serving process has open, in the order in which it is closed."""

    server: Server
    gateway: Gateway
    worker: Worker
    couriers: list[Courier]
    working: list[threading.Thread]
    queue: WriteQueue
    writer: Writer
    db: Database


def die(error: BaseException) -> None:
    """The books can no longer be written with certainty: stop at once rather than guess."""
    log.critical("stopping: %s", error)
    os._exit(_FATAL_EXIT)


def refuse(status: int, code: str, message: str, target: bytes) -> tuple[Headers, bytes]:
    """What the server itself refuses, in the shape of the plane that the request was meant for."""
    path = target.partition(b"?")[0].decode("latin-1")
    in_shape = refuse_in_json if not path or is_data_plane(path) else refuse_in_problem
    headers, body = in_shape(status, code, message, target)
    return headers, in_anthropics_shape(status, body) if speaks_anthropic(path) else body


async def start(settings: Settings, sockets: Sequence[socket.socket], routes: Litestar) -> Running:
    """Start serving on the given sockets, with the control plane's routes, which nobody else has."""
    db, world, policy = open_books(settings)
    until_unlocked(lambda: look_back(db))
    writer = open_writer(db, world, policy)
    hearers: list[Callable[[set[str]], None]] = []

    def on_touched(touched: set[str]) -> None:
        for hear in hearers:
            hear(touched)

    queue = WriteQueue(writer, on_touched=on_touched, on_fatal=die)
    await asyncio.to_thread(prepare, settings, queue)
    keep_seen(db, writer)
    reload_clock = (lambda: world.reload(db)) if isinstance(world, ManualWorld) else (lambda: None)
    public_url = settings.public_url or f"http://{settings.host}:{sockets[0].getsockname()[1]}"
    gateway = Gateway(
        db,
        queue,
        world,
        policy,
        serve_models(settings.models, settings.upstream_connect_timeout_seconds),
        resolve_url=f"{public_url}/dashboard",
        trusted_proxies=settings.trusted_proxies,
        reload_clock=reload_clock,
    )
    hearers.append(gateway.on_touched)
    worker = Worker(db, queue.run, world, TestProvider(), policy)
    counts = gateway.count_control_request, gateway.recent_requests, gateway.counters.ended
    desk = Desk(
        *(db, queue, world, policy, worker, gateway.held_by_month, *counts),
        public_url=public_url,
        trusted_proxies=settings.trusted_proxies,
        identity=make_identity(settings),
        key_checks=gateway.key_checks,
    )
    control = answer_with(create_app(desk, routes))

    async def answer(exchange: Exchange) -> None:
        if gateway.takes(exchange.request):
            await gateway.answer(exchange)
        else:
            await control(exchange)

    limits = Limits(max_body_bytes=settings.max_body_mib * 1024 * 1024, max_connections=settings.max_connections)
    server = Server(answer, at_once=gateway.at_once, limits=limits, refuse=refuse)
    await server.start(sockets=sockets)
    couriers = [Courier(db, queue.run, world, sender) for sender in make_senders(settings)]
    working = [threading.Thread(target=worker.run, name="purser-worker", daemon=True)]
    working += [threading.Thread(target=each.run, name="purser-courier", daemon=True) for each in couriers]
    for thread in working:
        thread.start()
    _spare_the_collector()
    return Running(server, gateway, worker, couriers, working, queue, writer, db)


def make_identity(settings: Settings) -> IdentityProvider | None:
    """Where people may sign in beside their mail, if the settings name such a place; raises SettingsError."""
    if settings.oidc_issuer is None:
        return None
    try:
        from purser.outbound.oidc import OidcProvider
    except ImportError:
        raise SettingsError(("oidc_issuer needs the package PyJWT: pip install 'purser[oidc]'",)) from None
    return OidcProvider(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret)


def make_senders(settings: Settings) -> list[Sender]:
    """Who carries messages out: mail only where the settings say by which way."""
    senders: list[Sender] = [HttpWebhooks(private=settings.webhook_private_addresses)]
    if settings.mail_url is not None:
        senders.append(mail_by(settings.mail_url, settings.mail_from))
    else:
        log.warning("no mail goes out: set mail_url")
    return senders


def _spare_the_collector() -> None:
    """What was made by now stays; a request makes little that reference counts do not free, so look for it seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def stop(running: Running, grace_seconds: float) -> None:
    """End gracefully: running requests finish and settle, leases go back, the writer closes."""
    await running.server.close(grace_seconds)
    await running.gateway.close()
    running.worker.stop()
    for courier in running.couriers:
        courier.stop()
    for thread in running.working:  # it may be in the middle of what is due, and needs the queue for that
        await asyncio.to_thread(thread.join)
    await asyncio.to_thread(running.queue.stop)
    running.writer.close()
    running.db.dispose()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError where the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def raise_file_limit() -> None:
    """Let this process open as many files as it may: every connection is one, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_cores() -> None:
    """Have this process's threads wait for their turn on a core, where the system can and nothing else was asked for.

    Of the event loop and the writer one always waits for the other. Who is woken interrupts who is at work by default,
    only to find the interpreter taken; to Linux this says not to, as to anything that computes much.
    """
    if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
        try:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        except OSError as error:
            log.info("threads interrupt each other: %s", error)


def serve_until_stopped(
    settings: Settings, listener: socket.socket, routes: Litestar, *, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT, with routes from `create_routes`."""
    raise_file_limit()
    share_cores()

    async def run() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopped.set)
        running = await start(settings, [listener], routes)
        on_ready()
        await stopped.wait()
        await stop(running, settings.shutdown_grace_seconds)

    uvloop.run(run())
