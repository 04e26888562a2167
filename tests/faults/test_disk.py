"""A disk that is full, or does not keep what it is given: the process stops, and all that it acknowledged is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from tests.demo.fleet import fleet
from tests.demo.load import Load
from tests.demo.program import PATIENCE, Program, eventually
from tests.demo.test_fleet import holding, insist, spend_the_rest
from tests.demo.test_restore import refusal, serving
from tests.faults.faulty_machine import takes_filters

pytestmark = pytest.mark.sqlite  # on PostgreSQL the disk is the server's affair: it stops, and is waited for
_SCRIPT = Path(__file__).with_name("faulty_machine.py")
_FATAL = 70
_FULL = "fail ENOSPC pwrite64 ftruncate fallocate"
_UNSAFE = "fail EIO fsync fdatasync"


def tell(folder: Path, program: Program, line: str) -> None:
    """Have a process's machine fail, and wait until it does."""
    order = folder / str(program.process.pid)
    order.with_suffix(".new").write_text(line)
    order.with_suffix(".new").rename(order)
    assert eventually(lambda: not order.exists() or program.process.poll() is not None, PATIENCE)


def go_on(program: Program, account: str, key: str, load: Load) -> None:
    """Serve on from the same file, by another process, until the account has nothing left."""
    with serving(program.data, f"sqlite:///{program.data / 'purser.db'}") as again:
        assert load.acknowledged.items() <= again.booked(account).items()
        assert again.violations() == []
        spend_the_rest([again], key, load)
        insist(again, account, load, Decimal("0.30"))
        assert again.violations() == []


@pytest.mark.parametrize(
    ("line", "said"), [(_FULL, "database or disk is full"), (_UNSAFE, "disk I/O error")], ids=["full", "fsync"]
)
def test_a_process_that_cannot_commit_stops_and_the_others_go_on(tmp_path: Path, line: str, said: str) -> None:
    if not takes_filters():
        pytest.skip("the kernel takes no filter of system calls here")
    with fleet(tmp_path, 2, runs=(str(_SCRIPT), str(tmp_path))) as two:
        key, load = two[0].open("disk", "0.30"), Load()
        failing, living = two

        def fail() -> None:
            assert eventually(lambda: len(load.acknowledged) > 30, 60)
            tell(tmp_path, failing, line)
            assert failing.process.wait(60) == _FATAL
            count = len(load.acknowledged)
            assert eventually(lambda: len(load.acknowledged) > count, 60), "the other is not served any more"
            load.stop.set()

        load.run(failing, key, clients=8, beside=[living], meanwhile=fail)
        assert f"stopping: a commit failed, its outcome is unknown: (sqlite3.OperationalError) {said}" in failing.log
        assert eventually(lambda: holding(living) == [living.process.pid], PATIENCE), "its leases are given back"
        assert load.odd == []
        go_on(failing, "disk", key, load)
        assert living.violations() == []


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A small disk in that place; skips the test where this user may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        assert "permission denied" in done.stderr.lower() or "not permitted" in done.stderr.lower(), done.stderr
        pytest.skip("root may mount nothing here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_and_gets_room_again(tmp_path: Path) -> None:
    with mounted(tmp_path / "data"), fleet(tmp_path, 1) as [program]:
        key, load = program.open("full", "0.30"), Load()

        def wait() -> None:
            assert program.process.wait(60) == _FATAL
            load.stop.set()

        load.run(program, key, clients=4, meanwhile=wait)
        assert "database or disk is full" in program.log
        said = refusal(program.data, f"sqlite:///{program.data / 'purser.db'}")
        assert "database or disk is full" in said
        subprocess.run(["mount", "-o", "remount,size=64m", str(program.data)], check=True)
        go_on(program, "full", key, load)
