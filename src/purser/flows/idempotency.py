"""Idempotency: a write sent again with the same `Idempotency-Key` is answered from what was kept, with one effect (C7).

An answer may hold a new API key, which is stored nowhere else in the clear. So answers are kept sealed under the
caller's own Idempotency-Key, of which only a keyed hash is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from purser.core.errors import Conflict
from purser.flows.access import pepper
from purser.store import idempotency as rows
from purser.store.db import Connection
from purser.store.writers import Tx

UNDER_WAY = 0


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A write that may be sent again: who sends it (`scope`), its Idempotency-Key, and the digest of the request."""

    scope: str
    key: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What was answered: the HTTP status and the body; while UNDER_WAY the body is the id the effect goes by."""

    status: int
    body: str


def once(tx: Tx, request: Repeatable, work: Callable[[Tx], Kept]) -> Kept:
    """Do `work` and keep its answer in the same transaction, or answer what was kept before.

    Raises Conflict where the key was used for another request. What `work` raises undoes everything, so the request
    may be sent again.
    """
    known = recall(tx.conn, request)
    if known is not None:
        return known
    if not _insert(tx, request, Kept(UNDER_WAY, "")):  # another process has answered it in this very moment
        return once(tx, request, work)
    kept = work(tx)
    finish(tx, request, kept)
    return kept


def claim(tx: Tx, request: Repeatable, kind: str) -> Kept:
    """Begin a write of several transactions: the id of `kind` that its effect goes by, or the answer it has had."""
    return once(tx, request, lambda tx: Kept(UNDER_WAY, tx.new_id(kind)))


def finish(tx: Tx, request: Repeatable, kept: Kept) -> Kept:
    """Keep the answer of a write that was claimed; answers what is kept: another's where one was quicker."""
    salt = pepper(tx.conn)
    rows.update_kept(tx.conn, request.scope, _name(request, salt), kept.status, _seal(request, salt, kept))
    return recall(tx.conn, request) or kept


def recall(conn: Connection, request: Repeatable) -> Kept | None:
    """What is kept for a request, None where it is new; raises Conflict where its key was used for another one."""
    salt = pepper(conn)
    row = rows.get_kept(conn, request.scope, _name(request, salt))
    if row is None:
        return None
    if bytes(row.digest) != request.digest:
        raise Conflict(
            "this Idempotency-Key was used for another request; use a new key for a new request",
            field="Idempotency-Key",
        )
    status, hidden = int(row.status), bytes.fromhex(row.answer)
    return Kept(status, _mix(hidden, request, salt, status).decode())


def _insert(tx: Tx, request: Repeatable, kept: Kept) -> bool:
    salt = pepper(tx.conn)
    name, body = _name(request, salt), _seal(request, salt, kept)
    return rows.insert_kept(tx.conn, request.scope, name, request.digest, kept.status, body, tx.world.wall())


def _name(request: Repeatable, salt: bytes) -> str:
    return hashlib.blake2b(request.key.encode(), key=salt, digest_size=32).hexdigest()


def _seal(request: Repeatable, salt: bytes, kept: Kept) -> str:
    return _mix(kept.body.encode(), request, salt, kept.status).hex()


def _mix(text: bytes, request: Repeatable, salt: bytes, status: int) -> bytes:
    """Seal or open: the same stream of bytes, used for one answer only, is laid over the text."""
    secret = f"{status}\0{request.scope}\0{request.key}".encode()
    seed = hashlib.blake2b(secret, key=salt, person=b"seal").digest()
    stream = hashlib.shake_256(seed + request.digest).digest(len(text))
    return bytes(a ^ b for a, b in zip(text, stream, strict=True))
