"""Setting up with the command line: init, doctor, login and profiles; help, mistakes, and servers that are gone."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from purser import __version__
from purser.flows import access
from purser.settings import render_default
from purser.store.db import Database
from tests.inbound.house import OPERATOR_KEY, House
from tests.inbound.terminal import Terminal
from tests.modelserver.running import process, ready_port
from tests.ports import free_port


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


@pytest.fixture
def near(house: House, tmp_path: Path) -> Terminal:
    """A terminal that knows where Purser is, without a key."""
    return Terminal(tmp_path).using(PURSER_URL=f"http://127.0.0.1:{house.operator.port}")


# ── help and mistakes ────────────────────────────────────────────────────────────────────────────────────────────
COMMANDS = (
    "init",
    "doctor",
    "login",
    "status",
    *(f"account {verb}" for verb in ("create", "get", "list")),
    *(f"quota {verb}" for verb in ("list", "get", "update")),
    *(f"credits {verb}" for verb in ("list", "buy", "grant")),
    *(f"key {verb}" for verb in ("create", "list", "revoke")),
    *(f"user {verb}" for verb in ("list", "create", "update")),
    *(f"billing {verb}" for verb in ("list-invoices", "invoice", "pay", "receipts", "usage")),
    *(f"payment-method {verb}" for verb in ("list", "add", "remove")),
    *(f"prices {verb}" for verb in ("show", "check", "diff", "publish", "import")),
    *(f"month {verb}" for verb in ("close", "preview")),
    *(f"deployment {verb}" for verb in ("create", "list", "get", "scale", "delete", "undelete")),
    "audit",
    *(f"operator {verb}" for verb in ("suspend", "reinstate", "leases")),
    *(f"clock {verb}" for verb in ("now", "advance")),
)


@pytest.mark.once
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(terminal: Terminal, command: str) -> None:
    text = terminal.using(COLUMNS=100).ok(*command.split(), "--help")
    assert f"Usage: purser {command}" in text
    assert f"Example: purser {command}" in text


@pytest.mark.once
def test_help_lists_the_commands_without_loading_what_they_need(terminal: Terminal) -> None:
    start = "import sys; from purser.inbound.cli.app import run_app; run_app(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", start], env=terminal.environment(), capture_output=True, text=True, check=True
    )
    for name in {command.split()[0] for command in COMMANDS} | {"replay"}:
        assert f" {name} " in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "purser.inbound.cli.app" in loaded
    heavy = {
        "sqlalchemy",
        "litestar",
        "http",
        "http.client",
        "msgspec",
        "uvloop",
        "ssl",
        "purser.store",
        "purser.flows",
    }
    assert not loaded & heavy


@pytest.mark.once
def test_version(terminal: Terminal) -> None:
    assert terminal.ok("--version") == f"{__version__}\n"


MISTAKES = [
    ("stauts", 'Did you mean "status"?'),
    ("quota updat", 'Did you mean "update"?'),
    ("status --accuont x", "Did you mean --account?"),
    ("quota update monthly-spend-usd", "--value"),
    ("quota get", "QUOTA"),
    ("status -o yaml", '"table", "json", "csv"'),
    ("account create ada --email e --billing-mode prepay", 'Did you mean "prepaid"?'),
    ("status now", "now"),
    ("status --account=", "--account is empty"),
    ("status --api-key=", "--api-key is empty"),
    ("status --url ftp://x --api-key k", "is not an address"),
    ("status --url localhost:8080 --api-key k", "is not an address"),
    ("status --url http://127.0.0.1:99999 --api-key k", "out of range"),
    ("status --api-key schlüssel", "no key of Purser has"),
    ("status --profile none", "there is no profile 'none'"),
    ("audit --database-url mysql://x", "sqlite:///"),
    ("audit --database-url a --config b", "give one of them"),
]


@pytest.mark.once
@pytest.mark.parametrize("command, says", MISTAKES)
def test_a_mistake_is_exit_code_2_and_names_what_would_be_right(terminal: Terminal, command: str, says: str) -> None:
    done = terminal.run(*command.split())
    assert (done.code, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_an_empty_id_is_a_mistake(near: Terminal) -> None:
    for command in (("account", "get", ""), ("quota", "get", ""), ("billing", "invoice", "")):
        done = near.using(PURSER_OPERATOR_KEY=OPERATOR_KEY, PURSER_ACCOUNT="ada").run(*command)
        assert (done.code, done.stderr) == (2, "purser: an id or name is empty\n")


# ── servers that are not there, or are something else ────────────────────────────────────────────────────────────
def read_request(connection: socket.socket) -> bytes:
    """One request with its body."""
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        lengths = [line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-length:")]
        return head + stream.read(int(lengths[0]) if lengths else 0)


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives these answers, one a connection; what it was sent is collected."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    heard.append(read_request(connection))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(10)


def response(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.mark.once
def test_a_server_that_is_not_running_is_said_with_its_address(terminal: Terminal) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = terminal.run("status", "--account", "ada", "--api-key", "k", "--url", url)
    assert done.code == 1
    assert done.stderr.splitlines()[0] == f"purser: Purser is not running at {url}"
    assert "purser serve" in done.stderr


@pytest.mark.once
def test_an_unknown_host(terminal: Terminal) -> None:
    done = terminal.run("status", "--account", "ada", "--api-key", "k", "--url", "http://nowhere.invalid")
    assert done.code == 1
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize(
    "answer, code, says",
    [
        (response(b"<html>hello</html>"), 1, "not Purser's JSON"),
        (response(b"<html>hello</html>", "404 Not Found"), 5, "not Purser's JSON"),
        (response(b'{"title": "Bad Gateway"}', "502 Bad Gateway"), 1, "Bad Gateway"),
        (response(b'{"error": {"message": "no"}, "request_id": "req_7"}', "402 X"), 6, "no (request req_7)"),
        (b"hello\r\n\r\n", 1, "cannot be reached"),
    ],
)
@pytest.mark.once
def test_a_server_that_is_something_else(terminal: Terminal, answer: bytes, code: int, says: str) -> None:
    with answering(answer) as (port, _):
        done = terminal.run("status", "--account", "ada", "--api-key", "k", "--url", f"http://127.0.0.1:{port}")
    assert (done.code, done.stdout) == (code, "")
    assert says in done.stderr


@pytest.mark.once
def test_a_broken_connection_is_tried_once_more_under_the_same_idempotency_key(terminal: Terminal) -> None:
    bought = b'{"id": "pay_1", "amountUsd": "5.00", "allocation": [], "receipt": null}'
    with answering(b"", response(bought)) as (port, heard):
        done = terminal.run(
            "credits", "buy", "5", "--account", "ada", "--api-key", "k", "--url", f"http://127.0.0.1:{port}/below/"
        )
    assert done.code == 0, done
    assert heard[0] == heard[1]
    assert heard[0].startswith(b"POST /below/v1/accounts/ada/credits:purchase HTTP/1.1\r\n")
    assert b"Idempotency-Key: " in heard[0]
    with answering(b"", b"") as (port, _):
        broken = terminal.run(
            "credits", "buy", "5", "--account", "a", "--api-key", "k", "--url", f"http://127.0.0.1:{port}"
        )
    assert broken.code == 1
    assert "broke the connection twice" in broken.stderr


# ── profiles ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_login_keeps_a_profile_for_its_owner_alone(house: House, near: Terminal) -> None:
    key = house.open("ada").key or ""
    kept = near.run("login", "--profile", "work", "--api-key", key)
    assert kept.code == 0
    assert "owner of ada" in kept.stderr
    path = near.folder / "config" / "purser" / "profiles.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    elsewhere = Terminal(near.folder)
    assert elsewhere.json("status", "--profile", "work")["account"]["id"] == "ada"
    assert elsewhere.using(PURSER_PROFILE="work").json("status")["account"]["id"] == "ada"
    assert elsewhere.run("status").code == 4  # the profile is not called default


def test_login_takes_the_key_from_a_pipe_and_knows_the_operators(house: House, near: Terminal) -> None:
    house.open("ada")
    kept = near.run("login", typed=f"{OPERATOR_KEY}\n")
    assert kept.code == 0, kept
    assert "the operator" in kept.stderr
    elsewhere = Terminal(near.folder)
    assert elsewhere.json("account", "list")["totalSize"] == 1
    assert elsewhere.json("prices", "show")["version"] == 1


def test_login_at_a_terminal_does_not_show_the_key(house: House, near: Terminal) -> None:
    key = house.open("ada").key or ""
    code, screen = near.sit("login", typed=f"{key}\n")
    assert code == 0, screen
    assert "API key: " in screen
    assert key not in screen.partition("API key: ")[2]


def test_a_key_that_does_not_work_is_not_kept(near: Terminal) -> None:
    assert near.run("login", "--api-key", "pk_unknown").code == 4
    assert near.run("login", typed="\n").code == 2
    assert not (near.folder / "config").exists()


def test_a_flag_counts_before_the_environment_and_that_before_the_profile(house: House, near: Terminal) -> None:
    keys = {name: house.open(name).key or "" for name in ("ada", "bob", "cyd")}
    assert near.run("login", "--api-key", keys["ada"]).code == 0

    def who(terminal: Terminal, *options: str) -> str:
        return str(terminal.json("account", "get", *options)["id"])

    assert who(near) == "ada"
    # A profile's account belongs to the profile's key, so another key is told its account.
    other = near.using(PURSER_API_KEY=keys["bob"], PURSER_ACCOUNT="bob")
    assert who(other) == "bob"
    assert who(other, "--api-key", keys["cyd"], "--account", "cyd") == "cyd"


@pytest.mark.once
@pytest.mark.parametrize("text", ["[default", "default = 1", "[default]\nurl = 1", '[default]\nkey = "x"'])
def test_a_profile_file_that_is_not_right_is_named(terminal: Terminal, text: str) -> None:
    path = terminal.folder / "config" / "purser" / "profiles.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = terminal.run("status")
    assert done.code == 1
    assert str(path) in done.stderr
    assert path.read_text() == text


# ── init ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.once
def test_init_writes_the_configuration_the_database_and_a_key_that_works(terminal: Terminal) -> None:
    done = terminal.run("init", "--dir", "here/there", "-o", "json")
    assert done.code == 0, done
    folder = terminal.folder / "here" / "there"
    assert (folder / "purser.toml").read_text() == render_default()
    assert "shown this once" in done.stderr
    db = Database(f"sqlite:///{folder / 'purser.db'}")
    with db.read() as conn:
        assert access.authenticate(conn, done.json["operatorKey"], 0, access.pepper(conn)).operator
    db.dispose()
    assert terminal.run("audit", "--config", folder / "purser.toml").code == 0


@pytest.mark.once
def test_init_overwrites_nothing(terminal: Terminal) -> None:
    assert terminal.run("init").code == 0
    before = {path.name: path.read_bytes() for path in terminal.folder.glob("purser.*")}
    again = terminal.run("init")
    assert (again.code, again.stdout) == (7, "")
    assert "purser doctor" in again.stderr
    assert {path.name: path.read_bytes() for path in terminal.folder.glob("purser.*")} == before
    (terminal.folder / "purser.toml").unlink()
    beside = terminal.run("init")
    assert beside.code == 7
    assert "purser.db exists already" in beside.stderr
    assert not (terminal.folder / "purser.toml").exists()


@pytest.mark.once
def test_init_with_a_key_of_ones_own_does_not_print_it(terminal: Terminal) -> None:
    done = terminal.using(PURSER_OPERATOR_KEY=OPERATOR_KEY).run("init")
    assert done.code == 0
    assert OPERATOR_KEY not in done.stdout + done.stderr
    short = terminal.using(PURSER_OPERATOR_KEY="short").run("init", "--dir", "other")
    assert short.code == 1
    assert "32 or more" in short.stderr
    assert not list((terminal.folder / "other").iterdir())


@pytest.mark.once
def test_init_where_it_cannot_write(terminal: Terminal) -> None:
    (terminal.folder / "file").write_text("")
    done = terminal.run("init", "--dir", "file")
    assert done.code == 7
    deeper = terminal.run("init", "--dir", "file/below")
    assert deeper.code == 1
    assert "cannot be written" in deeper.stderr


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────────────
def configure(folder: Path, port: int, upstream: str, model: str = "tiny", more: str = "") -> None:
    (folder / "purser.toml").write_text(
        f'port = {port}\n{more}[[models]]\nname = "tiny"\nupstream = "{upstream}"\nupstream_model = "{model}"\n'
        'context_tokens = 1000\nprice = { input = "0.20", output = "0.80" }\n'
    )


def states(terminal: Terminal, code: int) -> dict[str, tuple[str, str]]:
    """Every check by its name: its state and what was found."""
    done = terminal.run("doctor", "-o", "json")
    assert done.code == code, done
    assert done.json["ok"] == (code == 0)
    return {each["check"]: (each["state"], each["found"]) for each in done.json["checks"]}


def test_doctor_finds_everything_right_and_then_each_thing_wrong(house: House, terminal: Terminal) -> None:
    with process("--port", "0", "--models", "tiny") as child:
        upstream = f"http://127.0.0.1:{ready_port(child)}/v1"
        configure(terminal.folder, free_port(), upstream, more=f'database_url = "{house.db.url}"\n')
        fine = states(terminal, 0)
        checks = {"configuration", "database", "tables", "mail", "prices", "operator key", "model tiny", "port"}
        assert set(fine) == checks
        assert "none goes out" in fine["mail"][1]
        assert {state for state, _ in fine.values()} == {"ok"}
        assert "free" in fine["port"][1]
        shown = terminal.run("doctor")
        assert (shown.code, shown.stderr) == (0, "Everything is as it should be.\n")
        configure(terminal.folder, house.operator.port, upstream, "else", 'database_url = "sqlite:///none.db"\n')
        wrong = states(terminal, 1)
        assert wrong["model tiny"] == ("wrong", f"{upstream} does not serve else")
        assert wrong["database"][0] == "wrong"
        assert "does not exist" in wrong["database"][1]
        assert not (terminal.folder / "none.db").exists()
        assert wrong["port"][0] == "ok"
        assert f"Purser {__version__} serves" in wrong["port"][1]
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        configure(terminal.folder, other.getsockname()[1], upstream)
        gone = states(terminal, 1)
    assert "cannot be reached" in gone["model tiny"][1]
    assert gone["port"][0] == "wrong"


def test_doctor_looks_into_the_database(house: House, terminal: Terminal) -> None:
    more = f'database_url = "{house.db.url}"\n'
    configure(terminal.folder, 0, "http://127.0.0.1:9/v1", more=more)
    path = terminal.folder / "purser.toml"
    path.write_text(path.read_text().replace('name = "tiny"', 'name = "unpriced"'))
    assert states(terminal, 1)["prices"] == ("wrong", "unpriced has no price: it cannot be served")
    with house.db.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM operators")
        conn.exec_driver_sql("ALTER TABLE users RENAME TO people")
    assert states(terminal, 1)["tables"] == ("wrong", "not up to date: users missing")
    with house.db.engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE people RENAME TO users")
    assert states(terminal, 1)["operator key"] == ("wrong", "there is none")
    (terminal.folder / "no.db").write_text("this is not a database, and long enough to be seen as none" * 10)
    configure(terminal.folder, 0, "http://127.0.0.1:9/v1", more='database_url = "sqlite:///no.db"\n')
    assert "not a database" in states(terminal, 1)["database"][1]
    audited = terminal.run("audit", "--config", "purser.toml")
    assert (audited.code, audited.stdout) == (1, "")
    assert "cannot be read" in audited.stderr


@pytest.mark.once
def test_doctor_reports_what_is_wrong_in_the_configuration(terminal: Terminal) -> None:
    assert "there is no purser.toml here" in states(terminal, 1)["configuration"][1]
    (terminal.folder / "purser.toml").write_text('port = "many"\nprot = 1\n')
    done = terminal.using(COLUMNS=80).run("doctor")
    assert done.code == 1
    said = " ".join(done.stdout.split())
    assert said.count("wrong configuration purser.toml:") == 2
    assert "purser.toml:1: port must be a whole number" in said
    assert "did you mean port?" in said
