"""Setting up: a new database is given its tables, its key secret, its first month, prices and operator."""

from __future__ import annotations

from purser.flows import access, audit_log, invoicing, pricing
from purser.store.audit_log import Act
from purser.store.presence import SHARED, lock_one
from purser.store.writers import Tx

_SET_UP = Act("", "purser", "", "set up")


def prepare(tx: Tx, prices: dict[str, dict[str, str]], operator_key: str | None) -> None:
    """Make a database ready to serve; running it again changes nothing that exists."""
    audit_log.told(_SET_UP, lambda tx: _prepare(tx, prices, operator_key))(tx)


def _prepare(tx: Tx, prices: dict[str, dict[str, str]], operator_key: str | None) -> None:
    lock_one(tx.conn, SHARED)
    access.set_up_pepper(tx)
    invoicing.start_months(tx)
    pricing.seed(tx, prices)
    if operator_key is not None:
        access.add_operator(tx, "owner", operator_key)
