"""Writers: the fenced, hash-chained, durable transactions in which everything is written (correctness §1)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from purser.core import lease as protocol
from purser.core.errors import Broken, Unavailable
from purser.core.policy import Policy
from purser.store import headroom as rows
from purser.store import rates
from purser.store import schema as t
from purser.store.bulk import TEXT, Insert, Statement
from purser.store.db import Connection, Database, Row, is_locked, is_lost, may_try_again
from purser.store.presence import CHANGES, lock_one, presence
from purser.store.seen import Seen
from purser.store.transaction import Tx, World, chain, owner_name

__all__ = [
    "Fenced",
    "OutOfReach",
    "Tx",
    "World",
    "Writer",
    "chain",
    "close_writer",
    "list_steps",
    "list_tips",
    "owner_name",
]

T = TypeVar("T")
log = logging.getLogger("purser.writer")
_CHECKPOINT_EVERY = 200
_TRIES = 5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0  # between attempts to reach a server again


class Fenced(Exception):
    """Another process closed this writer: what it holds in memory is void, and it must register anew."""


class OutOfReach(Unavailable):
    """The database cannot be reached, and as this process stops it waits no longer."""


def _words(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


@dataclass(frozen=True, slots=True)
class _Made:
    """A transaction of which everything but the commit is done: how far it brings its writer, and what it answers.

    `began` is when it did, by the monotonic clock.
    """

    began: float
    seq: int
    n: int
    hash: bytes
    result: Any
    touched: set[str]


class _Doubtful(Exception):
    """The session was lost during a commit, so that nobody has said whether it is there."""

    def __init__(self, made: _Made) -> None:
        super().__init__("a commit's outcome is unknown")
        self.made = made


class Writer:
    """One database connection that writes; owns leases; one transaction at a time, from any thread.

    Closed by another process it raises Fenced; after `register` it goes on as a new writer with no leases. A lost
    session is opened again, however long that takes, and what became of its last commit is read from the own row.
    """

    def __init__(
        self,
        db: Database,
        world: World,
        policy: Policy,
        *,
        host: str,
        pid: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.db, self.world, self.policy, self.monotonic = db, world, policy, monotonic
        self._host, self._pid = host, pid
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._presence = presence(db)
        self._session: object = None
        self._seen: Seen | None = None
        self._since_checkpoint = 0
        self._conn = self._connect()
        self.id = 0
        self.register()

    @property
    def owner(self) -> str:
        """This writer's name as an owner of leases."""
        return owner_name(self.id)

    def register(self) -> None:
        """Begin as a writer that was not there before, and close those whose process is gone (transition 1).

        Whoever used the leases of the one before has dropped them by now.
        """
        with self._turn():
            self._patiently(self._register)
        self.close_dead()

    def _register(self) -> None:
        began = self.monotonic()
        if self.id and not self.db.is_sqlite:
            self._end_session()  # and with it its locks
        start = bytes(32)
        values = {"host": self._host, "pid": self._pid, "hash": start, "heard_at": self.world.wall(), "seals": 1}
        with self._conn.begin():
            inserted = self._conn.execute(sa.insert(t.writers).values(values))
            id_ = int(inserted.inserted_primary_key[0])  # type: ignore[index]
            self._show(id_)
        self.id, self.seq, self.n, self.hash = id_, 0, 0, start
        self.committed_at = began  # by the monotonic clock, before the last commit was sent
        self.open = True
        self._note()

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

        Where the database undid it for the sake of others, or the session was lost before its commit, it is done
        again. Raises Fenced where this writer was closed, Broken where the database lost commits or failed in one.
        """
        return self.run_touching(work)[0]

    def run_touching(self, work: Callable[[Tx], T]) -> tuple[T, set[str]]:
        """As `run`; answers also the accounts whose control state changed."""
        with self._turn():
            made = self._patiently(lambda: self._run_once(work))
            self._checkpoint()
        return made.result, made.touched

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Attempt it until it is done or fails for a reason of its own; a lost session is opened again between."""
        tries = 0
        while True:
            try:
                return attempt()
            except _Doubtful as doubt:
                log.warning("the session was lost during a commit")
                if self._reconnect(doubt.made):
                    self._come_to(doubt.made)
                    return doubt.made  # type: ignore[return-value]
            except Exception as error:
                tries += 1
                if not self.db.is_sqlite and (is_lost(error) or self._is_cut_off()):
                    log.warning("the session with the database was lost: %s", _words(error))
                    self._reconnect(None)
                elif is_locked(error):
                    log.warning("another program has locked the database's file")
                    if self._stopping.is_set():
                        raise OutOfReach("the database's file is locked, and this process stops") from None
                elif not may_try_again(error) or tries >= _TRIES:
                    raise

    def _run_once(self, work: Callable[[Tx], Any]) -> _Made:
        link, n, began = self.hash, self.n, self.monotonic()
        micros = int(began * 1_000_000)
        tx = Tx(self._conn, self.world.now(), self.policy, self.world, self.id, self.seq + 1, micros)
        transaction = self._conn.begin()
        try:
            self._step()
            if self._conn.connection.driver_connection is not self._session:
                self._show(self.id)  # an earlier session's lock was still there
            result = work(tx)
            if tx.facts:
                link, n = chain(link, tx.seq, tx.facts), n + 1
                _LINK.run(self._conn, self.id, n, tx.seq, link, tx.now)
                _TIP.run(self._conn, n, link, self.id)
            if tx.touched:
                lock_one(self._conn, CHANGES)  # last: numbers become visible in their order, so none is overlooked
                _CHANGES.run(self._conn, [(account,) for account in sorted(tx.touched)])
        except BaseException:
            self._roll_back(transaction)
            raise
        made = _Made(began, tx.seq, n, link, result, tx.touched)
        try:
            transaction.commit()
        except Exception as error:
            if not self.db.is_sqlite and (is_lost(error) or self._is_cut_off()):
                raise _Doubtful(made) from error
            raise Broken(f"a commit failed, its outcome is unknown: {_words(error)}") from error
        self._come_to(made)
        return made

    def _come_to(self, made: _Made) -> None:
        self.seq, self.n, self.hash, self.committed_at = made.seq, made.n, made.hash, made.began
        self._note()

    def keep(self, seen: Seen) -> None:
        """Note from now on beside the database how far this writer has come; raises OSError where that cannot be."""
        with self._lock:
            seen.note(self.id, self.seq, self.n, self.hash)
            self._seen = seen

    def _note(self) -> None:
        if self._seen is not None:
            try:
                self._seen.note(self.id, self.seq, self.n, self.hash)
            except OSError as error:  # what is committed is committed
                log.error("an older database will not be noticed here: %s", error)
                self._seen = None

    def _roll_back(self, transaction: sa.RootTransaction) -> None:
        try:
            transaction.rollback()
        except Exception as error:
            if self.db.is_sqlite:
                raise
            log.warning("a transaction ended with its session: %s", _words(error))

    def _step(self) -> None:
        """The heartbeat and the fence, with which every transaction begins."""
        if _STEP.run(self._conn, self.world.wall(), self.id, self.seq).rowcount == 1:
            return
        row = self._conn.execute(_OWN, {"id": self.id}).first()
        self.open = False
        self._check_not_behind(row, self.seq)
        if row is not None and row.state == "open":
            raise Broken(f"writer {self.id} came to {self.seq}, but another process wrote as it: {row.seq}")
        raise Fenced(f"writer {self.id} was closed")

    def _check_not_behind(self, row: Row | None, least: int) -> None:
        if row is None or row.seq < least:
            there = "it is not there" if row is None else f"there it is at {row.seq}"
            raise Broken(f"the database has lost commits: writer {self.id} had come to {least}, {there}")

    # ── sessions that are lost ───────────────────────────────────────────────────────────────────────────────────
    def _connect(self) -> Connection:
        return self.db.engine.connect().execution_options(immediate=True)

    def _is_cut_off(self) -> bool:
        if self._conn.invalidated or self._conn.closed:
            return True
        driver: Any = self._conn.connection.driver_connection
        return bool(driver is None or driver.closed)

    def _end_session(self) -> None:
        self._session = None
        if not self._conn.closed:
            self._conn.invalidate()  # it must not go back into the pool with its locks
            self._conn.close()
        self._conn = self._connect()

    def _reconnect(self, doubt: _Made | None) -> bool:
        """Open a new session, as soon as there can be one; answers whether a doubtful commit was made."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                self._end_session()
                made = self.id != 0 and self._look_back(doubt)
            except Exception as error:
                if not is_lost(error):
                    raise
            else:
                log.warning("the database is reached again")
                return made
            if self._stopping.wait(pause):
                raise OutOfReach("the database cannot be reached, and this process stops")
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _look_back(self, doubt: _Made | None) -> bool:
        with self._conn.begin():
            # Locked, so that a commit of the old session that the server still works on is waited for.
            row = self._conn.execute(_OWN_LOCKED, {"id": self.id}).first()
            self._check_not_behind(row, self.seq)
            if doubt is None or row is None or row.seq < doubt.seq:
                return False
            if (row.seq, row.n, bytes(row.hash)) != (doubt.seq, doubt.n, doubt.hash):
                raise Broken(f"writer {self.id} had come to {doubt.seq}, but the database has {row.seq} of another")
            return True

    def stop_waiting(self) -> None:
        """This process ends: where the database cannot be reached now, it is not waited for."""
        self._stopping.set()

    def _show(self, id_: int) -> None:
        if self._presence.show(self._conn, id_):
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
                    raise Broken(f"a checkpoint failed: {_words(error)}") from error

    def list_dead(self) -> list[int]:
        """The open writers whose process is gone; this one's own id where it must be shown again."""
        with self.db.read() as read:
            return self._presence.list_gone(read, self.id)

    def close_dead(self) -> list[int]:
        """Close the open writers whose process is gone; answers their ids."""
        gone = self.list_dead()
        if self.id in gone:
            self.run(lambda tx: None)  # any transaction shows this one again
        dead = [writer for writer in gone if writer != self.id]
        for writer in dead:
            self.run(lambda tx, writer=writer: close_writer(tx, writer))  # type: ignore[misc]
        return dead

    def close(self) -> None:
        """Give every lease back and end this writer; where it cannot be reached others close it."""
        self.stop_waiting()
        with self._lock:
            if self.open:
                try:
                    self.run(lambda tx: close_writer(tx, self.id))
                except (Fenced, OutOfReach) as error:
                    log.warning("writer %d could not close itself: %s", self.id, error)
                self.open = False
            if not (self.db.is_sqlite or self._conn.closed):
                self._conn.invalidate()  # the session ends, and with it the lock it holds
            self._conn.close()
            self._presence.close()
            if self._seen is not None:
                self._seen.close()


_OWN_COLUMNS = "SELECT seq, n, hash, state FROM writers WHERE id = :id"
_OWN, _OWN_LOCKED = sa.text(_OWN_COLUMNS), sa.text(f"{_OWN_COLUMNS} FOR UPDATE")
_STEP = Statement("UPDATE writers SET seq = seq + 1, heard_at = ? WHERE id = ? AND seq = ? AND state = 'open'")
_TIPS = Statement("SELECT id, seq FROM writers")
_STEPS = Statement("SELECT id, seq FROM writers WHERE state = 'open'")
_CHANGES = Insert("changes", {"account": TEXT})
_CLOSED = "UPDATE writers SET state = 'closed' WHERE id = ? AND state = 'open'"
_CLOSE, _CLOSE_AS_SEEN = Statement(_CLOSED), Statement(f"{_CLOSED} AND seq = ?")
_UNBILLED = Statement("UPDATE writers SET unbilled = ? WHERE id = ?")
_TIP = Statement("UPDATE writers SET n = ?, hash = ? WHERE id = ?")
_LINK = Statement("INSERT INTO commits (writer, n, seq, hash, at) VALUES (?, ?, ?, ?, ?)")


def list_tips(conn: Connection) -> dict[int, int]:
    """How far every writer has come: its id → the number of its last transaction."""
    return {int(row[0]): int(row[1]) for row in _TIPS.run(conn)}


def list_steps(conn: Connection) -> dict[int, int]:
    """How far every open writer has come: its id → the number of its last transaction."""
    return {int(row[0]): int(row[1]) for row in _STEPS.run(conn)}


def close_writer(tx: Tx, writer: int, seq: int | None = None) -> int | None:
    """Close a writer and end its leases: what they used stays used, the spare comes back and counts as unbilled.

    With `seq` given only if it has not come further than that. Answers the unbilled nano-dollars at most, None where
    the writer was closed already or has gone on. A writer that closes itself with nothing held has no unbilled work.
    """
    as_seen = () if seq is None else (seq,)
    if (_CLOSE_AS_SEEN if as_seen else _CLOSE).run(tx.conn, writer, *as_seen).rowcount != 1:
        return None
    spare, owner, ended = 0, owner_name(writer), []
    for key, row, held in rows.lock_rows_of(tx.conn, owner):
        if writer == tx.writer:
            row, held = protocol.give_back(row, held, held.spare)
        spare += held.spare if key.kind == protocol.CREDIT else 0  # every hold is on a credit row, and counts once
        ended.append((key, protocol.close(row, held)))
        tx.touch(key.account)
    rows.end_leases(tx.conn, owner, ended)
    rates.end_shares(tx, writer)
    _UNBILLED.run(tx.conn, spare, writer)
    return spare
