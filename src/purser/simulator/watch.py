"""The watch: looks at every commit and every piece of work, and says which invariant it breaks (correctness §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from purser.core.lease import CREDIT, MONTH, Headroom, Lease
from purser.core.money import round_half_even
from purser.core.period import SECOND
from purser.core.standing import CREDIT_DEPLETED, DUST_NANOS, LIMIT_EXCEEDED
from purser.flows import holds
from purser.flows.audit import audit
from purser.flows.claims import SOURCE
from purser.flows.requests import path
from purser.simulator.cast import POLICY
from purser.simulator.money import Money
from purser.simulator.upstream import UNCOUNTED
from purser.store import overview
from purser.store.headroom import RowKey, credit_key, month_key
from purser.store.holds import get_hold
from purser.store.overview import Posted

if TYPE_CHECKING:
    from purser.simulator.client import Call
    from purser.simulator.process import Process
    from purser.simulator.run import Run
    from purser.simulator.upstream import Work

FULL_EVERY = 100  # commits that change anything, from one check of everything to the next
PROPAGATES = 1_200_000  # microseconds after which every process in contact must have heard of a change
BACK_AFTER = 2 * SECOND  # after a local death its headroom must be back
_NO_LEASE = Lease()


def owner_of(process: Process) -> str:
    """A process's name as an owner of leases."""
    return process.writer.owner


class Watch:
    """What was in the store after the last commit, and what must hold for the next one."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.conn = run.disk.db.engine.connect()
        self.headroom = overview.list_headroom(self.conn)
        self.leases = overview.list_leases(self.conn)
        self.writers = overview.list_open_writers(self.conn)
        self.causes: dict[tuple[str, str], int] = dict.fromkeys(overview.list_causes(self.conn), 0)
        self.free_since: dict[str, int] = {}
        self.settled: set[tuple[str, str]] = set()
        self.open_holds: dict[str, int] = {}  # by API, with the share of its lease on every row of its path
        self.billed_holds: set[str] = set()
        self.wanted = self.bills = 0
        self.money = Money(run)
        self.commits = self.moved = self.full_checks = 0

    def close(self) -> None:
        """Look no more."""
        self.conn.close()

    def opened(self, writer: int) -> None:
        """A writer has registered."""
        self.writers[writer] = 0

    # ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────
    def committed(self, process: Process | None, changes: int) -> None:
        """A transaction has been committed."""
        self.commits += 1
        if changes <= 1:
            return  # a sign of life
        self.moved += 1
        self._compare(process)
        if self.moved % FULL_EVERY == 0:
            self.check_everything()

    def _compare(self, process: Process | None) -> None:
        headroom, leases = overview.list_headroom(self.conn), overview.list_leases(self.conn)
        writers = overview.list_open_writers(self.conn)
        events: list[Posted] = []
        own = ""
        if process is not None and process.registered:
            writer = process.writer
            own = writer.owner
            events = overview.list_posted(self.conn, writer.id, writer.seq + 1)
            if writer.id not in self.writers:
                self._run.blame("A7", f"writer {writer.id} is closed and has committed")
            for event in events:
                self._check_event(process, event)
        closed = {f"writer:{id_}" for id_ in self.writers if id_ not in writers}
        keys = [
            key
            for key in {**self.headroom, **headroom}
            if self.headroom.get(key) != headroom.get(key) or self.leases.get(key) != leases.get(key)
        ]
        for key in keys:
            before = self.headroom.get(key), self.leases.get(key, {})
            self._check_row(key, before, (headroom.get(key), leases.get(key, {})), own, closed, events)
        for key in leases:
            if key not in headroom:
                self._run.blame("A6", f"{_words(key)}: a lease without its row")
        if closed:
            self._run.closed(closed, process)
        before_leases = self.leases
        self.headroom, self.leases, self.writers = headroom, leases, writers
        self._note_causes()
        self._note_counts()
        self.money.committed(events, {event.id for event in events if self._is_within(event)})
        self._note_holds()
        for event in events:
            if event.source == SOURCE:
                self.settled.add((event.account, event.id))
        if process is not None and own:
            self._note_return(process, keys, before_leases)
            for key in keys:
                self.check_cover(process, key)

    def _note_return(self, process: Process, keys: list[RowKey], before: dict[RowKey, dict[str, Lease]]) -> None:
        own, lessee = process.writer.owner, process.gateway.cashier.lessee
        for key in keys:
            share = self.leases.get(key, {}).get(own, _NO_LEASE).share
            if share < before.get(key, {}).get(own, _NO_LEASE).share and lessee.open_holds(key.account):
                self._run.situation("spare came back with requests running")
                if any((hold.account, hold.id) in self.settled for hold in lessee.open_holds(key.account)):
                    self._run.situation("spare came back between a settlement's commit and its reply")

    def _note_holds(self) -> None:
        now = {
            owner: lease.share for leases in self.leases.values() for owner, lease in leases.items() if _is_hold(owner)
        }
        for id_ in self.open_holds.keys() - now.keys() - self.billed_holds:
            self._run.tell(f"  {id_} is over, with nothing billed")
            self._run.situation("a hold by API ended with nothing billed")
        self.open_holds = now

    def _is_within(self, event: Posted) -> bool:
        """Whether it is billed of a hold by API; else it is usage after the fact, as one settled after its time is."""
        return event.source == holds.SOURCE and event.cost <= self.open_holds.get(event.id, -1)

    def _note_counts(self) -> None:
        wanted, bills = overview.count_wanted(self.conn), overview.count_bills(self.conn)
        if wanted > self.wanted:
            self._run.situation("others were asked for spare")
        if bills > self.bills:
            self._run.situation("a month was closed into an invoice")
        self.wanted, self.bills = wanted, bills

    def _check_row(
        self,
        key: RowKey,
        before: tuple[Headroom | None, dict[str, Lease]],
        after: tuple[Headroom | None, dict[str, Lease]],
        own: str,
        closed: set[str],
        events: list[Posted],
    ) -> None:
        blame, where = self._run.blame, _words(key)
        row, leases = after
        if row is None:
            blame("A6", f"{where}: the row is gone")
            return
        old, old_leases = before[0] or Headroom(row.amount, row.enforced), before[1]
        self._tell_row(key, old, row)
        if min(row.taken, row.used, row.over, row.unbilled) < 0 or row.over > max(0, row.taken - row.amount):
            blame("A1", f"{where}: {row}")
        if row.enforced and row.taken > row.amount + row.over:
            blame("A1", f"{where}: {row}")
        if row.taken != row.used + sum(lease.share for lease in leases.values()):
            blame("A6", f"{where}: taken {row.taken}, used {row.used}, leases {leases}")
        own_events = [event for event in events if key in _path(event)]
        cost = sum(event.cost for event in own_events if event.source == SOURCE)
        of_holds = sum(event.cost for event in own_events if self._is_within(event))
        reported = [event for event in own_events if event.source != SOURCE and not self._is_within(event)]
        late = sum(event.cost for event in reported)
        folded, spared, holding = of_holds, 0, 0
        for owner in {**old_leases, **leases}:
            was, now = old_leases.get(owner, _NO_LEASE), leases.get(owner, _NO_LEASE)
            if not 0 <= now.used <= now.share:
                blame("A1", f"{where}: {owner} used {now.used} of {now.share}")
            if _is_hold(owner):  # set aside whole by whoever placed it, and over when it is settled or given back
                if owner not in old_leases and not was.share:
                    holding += now.share
                elif owner in leases and was != now:
                    blame("A9", f"{where}: {own or 'nobody'} changed {owner} from {was} to {now}")
            elif owner not in leases:
                folded += was.used
                spared += 0 if owner == own else was.spare
                if owner not in closed and owner != own:  # its owner may end it, with nothing spare
                    blame("A9", f"{where}: the lease of {owner}, who is open, is gone")
            elif owner != own and was != now:
                blame("A9", f"{where}: {own or 'nobody'} changed the lease of {owner} from {was} to {now}")
            elif owner == own and now.used != was.used + cost:
                blame("A8", f"{where}: {owner} used {now.used - was.used} more, but its events cost {cost}")
        granted = holding + leases.get(own, _NO_LEASE).share - old_leases.get(own, _NO_LEASE).share
        if granted > 0 and row.enforced and row.taken > row.amount:
            blame("A2", f"{where}: {granted} granted, and taken {row.taken} is above {row.amount}")
        if row.used != old.used + folded + late:
            blame("A6", f"{where}: used rose by {row.used - old.used}, but {folded} was folded and {late} came late")
        if row.unbilled != old.unbilled + spared:
            blame("A3", f"{where}: unbilled rose by {row.unbilled - old.unbilled}, but dead leases had {spared} spare")
        if row.amount < old.amount and key.kind == CREDIT and row.amount < min(old.taken, row.taken):
            blame("B5", f"{where}: credit lapsed to {row.amount}, under the {old.taken} that was taken of it")
        changed = (row.amount, row.enforced) != (old.amount, old.enforced)
        if row.over > old.over and not changed and not reported:
            blame("A1", f"{where}: over rose from {old.over} to {row.over} without a change or late usage")
        self._note_row(key, old, row, granted, late)

    def _note_row(self, key: RowKey, old: Headroom, row: Headroom, granted: int, late: int) -> None:
        note = self._run.situation
        if granted > 0 and row.enforced and row.taken == row.amount:
            note("the last of a limit was granted")
        if row.over > old.over:
            note("late usage went over a limit" if late else "a limit fell below what was taken")
        if row.over < old.over:
            note("what was over a limit came back")
        if key.kind == CREDIT and row.amount < old.amount:
            note("credit lapsed")
        if key.kind == MONTH and granted < 0 and key.window < self._run.month():
            note("a lease of a month gone came back")

    def _tell_row(self, key: RowKey, old: Headroom, row: Headroom) -> None:
        parts = [
            f"{name} {getattr(old, name)}→{getattr(row, name)}"
            for name in ("amount", "enforced", "taken", "used", "over", "unbilled")
            if getattr(old, name) != getattr(row, name)
        ]
        if parts:
            self._run.tell(f"  {_words(key)}: {', '.join(parts)}")

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _check_event(self, process: Process, event: Posted) -> None:
        run, where = self._run, f"{event.id} of {event.account}"
        run.tell(f"  {where} is posted: {event.cost} of a hold of {event.held}{_state(event)}")
        if not 0 <= event.cost <= event.held:
            run.blame("A4", f"{where}: billed {event.cost} of a hold of {event.held}")
        if event.source == holds.SOURCE:
            if event.id in self.billed_holds:
                run.blame("C2", f"{where} is billed twice")
            if not self._is_within(event):
                run.situation("a hold by API was settled after its time")
                placed = get_hold(self.conn, event.id)
                if placed is None or placed.expires_at > process.world.now():
                    run.blame("A5", f"{where} is settled in its time above what it holds: {placed}")
            self.billed_holds.add(event.id)
        if event.source != SOURCE:
            return
        if (event.account, event.id) in self.settled:
            run.blame("C1", f"{where} is in the books twice")
        if event.month < run.month():
            run.situation("a request was settled in the month after its own")
        hold = next(
            (one for one in process.gateway.cashier.lessee.open_holds(event.account) if one.id == event.id), None
        )
        if hold is None or hold.amount < event.cost or hold.month != event.month:
            run.blame("A5", f"{where}: billed {event.cost} of {event.month}, the hold is {hold}")
        self._check_truth(event)

    def _check_truth(self, event: Posted) -> None:
        run, where = self._run, f"{event.id} of {event.account}"
        call = run.names.get((event.account, event.id))
        if call is None or event.state != "settled":
            run.situation("usage was quarantined" if event.state != "settled" else "a request nobody made")
            return
        produced = max((work.produced for work in call.works), default=0)
        used = msgspec.json.decode(event.quantities, type=dict[str, int])
        read, written = used.get("input_tokens", 0) + used.get("cached_input_tokens", 0), used.get("output_tokens", 0)
        if read > call.prompt or written > produced:
            run.blame("A4", f"{where}: billed {used}, truly it was {call.prompt} and {produced} tokens")
        if event.estimated:
            run.situation("usage was estimated")
        if event.version < run.version():
            run.situation("a request kept the prices of its beginning")

    # ── work ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def begin_work(self, work: Work) -> None:
        """A model server has a request: its money must be held by now, and its account in good standing."""
        run, call = self._run, work.call
        call.works.append(work)
        run.names[call.account, work.id] = call
        for (account, cause), since in self.causes.items():
            if account == call.account and call.arrived_at - max(since, work.process.contact_since) > PROPAGATES:
                run.blame("1 s", f"call {call.number} runs {(call.arrived_at - since) // 1000} ms after {cause}")
        self.check_work(work, 0)

    def check_work(self, work: Work, ahead: int) -> None:
        """What a model server has produced is within what the gateway holds for it."""
        process, call = work.process, work.call
        open_ = process.gateway.cashier.lessee.open_holds(call.account)
        hold = next((one for one in open_ if one.id == work.id), None)
        if hold is None or call.engine in UNCOUNTED:
            return
        rates = self._run.rates(hold.version, call.model)
        produced = max(0, work.produced - ahead)
        cost = round_half_even(call.prompt * rates[0] + produced * rates[1], 1_000_000)
        if cost > hold.amount:
            self._run.blame("A3", f"call {call.number} has cost {cost} by now, and {hold.amount} is held for it")

    def check_cover(self, process: Process, key: RowKey) -> None:
        """All that a process holds or could hold in memory is covered by its lease in the store."""
        lessee = process.gateway.cashier.lessee
        own = lessee._shares.get(key.account, {}).get(key)
        if own is None or not process.writer.open or process.writer.id not in self.writers:
            return
        lease = self.leases.get(key, {}).get(process.writer.owner, _NO_LEASE)
        held = sum(
            hold.amount
            for hold in lessee.open_holds(key.account)
            if key in hold.keys and (key.account, hold.id) not in self.settled
        )
        every = sum(hold.amount for hold in lessee.open_holds(key.account) if key in hold.keys)
        if own.held != every:
            self._run.blame("A8", f"{_words(key)}: {process.name} holds {every}, its lease there says {own.held}")
        if own.spare < 0 or own.spare + held > lease.spare:
            self._run.blame(
                "A5",
                f"{_words(key)}: {process.name} holds {held} and has {own.spare} to spare, its lease has {lease.spare}",
            )

    # ── standing ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _note_causes(self) -> None:
        found, now = overview.list_causes(self.conn), self._run.timeline.now
        for pair in sorted(found - self.causes.keys()):
            self._run.tell(f"  {pair[0]} is suspended: {pair[1]}")
            self._run.situation(f"suspended: {pair[1]}")
            self.causes[pair] = now
            self._check_cause(*pair)
        for pair in sorted(self.causes.keys() - found):
            self._run.tell(f"  {pair[0]} is let in again: {pair[1]} is over")
            self._run.situation("an account was let in again")
            del self.causes[pair]
            if not any(account == pair[0] for account, _ in self.causes):
                self.free_since[pair[0]] = now

    def _check_cause(self, account: str, cause: str) -> None:
        """Nobody is suspended for a limit of which much is left: what is set aside for requests is not used."""
        key = credit_key(account) if cause == CREDIT_DEPLETED else month_key(account, self._run.month())
        row = self.headroom.get(key)
        if cause not in (CREDIT_DEPLETED, LIMIT_EXCEEDED) or row is None:
            return
        used = row.used + sum(lease.used for lease in self.leases.get(key, {}).values())
        if row.amount - used >= max(DUST_NANOS, POLICY.depletion_threshold_nanos):
            self._run.blame("U7", f"{account} is suspended ({cause}) with {row.amount - used} left of {row.amount}")

    def refused(self, call: Call, process: Process, status: int) -> None:
        """A client was refused; for a suspension there must be a cause, or have been one just now."""
        run = self._run
        run.tell(f"call {call.number}: refused with {status}")
        if status == 402:
            return
        if any(account == call.account for account, _ in self.causes):
            return
        since = max(self.free_since.get(call.account, 0), process.contact_since)
        if call.arrived_at - since > PROPAGATES:
            run.blame("1 s", f"call {call.number} is refused, though {call.account} stands well since {since}")

    # ── everything ───────────────────────────────────────────────────────────────────────────────────────────────
    def check_everything(self) -> None:
        """The whole audit, and every process's memory."""
        self.full_checks += 1
        with self._run.disk.db.read() as conn:
            for found in audit(conn).violations:
                self._run.blame(found.check, f"{found.where}: {found.message}")
        for process in self._run.processes:
            if not process.dead:
                for account in sorted(process.gateway.cashier.lessee._shares):
                    for key in list(process.gateway.cashier.lessee._shares[account]):
                        self.check_cover(process, key)


def _path(event: Posted) -> tuple[RowKey, ...]:
    return path(event.account, event.month, event.budget_rows())


def _is_hold(owner: str) -> bool:
    return owner.startswith("hold-")


def _words(key: RowKey) -> str:
    return f"{key.account} {key.kind} {key.window}".rstrip()


def _state(event: Posted) -> str:
    return "" if event.state == "settled" else f", {event.state}"
