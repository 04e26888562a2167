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
from purser.inbound.trying import try_out
from purser.store.writers import Tx

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_DECLINED = 402


DryRun = Annotated[
    bool, QueryParameter(name="dryRun", description="Answer, or refuse, as if it were done, and change nothing.")
]


def once(call: Call, work: Callable[[Tx], T], status: int = 200, *, dry_run: bool = False) -> Response[T]:
    """Do a write of one transaction; its answer is kept in the same commit. A dry run changes nothing."""
    request = call.repeatable
    if dry_run:
        return fresh(try_out(call.desk, work), status)
    if request is None:
        return fresh(call.desk.write(work), status)
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
        return fresh(done, 202 if goes_on(done) else status)
    claimed = call.desk.write(lambda tx: idempotency.claim(tx, request, kind))
    if claimed.status != UNDER_WAY:
        return _answer(claimed)
    try:
        done = work(claimed.body)
        if goes_on(done):
            return fresh(done, 202)
        kept = Kept(status, _text(done))
    except Insufficient as declined:
        if not keeps_declined:
            raise
        kept = Kept(_DECLINED, _text([declined.message, declined.field, declined.code]))
    return _answer(call.desk.write(lambda tx: idempotency.finish(tx, request, kept)))


_FRESH = {"cache-control": "no-store"}


def fresh(body: T, status: int = 200) -> Response[T]:
    """An answer that nothing on its way keeps."""
    return Response(body, status_code=status, headers=_FRESH)


def _text(body: object) -> str:
    return _encode(body).decode()


def _answer(kept: Kept) -> Response[Any]:
    if kept.status == _DECLINED:
        message, field, code = msgspec.json.decode(kept.body)
        raise Insufficient(message, field=field, code=code)
    return Response(kept.body.encode(), status_code=kept.status, headers=_FRESH, media_type="application/json")
