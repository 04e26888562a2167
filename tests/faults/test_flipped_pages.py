"""Bits flipped in PostgreSQL's own files while it is down: the server refuses the page, and the audit says so."""

from __future__ import annotations

import random
import signal
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from purser.inbound.cli.audit import _look
from purser.store.db import Database
from tests import postgres
from tests.demo.fleet import _CONFIG
from tests.demo.test_restore import refusal
from tests.faults import own
from tests.faults.flips import flipped
from tests.store.small_books import Books, tell_story

pytestmark = pytest.mark.postgresql
TABLES = ("rates", "usage_events", "headroom")


@pytest.fixture
def paths(server: postgres.Server, tmp_path: Path) -> tuple[str, dict[str, Path]]:
    """The URL of the small books, and the files of some tables."""
    url = own.database(server, "pages")
    told = Books(url)
    tell_story(told)
    told.close()
    with closing(psycopg.connect(url)) as conn:
        (folder,) = conn.execute("SHOW data_directory").fetchone() or ("",)
        (checksums,) = conn.execute("SHOW data_checksums").fetchone() or ("",)
        found = {name: conn.execute("SELECT pg_relation_filepath(%s)", [name]).fetchone() for name in TABLES}
    if checksums != "on":
        pytest.skip("this server was set up without checksums of its pages")
    return url, {name: Path(folder) / row[0] for name, row in found.items() if row is not None}


def test_a_page_with_a_flipped_bit_is_found(
    server: postgres.Server, paths: tuple[str, dict[str, Path]], tmp_path: Path
) -> None:
    url, files = paths
    chance = random.Random(7)
    assert _look(url)["violations"] == []
    for name, path in files.items():
        server.down(signal.SIGINT)  # with all that it had in memory written
        whole = path.read_bytes()
        at = chance.choice([at for at, byte in enumerate(whole[:8192]) if byte])
        path.write_bytes(flipped(whole, at, chance.randrange(8)))
        server.up()
        found = [each["message"] for each in _look(url)["violations"]]
        assert any("could not be checked to the end: invalid page in block 0" in message for message in found), name
        if name == "rates":
            (tmp_path / "purser.toml").write_text(_CONFIG.format(upstream="http://127.0.0.1:9/v1"))
            said = refusal(tmp_path, url)
            assert said.startswith(f"purser: the database {Database(url).name} cannot be used: invalid page"), said
        server.down(signal.SIGINT)
        path.write_bytes(whole)
        server.up()
    (told,) = _look(url)["violations"]
    assert "pages with a wrong checksum" in told["message"], "whole again, but the disk is not to be trusted"
    with closing(psycopg.connect(url, autocommit=True)) as conn:
        conn.execute("SELECT pg_stat_reset()")
    assert _look(url)["violations"] == []
