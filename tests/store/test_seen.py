"""What a machine has seen of a database: whatever an older one lacks is said, whatever goes on is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from purser.core.policy import Policy
from purser.inbound.world import ManualWorld
from purser.store.db import Database
from purser.store.seen import Seen, list_records
from purser.store.transaction import Tx
from purser.store.upgrade import upgrade
from purser.store.writers import Writer
from tests import databases

BYTES = {"sqlite": "zeroblob(32)", "postgresql": "'\\x00'::bytea"}


def nothing(_: Tx) -> None:
    """A heartbeat: nothing under the hash chain."""


def cover(tx: Tx) -> None:
    """Something under the hash chain."""
    tx.cover("something")


# (what an older database lacks, what makes it so, what is said)
LOST = [
    ("nothing", "SELECT 1", ""),
    ("the writer", "DELETE FROM writers", "is not there"),
    ("a heartbeat or a grant, which no chain covers", "UPDATE writers SET seq = seq - 1", "is at 2 there"),
    ("what another history has in its place", "UPDATE commits SET hash = {other}", "is another one there"),
    ("the commit", "DELETE FROM commits", "is another one there"),
]


@pytest.mark.parametrize("what, change, said", LOST, ids=[case[0] for case in LOST])
def test_what_an_older_database_lacks_is_said(tmp_path: Path, what: str, change: str, said: str) -> None:
    db = Database(databases.at(tmp_path / "purser.db"))
    upgrade(db)
    writer = Writer(db, ManualWorld(0), Policy(), host="here", pid=1)
    writer.keep(Seen(tmp_path / "seen", b"these books"))
    writer.run(cover)
    writer.run(nothing)
    writer.run(nothing)
    with db.engine.begin() as conn:
        conn.exec_driver_sql(change.format(other=BYTES[conn.dialect.name]))
    with db.read() as conn:
        (lost,) = Seen(tmp_path / "seen", b"these books").list_lost(conn) or [""]
        assert said in lost
        assert bool(lost) == bool(said)
        assert Seen(tmp_path / "seen", b"other books").list_lost(conn) == []
    writer._conn.close()
    db.dispose()


def test_what_power_left_half_written_says_nothing(tmp_path: Path) -> None:
    db = Database(databases.at(tmp_path / "purser.db"))
    upgrade(db)
    seen = Seen(tmp_path / "seen", b"these books")
    seen.note(7, 3, 1, bytes(32))
    seen.close()
    (file,) = (tmp_path / "seen").iterdir()
    whole = file.read_bytes()
    with db.read() as conn:
        assert len(Seen(tmp_path / "seen", b"these books").list_lost(conn)) == 1
        for torn in (whole[:-1], whole[:20], b"", b"\xff" + whole[1:]):
            file.write_bytes(torn)
            assert Seen(tmp_path / "seen", b"these books").list_lost(conn) == []
    db.dispose()


def test_what_another_process_forgets_meanwhile_is_gone(tmp_path: Path) -> None:
    """A link to nothing is there when files are listed, and not when they are read."""
    seen = Seen(tmp_path / "seen", b"these books")
    seen.note(7, 3, 1, bytes(32))
    seen.close()
    (file,) = (tmp_path / "seen").iterdir()
    file.with_name(file.name.replace("-7", "-6")).symlink_to(tmp_path / "nothing")
    assert [record.writer for record in list_records(tmp_path / "seen")] == [7]
