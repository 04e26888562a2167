"""A PostgreSQL server for the benchmarks: the one that PURSER_BENCH_POSTGRESQL names, else the tests' own on a disk."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

from bench.gateways import ROOT
from tests import postgres

VARIABLE = "PURSER_BENCH_POSTGRESQL"
_DISK = Path("/var/tmp")


class Missing(Exception):
    """There is no PostgreSQL to be found or started; says why."""


@contextmanager
def database() -> Iterator[str]:
    """A fresh database on a server whose data is on a disk, fsync on; answers its URL. Raises Missing."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        with _made_on(given) as url:
            yield url
        return
    with _started() as server, _made_on(server) as url:
        yield url


@contextmanager
def _made_on(server: str) -> Iterator[str]:
    name = f"purser_bench_{secrets.token_hex(4)}"
    admin = psycopg.connect(server, autocommit=True)
    admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        admin.close()


@contextmanager
def _started() -> Iterator[str]:
    guard = subprocess.Popen(
        [sys.executable, "-m", "bench.postgres"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    url = guard.stdout.readline().strip() if guard.stdout else ""
    try:
        if not url.startswith("postgresql://"):
            raise Missing(url)
        yield url
    finally:
        guard.communicate()  # its standard input ends, and with it the server


if __name__ == "__main__":
    # The tests keep their server's files in memory where there is room; here a commit is to cost what it costs.
    postgres._MEMORY, postgres._PLACES = _DISK, [_DISK]
    postgres.main({"autovacuum": "on", "max_wal_size": "1GB"})
