"""Bits flipped in a SQLite file, wherever: found, refused in a sentence, or nothing that anybody's money depends on."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests import databases
from tests.demo.fleet import _CONFIG
from tests.demo.program import environment
from tests.demo.test_restore import refusal, serving
from tests.faults.flips import FOUND, MISSED, REFUSED, SAME, flipped, places, try_places
from tests.loaded import PROGRAM, run

pytestmark = pytest.mark.sqlite
_WAL_HEADER, _FRAME = 32, 24 + 4096


def test_a_bit_flipped_anywhere_is_found_or_changes_nothing_that_matters(copied: Path, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for at, bit, came in try_places(copied, tmp_path, places(copied.read_bytes(), random.Random(7), 1)):
        counts[came] += 1
        assert came != MISSED, f"bit {bit} of byte {at}"
    assert {FOUND, REFUSED, SAME} <= set(counts), "else the flips were not where they should be"
    assert counts[FOUND] > counts[SAME]


# In the header, in the page of the tables' definitions, and in some table's first page.
@pytest.mark.parametrize(("at", "bit"), [(0, 0), (16, 4), (28, 1), (100, 2), (4096, 2), (4099, 2)])
def test_what_a_damaged_file_is_told_by_is_a_sentence(copied: Path, tmp_path: Path, at: int, bit: int) -> None:
    path = tmp_path / "purser.db"
    path.write_bytes(flipped(copied.read_bytes(), at, bit))
    command = [*PROGRAM, "audit", "--database-url", f"sqlite:///{path}"]
    done = run(command, cwd=tmp_path, env=environment())
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr + done.stdout
    assert "file" in done.stdout or "cannot be read" in done.stderr


@pytest.mark.parametrize(("at", "bit"), [(0, 0), (18, 2), (100, 2), (4099, 2)])
def test_nobody_serves_on_a_damaged_file(copied: Path, tmp_path: Path, at: int, bit: int) -> None:
    (tmp_path / "purser.toml").write_text(_CONFIG.format(upstream="http://127.0.0.1:9/v1"))
    path = tmp_path / "purser.db"
    path.write_bytes(flipped(copied.read_bytes(), at, bit))
    said = refusal(tmp_path, f"sqlite:///{path}")
    assert said.startswith(f"purser: the database {path} cannot be "), said
    assert said.count("\n") == 1


def test_a_version_that_was_flipped_is_found_and_said(copied: Path, tmp_path: Path) -> None:
    """The tables are new already, so that bringing them up to date fails."""
    (tmp_path / "purser.toml").write_text(_CONFIG.format(upstream="http://127.0.0.1:9/v1"))
    path = tmp_path / "purser.db"
    path.write_bytes(copied.read_bytes())
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("UPDATE alembic_version SET version_num = '0004'")
    said = refusal(tmp_path, f"sqlite:///{path}")
    assert said.startswith(f"purser: the database {path} cannot be used: table claims already exists"), said


def test_commits_lost_with_a_damaged_log_are_missed(tmp_path: Path) -> None:
    """SQLite takes a log up to its first wrong checksum for whole; what this machine has seen says that it is not."""
    (tmp_path / "purser.toml").write_text(_CONFIG.format(upstream="http://127.0.0.1:9/v1"))
    path, log = tmp_path / "purser.db", tmp_path / "purser.db-wal"
    url = databases.at(path)
    with serving(tmp_path, url, code=-signal.SIGKILL) as program:
        frame = (log.stat().st_size - _WAL_HEADER) // _FRAME  # the first of what comes now
        program.open("ada", "5.00")
        program.process.send_signal(signal.SIGKILL)
        program.process.wait(10)
    before = path.read_bytes(), log.read_bytes()

    def put_back() -> None:
        path.write_bytes(before[0])
        log.write_bytes(before[1])
        path.with_name("purser.db-shm").unlink(missing_ok=True)

    for damaged in (0, frame // 2, frame):
        put_back()
        log.write_bytes(flipped(before[1], _WAL_HEADER + damaged * _FRAME + 29, 3))
        assert "has lost commits" in refusal(tmp_path, url), damaged
    path.unlink()
    log.unlink(missing_ok=True)
    assert "is gone" in refusal(tmp_path, url)
    put_back()
    with serving(tmp_path, url) as program:
        assert program.balance("ada")["creditUsd"] == "5.00"
        assert program.violations() == []
