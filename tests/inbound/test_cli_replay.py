"""The replay command as a person runs it: a process of its own, what it prints, answers and leaves behind."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from purser.core.standing import LIMIT_EXCEEDED
from purser.store import invoices
from purser.store.db import Database
from tests.flows.readding import PRICE, REAL, USD, add, real_rows
from tests.loaded import PROGRAM, run

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.once


def command(tmp_path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    surroundings = {**os.environ, "TMPDIR": str(scratch), "COLUMNS": "200"}
    done = run([*PROGRAM, "replay", *map(str, arguments)], cwd=tmp_path, env=surroundings)
    assert list(scratch.iterdir()) == [], "the scratch database was left behind"
    assert "Traceback" not in done.stderr
    return done


def price_option() -> str:
    return ",".join(f"{name}={dollars}" for name, dollars in PRICE.items())


FIELDS = (
    "requests refused input_tokens cached_input_tokens output_tokens charge_usd accounts suspensions invoices "
    "seconds events"
).split()
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2026-03-10 09:00:00.1234567,374,44\r\n"


def test_the_command_prints_exactly_these_fields(tmp_path: Path) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text(AZURE + "2026-03-10 09:00:01.0000000,5000000,0\r\n2026-03-10 09:00:02.0000000,1,1\r\n")
    done = command(
        tmp_path, trace, "--format", "azure", "--model", "tiny", "--price", price_option(), "--limit", "1", "-o", "json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == FIELDS
    assert report["charge_usd"] == "0.000111000"  # the second row costs $1.00, more than is left
    assert [report[name] for name in FIELDS[:5]] == [2, 1, 375, 0, 45]
    assert (report["accounts"], report["suspensions"], report["invoices"]) == (1, 0, 1)
    assert [event["event"] for event in report["events"]] == ["invoice"]
    assert report["events"][0]["at"] == "2026-04-01T00:00:00Z"


def test_the_table_and_csv_say_the_same(tmp_path: Path) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text(AZURE)
    options = ("--format", "azure", "--model", "tiny", "--price", price_option(), "--accounts", "2", "--limit", "0")
    table = command(tmp_path, trace, *options)
    assert table.returncode == 0
    assert "0.000000000" in table.stdout
    assert table.stdout.count(LIMIT_EXCEEDED) == 2
    [names, values] = list(csv.reader(command(tmp_path, trace, *options, "-o", "csv").stdout.splitlines()))
    assert names == FIELDS[:-1]
    assert values[:9] == ["0", "1", "0", "0", "0", "0.000000000", "2", "2", "0"]


BAD_ROWS = {
    "empty": b"",
    "half": AZURE.encode() + b"2026-03-10 09:00:01.0000000,37",
    "bytes": AZURE.encode() + b"\xff\xfe\r\n",
    "nan": AZURE.encode() + b"2026-03-10 09:00:01,NaN,1\r\n",
    "none": AZURE.splitlines()[0].encode(),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_nothing_is_billed_from_a_trace_with_a_wrong_row(tmp_path: Path, name: str) -> None:
    trace = tmp_path / "day.csv"
    trace.write_bytes(BAD_ROWS[name])
    kept = tmp_path / "kept.db"
    done = command(
        tmp_path,
        *(trace, "--format", "azure", "--model", "tiny", "--price", price_option()),
        *("--database-url", f"sqlite:///{kept}"),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"purser replay: {trace}")
    assert not kept.exists()


@pytest.mark.parametrize(
    "option, value, says",
    [
        ("--price", "input=0.20", "output is missing"),
        ("--price", "input=0.20,output=-1", "must not be negative"),
        ("--price", "input=0.20,output=1e3", "output must be dollars"),
        ("--price", "input=0.20,outptu=1", "'outptu=1' is not one of input, cached_input, output"),
        ("--price", "input=1,input=1,output=1", "each once"),
        ("--limit", "-1", "--limit must be whole dollars from 0 up"),
        ("--limit", "5.50", "--limit must be whole dollars from 0 up"),
        ("--limit", "NaN", "--limit must be whole dollars from 0 up"),
        ("--credit", "lots", "--credit must be dollars"),
        ("--accounts", "0", "--accounts must be from 1"),
        ("--account", "Ada", "--account must be 3 to 63"),
        ("--model", "", "--model must have"),
        ("--database-url", "mysql://x/y", "database_url must be like"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, option: str, value: str, says: str) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text(AZURE)
    options = {"--format": "azure", "--model": "tiny", "--price": price_option(), option: value}
    done = command(tmp_path, trace, *[f"{name}={given}" for name, given in options.items()])
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_trace_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    options = ("--format", "azure", "--model", "tiny", "--price", price_option())
    missing, folder = command(tmp_path, tmp_path / "none.csv", *options), command(tmp_path, tmp_path, *options)
    assert (missing.returncode, folder.returncode) == (2, 2)
    assert "there is no such file" in missing.stderr
    assert "is a directory" in folder.stderr


def test_without_a_price_option_the_configured_one_holds(tmp_path: Path) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text(AZURE)
    (tmp_path / "purser.toml").write_text(
        '[[models]]\nname = "tiny"\nupstream = "http://127.0.0.1:8000/v1"\ncontext_tokens = 4096\n'
        'price = { input = "1.00", output = "2.00" }\n'
    )
    options = (trace, "--format", "azure", "-o", "json")
    report = json.loads(command(tmp_path, *options, "--model", "tiny").stdout)
    assert report["charge_usd"] == "0.000462000"  # 374 × 1.00 + 44 × 2.00 dollars per million
    missing = command(tmp_path, *options, "--model", "other")
    assert missing.returncode == 2
    assert "purser.toml has none" in missing.stderr


def test_without_any_price_the_command_says_how_to_give_one(tmp_path: Path) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text(AZURE)
    done = command(tmp_path, trace, "--format", "azure", "--model", "tiny")
    assert done.returncode == 2
    assert "--price input=0.20" in done.stderr


def test_a_database_url_keeps_what_was_replayed(tmp_path: Path) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text(AZURE)
    kept = tmp_path / "kept.db"
    options: list[str | Path] = [trace, "--format", "azure", "--model", "tiny", "--account", "acme", "--speed", "1x"]
    options += ["--database-url", f"sqlite:///{kept}"]
    assert command(tmp_path, *options, "--price", price_option()).returncode == 0
    db = Database(f"sqlite:///{kept}")
    with db.read() as conn:
        assert [row.subtotal for row in invoices.list_invoices(conn, "acme")] == [110_000]
    db.dispose()
    again = command(tmp_path, *options)
    assert again.returncode == 7
    assert "acme exists already" in again.stderr


# ── the real traces ──────────────────────────────────────────────────────────────────────────────────────────────
needs_data = pytest.mark.skipif(
    not all(path.exists() for path in REAL), reason="the real traces are not beside the checkout"
)


@needs_data
@pytest.mark.parametrize("accounts, limit", [(1, None), (3, None), (1, 5), (3, 2)])
def test_the_real_traces(tmp_path: Path, accounts: int, limit: int | None) -> None:
    sums = add(real_rows(), accounts, None if limit is None else limit * USD)
    options = ["--format", "azure", "--model", "tiny", "--price", price_option(), "-o", "json"]
    options += ["--accounts", str(accounts), *([] if limit is None else ["--limit", str(limit)])]
    done = command(tmp_path, *REAL, *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    nanos = sum(each.nanos for each in sums)
    assert report["requests"] == sum(each.requests for each in sums)
    assert report["refused"] == sum(each.refused for each in sums) == 28_185 - report["requests"]
    assert report["input_tokens"] == sum(each.input for each in sums)
    assert report["output_tokens"] == sum(each.output for each in sums)
    assert report["charge_usd"] == f"{nanos // USD}.{nanos % USD:09d}"
    assert report["invoices"] == accounts
    suspended = [event["at"] for event in report["events"] if event["event"] == "suspended"]
    assert sorted(suspended) == sorted(each.suspended_at for each in sums if each.suspended_at)
    assert len(suspended) == report["suspensions"] == (0 if limit is None else accounts)
    billed = sum(Fraction(event["subtotal_usd"]) for event in report["events"] if event["event"] == "invoice")
    assert billed == Fraction(nanos, USD)
    if limit is None:
        assert (report["requests"], report["input_tokens"], report["output_tokens"]) == (28_185, 40_421_844, 4_334_561)
        assert report["charge_usd"] == "11.552017600"
