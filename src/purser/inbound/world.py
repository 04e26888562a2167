"""The real world: the system's clock or a manual one kept in the database, and the system's randomness."""

from __future__ import annotations

import secrets
import time
from typing import Protocol

from purser.core.errors import Conflict, Invalid, Unavailable
from purser.core.period import MINUTE, month_end
from purser.store import accounts
from purser.store.db import Database
from purser.store.writers import Tx

_CLOCK_AT = "clock_at"
_MOST_APART = MINUTE
JUMPED = "the system's clock has jumped by more than 60 s since this process started; set it right, or start anew"


class Clock(Protocol):
    """Billing time, and how a manual clock is set."""

    manual: bool

    def now(self) -> int:
        """Billing time now."""

    def is_off(self) -> bool:
        """Whether somebody has set the clock beneath it so that it cannot be trusted."""

    def set(self, at: int) -> None:
        """Set a manual clock."""


class SystemWorld:
    """Time and chance from the operating system.

    Billing time is wall-clock time, as long as that goes on as the time since the machine was started does. Where
    somebody sets the clock by more than 60 s, billing time goes on as if nobody had: no month turns, nothing lapses.
    """

    manual = False
    _ahead: int | None = None  # how far the wall clock was ahead of the machine's own time when billing time began

    def now(self) -> int:
        """Billing time, microseconds UTC."""
        wall, ahead = self.wall(), self._ahead
        steady = self._steady() if ahead is None else self._uptime() + ahead
        return wall if -_MOST_APART <= wall - steady <= _MOST_APART else steady

    def is_off(self) -> bool:
        """Whether the wall clock has been set by more than 60 s since billing time began."""
        return abs(self.wall() - self._steady()) > _MOST_APART

    def _steady(self) -> int:
        """Wall-clock time as it would be had nobody set it; the machine's own time also counts while it sleeps."""
        own = self._uptime()
        if self._ahead is None:
            self._ahead = self.wall() - own
        return own + self._ahead

    def _uptime(self) -> int:
        """Time since the machine was started, microseconds, sleep included; nobody sets it."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000

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

    def is_off(self) -> bool:
        """It is where it was set."""
        return False

    def set(self, at: int) -> None:
        """Set the clock in this process; `keep` writes it down for the others."""
        self.at = at

    def reload(self, db: Database) -> None:
        """Take up the time another process has set, or the one kept from before."""
        with db.read() as conn:
            kept = accounts.get_meta(conn, _CLOCK_AT)
        if kept is not None:
            self.at = max(self.at, int(kept))


def require_ended(clock: Clock, month: str) -> None:
    """Raises Conflict where a month has not ended, Unavailable where the clock cannot tell."""
    if clock.is_off():
        raise Unavailable(f"{month} is not closed while the clock cannot be trusted: {JUMPED}")
    if month_end(month) > clock.now():
        raise Conflict(f"{month} has not ended: it can be closed from its last instant on", code="FAILED_PRECONDITION")


def require_movable(clock: Clock, to: int) -> None:
    """Raises Conflict where the clock is not set by hand, Invalid where it would go back."""
    if not clock.manual:
        raise Conflict("the clock is the system's; start with --clock manual to set it", code="FAILED_PRECONDITION")
    if to < clock.now():
        raise Invalid("to lies before the clock's time; a manual clock only moves forward", field="to")


def keep_clock(tx: Tx, at: int) -> None:
    """Write a manual clock's time down for every process, unless another has set it to a later one."""
    kept = accounts.get_meta(tx.conn, _CLOCK_AT, lock=True)
    if kept is None or int(kept) < at:
        accounts.set_meta(tx.conn, _CLOCK_AT, str(at))
        tx.touch("")
