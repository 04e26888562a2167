"""A database on a PostgreSQL server of a test's own, and the server's processes stopped in their tracks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import sqlalchemy as sa

from tests.demo.program import descendants
from tests.postgres import Server


def database(server: Server, name: str) -> str:
    """A new database there; answers its URL."""
    with closing(psycopg.connect(server.url, autocommit=True)) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    return sa.make_url(server.url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Every process of the server stands still for a while; the operating system goes on taking its connections."""
    found: set[int] = set()
    while more := set(descendants(server.pid)) - found:  # one that was being started may have come meanwhile
        for pid in more:
            os.kill(pid, signal.SIGSTOP)
        found |= more
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)
