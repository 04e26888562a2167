"""Payments that cross: money for an invoice that is paid already, cards that decline, spend that refunds take back."""

from __future__ import annotations

import pytest

from purser.core.leaving import Blocked
from purser.core.limits import DEFAULT_TIERS, Tier, tier_of
from purser.core.period import DAY, parse_instant
from purser.core.policy import Policy
from purser.flows import audit, credits, invoicing, leaving, payments
from purser.flows.payments import start_due_charges
from purser.store import accounts, invoices
from purser.store import payments as rows
from purser.store.writers import Writer
from tests.flows.books import USD, VISA, World, open_account, open_books, use


def billed(writer: Writer, world: World, mode: str) -> str:
    """Ada used five dollars in March, has a card, and the month is closed; the invoice's id."""
    writer.run(lambda tx: open_account(tx, "ada", mode))
    writer.run(lambda tx: payments.add_method(tx, "ada", VISA))
    writer.run(lambda tx: use(tx, "ada", 5))
    world.at = parse_instant("2026-04-01T00:00:00Z")
    invoice = writer.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
    assert invoice is not None
    return invoice


def pay(writer: Writer, invoice: str) -> str:
    """Start to pay an invoice by hand; the payment's id."""
    payment = writer.run(lambda tx: payments.start_invoice_payment(tx, "ada", invoice))
    assert payment is not None
    return payment


@pytest.mark.parametrize("paid_meanwhile", [5, 2])
def test_money_for_an_invoice_that_was_paid_meanwhile_is_credit_bought_and_has_a_receipt(paid_meanwhile: int) -> None:
    with open_books() as (writer, world):
        invoice = billed(writer, world, "postpaid")
        assert writer.run(lambda tx: start_due_charges(tx, "ada")) == 1
        with writer.db.read() as conn:
            (charge,) = rows.list_to_send(conn)
        writer.run(lambda tx: credits.give_credit(tx, "ada", paid_meanwhile * USD, kind="purchased"))
        writer.run(lambda tx: payments.record_success(tx, "ada", charge.id, "ch_1"))
        with writer.db.read() as conn:
            payment = rows.get_payment(conn, "ada", charge.id)
            left = sum(grant.remaining_nanos for grant in credits.remaining_grants(conn, "ada"))
            documents = {row.id: row for row in invoices.list_invoices(conn, "ada")}
            receipted = rows.list_receipted(conn, "ada")
        assert documents[invoice].state == "PAID"
        assert left == paid_meanwhile * USD
        assert payment is not None
        receipt = documents[payment.receipt]
        assert (receipt.type, receipt.state, receipt.total) == ("PREPAID_CREDITS", "PAID", 5 * USD), "D3"
        assert receipted[receipt.id].id == charge.id
        allocation = {part.to: part.amount_nanos for part in credits.decode_allocation(payment.allocation)}
        assert allocation.get("credit") == paid_meanwhile * USD
        assert allocation.get("invoice", 0) == (5 - paid_meanwhile) * USD


def test_an_account_does_not_close_while_a_charge_is_out_that_may_become_credit() -> None:
    """A10: nothing comes in later that nobody would return."""
    with open_books() as (writer, world):
        billed(writer, world, "postpaid")
        writer.run(lambda tx: start_due_charges(tx, "ada"))
        with writer.db.read() as conn:
            (charge,) = rows.list_to_send(conn)
        writer.run(lambda tx: payments.mark_sent(tx, "ada", charge.id))
        writer.run(lambda tx: credits.give_credit(tx, "ada", 5 * USD, kind="purchased"))
        with pytest.raises(Blocked) as refused:
            writer.run(lambda tx: leaving.close(tx, "ada"))
        assert [(each.code, each.amount_nanos) for each in refused.value.blockers] == [("PENDING_PURCHASE", 5 * USD)]
        writer.run(lambda tx: payments.record_decline(tx, "ada", charge.id, "card_declined: no"))
        writer.run(lambda tx: leaving.close(tx, "ada"))


def test_a_charge_that_simply_pays_its_invoice_has_no_receipt_of_its_own() -> None:
    with open_books() as (writer, world):
        billed(writer, world, "postpaid")
        writer.run(lambda tx: start_due_charges(tx, "ada"))
        with writer.db.read() as conn:
            (charge,) = rows.list_to_send(conn)
        writer.run(lambda tx: payments.record_success(tx, "ada", charge.id, "ch_1"))
        with writer.db.read() as conn:
            assert rows.list_receipted(conn, "ada") == {}
            assert len(invoices.list_invoices(conn, "ada")) == 1


@pytest.mark.parametrize("mode, state, dunned", [("contract", "ISSUED", False), ("postpaid", "FAILED", True)])
def test_a_payment_by_hand_that_declines_starts_dunning_only_where_there_is_any(
    mode: str, state: str, dunned: bool
) -> None:
    with open_books() as (writer, world):
        invoice = billed(writer, world, mode)
        payment = pay(writer, invoice)
        writer.run(lambda tx: payments.record_decline(tx, "ada", payment, "card_declined: no"))
        with writer.db.read() as conn:
            row = invoices.get_invoice(conn, "ada", invoice)
        assert row is not None
        assert (row.state, row.payment, row.next_attempt_at is not None) == (state, None, dunned)
        again = pay(writer, invoice)
        writer.run(lambda tx: payments.record_success(tx, "ada", again, "ch_2"))
        with writer.db.read() as conn:
            row = invoices.get_invoice(conn, "ada", invoice)
        assert row is not None
        assert row.state == "PAID"


def test_the_audit_knows_what_an_invoice_carried_on_and_which_one_takes_it_up() -> None:
    with open_books(audited=False) as (writer, world):
        billed(writer, world, "postpaid")
        writer.run(lambda tx: credits.give_credit(tx, "ada", 5 * USD - 1_000, kind="purchased"))
        writer.run(lambda tx: use(tx, "ada", 2, "u2"))
        world.at = parse_instant("2026-05-01T00:00:00Z")
        april = writer.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-04"))

        def broken() -> list[str]:
            with writer.db.read() as conn:
                return [found.check for found in audit.audit(conn).violations]

        with writer.db.read() as conn:
            row = invoices.get_invoice(conn, "ada", str(april))
        assert row is not None
        assert (row.carried_in, row.carried_out, row.amount_due, broken()) == (1_000, 1_000, 2 * USD, [])
        for wrong in (0, 999, 1_001, 2_000):
            out = 1_000 - row.carried_in + wrong
            values = {"carried_in": wrong, "carried_out": out}
            writer.run(lambda tx, values=values: invoices.update_invoice(tx.conn, "ada", str(april), **values))  # type: ignore[misc]
            assert broken() == ["D1"], wrong


def test_a_grace_ends_on_its_day_whatever_day_is_next_for_a_charge() -> None:
    with open_books(Policy(payment_grace_days=2)) as (writer, world):
        invoice = billed(writer, world, "postpaid")
        payment = pay(writer, invoice)
        writer.run(lambda tx: payments.record_decline(tx, "ada", payment, "card_declined: no"))

        def causes() -> list[str]:
            with writer.db.read() as conn:
                return [row.cause for row in accounts.list_open_causes(conn, "ada")]

        writer.run(lambda tx: invoices.update_invoice(tx.conn, "ada", invoice, next_attempt_at=None))
        world.at += 2 * DAY - 1
        writer.run(lambda tx: start_due_charges(tx, "ada"))
        assert causes() == []
        world.at += 1
        writer.run(lambda tx: start_due_charges(tx, "ada"))
        assert causes() == ["FAILED_PAYMENTS"], "U6"


@pytest.mark.parametrize(
    "tiers, spend, number",
    [(DEFAULT_TIERS, -5 * USD, 1), ((Tier(2, 100 * USD, 500), Tier(3, 200 * USD, 900)), 0, 2)],
    ids=["refunds beyond all spend", "tiers that begin above zero"],
)
def test_spend_below_every_threshold_is_in_the_lowest_tier(tiers: tuple[Tier, ...], spend: int, number: int) -> None:
    assert tier_of(tiers, spend, has_payment_method=True).number == number, "L2"
