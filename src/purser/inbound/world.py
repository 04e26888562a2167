"""The real world: the system's clock or a manual one kept in the database, and the system's randomness."""

from __future__ import annotations

import secrets
import time

from purser.store import accounts
from purser.store.db import Database
from purser.store.writers import Tx

_CLOCK_AT = "clock_at"


class SystemWorld:
    """Time and chance from the operating system."""

    manual = False

    def now(self) -> int:
        """Billing time is wall-clock time."""
        return self.wall()

    def wall(self) -> int:
        """Wall-clock time, microseconds UTC."""
        return time.time_ns() // 1000

    def entropy(self, bits: int) -> int:
        """Random bits from the operating system."""
        return secrets.randbits(bits)

    def set(self, at: int) -> None:
        """The system's clock is not ours to set."""
        raise RuntimeError(f"the system clock cannot be set to {at}")


class ManualWorld(SystemWorld):
    """Billing time stands still until it is set; the database keeps it, so that every process agrees."""

    manual = True

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        """The manual clock's time."""
        return self.at

    def set(self, at: int) -> None:
        """Set the clock in this process; `keep` writes it down for the others."""
        self.at = at

    def reload(self, db: Database) -> None:
        """Take up the time another process has set, or the one kept from before."""
        with db.read() as conn:
            kept = accounts.get_meta(conn, _CLOCK_AT)
        if kept is not None:
            self.at = max(self.at, int(kept))


def keep_clock(tx: Tx, at: int) -> None:
    """Write a manual clock's time down for every process."""
    accounts.set_meta(tx.conn, _CLOCK_AT, str(at))
    tx.touch("")
