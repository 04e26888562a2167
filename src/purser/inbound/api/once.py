"""Writes that may be sent twice: with an `Idempotency-Key` the second is answered like the first (C7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from purser.core.errors import Insufficient
from purser.flows import idempotency
from purser.flows.idempotency import UNDER_WAY, Kept
from purser.inbound.api.call import Call
from purser.store.writers import Tx

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_DECLINED = 402


DryRun = Annotated[
    bool, QueryParameter(name="dryRun", description="Answer, or refuse, as if it were done, and change nothing.")
]


class _TriedOut(Exception):
    """What was done is to be undone; what would have been answered."""

    def __init__(self, answer: object) -> None:
        super().__init__("a dry run")
        self.answer = answer


def _try_out(call: Call, work: Callable[[Tx], T]) -> T:
    """Do a write whose transaction is rolled back; answers, or raises, what the write would."""

    def undone(tx: Tx) -> None:
        raise _TriedOut(work(tx))

    try:
        call.desk.write(undone)
    except _TriedOut as tried:
        answer: T = tried.answer  # type: ignore[assignment]
        return answer
    raise AssertionError("a dry run ends by what it raises")


def once(call: Call, work: Callable[[Tx], T], status: int = 200, *, dry_run: bool = False) -> Response[T]:
    """Do a write of one transaction; its answer is kept in the same commit. A dry run changes nothing."""
    request = call.repeatable
    if dry_run:
        return Response(_try_out(call, work), status_code=status, headers=_FRESH)
    if request is None:
        return Response(call.desk.write(work), status_code=status, headers=_FRESH)
    kept = call.desk.write(lambda tx: idempotency.once(tx, request, lambda tx: Kept(status, _text(work(tx)))))
    return _answer(kept)


def converge(
    call: Call,
    kind: str,
    work: Callable[[str | None], T],
    status: int = 200,
    *,
    goes_on: Callable[[T], bool] = lambda _: False,
    keeps_declined: bool = True,
) -> Response[T]:
    """Do a write of several transactions under an id of `kind` that a repeated request goes by again.

    `work` is given that id, None without an Idempotency-Key; doing it twice with the same id must have one effect.
    A declined payment is kept as an answer too, unless it may do better the next time (not `keeps_declined`). What
    `goes_on` by itself is answered with 202 and not kept, so that a repeated request learns how it ends.
    """
    request = call.repeatable
    if request is None:
        done = work(None)
        return Response(done, status_code=202 if goes_on(done) else status, headers=_FRESH)
    claimed = call.desk.write(lambda tx: idempotency.claim(tx, request, kind))
    if claimed.status != UNDER_WAY:
        return _answer(claimed)
    try:
        done = work(claimed.body)
        if goes_on(done):
            return Response(done, status_code=202, headers=_FRESH)
        kept = Kept(status, _text(done))
    except Insufficient as declined:
        if not keeps_declined:
            raise
        kept = Kept(_DECLINED, _text([declined.message, declined.field, declined.code]))
    return _answer(call.desk.write(lambda tx: idempotency.finish(tx, request, kept)))


_FRESH = {"cache-control": "no-store"}


def _text(body: object) -> str:
    return _encode(body).decode()


def _answer(kept: Kept) -> Response[Any]:
    if kept.status == _DECLINED:
        message, field, code = msgspec.json.decode(kept.body)
        raise Insufficient(message, field=field, code=code)
    return Response(kept.body.encode(), status_code=kept.status, headers=_FRESH, media_type="application/json")
