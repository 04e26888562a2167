"""The audit log: on whose behalf a flow runs, and that whatever it changes is told in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from purser.store import audit_log
from purser.store.audit_log import Act
from purser.store.transaction import Tx

T = TypeVar("T")
_ACT: ContextVar[Act | None] = ContextVar("act", default=None)


@contextmanager
def acting(act: Act | None) -> Iterator[None]:
    """Whatever the write queue is given meanwhile, by this thread or task, is told as this act's; None: not told."""
    token = _ACT.set(act)
    try:
        yield
    finally:
        _ACT.reset(token)


def current() -> Act | None:
    """The act under way; None where what is done follows from time alone."""
    return _ACT.get()


def told(act: Act | None, work: Callable[[Tx], T]) -> Callable[[Tx], T]:
    """The same work, which also tells what it changed; one that changes nothing tells nothing."""
    if act is None:
        return work

    def tell(tx: Tx) -> T:
        with audit_log.noting(tx.conn) as changes:
            done = work(tx)
        audit_log.append(tx, act, changes)
        return done

    return tell
