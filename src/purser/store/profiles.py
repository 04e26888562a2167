"""Billing profiles as rows."""

from __future__ import annotations

from dataclasses import asdict, fields

import sqlalchemy as sa

from purser.core.profile import Profile
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection

_SELECT = sa.select(*(t.billing_profiles.c[field.name] for field in fields(Profile)))


def get_profile(conn: Connection, account: str) -> Profile:
    """To whom an account's invoices are made out; all "" where that was never said."""
    row = conn.execute(_SELECT.where(t.billing_profiles.c.account == account)).first()
    return Profile() if row is None else Profile(*row)


def put_profile(conn: Connection, account: str, profile: Profile, at: int) -> None:
    """Keep a profile; `at` is now."""
    values = {**asdict(profile), "updated_at": at}
    if not seals.update(conn, t.billing_profiles, t.billing_profiles.c.account == account, **values):
        seals.insert(conn, t.billing_profiles, {"account": account, **values})
