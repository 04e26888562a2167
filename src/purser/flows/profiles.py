"""Billing profiles: said by the customer, and kept on every invoice as they were when it was issued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import msgspec

from purser.core import profile as rule
from purser.core.profile import Profile
from purser.flows import standing
from purser.store import profiles
from purser.store.db import Connection
from purser.store.writers import Tx


def change(tx: Tx, account: str, given: Mapping[str, str]) -> Profile:
    """Change some fields of a profile, for invoices issued from now on; raises Invalid, NotFound."""
    standing.lock(tx, account)
    was = profiles.get_profile(tx.conn, account)
    made = rule.change(was, given)
    if made != was:
        profiles.put_profile(tx.conn, account, made, tx.now)
    return made


def encode(conn: Connection, account: str) -> str:
    """The profile as it stands, as an invoice keeps it; "" where there is none."""
    profile = profiles.get_profile(conn, account)
    return "" if profile == Profile() else msgspec.json.encode(asdict(profile)).decode()


def decode(text: str) -> Profile | None:
    """The profile that an invoice keeps, None where there was none."""
    return msgspec.json.decode(text, type=Profile) if text else None
