"""Writers: the fenced, hash-chained, durable transactions in which everything is written (correctness §1)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from purser.core import lease as protocol
from purser.core.errors import Broken
from purser.core.ids import make_id
from purser.core.policy import Policy
from purser.store import headroom as rows
from purser.store import schema as t
from purser.store.bulk import Statement
from purser.store.db import Connection, Database, may_try_again
from purser.store.presence import CHANGES, lock_one, presence

T = TypeVar("T")
_CHECKPOINT_EVERY = 200
_TRIES = 5
_CHANCE_BITS = 26  # of an id's 80 bits below its instant; those above are the moment when it was made
_encode = msgspec.json.Encoder().encode


class World(Protocol):
    """Time and chance, passed in so that tests and the simulator own them."""

    def now(self) -> int:
        """Billing time, microseconds UTC; a manual clock drives it."""

    def wall(self) -> int:
        """Wall-clock time, microseconds UTC, for people to read."""

    def entropy(self, bits: int) -> int:
        """That many random bits."""


class Fenced(Exception):
    """Another process closed this writer: whatever it still holds in memory is void."""


class _Moments:
    """Moments of wall-clock time, microseconds, each later than the one before, whatever the clock does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, wall: int) -> int:
        """This moment, or the next that is free."""
        with self._lock:
            self._last = max(wall, self._last + 1)
            return self._last


_moments = _Moments()


@dataclass(slots=True)
class Tx:
    """One transaction under way: its connection, its billing instant and the rules in force."""

    conn: Connection
    now: int
    policy: Policy
    world: World
    writer: int
    seq: int
    facts: list[bytes] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    @property
    def owner(self) -> str:
        """This writer's name as an owner of leases."""
        return owner_name(self.writer)

    def new_id(self, kind: str) -> str:
        """A fresh id of a kind; of those of one instant (a manual clock may stand still) the newest sorts last."""
        moment = _moments.next(self.world.wall())
        return make_id(kind, self.now, (moment << _CHANCE_BITS) + self.world.entropy(_CHANCE_BITS))

    def cover(self, *fact: object) -> None:
        """Put a row's values under the hash chain."""
        self.facts.append(_encode(fact))

    def touch(self, account: str) -> None:
        """Say that an account changed in a way that gateways must hear of within a second."""
        self.touched.add(account)


def owner_name(writer: int) -> str:
    """A writer's name as an owner of leases."""
    return f"writer:{writer}"


def chain(before: bytes, seq: int, facts: list[bytes]) -> bytes:
    """The next link of a writer's hash chain over the facts of one commit, in any order."""
    digest = hashlib.blake2b(before, digest_size=32)
    digest.update(seq.to_bytes(8, "big"))
    for fact in sorted(facts):
        digest.update(len(fact).to_bytes(4, "big"))
        digest.update(fact)
    return digest.digest()


class Writer:
    """One database connection that writes; owns leases; one transaction at a time, from any thread."""

    def __init__(self, db: Database, world: World, policy: Policy, *, host: str, pid: int) -> None:
        self.db, self.world, self.policy = db, world, policy
        self._lock = threading.RLock()
        self._presence = presence(db)
        self._conn = db.engine.connect().execution_options(immediate=True)
        self._since_checkpoint = 0
        self.seq = self.n = 0
        self.hash = bytes(32)
        self.open = True
        with self._turn(), self._conn.begin():
            values = {"host": host, "pid": pid, "hash": self.hash, "heard_at": world.wall()}
            inserted = self._conn.execute(sa.insert(t.writers).values(values))
            self.id = int(inserted.inserted_primary_key[0])  # type: ignore[index]
            self._show()
        self.close_dead()

    @property
    def owner(self) -> str:
        """This writer's name as an owner of leases."""
        return owner_name(self.id)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A place in the one fair queue of writers: a thread lock within the process, then among the processes."""
        with self._lock:
            self._presence.take_turn()
            try:
                yield
            finally:
                self._presence.end_turn()

    def run(self, work: Callable[[Tx], T]) -> T:
        """Do `work` in one durable transaction; its exceptions undo everything and are raised again.

        Where the database undid it for the sake of others, or ended the session, it is done again. Raises Fenced where
        this writer was closed, Broken where the database failed to commit: the outcome is then unknown and the process
        must stop.
        """
        return self.run_touching(work)[0]

    def run_touching(self, work: Callable[[Tx], T]) -> tuple[T, set[str]]:
        """As `run`; answers also the accounts whose control state changed."""
        with self._turn():
            for _ in range(_TRIES - 1):
                try:
                    return self._run_once(work)
                except Exception as error:
                    if not may_try_again(error):
                        raise
            return self._run_once(work)

    def _run_once(self, work: Callable[[Tx], T]) -> tuple[T, set[str]]:
        tx = Tx(self._conn, self.world.now(), self.policy, self.world, self.id, self.seq + 1)
        link, n = self.hash, self.n
        transaction = self._conn.begin()
        try:
            self._step()
            if self._conn.connection.driver_connection is not self._session:
                self._show()  # the server ended the session in which it was shown
            result = work(tx)
            if tx.facts:
                link, n = chain(link, tx.seq, tx.facts), n + 1
                _LINK.run(self._conn, self.id, n, tx.seq, link, tx.now)
                _TIP.run(self._conn, n, link, self.id)
            if tx.touched:
                lock_one(self._conn, CHANGES)  # last: numbers become visible in their order, so none is overlooked
                self._conn.execute(sa.insert(t.changes), [{"account": account} for account in sorted(tx.touched)])
        except BaseException:
            transaction.rollback()
            raise
        try:
            transaction.commit()
        except Exception as error:
            raise Broken(f"a commit failed, its outcome is unknown: {error}") from error
        self.seq, self.hash, self.n = tx.seq, link, n
        self._checkpoint()
        return result, tx.touched

    def _step(self) -> None:
        if _STEP.run(self._conn, self.world.wall(), self.id, self.seq).rowcount != 1:
            self.open = False
            raise Fenced(f"writer {self.id} was closed")

    def _show(self) -> None:
        self._presence.show(self._conn, self.id)
        self._session = self._conn.connection.driver_connection

    def _checkpoint(self) -> None:
        self._since_checkpoint += 1
        if self._since_checkpoint >= _CHECKPOINT_EVERY and self.db.is_sqlite and not self.db.in_memory:
            self._since_checkpoint = 0
            driver = self._conn.connection.driver_connection
            if driver is not None:
                try:
                    driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                except Exception as error:  # the transaction is committed: as any other error it would be run again
                    raise Broken(f"a checkpoint failed: {error}") from error

    def close_dead(self) -> list[int]:
        """Close the open writers whose process is gone; answers their ids."""
        with self.db.read() as read:
            gone = self._presence.list_gone(read, self.id)
        if self.id in gone:
            self.run(lambda tx: None)  # any transaction shows this one again
        dead = [writer for writer in gone if writer != self.id]
        for writer in dead:
            self.run(lambda tx, writer=writer: close_writer(tx, writer))  # type: ignore[misc]
        return dead

    def close(self) -> None:
        """Give every lease back and end this writer."""
        with self._lock:
            if self.open:
                self.run(lambda tx: close_writer(tx, self.id))
                self.open = False
            if not self.db.is_sqlite:
                self._conn.invalidate()  # the session ends, and with it the lock it holds
            self._conn.close()
            self._presence.close()


_STEP = Statement("UPDATE writers SET seq = seq + 1, heard_at = ? WHERE id = ? AND seq = ? AND state = 'open'")
_TIP = Statement("UPDATE writers SET n = ?, hash = ? WHERE id = ?")
_LINK = Statement("INSERT INTO commits (writer, n, seq, hash, at) VALUES (?, ?, ?, ?, ?)")


def list_tips(conn: Connection) -> dict[int, int]:
    """How far every writer has come: its id → the number of its last transaction."""
    return {int(row[0]): int(row[1]) for row in conn.execute(sa.select(t.writers.c.id, t.writers.c.seq))}


def close_writer(tx: Tx, writer: int) -> int:
    """Close a writer and end its leases: what they used stays used, the spare comes back and counts as unbilled.

    Answers the spare nano-dollars. A writer that closes itself with nothing held has no unbilled work.
    """
    closed = tx.conn.execute(
        sa.update(t.writers).where(t.writers.c.id == writer, t.writers.c.state == "open").values(state="closed")
    )
    if closed.rowcount != 1:
        return 0
    spare = 0
    for key, held in rows.list_leases_of(tx.conn, owner_name(writer)):
        row = rows.lock_row(tx.conn, key)
        if row is None:
            raise Broken(f"lease without headroom row: {key}")
        if writer == tx.writer:
            row, held = protocol.give_back(row, held, held.spare)
        spare += held.spare
        rows.put_row(tx.conn, key, protocol.close(row, held))
        rows.delete_lease(tx.conn, key, owner_name(writer))
        tx.touch(key.account)
    tx.conn.execute(sa.update(t.writers).where(t.writers.c.id == writer).values(unbilled=spare))
    return spare
