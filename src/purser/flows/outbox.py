"""The outbox: messages written in the transaction of the fact that they tell, claimed, sent and ended one by one.

A flow never sends. Between a claim and what is written of its end a process may die; then nobody knows whether the
message went out, and it is sent again, under the same id, when the claim has run out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from purser.core import letters
from purser.core.ids import make_id
from purser.core.invoice import PREPAID_CREDITS
from purser.core.letters import Letter
from purser.core.message import (
    CLAIM,
    GIVEN_UP,
    INVOICE_ISSUED,
    KEPT,
    LATE,
    MAIL,
    PENDING,
    SENT,
    WAITS,
    WEBHOOK,
    next_attempt_at,
)
from purser.core.money import format_usd
from purser.core.period import format_instant
from purser.store import accounts, endpoints, invoices, outbox
from purser.store.db import Row
from purser.store.writers import Tx

_AT_ONCE = 100  # messages that one commit tidies
_TOO_LATE = "too late: it could not be sent for three days"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours to send now; `target` is a mail address or a URL, `secret` signs a webhook."""

    account: str
    id: str
    target: str
    topic: str
    subject: str
    body: str = field(repr=False)
    written_at: int
    attempts: int
    secret: bytes = field(default=b"", repr=False)
    endpoint: str | None = None


def write_mail(tx: Tx, account: str, topic: str, fact: str, to: str, letter: Letter, *, private: bool = False) -> bool:
    """Write a mail to an address; answers False where this fact was told by mail to the account before.

    What a `private` one says (a link to sign in with) is forgotten once it is sent or given up.
    """
    return _write(tx, account, f"{fact}@mail", MAIL, to, topic, letter.subject, letter.text, private)


def tell(tx: Tx, account: str, topic: str, fact: str, data: Mapping[str, Any], letter: Letter | None = None) -> None:
    """Tell a fact once: to the account's own address where there is a letter, and to every endpoint that asked for it.

    `fact` is its name within the account, such as "inv_01k…/issued".
    """
    if letter is not None:
        row = accounts.get_account(tx.conn, account)
        if row is not None:
            write_mail(tx, account, topic, fact, row.email, letter)
    wanting = [each for each in endpoints.list_endpoints(tx.conn, account) if wants(each, topic)]
    if wanting:
        event = {"type": topic, "timestamp": format_instant(tx.now), "data": {"account": account, **data}}
        body = _encode(event).decode()
        for each in wanting:
            _write(tx, account, f"{fact}@{each.id}", WEBHOOK, each.id, topic, "", body)


def tell_of_invoice(tx: Tx, account: str, invoice: str, topic: str, *, again: int | None = None) -> None:
    """Tell what became of an invoice or receipt, once, or once for each number `again`; an issued one also by mail."""
    row = invoices.get_invoice(tx.conn, account, invoice)
    if row is None:
        return
    data = {
        "invoice": row.id,
        "number": row.number,
        "type": row.type,
        "state": row.state,
        "month": row.month,
        "totalUsd": format_usd(row.total),
        "amountDueUsd": format_usd(row.amount_due),
        "paidUsd": format_usd(row.paid),
    }
    letter = None
    if topic == INVOICE_ISSUED:
        receipt = row.type == PREPAID_CREDITS
        letter = letters.issued(account, row.number, row.month, row.total, row.amount_due, receipt=receipt)
    fact = f"{invoice}/{topic}" if again is None else f"{invoice}/{topic}/{again}"
    tell(tx, account, topic, fact, data, letter)


def wants(endpoint: Row, topic: str) -> bool:
    """Whether an endpoint is to be told of a topic; one that names none wants all."""
    return endpoint.disabled_at is None and topic in (endpoint.topics.split(",") if endpoint.topics else (topic,))


def _write(
    tx: Tx, account: str, fact: str, kind: str, target: str, topic: str, subject: str, body: str, private: bool = False
) -> bool:
    name = hashlib.blake2b(f"{account}\0{fact}".encode(), digest_size=10).digest()
    wall = tx.world.wall()
    return outbox.insert_once(
        tx.conn,
        account=account,
        id=make_id("msg", tx.now, int.from_bytes(name, "big")),
        fact=fact,
        kind=kind,
        target=target,
        topic=topic,
        subject=subject,
        body=body,
        private=int(private),
        created_at=tx.now,
        written_at=wall,
        due_at=wall,
    )


def claim_due(tx: Tx, kind: str, most: int, each: int) -> list[Claimed]:
    """Claim messages of a kind that are due, at most `each` for one target: nobody else sends them meanwhile."""
    wall = tx.world.wall()
    claimed = []
    for account, id_ in outbox.list_due(tx.conn, kind, wall, most, each):
        row = outbox.get(tx.conn, account, id_)
        if row is None or row.state != PENDING or row.due_at > wall:  # somebody was quicker
            continue
        if not outbox.claim(tx.conn, row, wall + CLAIM):
            continue
        if wall - row.due_at > LATE:
            _give_up(tx, row, None, _TOO_LATE)
            continue
        if row.attempts > len(WAITS):
            _give_up(tx, row, None, "none of its attempts came to an end")
            continue
        target, secret = row.target, b""
        if kind == WEBHOOK:
            endpoint = endpoints.get_endpoint(tx.conn, account, row.target)
            if endpoint is None or endpoint.disabled_at is not None:
                _give_up(tx, row, None, "the endpoint was removed" if endpoint is None else "the endpoint is disabled")
                continue
            target, secret = endpoint.url, bytes(endpoint.secret)
        claimed.append(
            Claimed(
                account,
                id_,
                target,
                row.topic,
                row.subject,
                row.body,
                row.written_at,
                row.attempts + 1,
                secret,
                row.target if kind == WEBHOOK else None,
            )
        )
    return claimed


def record_sent(tx: Tx, message: Claimed, status: int | None = None) -> None:
    """It went out; true also where the claim had run out meanwhile."""
    row = outbox.get(tx.conn, message.account, message.id)
    if row is not None:
        told = {"state": SENT, "sent_at": tx.now, "due_at": None, "status": status, "failure": None}
        outbox.end_attempt(tx.conn, row.account, row.id, None, **told, **_forgotten(row))


def record_failure(tx: Tx, message: Claimed, why: str, status: int | None = None, *, final: bool = False) -> None:
    """It did not go out: it is tried again later, or given up after the last attempt or where no other will do.

    An endpoint that answers 410 is gone, and is disabled. Nothing where another attempt has begun meanwhile.
    """
    row = outbox.get(tx.conn, message.account, message.id)
    if row is None or row.attempts != message.attempts:
        return
    again = None if final else next_attempt_at(message.attempts, tx.world.wall())
    if again is None:
        _give_up(tx, row, status, why)
    else:
        outbox.end_attempt(tx.conn, row.account, row.id, row.attempts, due_at=again, status=status, failure=why)
    if status == 410 and message.endpoint is not None:
        endpoints.update_endpoint(tx.conn, row.account, message.endpoint, disabled_at=tx.now)


def tidy(tx: Tx) -> bool:
    """Give up what could not be tried for three days, and forget what ended long ago; answers whether there is more.

    The first is what becomes of mail where nothing says by which way it goes.
    """
    wall = tx.world.wall()
    late = outbox.list_late(tx.conn, wall - LATE, _AT_ONCE)
    for row in late:
        _give_up(tx, row, None, _TOO_LATE, attempts=row.attempts)  # unless an attempt has begun meanwhile
    gone = outbox.prune(tx.conn, wall - KEPT, _AT_ONCE)
    if gone:  # the audit looks for the mails of alerts that came after these
        before = accounts.get_meta(tx.conn, outbox.PRUNED)
        accounts.set_meta(tx.conn, outbox.PRUNED, str(max(*gone, int(before or 0))))
    return _AT_ONCE in (len(late), len(gone))


def _give_up(tx: Tx, row: Row, status: int | None, why: str, *, attempts: int | None = None) -> None:
    ended = {"state": GIVEN_UP, "due_at": None, "status": status, "failure": why}
    outbox.end_attempt(tx.conn, row.account, row.id, attempts, **ended, **_forgotten(row))


def _forgotten(row: Row) -> dict[str, str]:
    return {"body": ""} if row.private else {}
