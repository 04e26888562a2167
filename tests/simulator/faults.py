"""Faults planted in the product, one at a time and by name; the simulator must catch each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from purser.core import lease
from purser.core.errors import Broken, Unavailable
from purser.core.lease import Headroom, Lease
from purser.core.period import month_of
from purser.core.usage import Measured
from purser.flows import claims, holds, lessee, queue, requests
from purser.flows.lessee import Lessee
from purser.flows.queue import WriteQueue
from purser.gateway.cashier import Cashier
from purser.gateway.express import Journey
from purser.gateway.passage import Passage
from purser.store import accounts, headroom, transaction, writers
from purser.store.bulk import Statement
from purser.store.presence import _Files
from purser.store.writers import Writer

Plant = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, Plant] = {}


def fault(plant: Plant) -> Plant:
    """A fault under the name of its function."""
    FAULTS[plant.__name__] = plant
    return plant


# ── limits and leases ────────────────────────────────────────────────────────────────────────────────────────────
@fault
def time_frees_headroom(patch: pytest.MonkeyPatch) -> None:
    true = requests.take_headroom

    def take(tx: Any, needs: Any, owner: Any = None) -> Any:
        for need in needs:  # what others have spare is taken for expired
            row = headroom.get_row(tx.conn, need.key)
            found = tx.conn.exec_driver_sql(
                'SELECT owner, share, used FROM leases WHERE account = ? AND kind = ? AND "window" = ? AND owner <> ?',
                (*need.key, tx.owner),
            ).all()
            for owner, share, used in found:
                assert row is not None
                row = replace(row, taken=row.taken - (share - used))
                headroom.put_row(tx.conn, need.key, row)
                headroom.put_lease(tx.conn, need.key, owner, Lease(used, used))
        return true(tx, needs, owner)

    patch.setattr(requests, "take_headroom", take)


@fault
def one_more_at_the_boundary(patch: pytest.MonkeyPatch) -> None:
    def grant(row: Headroom, held: Lease, least: int, most: int) -> Any:
        given = most if not row.enforced else min(most, row.available + 1)
        if given < least:
            return None
        over = row.over if not row.enforced else max(row.over, row.taken + given - row.amount)
        return replace(row, taken=row.taken + given, over=over), replace(held, share=held.share + given), given

    patch.setattr(lease, "grant", grant)


@fault
def a_grant_over_the_limit_is_allowed_as_over(patch: pytest.MonkeyPatch) -> None:
    def grant(row: Headroom, held: Lease, least: int, most: int) -> Any:
        over = max(row.over, row.taken + least - row.amount) if row.enforced else row.over
        given = max(least, min(most, row.available) if row.enforced else most)
        return replace(row, taken=row.taken + given, over=over), replace(held, share=held.share + given), given

    patch.setattr(lease, "grant", grant)


@fault
def a_grant_skips_the_month(patch: pytest.MonkeyPatch) -> None:
    true = requests.take_headroom
    patch.setattr(
        requests,
        "take_headroom",
        lambda tx, needs: _with_all(true(tx, [n for n in needs if n.key.kind == "credit"] or needs), needs),
    )


def _with_all(taken: Any, needs: Any) -> Any:
    if taken.short is not None:
        return taken
    return replace(taken, given={need.key: taken.given.get(need.key, need.most) for need in needs})


@fault
def the_path_has_no_month(patch: pytest.MonkeyPatch) -> None:
    true = requests.path
    patch.setattr(requests, "path", lambda account, month: true(account, month)[:1])
    patch.setattr("purser.flows.lessee.path", lambda account, month: true(account, month)[:1])


@fault
def a_hold_is_not_in_every_row(patch: pytest.MonkeyPatch) -> None:
    def extend(self: Lessee, hold: Any, more: int) -> bool:
        if any(share.spare < more for share in hold.shares):
            return False
        hold.shares[0].held += more
        hold.amount += more
        return True

    patch.setattr(Lessee, "extend", extend)


@fault
def a_settlement_uses_one_lease_only(patch: pytest.MonkeyPatch) -> None:
    true = headroom.use_leases
    patch.setattr(
        headroom,
        "use_leases",
        lambda conn, leases, owner: true(conn, {k: v for k, v in leases.items() if k.kind == "credit"}, owner),
    )


@fault
def a_return_is_counted_twice(patch: pytest.MonkeyPatch) -> None:
    def end_returns(self: Lessee, returns: Any) -> None:
        for key, spare in returns:
            self.share(key).returning -= spare  # and the share stays what it was
            self.share(key).turn += 1

    patch.setattr(Lessee, "end_returns", end_returns)


@fault
def a_grant_is_applied_twice(patch: pytest.MonkeyPatch) -> None:
    true = Lessee.apply

    def apply(self: Lessee, taken: Any, now: int = 0) -> None:
        true(self, taken, now)
        for key, given in taken.given.items():
            self.share(key).share += given

    patch.setattr(Lessee, "apply", apply)


@fault
def a_return_frees_more_than_was_given(patch: pytest.MonkeyPatch) -> None:
    true = lease.give_back

    def give_back(row: Headroom, held: Lease, spare: int) -> tuple[Headroom, Lease]:
        row, held = true(row, held, spare)
        return replace(row, taken=max(0, row.taken - spare)), held

    patch.setattr(lease, "give_back", give_back)


@fault
def a_closed_lease_forgets_what_it_used(patch: pytest.MonkeyPatch) -> None:
    def close(row: Headroom, held: Lease) -> Headroom:
        return replace(row, taken=row.taken - held.share, unbilled=row.unbilled + held.spare)

    patch.setattr(lease, "close", close)


@fault
def unbilled_work_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    true = lease.close
    patch.setattr(lease, "close", lambda row, held: replace(true(row, held), unbilled=row.unbilled))


@fault
def credit_lapses_under_running_requests(patch: pytest.MonkeyPatch) -> None:
    def lapse(row: Headroom, remaining: int) -> tuple[Headroom, int]:
        amount = row.amount - remaining
        return replace(row, amount=amount, over=max(row.over, row.taken - amount)), remaining

    patch.setattr(lease, "lapse", lapse)
    patch.setattr("purser.flows.credits.min", _nothing_held, raising=False)


def _nothing_held(*values: Any, **more: Any) -> Any:
    return min(*values, **more) if more else 0


@fault
def late_usage_takes_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease, "use_after", lambda row, cost: row)


@fault
def standing_looks_at_what_is_taken(patch: pytest.MonkeyPatch) -> None:
    def get_used(conn: Any, key: Any) -> int:
        row = headroom.get_row(conn, key)
        return 0 if row is None else row.taken

    patch.setattr(headroom, "get_used", get_used)


# ── writers ──────────────────────────────────────────────────────────────────────────────────────────────────────
@fault
def the_fence_does_not_refuse(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        writers, "_STEP", Statement("UPDATE writers SET seq = seq + 1, heard_at = ? WHERE id = ? AND seq = ?")
    )


@fault
def what_was_held_outlives_the_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lessee, "drop", lambda self: [])


@fault
def dead_writers_are_never_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Files, "list_gone", lambda self, conn, me: [])


@fault
def the_chain_leaves_usage_out(patch: pytest.MonkeyPatch) -> None:
    true = transaction.Tx.cover_all

    def cover_all(self: Any, facts: Any) -> None:
        true(self, [fact for fact in facts if fact[0] != "usage"])

    patch.setattr(transaction.Tx, "cover_all", cover_all)


def _guess(patch: pytest.MonkeyPatch, *, success: bool) -> None:
    """A commit that failed with an unknown outcome is taken for one thing or the other, and the process goes on."""
    true = Writer.run_touching

    def run_touching(self: Writer, work: Any) -> Any:
        made: list[Any] = []

        def noted(tx: Any) -> Any:
            result = work(tx)
            made.append((result, set(tx.touched)))
            return result

        try:
            return true(self, noted)
        except Broken:
            self._conn.rollback()
            driver: Any = self._conn.connection.driver_connection
            driver.rollback()  # as the server does when a session ends
            with self.db.read() as conn:
                row = conn.exec_driver_sql("SELECT seq, n, hash FROM writers WHERE id = ?", (self.id,)).one()
            self.seq, self.n, self.hash = row.seq, row.n, bytes(row.hash)
            if success:
                return made[-1]
            raise Unavailable("the commit failed") from None

    def run_together(self: WriteQueue, jobs: Any) -> None:
        try:
            true_together(self, jobs)
        except Broken as error:
            for job in jobs:
                queue._tell(job, None, Unavailable(str(error)))

    true_together = WriteQueue._run_together
    patch.setattr(Writer, "run_touching", run_touching)
    if not success:
        patch.setattr(WriteQueue, "_run_together", run_together)


@fault
def an_unknown_outcome_is_taken_for_failure(patch: pytest.MonkeyPatch) -> None:
    _guess(patch, success=False)


@fault
def an_unknown_outcome_is_taken_for_success(patch: pytest.MonkeyPatch) -> None:
    _guess(patch, success=True)


# ── books and answers ────────────────────────────────────────────────────────────────────────────────────────────
@fault
def a_settlement_without_a_journal_entry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.requests.ledger.post_all", lambda tx, entries, corrects=None: None)


@fault
def an_answer_leaves_before_its_commit(patch: pytest.MonkeyPatch) -> None:
    true = Cashier.settle

    def settle(self: Cashier, hold: Any, event: Any) -> Any:
        future = true(self, hold, event)
        if not future.done():
            future.set_result(None)
        return future

    patch.setattr(Cashier, "settle", settle)


@fault
def an_answer_on_the_express_way_leaves_before_its_commit(patch: pytest.MonkeyPatch) -> None:
    true = Journey._read

    def read(self: Journey) -> None:
        true(self)
        if self.settling:
            self._tell(0)

    patch.setattr(Journey, "_read", read)


@fault
def a_request_is_served_again(patch: pytest.MonkeyPatch) -> None:
    true = WriteQueue.settle_all

    def settle_all(self: WriteQueue, events: Any, done: Any) -> None:
        true(self, events, lambda new, error: done([True] * len(new) if error is None else new, error))

    patch.setattr(claims, "claim", lambda tx, account, id_: claims.Claimed(True))
    patch.setattr(WriteQueue, "settle_all", settle_all)


@fault
def a_known_request_is_billed_under_another_name(patch: pytest.MonkeyPatch) -> None:
    true = requests.settle_and_take

    def settle_and_take(tx: Any, events: Any, asked: Any) -> Any:
        fresh = [replace_struct(event, id=f"{event.id}~{tx.writer}") for event in events]
        return true(tx, fresh, asked)

    patch.setattr(requests, "settle_and_take", settle_and_take)


@fault
def a_request_is_billed_in_the_month_of_its_end(patch: pytest.MonkeyPatch) -> None:
    true = Passage._event

    def event(self: Passage, *args: Any, **more: Any) -> Any:
        made = true(self, *args, **more)
        month = month_of(self.cashier._queue.writer.world.now())
        return replace_struct(made, month=month, bill_month=month)

    patch.setattr(Passage, "_event", event)


@fault
def usage_is_counted_up(patch: pytest.MonkeyPatch) -> None:
    true = Passage.bill

    def bill(self: Passage, measured: Any, tier: str | None = None) -> Any:
        more = {unit: count + (unit == "output_tokens") for unit, count in measured.quantities.items()}
        return true(self, Measured(more, measured.estimated), tier)

    patch.setattr(Passage, "bill", bill)


@fault
def changes_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounts, "list_changes", lambda conn, after: [])


@fault
def a_hang_up_ends_a_request_that_frees_its_id(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Passage, "opening", property(lambda self: True, lambda self, value: None))


# ── holds by API ─────────────────────────────────────────────────────────────────────────────────────────────────
@fault
def a_hold_by_api_is_on_one_row_of_its_path(patch: pytest.MonkeyPatch) -> None:
    true = requests.take_headroom
    patch.setattr(
        requests, "take_headroom", lambda tx, needs, owner=None: true(tx, needs[:1] if owner else needs, owner)
    )


@fault
def a_hold_by_api_never_lapses(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "expire", lambda tx, id_: None)


@fault
def a_hold_by_api_that_is_settled_keeps_the_rest(patch: pytest.MonkeyPatch) -> None:
    true = holds._release
    patch.setattr(holds, "_release", lambda tx, held, cost: true(tx, held, held.amount))


@fault
def a_hold_by_api_ends_without_its_entry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "_bill", lambda tx, event: None)


@fault
def a_cap_is_no_row_of_the_path(patch: pytest.MonkeyPatch) -> None:
    def path(account: str, month: str, budgets: Any = ()) -> Any:
        return requests.path(account, month, [row for row in budgets if row.kind != lease.USER])

    patch.setattr(lessee, "path", path)
