"""Abuse rules as rows, the accounts that they cover, flags on accounts, and accounts still to be judged."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from purser.core.abuse import ACCOUNT, DOMAIN, Rule
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────────────────
def insert_rule(conn: Connection, rule: Rule, at: int) -> None:
    """A new rule."""
    row = {"id": rule.id, "type": rule.type, "target": rule.target, "designation": rule.designation}
    seals.insert(conn, t.abuse_rules, {**row, "reason": rule.reason, "created_at": at})


def list_rules(conn: Connection) -> list[Row]:
    """Every rule there ever was, newest first."""
    c = t.abuse_rules.c
    return list(conn.execute(sa.select(t.abuse_rules).order_by(c.created_at.desc(), c.id.desc())))


def get_rule(conn: Connection, id_: str) -> Row | None:
    """One rule, also one that has ended."""
    return conn.execute(sa.select(t.abuse_rules).where(t.abuse_rules.c.id == id_)).first()


def find_rules(conn: Connection, about: dict[str, list[list[str]]]) -> list[Rule]:
    """The rules that stand among the candidates for what is judged (see `core.abuse.candidates`)."""
    c = t.abuse_rules.c
    wanted = {type_: sorted({target for each in targets for target in each}) for type_, targets in about.items()}
    any_of = [sa.and_(c.type == type_, c.target.in_(targets)) for type_, targets in wanted.items() if targets]
    found = conn.execute(sa.select(t.abuse_rules).where(c.ended_at.is_(None), sa.or_(sa.false(), *any_of)))
    return [read(row) for row in found]


def read(row: Row) -> Rule:
    """A rule's row as the rules see it."""
    return Rule(row.id, row.type, row.target, row.designation, row.reason)


def end_rule(conn: Connection, id_: str, at: int) -> bool:
    """End a rule; answers whether it stood."""
    c = t.abuse_rules.c
    return seals.update(conn, t.abuse_rules, c.id == id_, c.ended_at.is_(None), ended_at=at) == 1


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────
def list_covered(conn: Connection, rule: Rule) -> list[str]:
    """The accounts that a rule covers, in lock order, whatever others say; none of a network."""
    a = t.accounts.c
    if rule.type == ACCOUNT:
        covered = a.id == rule.target
    elif rule.type == DOMAIN:
        address = sa.func.lower(a.email)
        covered = sa.or_(address.like(f"%@{rule.target}"), address.like(f"%.{rule.target}"))
    else:
        return []
    return [str(row[0]) for row in conn.execute(sa.select(a.id).where(covered).order_by(a.id))]


def insert_due(conn: Connection, account: str) -> None:
    """An account is still to be judged."""
    seals.insert_once(conn, t.abuse_due, {"subject": account})


_DUE = Prepared(lambda: sa.select(t.abuse_due.c.subject).order_by(t.abuse_due.c.subject))


def list_due(conn: Connection, _now: int) -> list[str]:
    """The accounts that are still to be judged, in lock order."""
    return [str(row[0]) for row in _DUE.run(conn)]


def delete_due(conn: Connection, account: str) -> None:
    """An account has been judged."""
    conn.execute(sa.delete(t.abuse_due).where(t.abuse_due.c.subject == account))


# ── flags ────────────────────────────────────────────────────────────────────────────────────────────────────────
def raise_flag(conn: Connection, account: str, kind: str, why: str, rule: str | None, at: int) -> None:
    """Flag an account, again where the flag was cleared; one that is up already stays as it is."""
    c = t.account_flags.c
    row = {"subject": account, "kind": kind, "why": why, "rule": rule, "at": at}
    if not seals.insert_once(conn, t.account_flags, row):
        cleared = (c.subject == account, c.kind == kind, c.cleared_at.is_not(None))
        seals.update(conn, t.account_flags, *cleared, why=why, rule=rule, at=at, cleared_at=None)


def clear_flags(conn: Connection, account: str, kinds: tuple[str, ...], at: int) -> int:
    """Clear an account's flags of these kinds; answers how many were up."""
    c = t.account_flags.c
    up = (c.subject == account, c.kind.in_(kinds), c.cleared_at.is_(None))
    return seals.update(conn, t.account_flags, *up, cleared_at=at)


def list_flags(conn: Connection, accounts: Sequence[str] | None = None) -> list[Row]:
    """The flags that are up, of some accounts or of all, newest first."""
    c = t.account_flags.c
    query = sa.select(t.account_flags).where(c.cleared_at.is_(None))
    if accounts is not None:
        query = query.where(c.subject.in_(accounts))
    return list(conn.execute(query.order_by(c.at.desc(), c.subject, c.kind)))
