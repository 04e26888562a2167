"""The audit finds nothing in books that the flows kept, and finds every corruption planted in them (correctness §3)."""

from __future__ import annotations

import threading
from itertools import groupby
from pathlib import Path

import pytest

from purser.flows.audit import INVARIANTS, Audit, audit
from purser.store.checks import MOST_SHOWN, Findings, Invariant, Violation, each, search
from purser.store.db import Connection, Database
from tests import databases
from tests.store.small_books import Books, change, tell_story

BY_NAME = {invariant.name: invariant for invariant in INVARIANTS}


def audited(db: Database) -> Audit:
    with db.read() as conn:
        return audit(conn)


# ── books in order ───────────────────────────────────────────────────────────────────────────────────────────────
def test_books_kept_by_the_flows_break_no_rule(books: Books) -> None:
    with books.db.read() as conn:
        result = audit(conn)
    assert result.violations == ()
    assert [check.name for check in result.checks] == list(BY_NAME)
    for check in result.checks:
        assert check.rows > 0, f"{check.name} had nothing to look at, so it proves nothing"


def test_an_empty_database_breaks_no_rule(tmp_path: Path) -> None:
    empty = Books(databases.at(tmp_path / "empty.db"))
    with empty.db.read() as conn:
        result = audit(conn)
    empty.close()
    assert result.violations == ()


def test_a_closed_database_breaks_no_rule(tmp_path: Path) -> None:
    told = Books(databases.at(tmp_path / "told.db"))
    tell_story(told)
    told.writer.close()
    assert audited(told.db).violations == ()
    told.db.dispose()


def test_an_audit_sees_one_snapshot(tmp_path: Path) -> None:
    told = Books(databases.at(tmp_path / "told.db"))
    tell_story(told)
    with told.db.read() as conn:
        before = audit(conn)
        told.settle(told.event("ada", "meanwhile", (500, 0, 50)))
        assert audit(conn) == before
    with told.db.read() as conn:
        after = audit(conn)
    told.close()
    assert after.violations == ()
    assert after.checks != before.checks


def test_an_audit_beside_live_traffic_raises_no_false_alarm(tmp_path: Path) -> None:
    told = Books(databases.at(tmp_path / "told.db"))
    tell_story(told)
    stop, settled = threading.Event(), 0

    def serve() -> None:
        nonlocal settled
        while not stop.is_set():
            told.settle(*[told.event("ada", f"live-{settled}-{n}", (10 + n, 0, 10)) for n in range(8)])
            told.report("acme", f"live-{settled}", 1_000, 1)
            settled += 1

    traffic = threading.Thread(target=serve)
    traffic.start()
    results: list[Audit] = []
    seen: set[int] = set()
    while len(seen) < 5 and traffic.is_alive():
        with told.db.read() as conn:
            results.append(audit(conn))
        seen.add(settled)
    stop.set()
    traffic.join()
    told.close()
    assert len(seen) == 5
    assert [result.violations for result in results] == [()] * len(results)


def test_a_lease_of_a_hold_that_has_ended_is_nobodys(spoilt: Database) -> None:
    assert audited(spoilt).violations == ()
    change(spoilt, "UPDATE holds SET state = 'void' WHERE id = 'hold_3'")
    assert [violation.check for violation in audited(spoilt).violations] == ["C6", "C6", "seals"]


# ── books with one thing wrong ───────────────────────────────────────────────────────────────────────────────────
# (check, the account or row it must name, a word it must say, the statements that plant the corruption)
_ADA_CREDIT = "WHERE account = 'ada' AND kind = 'credit'"
_BOB_GRANT = "WHERE account = 'bob' AND kind = 'purchased'"
_R1 = "WHERE account = 'ada' AND id = 'r1'"
_E1_SETTLED = "WHERE account = 'ada' AND key = 'api/e1/settled'"
_CYD_BILL = "WHERE account = 'cyd' AND number = 'CYD-0001'"
_CYD_LINES = "WHERE account = 'cyd' AND invoice = (SELECT id FROM invoices WHERE number = 'CYD-0001')"

CORRUPTIONS = [
    ("A1", "ada, credit", "out of bounds", f"UPDATE headroom SET over = 5 {_ADA_CREDIT}"),
    ("A1", "bob, credit", "enforced", "UPDATE headroom SET taken = amount + 1 WHERE account = 'bob' AND enforced = 1"),
    ("A1", "ada, month 2026-04", "-$0.000000001", "UPDATE headroom SET used = -1 WHERE \"window\" = '2026-04'"),
    ("A1", "ada, credit", "unbilled", f"UPDATE headroom SET unbilled = -1 {_ADA_CREDIT}"),
    ("A1", "ada, credit", "writer:1", f"UPDATE leases SET used = share + 1 {_ADA_CREDIT}"),
    ("A4", "gateway/r1", "of a hold of", f"UPDATE usage_events SET held = cost - 1 {_R1}"),
    ("A4", "gateway/r1", "within a hold", f"UPDATE usage_events SET cost = cost + 1 {_R1}"),
    ("A4", "gateway/r1", "within a hold", f"UPDATE usage_events SET cost = cost - 1 {_R1}"),
    ("A4", "gateway/r3", "within a hold", "UPDATE usage_events SET clamped = clamped + 1 WHERE id = 'r3'"),
    ("A4", "gateway/r1", "no model", f"UPDATE usage_events SET version = 9 {_R1}"),
    ("A4", "gateway/r1", "no model", f"UPDATE usage_events SET model = 'huge' {_R1}"),
    ("A4", "gateway/r1", "cannot be rated", f"UPDATE usage_events SET quantities = 'lost' {_R1}"),
    ("A4", "gateway/r1", "not counts", f"UPDATE usage_events SET quantities = '{{\"hours\":1}}' {_R1}"),
    ("A4", "gateway/r1", "not counts", f"UPDATE usage_events SET quantities = '{{\"input_tokens\":-1}}' {_R1}"),
    ("A4", "gateway/r1", "no rate", "DELETE FROM rates WHERE version = 1 AND unit = 'output_tokens'"),
    ("A4", "gateway/r1", "earlier month", f"UPDATE usage_events SET bill_month = '2026-02' {_R1}"),
    ("A4", "gateway/r1", "state 'void'", f"UPDATE usage_events SET state = 'void' {_R1}"),
    ("A4", "api/e1", "within a hold", "UPDATE rates SET nanos = nanos + 1 WHERE model = 'tiny'"),
    ("A4", "ada, roll-up 2026-03/2026-03", "units for", "UPDATE rollups SET quantity = quantity + 1"),
    ("A4", "ada, roll-up 2026-03", "0 units", "DELETE FROM rollups WHERE account = 'ada' AND model = 'large'"),
    ("A4", "eve, roll-up 2026-03", "0 events", "UPDATE rollups SET account = 'eve' WHERE account = 'cyd'"),
    ("A6", "ada, credit", "0.000000001", f"UPDATE headroom SET taken = taken + 1 {_ADA_CREDIT}"),
    ("A6", "ada, credit", "difference", f"UPDATE leases SET share = share - 1 {_ADA_CREDIT}"),
    ("A6", "ada, credit", "difference", f"DELETE FROM leases {_ADA_CREDIT}"),
    ("A6", "ada, credit", "gone", f"DELETE FROM headroom {_ADA_CREDIT}"),
    ("A7", "ada, usage event", "step", "UPDATE writers SET seq = seq - 1 WHERE id = 1"),
    ("A7", "writer 1, commit", "step", "UPDATE writers SET seq = 30 WHERE id = 1"),
    ("A7", "ada, transaction s1/settled", "does not exist", "DELETE FROM writers WHERE id = 2"),
    ("A7", "ada, credit", "writer:1 is closed", "UPDATE writers SET state = 'closed' WHERE id = 1"),
    ("B1", "ada, transaction api/e1/settled", "balance", f"UPDATE postings SET amount = amount + 1 {_E1_SETTLED}"
     " AND n = 0"),
    ("B1", "ada, transaction api/e1/settled", "1 postings", f"DELETE FROM postings {_E1_SETTLED} AND n = 1"),
    ("B1", "ada, transaction api/e1/settled", "0 postings", f"DELETE FROM postings {_E1_SETTLED}"),
    ("B1", "ada, transaction api/e1/settled", "above zero", f"UPDATE postings SET amount = 0 {_E1_SETTLED}"),
    ("B1", "ada, posting api/e1/settled/1", "no transaction", f"DELETE FROM transactions {_E1_SETTLED}"),
    ("B2", "ada, all ledger accounts", "differ", "UPDATE balances SET debits = debits + 1 WHERE account = 'ada'"
     " AND ledger = 'cash'"),
    ("B2", "all accounts", "0.000000001", "UPDATE balances SET credits = credits + 1 WHERE account = 'bob'"
     " AND ledger = 'usage:2026-03'"),
    ("B3", "ada, ledger account usage:2026-03", "postings sum", "UPDATE balances SET debits = debits + 1,"
     " credits = credits + 1 WHERE account = 'ada' AND ledger = 'usage:2026-03'"),
    ("B3", "bob, ledger account cash, writer 1", "$5.00", "DELETE FROM balances WHERE account = 'bob'"
     " AND ledger = 'cash'"),
    ("B3", "ada, ledger account usage:2026-03, writer 9", "$0.00", "UPDATE balances SET writer = 9 WHERE"
     " account = 'ada' AND ledger = 'usage:2026-03' AND writer = 1"),
    ("B4", "ada, transaction api/e1/settled", "from 0 to 2", f"UPDATE postings SET n = 2 {_E1_SETTLED} AND n = 1"),
    ("B4", "ada, transaction api/e1/settled", "from 1 to 1", f"DELETE FROM postings {_E1_SETTLED} AND n = 0"),
    ("B4", "ada, transaction api/e1/settled", "nothing", f"UPDATE transactions SET corrects = 'nothing' {_E1_SETTLED}"),
    ("B4", "ada, transaction api/e1/settled", "no other", f"UPDATE transactions SET corrects = key {_E1_SETTLED}"),
    ("B5", "ada, ledger account credit:grant_", "-$", "UPDATE balances SET debits = credits + 1"
     " WHERE account = 'ada' AND substr(ledger, 1, 7) = 'credit:'"),
    ("B5", "ada, ledger account usage:2026-03", "-$", "UPDATE balances SET credits = debits + 1 WHERE account = 'ada'"
     " AND ledger = 'usage:2026-03'"),
    ("B5", "bob, credit grant grant_", "-$", f"UPDATE grants SET remaining = -1 {_BOB_GRANT}"),
    ("B5", "bob, credit grant grant_", "outside", f"UPDATE grants SET remaining = granted + 1 {_BOB_GRANT}"),
    ("B7", "bob, credit grant grant_", "make", f"UPDATE grants SET remaining = remaining - 1 {_BOB_GRANT}"),
    ("B7", "bob, credit grant grant_", "entered", f"UPDATE grants SET granted = granted + 1 {_BOB_GRANT}"),
    ("B7", "bob, credit grant grant_", "books $0.299018", "UPDATE grants SET lapsed = lapsed - 1 WHERE lapsed > 0"),
    ("B7", "ada, credit grant grant_", "neither", "UPDATE transactions SET kind = 'gift' WHERE kind = 'drawn'"),
    ("B7", "bob, credit grant grant_", "not exist", f"DELETE FROM grants {_BOB_GRANT}"),
    ("C1", "ada, usage event gateway/r1", "no transaction", f"UPDATE usage_events SET txn = NULL {_R1}"),
    ("C1", "ada, transaction r2/settled", "$0.00 is", f"UPDATE usage_events SET txn = 'r2/settled' {_R1}"),
    ("C1", "cyd, transaction api/e4/settled", "0 usage events", "DELETE FROM usage_events WHERE id = 'e4'"),
    ("C1", "cyd, transaction api/e4/settled", "$0.00 is in", "DELETE FROM transactions WHERE key = 'api/e4/settled'"),
    ("C1", "cyd, transaction api/e4/settled", "cost $30.00", "UPDATE postings SET amount = amount * 2"
     " WHERE key = 'api/e4/settled'"),
    ("C1", "ada, usage event gateway/r5", "quarantined", "UPDATE usage_events SET cost = 1 WHERE id = 'r5'"),
    ("C1", "ada, usage event api/e1", "same commit", f"UPDATE transactions SET seq = seq - 1 {_E1_SETTLED}"),
    ("C5", "ada, bill of 2026-03", "roll-ups", "UPDATE rollups SET amount = amount + 1 WHERE account = 'ada'"),
    ("C5", "ada, bill of 2026-03", "usage events cost", f"UPDATE usage_events SET cost = cost + 1 {_R1}"),
    ("C5", "ada, bill of 2026-03", "revenue", "UPDATE balances SET credits = credits + 1 WHERE account = 'ada'"
     " AND ledger = 'revenue:2026-03'"),
    ("C5", "ada, bill of 2026-03", "postings say", f"UPDATE postings SET amount = amount + 1 {_E1_SETTLED}"),
    ("C5", "cyd, invoice CYD-0001", "lines sum", f"UPDATE invoice_lines SET amount = amount + 1 {_CYD_LINES}"),
    ("C6", "ada, credit", "writer:9", f"UPDATE leases SET owner = 'writer:9' {_ADA_CREDIT} AND owner = 'writer:1'"),
    ("C6", "bob, credit", "give it back", "UPDATE writers SET state = 'closed' WHERE id = 1"),
    ("holds", "ada, hold hold_3", "1 of 2", "DELETE FROM leases WHERE owner = 'hold_3' AND kind = 'month'"),
    ("holds", "ada, hold hold_3", "0 of 2", "UPDATE leases SET used = 1 WHERE owner = 'hold_3'"),
    ("holds", "ada, hold hold_1", "costs", "UPDATE holds SET cost = cost - 1 WHERE id = 'hold_1'"),
    ("holds", "ada, hold hold_1", "is void", "UPDATE holds SET state = 'void', cost = NULL WHERE id = 'hold_1'"),
    ("holds", "ada, hold hold_1", "costs $0.00", "DELETE FROM usage_events WHERE id = 'hold_1'"),
    ("A4", "ada, usage event deployment/own/1", "cost", "UPDATE usage_events SET cost = cost - 1 WHERE id = 'own/1'"),
    ("A4", "ada, usage event deployment/own/1", "of no slice", "DELETE FROM slices WHERE deployment = 'own' AND n = 1"),
    ("C6", "ada, credit", "slice:own/2", "DELETE FROM slices WHERE deployment = 'own' AND n = 2"),
    ("slices", "ada, slice own/2", "1 of 2", "DELETE FROM leases WHERE owner = 'slice:own/2' AND kind = 'month'"),
    ("slices", "ada, slice own/1", "no price per GPU-hour", "UPDATE slices SET model = 'tiny' WHERE n = 1"),
    ("slices", "ada, slice own/2", "before the one before it", "UPDATE slices SET start_at = start_at - 1 WHERE n = 2"),
    ("slices", "ada, slice own/2", "running total", "UPDATE slices SET before = before + 1 WHERE n = 2"),
    ("slices", "ada, slice own/1", "ended at", "UPDATE slices SET ended_at = end_at + 1 WHERE n = 1"),
    ("slices", "ada, slice own/1", "GPU-seconds", "UPDATE slices SET replicas = 1, gpus = 1 WHERE n = 1"),
    ("slices", "ada, slice own/1", "its usage event 0", "DELETE FROM usage_events WHERE id = 'own/1'"),
    ("slices", "ada, slice own/1", "own start", "UPDATE usage_events SET occurred_at = 0 WHERE id = 'own/1'"),
    ("slices", "ada, usage event deployment/own/9", "no slice", "UPDATE usage_events SET id = 'own/9'"
     " WHERE id = 'own/1'"),
    ("replicas", "ada, deployment own", "2 replicas run", "UPDATE replicas SET desired = 2 WHERE deployment = 'own'"),
    ("replicas", "ada, deployment own", "deleted", "UPDATE deployments SET state = 'DELETED' WHERE id = 'own'"),
    ("replicas", "ada, deployment own", "is not", "DELETE FROM deployments WHERE id = 'own'"),
    ("replicas", "ada, deployment own", "counts 3", "UPDATE replicas SET n = 3 WHERE deployment = 'own'"),
    ("headroom", "ada, credit", "counts", f"UPDATE headroom SET used = used + 1, taken = taken + 1 {_ADA_CREDIT}"),
    ("headroom", "ada, month 2026-05", "counts", "UPDATE leases SET used = used + 1 WHERE account = 'ada'"
     " AND \"window\" = '2026-05'"),
    ("headroom", "ada, group owner/MONTHLY/2026-05", "counts", "UPDATE leases SET used = used + 1"
     " WHERE kind = 'group'"),
    ("headroom", "ada, key key_", "counts", "UPDATE headroom SET used = used - 1 WHERE kind = 'key'"),
    ("spent", "bob, spent by user owner", "events make", "UPDATE spent SET amount = 1 WHERE account = 'bob'"),
    ("headroom", "bob, credit", "by the books", "UPDATE headroom SET amount = amount + 1 WHERE account = 'bob'"
     " AND kind = 'credit'"),
    ("headroom", "bob, credit", "remaining", f"UPDATE grants SET remaining = remaining - 1 {_BOB_GRANT}"),
    ("headroom", "ada, month 2026-03", "counts $0.00", "DELETE FROM headroom WHERE account = 'ada'"
     " AND \"window\" = '2026-03'"),
    *[
        ("D1", "cyd, invoice CYD-0001", "add up", f"UPDATE invoices SET {column} = {column} + 10000000 {_CYD_BILL}")
        for column in ("subtotal", "credits_applied", "tax", "carried_in", "carried_out", "total", "payments_applied",
                       "amount_due")
    ],
    ("D1", "cyd, invoice CYD-0001", "lines", f"UPDATE invoice_lines SET amount = amount - 1 {_CYD_LINES}"),
    ("D1", "cyd, invoice CYD-0001", "total", f"UPDATE invoices SET total = total + 1, amount_due = amount_due + 1,"
     f" carried_out = carried_out - 1 {_CYD_BILL}"),
    ("D1", "acme, invoice ACME-0002", "carried in", "UPDATE invoices SET carried_in = 0,"
     " carried_out = carried_out - carried_in WHERE number = 'ACME-0002'"),
    ("D1", "bob, invoice BOB-0001", "add up", "UPDATE invoices SET amount_due = 1 WHERE number = 'BOB-0001'"),
    ("D1", "cyd, invoice line", "no invoice", f"DELETE FROM invoices {_CYD_BILL}"),
    ("D2", "acme, bill of 2026-03", "2 invoices", "UPDATE invoices SET month = '2026-03' WHERE number = 'ACME-0002'"),
    ("D2", "cyd, invoice CYD-0001, line 2026-03", "were used", f"UPDATE invoice_lines SET quantity = 1 {_CYD_LINES}"),
    ("D2", "cyd, invoice CYD-0001, line 2026-03", "were used", f"UPDATE invoice_lines SET rate_per = 1 {_CYD_LINES}"),
    ("D2", "cyd, invoice CYD-0001, line 2026-03", "were used", f"DELETE FROM invoice_lines {_CYD_LINES}"),
    ("D2", "cyd, bill of 2026-03", "no invoice", f"DELETE FROM invoices {_CYD_BILL}"),
    ("D3", "cyd, invoice inv_", "CYD-0007", f"UPDATE invoices SET number = 'CYD-0007' {_CYD_BILL}"),
    ("D3", "cyd, invoice inv_", "ADA-0009", f"UPDATE invoices SET number = 'ADA-0009' {_CYD_BILL}"),
    ("D3", "ada, invoice numbers", "4 documents", "UPDATE accounts SET invoices = invoices + 1 WHERE id = 'ada'"),
    ("D3", "ada, invoice numbers", "3 documents", "DELETE FROM invoices WHERE number = 'ADA-0004'"),
    ("D4", "ada, payment pay_", "is sent", "UPDATE payments SET state = 'sent' WHERE account = 'ada'"),
    ("D4", "cyd, payment pay_", "$0.00 of cash", "UPDATE payments SET state = 'succeeded' WHERE account = 'cyd'"),
    ("D4", "ada, payment pay_", "$20.00 of cash", "UPDATE payments SET amount = amount + 1"
     " WHERE account = 'ada'"),
    ("D4", "ada, payment pay_", "charge twice", "UPDATE payments SET provider_id = 'twice' WHERE state = 'succeeded'"
     " AND account = 'ada'"),
    ("D5", "bob, credit grant grant_", "purchased", "UPDATE grants SET kind = 'purchased' WHERE account = 'bob'"),
    ("D5", "bob, credit grant grant_", "free credit", f"UPDATE grants SET kind = 'promotional' {_BOB_GRANT}"),
    ("D5", "bob, ledger account cash", "receipts", "DELETE FROM invoices WHERE number = 'BOB-0001'"),
    ("D5", "acme, ledger account cash", "payments of", "DELETE FROM payments WHERE account = 'acme'"),
    ("invoiced", "cyd, invoice CYD-0001", "by the books $29.00", f"UPDATE invoices SET paid = 1 {_CYD_BILL}"),
    ("invoiced", "cyd, invoice CYD-0001", "is PAID", f"UPDATE invoices SET state = 'PAID' {_CYD_BILL}"),
    ("invoiced", "acme, invoice ACME-0001", "is FAILED", "UPDATE invoices SET state = 'FAILED'"
     " WHERE number = 'ACME-0001'"),
    ("codes", "credit code code_", "2 of 5 have redeemed it, 1 accounts", "UPDATE credit_codes SET redeemed = 2"),
    ("codes", "bob, credit code code_", "no credit came", "UPDATE code_redemptions SET credit = 'grant_0'"),
    ("abuse", "account dan, sign-up credit", "is given, and none was", "UPDATE signup_credits SET state = 'given'"),
    ("abuse", "account ada", "given 4 times", "UPDATE grants SET source = 'sign-up' WHERE account = 'ada'"),
    ("abuse", "account cyd", "it is not blocked", "UPDATE accounts SET blocked_reason = NULL WHERE id = 'cyd'"),
    ("invoiced", "cyd, invoice inv_", "$29.00 is owed", f"DELETE FROM invoices {_CYD_BILL}"),
    ("L7", "ada, alert 2026-03 spend", "with 0 mails", "DELETE FROM outbox WHERE topic = 'alert.reached'"),
    ("L7", "ada, alert 2026-03 spend", "told at $1000003.", "UPDATE alerts SET used = used + 1000000000000000"),
    ("L7", "message msg_", "it is sent", "UPDATE outbox SET sent_at = NULL WHERE state = 'sent'"),
    ("seals", "accounts ada", "not what was written", "UPDATE accounts SET limit_nanos = 5 WHERE id = 'ada'"),
    ("seals", "rates 1/tiny/input_tokens", "its seal", "UPDATE rates SET seal = x'00' WHERE version = 1"),
    ("U1", "cyd, cause BLOCKED_BY_ABUSE_RULE", "without", "UPDATE accounts SET blocked_reason = NULL WHERE id = 'cyd'"),
    ("U1", "ada", "no cause", "UPDATE accounts SET blocked_reason = 'scraping' WHERE id = 'ada'"),
    ("U1", "cyd, cause FAILED_PAYMENTS", "without", f"UPDATE invoices SET state = 'ISSUED' {_CYD_BILL}"),
    ("U1", "cyd, cause FAILED_PAYMENTS", "contract", "UPDATE accounts SET billing_mode = 'contract' WHERE id = 'cyd'"),
    ("U1", "cyd, cause CREDIT_DEPLETED", "postpaid", "UPDATE causes SET cause = 'CREDIT_DEPLETED'"
     " WHERE cause = 'FAILED_PAYMENTS'"),
    ("U1", "cyd, cause WHIM", "without", "UPDATE causes SET cause = 'WHIM' WHERE cause = 'FAILED_PAYMENTS'"),
    ("U1", "cyd, cause FAILED_PAYMENTS", "2 times", "INSERT INTO causes SELECT account, cause, since_at + 1, why,"
     " until_at, NULL FROM causes WHERE cause = 'FAILED_PAYMENTS'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "where", "words", "statement"), CORRUPTIONS)
def test_a_check_finds_what_it_is_there_for(
    spoilt: Database, name: str, where: str, words: str, statement: str
) -> None:
    change(spoilt, statement)
    found = audited(spoilt).violations
    blamed = [violation for violation in found if violation.check == name]
    assert any(where in violation.where and words in violation.message for violation in blamed), found


def test_every_check_is_shown_to_find_something() -> None:
    assert {name for name, *_ in CORRUPTIONS} | {"B6", "file"} == set(BY_NAME)


# ── a database in pieces ─────────────────────────────────────────────────────────────────────────────────────────
def test_sums_beyond_64_bits_are_a_finding(spoilt: Database) -> None:
    change(spoilt, f"UPDATE postings SET amount = {2**62} WHERE account = 'ada'")
    found = audited(spoilt).violations
    if spoilt.is_sqlite:
        assert "integer overflow" in next(each for each in found if each.where == "the database").message
    else:  # it sums without bounds
        assert {each.check for each in found} >= {"B3", "C1"}
        assert not [each for each in found if each.where == "the database"]


@pytest.mark.sqlite  # PostgreSQL keeps no text that is not UTF-8
def test_text_that_is_not_utf_8_is_a_finding(spoilt: Database) -> None:
    change(spoilt, f"UPDATE usage_events SET user = CAST(x'ff' AS TEXT) {_R1}")
    found = [(violation.check, violation.where) for violation in audited(spoilt).violations]
    assert found == [("B6", "the database"), ("spent", "the database")]


def test_what_cannot_be_checked_is_a_finding_and_keeps_nothing_else_from_being_checked(spoilt: Database) -> None:
    change(spoilt, "UPDATE payments SET amount = amount + 1 WHERE account = 'ada'")
    with spoilt.engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE headroom RENAME TO elsewhere")
    result = audited(spoilt)
    lost = {each.check for each in result.violations if each.where == "the database"}
    assert "headroom" in lost
    assert "D4" in {each.check for each in result.violations} - lost
    assert {"B1", "B6"} <= {check.name for check in result.checks if check.rows} - lost


def test_many_findings_are_counted_rather_than_listed() -> None:
    found = Findings("B1", {})
    for n in range(MOST_SHOWN + 3):
        found.blame(f"row {n}", "wrong")
    assert len(found.violations()) == MOST_SHOWN + 1
    assert found.violations()[-1] == Violation("B1", "elsewhere", "and 3 more like these")


def test_an_interrupt_while_a_query_is_under_way_leaves_nobody_waiting(tmp_path: Path) -> None:
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n"

    def look(conn: Connection, _found: Findings) -> None:
        for _, rows in groupby(each(conn, many)):
            next(rows)
            raise KeyboardInterrupt

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt), db.read() as conn:
            next(search(conn, Invariant("X", "", look)))
        ended.set()

    db, ended = Database(databases.at(tmp_path / "purser.db")), threading.Event()
    threading.Thread(target=interrupted, daemon=True).start()
    assert ended.wait(10)
    db.dispose()
