"""Credit codes as rows, with who has redeemed them, and attempts that failed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.core.codes import Code
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row


def insert_code(conn: Connection, code: Code, **more: Any) -> None:
    """A new code; `more` are its name, digest, how it begins, and when it was made."""
    row = {
        "id": code.id,
        "amount": code.amount_nanos,
        "redemptions": code.redemptions,
        "expires_at": code.expires_at,
        "credit_days": code.credit_days,
        **more,
    }
    seals.insert(conn, t.credit_codes, row)


def list_codes(conn: Connection) -> list[Row]:
    """Every code there ever was, newest first."""
    c = t.credit_codes.c
    return list(conn.execute(sa.select(t.credit_codes).order_by(c.created_at.desc(), c.id.desc())))


def get_code(conn: Connection, id_: str) -> Row | None:
    """One code by its id."""
    return conn.execute(sa.select(t.credit_codes).where(t.credit_codes.c.id == id_)).first()


def find_code(conn: Connection, digest: bytes) -> Code | None:
    """A code by what was typed; how often it was redeemed may be more by the time that it is taken."""
    row = conn.execute(sa.select(t.credit_codes).where(t.credit_codes.c.digest == digest)).first()
    return None if row is None else read(row)


def read(row: Row) -> Code:
    """A code's row as the rules see it."""
    return Code(
        row.id, row.amount, row.redemptions, row.redeemed, row.expires_at, row.credit_days, ended_at=row.ended_at
    )


def end_code(conn: Connection, id_: str, at: int) -> bool:
    """End a code; answers whether it had not ended."""
    c = t.credit_codes.c
    return seals.update(conn, t.credit_codes, c.id == id_, c.ended_at.is_(None), ended_at=at) == 1


def take(conn: Connection, id_: str) -> bool:
    """Redeem a code once more; answers False where it is used up, or has ended, by now."""
    c = t.credit_codes.c
    left = (c.id == id_, c.redeemed < c.redemptions, c.ended_at.is_(None))
    return seals.update(conn, t.credit_codes, *left, redeemed=c.redeemed + 1) == 1


def get_redemption(conn: Connection, account: str, code: str) -> Row | None:
    """An account's redemption of a code."""
    c = t.code_redemptions.c
    return conn.execute(sa.select(t.code_redemptions).where(c.account == account, c.code == code)).first()


def list_redemptions(conn: Connection, account: str) -> list[Row]:
    """What an account has redeemed, newest first, with when the credit lapses as `expires_at`."""
    r, g = t.code_redemptions.c, t.grants.c
    query = sa.select(t.code_redemptions, g.expires_at)
    query = query.outerjoin(t.grants, sa.and_(g.account == r.account, g.id == r.credit))
    return list(conn.execute(query.where(r.account == account).order_by(r.at.desc(), r.credit.desc())))


def list_redeemers(conn: Connection, code: str, *, after: tuple[int, str] | None = None, limit: int = 50) -> list[Row]:
    """Who has redeemed a code, newest first, after a given (at, account)."""
    c = t.code_redemptions.c
    query = sa.select(t.code_redemptions).where(c.code == code).order_by(c.at.desc(), c.account.desc()).limit(limit)
    if after is not None:
        query = query.where(sa.tuple_(c.at, c.account) < sa.tuple_(*map(sa.literal, after)))
    return list(conn.execute(query))


def insert_redemption(conn: Connection, account: str, code: str, credit: str, amount: int, at: int) -> None:
    """An account has redeemed a code, and got that credit."""
    row = {"account": account, "code": code, "credit": credit, "amount": amount, "at": at}
    seals.insert(conn, t.code_redemptions, row)


def list_attempts(conn: Connection, account: str, since: int, until: int) -> list[int]:
    """When an account's attempts failed after one instant of wall-clock time and up to another, the oldest first."""
    c = t.code_attempts.c
    query = sa.select(c.at).where(c.account == account, c.at > since, c.at <= until)
    return [int(row[0]) for row in conn.execute(query.order_by(c.at))]


def insert_attempt(conn: Connection, account: str, id_: str, at: int, since: int) -> None:
    """An account's attempt has failed; those that are older than `since` are forgotten."""
    c = t.code_attempts.c
    conn.execute(sa.delete(t.code_attempts).where(c.account == account, c.at <= since))
    seals.insert(conn, t.code_attempts, {"account": account, "id": id_, "at": at})
