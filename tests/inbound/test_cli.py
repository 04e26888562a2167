"""The commands that call Purser, run as processes against a real control plane."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path
from typing import Any

import pytest

from purser.core.money import NANOS_PER_CENT
from purser.flows import requests
from purser.flows.requests import Need
from purser.store import headroom
from purser.store.headroom import credit_key
from tests import databases
from tests.inbound.house import OPERATOR_KEY, House
from tests.inbound.terminal import Terminal
from tests.loaded import PROGRAM

# These commands speak HTTP; those that open a database are in test_cli_databases.
pytestmark = pytest.mark.once


@pytest.fixture
def ada(house: House, tmp_path: Path) -> Terminal:
    """The terminal of ada, whose account has a card, has spent $12 and bought $20."""
    client = house.open("ada")
    house.card("ada")
    house.spend("ada", 12, "first")
    tiny = {"input_tokens": 1_234_567, "cached_input_tokens": 1_000, "output_tokens": 54_321}
    house.spend("ada", 0, "second", model="tiny", quantities=tiny)
    assert client.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "20"}).status == 200
    url = f"http://127.0.0.1:{house.operator.port}"
    return Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=client.key or "", COLUMNS=120)


@pytest.fixture
def operator(house: House, tmp_path: Path) -> Terminal:
    """The operator's terminal."""
    url = f"http://127.0.0.1:{house.operator.port}"
    return Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=OPERATOR_KEY, COLUMNS=120)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# ── what is printed ──────────────────────────────────────────────────────────────────────────────────────────────
LISTS = [
    ("account list", "/v1/accounts", "accounts", "id", "STANDING"),
    ("alerts list", "/v1/accounts/ada/alerts", "alerts", "kind", "TOLD"),
    ("quota list", "/v1/accounts/ada/quotas", "quotas", "value", "IN FORCE"),
    ("credits list", "/v1/accounts/ada/credits", "credits", "id", "REMAINING"),
    ("key list", "/v1/accounts/ada/apiKeys", "apiKeys", "keyId", "BEGINS"),
    ("user list", "/v1/accounts/ada/users", "users", "id", "ROLE"),
    ("payment-method list", "/v1/accounts/ada/paymentMethods", "paymentMethods", "id", "ENDS IN"),
    ("billing list-invoices", "/v1/accounts/ada/invoices", "invoices", "id", "REMAINING"),
    ("billing receipts", "/v1/accounts/ada/receipts", "receipts", "id", "WENT TO"),
    ("billing usage", "/v1/accounts/ada/usage", "rows", "start", "COST"),
]


@pytest.mark.parametrize("command, path, plural, field, heading", LISTS)
def test_a_list_is_the_apis_json_a_table_and_csv(
    house: House, ada: Terminal, command: str, path: str, plural: str, field: str, heading: str
) -> None:
    answer = house.operator.get(path).json
    expected = [str(each[field]) for each in answer[plural]]
    assert expected
    found = ada.json(*command.split())
    assert {name: found[name] for name in found if name != "quotas"} == {
        name: answer[name] for name in answer if name not in ("nextPageToken", "quotas")
    }
    assert [row[field] for row in rows_of(ada.ok(*command.split(), "-o", "csv"))] == expected
    table = ada.ok(*command.split())
    assert heading in table.splitlines()[0]
    assert len(table.splitlines()) == 1 + len(expected)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_ids_and_figures_stay_whole_at_any_width(house: House, ada: Terminal, width: int) -> None:
    invoice = house.invoices("ada")[0]
    table = ada.using(COLUMNS=width).ok("billing", "list-invoices")
    assert invoice["id"] in table
    assert "$20.00" in table
    grant = ada.using(COLUMNS=width).run("credits", "list")
    assert all(len(line) <= max(width, 70) for line in grant.stdout.splitlines())
    assert ("no room for" in grant.stderr) == (width < 120)


def test_figures_stand_under_each_other_by_their_point(ada: Terminal) -> None:
    lines = ada.ok("billing", "invoice", "pending").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("LINE"))
    amounts = [line.rstrip() for line in lines[start + 1 : start + 5]]
    assert [amount.split("$")[-1] for amount in amounts] == ["12.00", "0.0001", "0.246713", "0.043457"]
    assert len({amount.rindex(".") for amount in amounts}) == 1
    assert [line.split()[3] for line in lines[start + 1 : start + 5]] == ["12,000,000", "1,000", "1,233,567", "54,321"]
    assert "$0.20 / 1M" in lines[start + 3]
    totals = {line.rsplit(None, 1)[0].strip(): line.split()[-1] for line in lines[start + 6 :]}
    assert totals["subtotal"] == "$12.29027"
    assert totals["credits applied"] == "−$1.00"
    assert totals["total"] == "$11.29"
    assert totals["amount due"] == "$0.00"


def test_csv_is_exact_and_quoted(house: House, ada: Terminal) -> None:
    name = 'a "quoted", name'
    path = "/v1/accounts/ada/users/owner"
    assert house.operator.patch(path, {"displayName": name}).status == 200
    text = ada.ok("user", "list", "-o", "csv")
    assert '"a ""quoted"", name"' in text
    assert rows_of(text)[0]["displayName"] == name
    assert rows_of(ada.ok("billing", "usage", "-o", "csv"))[0]["amountUsd"] == "12.2902702"
    lines = rows_of(ada.ok("billing", "invoice", "pending", "-o", "csv"))
    assert [line["unitPriceUsd"] for line in lines][:2] == ["0.000001", "0.0000001"]
    assert list(lines[0]) == "n model unit quantity unitPriceUsd amountUsd month".split()


def test_what_others_wrote_cannot_move_the_cursor(house: House, ada: Terminal) -> None:
    path = "/v1/accounts/ada/users/owner"
    assert house.operator.patch(path, {"displayName": "\x1b[2J[bold]x[/bold]\r\n:smile:"}).status == 200
    table = ada.ok("user", "list")
    assert "\x1b" not in table
    assert "\r" not in table
    assert "[2J[bold]x[/bold]  :smile:" in table


def test_pages_are_put_together(house: House, operator: Terminal) -> None:
    for n in range(203):
        house.open(f"acme-{n:03}", signupCreditUsd="0")
    found = operator.json("account", "list")
    assert [account["id"] for account in found["accounts"]] == [f"acme-{n:03}" for n in reversed(range(203))]
    assert "nextPageToken" not in found
    assert len(operator.ok("account", "list", "-o", "csv").splitlines()) == 204


# ── status ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_status_is_one_screen(house: House, ada: Terminal) -> None:
    screen = ada.using(COLUMNS=80).ok("status")
    assert len(screen.splitlines()) < 24
    assert screen.startswith("ada  runs  postpaid, tier 1")
    assert "$12.29027 of $50.00" in screen
    assert "24 %" in screen
    assert "$8.70973 purchased" in screen
    found = ada.json("status")
    assert found == {"account": house.account("ada"), "balance": house.balance("ada")}
    [row] = rows_of(ada.ok("status", "-o", "csv"))
    assert (row["account"], row["suspendState"], row["creditUsd"]) == ("ada", "UNSUSPENDED", "8.7097298")


def test_status_says_why_an_account_is_suspended_and_the_way_back(house: House, operator: Terminal) -> None:
    house.open("bob")
    house.spend("bob", 3, "too-much")
    screen = operator.using(COLUMNS=80).ok("status", "--account", "bob")
    assert "bob  is suspended" in screen
    assert "CREDIT_DEPLETED since 2026-03-01 09:00 UTC" in screen
    assert "→ Add a payment method or credit" in screen
    assert "nothing is left to spend" in screen
    house.open("cyd", billingMode="contract")
    assert "$0.00, no limit" in operator.ok("status", "--account", "cyd")


# ── stories ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_account_is_opened_and_its_key_works(operator: Terminal) -> None:
    opened = operator.run("account", "create", "acme", "--email", "a@example.com", "--signup-credit", "5", "-o", "json")
    assert opened.json["account"] == "acme"
    assert "shown this once" in opened.stderr
    its = operator.using(PURSER_API_KEY=opened.json["apiKey"]["key"])
    assert its.json("status")["balance"]["creditUsd"] == "5.00"
    table = operator.ok("account", "create", "more", "--email", "b@example.com", "--billing-mode", "prepaid")
    assert "API key" in table
    assert operator.json("account", "get", "more")["billingMode"] == "prepaid"


def test_a_key_is_made_used_and_ended(ada: Terminal) -> None:
    made = ada.json("key", "create", "--name", "ci", "--expires", "2027-01-01")
    assert (made["displayName"], made["expireTime"]) == ("ci", "2027-01-01T00:00:00Z")
    assert ada.json("key", "list", "--user", "owner", "--api-key", made["key"])["totalSize"] == 2
    ended = ada.run("key", "revoke", made["keyId"], "--yes")
    assert (ended.code, ended.stdout) == (0, "")
    refused = ada.run("status", "--api-key", made["key"])
    assert refused.code == 4
    assert "purser login" in refused.stderr


def test_the_limit_is_read_and_set(ada: Terminal) -> None:
    assert ada.json("quota", "get", "monthly-spend-usd")["value"] == "50"
    assert ada.json("quota", "update", "monthly-spend-usd", "--value", "40")["value"] == "40"
    assert "40" in ada.ok("quota", "get", "monthly-spend-usd")
    above = ada.run("quota", "update", "monthly-spend-usd", "--value", "51")
    assert above.code == 2
    assert "above the most your tier allows: $50.00" in above.stderr
    assert ada.json("quota", "get", "monthly-spend-usd")["value"] == "40"


def test_alerts_are_listed_and_set(ada: Terminal) -> None:
    assert [each["thresholdUsd"] for each in ada.json("alerts", "list")["alerts"]] == ["40.00"]
    told = ada.json("alerts", "set", "--thresholds", "20, 30.50", "--forecast")["alerts"]
    assert [(each["kind"], each["thresholdUsd"]) for each in told] == [
        ("threshold", "20.00"),
        ("threshold", "30.50"),
        ("limit", "40.00"),
        ("forecast", "50.00"),
    ]
    assert "$30.50" in ada.ok("alerts", "list")
    kept = ada.json("alerts", "set", "--no-forecast")["alerts"]
    assert [each["kind"] for each in kept] == ["threshold", "threshold", "limit"]
    assert len(ada.json("alerts", "set", "--thresholds", "")["alerts"]) == 1
    for wrong in (("--thresholds", "much"), ("--thresholds", "0"), ()):
        assert ada.run("alerts", "set", *wrong).code == 2


def test_credit_is_bought_and_granted(ada: Terminal, operator: Terminal) -> None:
    bought = ada.ok("credits", "buy", "12.50")
    assert "$12.50 to credit" in bought
    granted = operator.json("credits", "grant", "100", "--account", "ada", "--expires", "2027-01-01")
    assert (granted["kind"], granted["amountUsd"]) == ("promotional", "100.00")
    assert ada.json("status")["balance"]["creditUsd"] == "121.2097298"
    assert "$11.29027 to unbilled 2026-03, $8.70973 to credit" in ada.ok("billing", "receipts")


def test_cards_are_added_and_removed(ada: Terminal) -> None:
    added = ada.json("payment-method", "add", "pm_card_mastercard")
    assert added["default"] is True
    assert ada.run("payment-method", "remove", added["id"], "--yes").code == 0
    assert len(ada.json("payment-method", "list")["paymentMethods"]) == 1


def test_users_are_added_and_changed(ada: Terminal) -> None:
    made = ada.json("user", "create", "bot", "--role", "inference-user", "--service-account")
    assert (made["role"], made["serviceAccount"]) == ("inference-user", True)
    assert "contributor" in ada.ok("user", "update", "bot", "--role", "contributor")
    assert "nothing to change" in ada.run("user", "update", "bot").stderr
    key = ada.json("key", "create", "--user", "bot")["key"]
    refused = ada.run("user", "create", "more", "--api-key", key)
    assert refused.code == 4
    assert "this needs the role admin" in refused.stderr


def test_prices_are_published_and_shown(operator: Terminal) -> None:
    options = ["--model", "big", "--input", "1.25", "--output", "10", "--cached-input", "0.125"]
    published = operator.ok("prices", "publish", *options)
    assert "$0.125" in published
    assert operator.json("prices", "show")["models"]["big"] == {
        "input": "1.25",
        "cached_input": "0.125",
        "output": "10.00",
    }
    later = ["--model", "big", "--input", "2", "--output", "3", "--effective-at", "2026-04-01"]
    assert operator.json("prices", "publish", *later)["version"] == 3
    shown = operator.run("prices", "show")
    assert "Version 3 follows on 2026-04-01 00:00 UTC" in shown.stderr
    assert "$1.25" in shown.stdout
    assert "$2.00" in operator.ok("prices", "show", "--version", "3")
    assert operator.run("prices", "show", "--version", "9").code == 5


def test_a_month_is_previewed_and_closed_and_the_clock_moved(house: House, ada: Terminal, operator: Terminal) -> None:
    house.open("bob")
    house.spend("bob", 3, "bob-1")
    assert ada.json("month", "preview")["totalUsd"] == "11.29"
    early = operator.run("month", "close", "2026-03")
    assert early.code == 7
    assert "has not ended" in early.stderr
    assert operator.json("clock", "now") == {"now": "2026-03-01T09:00:00Z", "manual": True}
    assert "2026-04-01T00:00:00Z" in operator.ok("clock", "advance", "2026-04-01")
    closed = operator.json("month", "close", "2026-03")
    assert {invoice["account"]: invoice["state"] for invoice in closed["invoices"]} == {"ada": "PAID", "bob": "FAILED"}
    table = operator.ok("month", "close", "2026-03")
    assert "BOB-0001" in table
    house.card("bob")
    failed = next(invoice["id"] for invoice in closed["invoices"] if invoice["account"] == "bob")
    again = operator.run("billing", "pay", failed, "--account", "bob")
    assert again.code == 7  # the new card has paid it already
    assert operator.json("billing", "invoice", failed, "--account", "bob")["state"] == "PAID"


def test_an_operator_sees_writers_and_what_they_have_set_aside(house: House, operator: Terminal) -> None:
    house.open("bob")
    key = credit_key("bob")
    for n, wanted in enumerate((False, True), 1):
        house.desk.write(
            lambda tx: requests.take_headroom(tx, [Need(key, NANOS_PER_CENT, NANOS_PER_CENT, NANOS_PER_CENT)])
        )
        house.desk.write(lambda tx, wanted=wanted: headroom.set_wanted(tx.conn, key, 1 if wanted else None))  # type: ignore[misc]
        found = operator.json("operator", "leases")
        [lease] = found["leases"]
        assert (lease["account"], lease["kind"], lease["owner"]) == ("bob", "credit", f"writer:{house.writer.id}")
        assert (lease["spareUsd"], lease["wanted"]) == (f"0.0{n}", wanted)
        assert (found["setAsideUsd"], found["unbilledUsd"]) == (f"0.0{n}", "0.00")
    shown = operator.ok("operator", "leases")
    assert f"writer:{house.writer.id}" in shown
    assert "wanted" in shown
    assert "bob,credit,writer:" in operator.ok("operator", "leases", "-o", "csv")


def test_an_operator_suspends_and_reinstates(house: House, operator: Terminal) -> None:
    house.open("bob")
    suspended = operator.ok("operator", "suspend", "bob", "--reason", "stolen card", "--yes")
    assert "BLOCKED_BY_ABUSE_RULE: stolen card" in suspended
    assert operator.json("operator", "reinstate", "bob")["suspendState"] == "UNSUSPENDED"
    again = operator.run("operator", "reinstate", "bob")
    assert again.code == 7


def test_the_audit_through_the_server_and_of_the_database_say_the_same(
    house: House, ada: Terminal, operator: Terminal
) -> None:
    through = operator.json("audit")
    assert through["violations"] == []
    before = databases.rows(house.db)
    direct = ada.json("audit", "--database-url", house.db.url)
    assert direct == through
    assert databases.rows(house.db) == before
    table = ada.run("audit", "--database-url", house.db.url)
    assert table.stdout.count(" ok ") == len(direct["checks"])
    assert "all of them hold" in table.stderr


def test_an_audit_that_finds_something_says_where_and_ends_with_1(
    house: House, ada: Terminal, operator: Terminal
) -> None:
    with house.db.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE balances SET debits = debits + 1 WHERE account = 'ada'")
    for terminal, options in ((operator, []), (ada, ["--database-url", house.db.url])):
        done = terminal.run("audit", *options)
        assert done.code == 1
        assert "wrong" in done.stdout
        assert "account ada" in done.stdout
        assert "do not hold" in done.stderr


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────
REFUSALS: list[tuple[str, int, str]] = [
    ("status --api-key pk_unknown", 4, "unknown, revoked or expired"),
    ("prices show", 4, "no operator key was given"),
    ("prices show --operator-key {ada}", 4, "this is the operator's"),
    ("quota get none", 5, "there is no quota"),
    ("billing invoice inv_none", 5, "no invoice"),
    ("key revoke key_none --yes", 5, "no live key"),
    ("status --account bob", 5, "no account"),
    ("payment-method add pm_card_chargeDeclined", 6, "declined"),
    ("user create owner", 7, "already"),
    ("quota update monthly-spend-usd --value NaN", 2, "value"),
    ("quota update monthly-spend-usd --value -5", 2, "value"),
    ("quota update monthly-spend-usd --value 99999999999999999999999", 2, "value"),
    ("quota update monthly-spend-usd --value=", 2, "value"),
    ("credits buy NaN", 2, "amountUsd must be dollars"),
    ("credits buy -5", 2, "must not be negative"),
    ("credits buy 1e3", 2, "amountUsd must be dollars"),
    ("credits buy 0.001", 2, "whole cents"),
    ("billing usage --start yesterday", 2, "start must be"),
    ("billing usage --start 2026-03-02 --end 2026-03-01", 2, "before end"),
    ("key create --expires 2020-01-01", 2, "future"),
    ("user create UPPER", 2, "userId must be"),
]


@pytest.mark.parametrize("command, code, says", REFUSALS)
def test_a_refusal_is_a_line_or_two_with_its_exit_code(ada: Terminal, command: str, code: int, says: str) -> None:
    words = [word.format(ada=ada.variables["PURSER_API_KEY"]) for word in command.split()]
    done = ada.run(*words)
    assert (done.code, done.stdout) == (code, ""), done
    assert says in done.stderr
    assert done.stderr.startswith("purser: ")
    assert len(done.stderr.splitlines()) <= 2
    assert ("request req_" in done.stderr) == ("no operator key" not in says)


def test_over_the_rate_it_says_when_to_come_back(house: House, ada: Terminal) -> None:
    house.wait_seconds = 7
    done = ada.run("user", "list")
    assert done.code == 6
    assert "Run it again in 7 seconds." in done.stderr


def test_a_declined_charge_is_exit_code_6(house: House, ada: Terminal) -> None:
    assert ada.run("payment-method", "add", "pm_card_chargeCustomerFail").code == 0
    done = ada.run("credits", "buy", "5")
    assert (done.code, done.stdout) == (6, "")


def test_the_operators_key_needs_an_account_to_be_named(ada: Terminal, operator: Terminal) -> None:
    done = operator.run("status")
    assert done.code == 2
    assert "--account" in done.stderr
    assert operator.json("status", "--account", "ada")["account"]["id"] == "ada"
    assert operator.using(PURSER_ACCOUNT="ada").json("status")["account"]["id"] == "ada"
    as_account = operator.using(PURSER_API_KEY=OPERATOR_KEY, PURSER_OPERATOR_KEY="")
    assert as_account.run("status").code == 2


# ── prompts, colours, pipes ──────────────────────────────────────────────────────────────────────────────────────
DESTROYING = [
    ("key", "revoke", "key_x"),
    ("payment-method", "remove", "pm_x"),
    ("operator", "suspend", "ada", "--reason", "why"),
]


@pytest.mark.parametrize("command", DESTROYING)
def test_what_destroys_asks_and_without_a_terminal_wants_yes(ada: Terminal, command: tuple[str, ...]) -> None:
    done = ada.using(PURSER_OPERATOR_KEY=OPERATOR_KEY).run(*command, typed="y\n")
    assert (done.code, done.stdout) == (2, "")
    assert "--yes" in done.stderr


@pytest.mark.parametrize("typed, code, state", [("y\n", 0, "BLOCKED_BY_ABUSE_RULE"), ("n\n", 1, "UNSUSPENDED")])
def test_the_answer_at_a_terminal_counts(house: House, operator: Terminal, typed: str, code: int, state: str) -> None:
    house.open("bob")
    ended, screen = operator.sit("operator", "suspend", "bob", "--reason", "why", typed=typed)
    assert "Suspend bob?" in screen
    assert ended == code
    assert house.account("bob")["suspendState"] == state


def test_colours_on_a_terminal_only_and_never_with_no_color(house: House, ada: Terminal) -> None:
    code, screen = ada.sit("status")
    assert code == 0
    assert "\x1b[32mruns" in screen
    plain = ada.using(NO_COLOR="1").sit("status")
    assert plain[0] == 0
    assert "\x1b" not in plain[1]
    assert "\x1b" not in ada.ok("status")


def test_a_reader_that_has_seen_enough_ends_it_quietly(ada: Terminal) -> None:
    child = subprocess.Popen(
        [*PROGRAM, "billing", "usage", "-o", "json"],
        env=ada.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    said = child.stderr.read()
    child.stderr.close()
    assert child.wait() == 1
    assert said == b""


def test_common_options_may_stand_anywhere(house: House, operator: Terminal) -> None:
    house.open("bob")
    expected: Any = operator.json("account", "get", "bob")
    assert operator.json("--account", "bob", "account", "get") == expected
    assert operator.json("account", "get", "--account=bob") == expected
    first = operator.run("-o", "json", "account", "get", "bob")
    assert first.json == expected
