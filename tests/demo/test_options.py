"""How the two servers begin: options that are wrong, what is printed where, and a second start on the same data."""

from __future__ import annotations

import signal
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tests import loaded
from tests.demo.program import READY_SECONDS, demo, environment, eventually
from tests.loaded import PROGRAM


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, which is to end by itself."""
    return loaded.run([*PROGRAM, *arguments], cwd=folder, env=environment(), timeout=60)


WRONG = [
    ("--port -1", "--port must be a whole number from 0 to 65535, not -1"),
    ("--port 99999", "--port must be a whole number from 0 to 65535, not 99999"),
    ("--workers 0", "--workers must be a whole number from 1 to 256, not 0"),
    ("--clock foo", '--clock must be "system" or "manual", not "foo"'),
    ("--clock manual --clock-start nope", "--clock-start must be an RFC 3339 time such as"),
    ("--clock-start 2026-03-01", "--clock-start is for --clock manual"),
    ("--data /proc/nope", "--data must be a folder that can be written, not /proc/nope: "),
    ("--data file", "--data must be a folder that can be written, not file: "),
    ("--credentials /nonexistent/x.json", "--credentials must be a file that can be written, not /nonexistent/x.json"),
    ("--credentials .", "--credentials must be a file that can be written, not .: Is a directory"),
    ("--host nowhere!", "--host must be the address to listen on"),
]


@pytest.mark.once
@pytest.mark.parametrize("options, says", WRONG)
def test_a_wrong_option_of_the_demo_is_a_line_that_names_it(tmp_path: Path, options: str, says: str) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path, "demo", *options.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"purser: {says}")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "nothing was begun"


@pytest.mark.once
def test_data_that_is_no_database_is_a_line_too(tmp_path: Path) -> None:
    (tmp_path / "purser.db").write_text("this is not a database, and long enough to be seen as none" * 10)
    done = run(tmp_path, "demo", "--port", "0", "--data", ".")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"purser: the database {tmp_path / 'purser.db'} cannot be reached: file is not a database\n"


def test_serve_talks_to_stderr_alone(tmp_path: Path) -> None:
    (tmp_path / "purser.toml").write_text(
        'port = 0\n[[models]]\nname = "tiny"\nupstream = "http://127.0.0.1:9/v1"\ncontext_tokens = 4096\n'
        'price = { input = "0.20", output = "0.80" }\n'
    )
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = loaded.start(
            [*PROGRAM, "serve"],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        assert eventually(lambda: "purser serves on http://127.0.0.1:" in err.read_text(), READY_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(45) == 0
        assert out.read_bytes() == b""
    finally:
        process.kill()
        process.wait()


def test_a_second_start_says_what_is_true_of_the_account_now(tmp_path: Path) -> None:
    with demo(tmp_path) as program, program.caller() as caller:
        assert "This account has $1.00 of credit and no payment method.\n" in program.log
        assert "Then add a test card:" in program.log
        assert caller.chat("hello [[tokens=30]]", model="grand").status == 200
        program.card("demo")
        blocked = {"cause": "BLOCKED_BY_ABUSE_RULE", "reason": "a test"}
        program.operate("POST", "/operator/v1/accounts/demo:suspend", blocked)
        credit = program.balance("demo")["creditUsd"]
        assert 0 < Decimal(credit) < 1
        assert program.stop() == 0
    (tmp_path / "demo.json").unlink()
    with demo(tmp_path) as program:
        assert f"This account has ${credit} of credit and a payment method.\n" in program.log
        assert "Account demo is suspended: it was blocked under an abuse rule (a test)" in program.log
        assert "test card" not in program.log
        assert program.api_key in program.log
