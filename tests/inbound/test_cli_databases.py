"""The commands that open a database themselves, on whichever the tests run: init, doctor, audit, replay, serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from purser.settings import load
from purser.store.db import Database
from tests import databases
from tests.inbound.house import House
from tests.inbound.terminal import Terminal

SECRET = "hush-hush"
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2026-03-10 09:00:00.1234567,374,44\r\n"
REPLAY = ("replay", "day.csv", "--format", "azure", "--model", "tiny", "--price", "input=0.20,output=0.80")
CONFIG = """\
port = 0
database_url = "{url}"

[[models]]
name = "tiny"
upstream = "http://127.0.0.1:9/v1"
context_tokens = 4096
price = {{ input = "0.20", output = "0.80" }}
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal in a folder with a trace in it."""
    (tmp_path / "day.csv").write_text(TRACE)
    return Terminal(tmp_path).using(COLUMNS=200)


@contextmanager
def opened(url: str) -> Iterator[sa.Connection]:
    """A connection to a database, whose changes are kept."""
    db = Database(url)
    try:
        with db.engine.begin() as conn:
            yield conn
    finally:
        db.dispose()


def findings(terminal: Terminal) -> dict[str, tuple[str, str]]:
    """What doctor says, by the name of the check."""
    checks = terminal.run("doctor", "-o", "json").json["checks"]
    return {each["check"]: (each["state"], each["found"]) for each in checks}


# ── init ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("by_variable", [False, True])
def test_init_sets_up_the_database_named_and_writes_it_down(terminal: Terminal, by_variable: bool) -> None:
    url = databases.at(terminal.folder / "books.db", bare=True)
    named = terminal.using(PURSER_DATABASE_URL=url) if by_variable else terminal
    done = named.run("init", "--dir", "here", *([] if by_variable else ["--database-url", url]), "-o", "json")
    assert done.code == 0, done.stderr
    written = load(terminal.folder / "here" / "purser.toml", {}, serving=False).database_url
    assert done.json["database"] == written
    assert Database(written).name == Database(url).name.replace(":***@", "@")
    assert findings(named.using(PURSER_CONFIG="here/purser.toml", PURSER_DATABASE_URL=url))["tables"][0] == "ok"
    assert terminal.run("audit", "--database-url", url).code == 0
    again = terminal.run("init", "--dir", "there", "--database-url", url)
    assert (again.code, again.stdout) == (7, "")
    assert "already; nothing was changed" in again.stderr
    assert not list((terminal.folder / "there").iterdir())


@pytest.mark.postgresql  # a file has no password
def test_init_keeps_a_password_out_of_the_file_and_the_screen(terminal: Terminal) -> None:
    url = sa.make_url(databases.at(terminal.folder / "books.db", bare=True))
    password = url.password or SECRET
    named = url.set(password=password).render_as_string(hide_password=False)
    done = terminal.run("init", "--database-url", named)
    assert done.code == 0, done.stderr
    assert "PURSER_DATABASE_URL, PGPASSWORD or ~/.pgpass" in done.stderr
    assert password not in done.stdout + done.stderr + (terminal.folder / "purser.toml").read_text()


# ── audit ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_audit_reads_the_database_beside_its_server(house: House, terminal: Terminal) -> None:
    house.open("ada")
    house.spend("ada", 0, "e1", model="tiny", quantities={"input_tokens": 1_000})
    through = house.operator.post("/operator/v1/audit").json
    assert terminal.json("audit", "--database-url", house.db.url) == through
    (terminal.folder / "purser.toml").write_text(CONFIG.format(url=house.db.url))
    assert terminal.json("audit", "--config", "purser.toml") == through
    with opened(house.db.url) as conn:
        conn.exec_driver_sql("UPDATE balances SET debits = debits + 1 WHERE account = 'ada'")
    found = terminal.run("audit", "--database-url", house.db.url)
    assert found.code == 1
    assert "account ada" in found.stdout


def test_the_audit_of_another_programs_database_and_of_another_version(house: House, terminal: Terminal) -> None:
    foreign = databases.at(terminal.folder / "foreign.db", bare=True)
    with opened(foreign) as conn:
        conn.exec_driver_sql("CREATE TABLE users (id TEXT PRIMARY KEY)")
    done = terminal.run("audit", "--database-url", foreign)
    assert (done.code, done.stdout) == (1, "")
    assert "does not hold Purser's books: " in done.stderr
    with opened(house.db.url) as conn:
        conn.exec_driver_sql("ALTER TABLE users DROP COLUMN scopes")
    done = terminal.run("audit", "--database-url", house.db.url)
    assert (done.code, done.stdout) == (1, "")
    assert "is of another version of Purser: users.scopes is missing" in done.stderr
    assert "purser serve brings it up to date." in done.stderr


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_doctor_says_what_the_database_is(house: House, terminal: Terminal) -> None:
    (terminal.folder / "purser.toml").write_text(CONFIG.format(url=house.db.url))
    fine = findings(terminal)
    assert (fine["database"][0], fine["tables"]) == ("ok", ("ok", "up to date"))
    assert fine["database"][1].startswith(f"{house.db.name}: ")
    assert fine["database"][1].endswith("able, writable, durable")
    assert ("PostgreSQL 1" in fine["database"][1]) == (not databases.is_sqlite())
    foreign = databases.at(terminal.folder / "foreign.db", bare=True)
    with opened(foreign) as conn:
        conn.exec_driver_sql("CREATE TABLE others (id TEXT PRIMARY KEY)")
    (terminal.folder / "purser.toml").write_text(CONFIG.format(url=foreign))
    assert findings(terminal)["tables"] == ("wrong", "there are none yet")
    with opened(foreign) as conn:
        conn.exec_driver_sql("CREATE TABLE users (id TEXT PRIMARY KEY)")
    assert "another program's" in findings(terminal)["tables"][1]


@pytest.mark.postgresql  # a file has no users of its own
def test_doctor_says_whether_the_user_may_write(house: House, terminal: Terminal) -> None:
    role = f"reader_{house.db.engine.url.database}"
    url = house.db.engine.url.set(drivername="postgresql", username=role, password=SECRET)
    (terminal.folder / "purser.toml").write_text(CONFIG.format(url=url.render_as_string(hide_password=False)))
    with opened(house.db.url) as conn:
        conn.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
        conn.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        assert f"the user {role} may not create tables in it" in findings(terminal)["database"][1]
        assert terminal.run("audit", "--config", "purser.toml").code == 0, "reading is enough for an audit"
        with opened(house.db.url) as conn:
            conn.exec_driver_sql(f"GRANT CREATE ON SCHEMA public TO {role}")
        assert f"the user {role} may not write the table " in findings(terminal)["database"][1]
        with opened(house.db.url) as conn:
            conn.exec_driver_sql(f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}")
            conn.exec_driver_sql(f"ALTER ROLE {role} SET default_transaction_read_only = on")
        assert "default_transaction_read_only is on" in findings(terminal)["database"][1]
        with opened(house.db.url) as conn:
            conn.exec_driver_sql(f"ALTER ROLE {role} RESET default_transaction_read_only")
        assert findings(terminal)["database"][0] == "ok"
    finally:
        with opened(house.db.url) as conn:
            conn.exec_driver_sql(f"DROP OWNED BY {role}")
            conn.exec_driver_sql(f"DROP ROLE {role}")


# ── replay ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_replay_is_kept_in_the_database_named(terminal: Terminal) -> None:
    url = databases.at(terminal.folder / "books.db", bare=True)
    options = [*REPLAY, "--database-url", url, "--account", "acme"]
    report = terminal.json(*options, "--limit", "5", "--credit", "0.50")
    assert (report["requests"], report["charge_usd"], report["invoices"]) == (1, "0.000110000", 1)
    again = terminal.run(*options)
    assert again.code == 7
    assert "acme exists already" in again.stderr
    assert terminal.json(*options[:-1], "more")["requests"] == 1
    assert terminal.run("audit", "--database-url", url).code == 0


# ── databases that are not there ─────────────────────────────────────────────────────────────────────────────────
NOWHERE = f"postgresql://purser:{SECRET}@127.0.0.1:1/purser"


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "--database-url", NOWHERE),
        ("audit", "--config", "purser.toml"),
        ("init", "--dir", "new", "--database-url", NOWHERE),
        (*REPLAY, "--database-url", NOWHERE),
        ("serve", "--config", "purser.toml"),
        ("serve", "--config", "purser.toml", "--workers", "2"),
        ("doctor", "--config", "purser.toml"),
    ],
)
def test_a_server_that_is_not_there_is_said_in_a_line_without_the_password(
    terminal: Terminal, command: tuple[str, ...]
) -> None:
    (terminal.folder / "purser.toml").write_text(CONFIG.format(url=NOWHERE))
    done = terminal.run(*command)
    assert done.code == 1
    said = done.stdout if command[0] == "doctor" else done.stderr
    assert "the database postgresql://purser:***@127.0.0.1:1/purser cannot be reached: " in said
    assert SECRET not in done.stdout + done.stderr
    assert command[0] == "doctor" or len(done.stderr.splitlines()) <= 2
    assert not (terminal.folder / "new" / "purser.toml").exists()


def test_a_file_that_is_no_database_is_said_in_a_line(terminal: Terminal) -> None:
    (terminal.folder / "no.db").write_text("this is not a database, and long enough to be seen as none" * 10)
    (terminal.folder / "purser.toml").write_text(CONFIG.format(url="sqlite:///no.db"))
    done = terminal.run("serve")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.endswith("no.db cannot be reached: file is not a database\n")
    assert len(done.stderr.splitlines()) == 1
