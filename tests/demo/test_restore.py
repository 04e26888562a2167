"""A database restored from an old backup: it does not serve by itself, and when it is taken as it is the books hold."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from purser.store.db import Database
from tests import databases
from tests.demo.fleet import _CONFIG, _process
from tests.demo.program import PATIENCE, Program, environment, eventually
from tests.loaded import PROGRAM, run
from tests.ports import free_port

KEY = "op_" + "k" * 40
SERVE = [*PROGRAM, "serve"]


@contextmanager
def serving(data: Path, url: str, *options: str, code: int = 0) -> Iterator[Program]:
    """A server on a database; it is told to stop at the end, where it has not ended, with this exit code."""
    port, log = free_port(), data / "serve.log"
    with _process(
        [*SERVE, "--port", str(port), *options], data, log, PURSER_OPERATOR_KEY=KEY, PURSER_DATABASE_URL=url
    ) as process:
        details = {"base_url": f"http://127.0.0.1:{port}", "api_key": "", "operator_key": KEY}
        program = Program(process, details, data, log)
        assert eventually(lambda: "purser serves on" in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield program
        assert program.stop(signal.SIGTERM) == code


def refusal(data: Path, url: str, *options: str) -> str:
    """What a server says that does not start."""
    surroundings = environment() | {"PURSER_OPERATOR_KEY": KEY, "PURSER_DATABASE_URL": url}
    done = run([*SERVE, "--port", str(free_port()), *options], cwd=data, env=surroundings, timeout=60)
    assert done.returncode not in (0, -9), done
    assert "Traceback" not in done.stderr
    return done.stderr


def backed_up(data: Path, name: str) -> str:
    """A copy of the database as it is; answers its URL."""
    path = data / name
    if databases.is_sqlite():
        with closing(sqlite3.connect(data / "purser.db")) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
    return databases.at(path, like=data / "purser.db")


def restored(data: Path, url: str) -> str:
    """The database with a backup in its place; answers its URL."""
    if databases.is_sqlite():
        for end in ("", "-wal", "-shm"):
            (data / f"purser.db{end}").unlink(missing_ok=True)
        shutil.copyfile(data / "old.db", data / "purser.db")
        return f"sqlite:///{data / 'purser.db'}"
    return url


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.once), "2"])
def test_an_older_database_is_noticed_and_taken_only_when_told(tmp_path: Path, workers: str) -> None:
    (tmp_path / "purser.toml").write_text(_CONFIG.format(upstream="http://127.0.0.1:9/v1"))
    url, many = databases.at(tmp_path / "purser.db"), ("--workers", workers)
    with serving(tmp_path, url, *many) as program:
        program.open("ada", "5.00")
    with serving(tmp_path, url, *many) as program:
        program.open("bob")
    old = backed_up(tmp_path, "old.db")
    with serving(tmp_path, url, *many) as program:  # from where it was is where it goes on
        program.open("cyd")
    older = restored(tmp_path, old)
    said = refusal(tmp_path, older, *many)
    assert "has lost commits" in said
    assert "is not there" in said
    assert "--accept-loss" in said
    with serving(tmp_path, older, *many, "--accept-loss") as program:
        assert "given up: writer" in program.log
        assert program.violations() == []
        assert sorted(account["name"] for account in program.operate("GET", "/operator/v1/accounts")["accounts"]) == [
            "accounts/ada",
            "accounts/bob",
        ]
        program.open("acme")
    with serving(tmp_path, older, *many) as program:
        program.open("demo")
        assert eventually(lambda: program.violations() == [], PATIENCE)


def test_a_database_that_falls_back_under_a_living_process_stops_it(tmp_path: Path) -> None:
    (tmp_path / "purser.toml").write_text(_CONFIG.format(upstream="http://127.0.0.1:9/v1"))
    url = databases.at(tmp_path / "purser.db")
    with serving(tmp_path, url) as program:
        program.open("ada")
    port, log = free_port(), tmp_path / "again.log"
    with _process([*SERVE, "--port", str(port)], tmp_path, log, PURSER_OPERATOR_KEY=KEY, PURSER_DATABASE_URL=url) as it:
        assert eventually(lambda: "purser serves on" in log.read_text(), 60)
        db = Database(url)
        with db.engine.connect().execution_options(immediate=True) as conn, conn.begin():
            conn.exec_driver_sql("UPDATE writers SET seq = 0 WHERE state = 'open'")
        db.dispose()
        assert eventually(lambda: it.poll() is not None, 60)
        assert it.returncode == 70
        assert "has lost commits" in log.read_text()
