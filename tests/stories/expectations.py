"""What a story can expect after a command: each reads one thing of the books and says it in the story's own words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from purser.core.alerts import FORECAST
from purser.core.errors import PurserError
from purser.core.invoice import CONTRACTED, POSTPAID_BILLING, PREPAID_CREDITS
from purser.core.message import ALERT
from purser.core.money import format_usd
from purser.core.payment import Allocation
from purser.core.period import format_instant, month_of
from purser.core.standing import STRICTEST_FIRST, UNSUSPENDED
from purser.flows import reports, token_limits, usage_limits
from purser.flows.caps import get_cap
from purser.flows.reports import AccountView, Balance
from purser.store import abuse, accounts, invoices, ledger, limit_requests, outbox, usage
from purser.store.db import Connection, Row
from tests.stories import fleets
from tests.stories.language import Expectation, Wrong, usd
from tests.stories.scene import Outcome, Scene

Words = tuple[str, ...]
CAUSES = (UNSUSPENDED, *STRICTEST_FIRST)


@dataclass(slots=True)
class Seen:
    """An account as it is after a command, read in one snapshot."""

    scene: Scene
    conn: Connection
    outcome: Outcome
    account: str
    view: AccountView
    balance: Balance

    def bill(self) -> Row | None:
        """The month's invoice where a month was closed, else the newest one."""
        for row in invoices.list_invoices(self.conn, self.account):
            if row.type in (POSTPAID_BILLING, CONTRACTED) and self.outcome.month in (None, row.month):
                return row
        return None

    def receipts(self) -> list[Row]:
        """Receipts, newest first."""
        return [row for row in invoices.list_invoices(self.conn, self.account) if row.type == PREPAID_CREDITS]


def see(scene: Scene, conn: Connection, outcome: Outcome, account: str) -> Seen:
    """Read an account."""
    view = reports.view_account(conn, account, scene.policy)
    balance = reports.balance(conn, account, scene.policy, scene.world.now(), scene.held_by_month(account))
    return Seen(scene, conn, outcome, account, view, balance)


def fingerprint(scene: Scene, account: str) -> object:
    """All that a refused command must leave as it is."""
    with scene.db.read() as conn:
        if accounts.get_account(conn, account) is None:
            return None
        seen = see(scene, conn, Outcome(), account)
        return (
            seen.balance,
            seen.view,
            invoices.list_invoices(conn, account),
            ledger.list_transactions(conn, account),
            len(usage.list_events(conn, account, 10_000)),
        )


def _usd(nanos: int | None) -> str:
    if nanos is None:
        return "none"
    return f"-{format_usd(-nanos)}" if nanos < 0 else format_usd(nanos)


# ── an account ───────────────────────────────────────────────────────────────────────────────────────────────────
def _held(seen: Seen) -> str:
    request = seen.outcome.request
    return _usd(seen.balance.held if request is None else request.hold.amount)


def _grants(seen: Seen) -> str:
    return " ".join(_usd(grant.remaining_nanos) for grant in seen.balance.grants) or "none"


def _causes(seen: Seen) -> str:
    held = [cause.cause for cause in seen.view.causes]
    return " ".join(cause for cause in STRICTEST_FIRST if cause in held) or UNSUSPENDED


def _tier(seen: Seen) -> str:
    return "unlimited" if seen.view.tier is None else str(seen.view.tier.number)


# ── an invoice ───────────────────────────────────────────────────────────────────────────────────────────────────
def _of_bill(read: Callable[[Row], str]) -> Callable[[Seen], str]:
    def say(seen: Seen) -> str:
        bill = seen.bill()
        return "no invoice" if bill is None else read(bill)

    return say


def _retry(bill: Row) -> str:
    return "never" if bill.next_attempt_at is None else format_instant(bill.next_attempt_at)[:10]


def _lines(seen: Seen) -> list[str]:
    bill = seen.bill()
    rows = [] if bill is None else invoices.list_lines(seen.conn, seen.account, bill.id)
    return [
        f"{row.month} {row.model} {row.unit.removesuffix('_tokens')} {row.quantity} {_usd(row.amount)}" for row in rows
    ]


# ── a command ────────────────────────────────────────────────────────────────────────────────────────────────────
def _charged(seen: Seen) -> str:
    return "nothing" if seen.outcome.charge is None else _usd(seen.outcome.charge.amount_nanos)


def _clamped(seen: Seen) -> str:
    return "nothing" if seen.outcome.charge is None else _usd(seen.outcome.charge.clamped_nanos)


def _cap(seen: Seen) -> str:
    return "none" if seen.outcome.request is None else str(seen.outcome.request.cap)


def _allocations(seen: Seen) -> list[str]:
    numbers = {str(row.id): str(row.number) for row in invoices.list_invoices(seen.conn, seen.account)}

    def place(part: Allocation) -> str:
        return numbers.get(part.id or "", part.id or "credit")

    return [f"{_usd(part.amount_nanos)} to {place(part)}" for part in seen.outcome.allocation]


def _alerts(seen: Seen) -> str:
    """The mails that told of this month's spend, or of the closed month's, in the order in which they were written."""
    month = seen.outcome.month or month_of(seen.scene.world.now())
    told = []
    for row in reversed(outbox.list_for(seen.conn, seen.account, str(seen.view.row.email), 1_000)):
        _, *about = row.fact.removesuffix("@mail").split("/")
        if row.topic == ALERT and about[0] == month:
            told.append((row.created_at, int(about[2]), f"{'forecast ' * (about[1] == FORECAST)}{_usd(int(about[2]))}"))
    return " ".join(words for _, _, words in sorted(told)) or "none"


def _tokens(seen: Seen) -> list[str]:
    """The limits of tokens a minute by model, in the order of the metrics."""
    limits: dict[str, list[int | str]] = {}
    for each in token_limits.list_in_force(seen.conn, seen.account, seen.scene.policy, seen.scene.world.now()):
        limits.setdefault(each.key.model, []).append("unlimited" if each.tokens is None else each.tokens)
    return [" ".join(map(str, (model, *tokens))) for model, tokens in limits.items()]


def _may(seen: Seen) -> str:
    """What the user whom the command names (else the owner) may spend in a month."""
    cap = get_cap(seen.conn, seen.account, seen.outcome.user)
    return _usd(None if cap is None else cap.nanos)


def _used(seen: Seen) -> str:
    """What that user has spent this month."""
    user = seen.outcome.user
    return _usd(usage_limits.list_spent(seen.conn, seen.account, [user], seen.scene.world.now())[user])


def _wanted(seen: Seen) -> str:
    """What that user asked for last, and what became of it."""
    rows = limit_requests.list_of(seen.conn, seen.account, seen.outcome.user)
    return f"{_usd(rows[0].requested)} {rows[0].state}" if rows else "none"


AMOUNTS: Mapping[str, Callable[[Seen], str]] = {
    "credit": lambda seen: _usd(seen.balance.credit),
    "owes": lambda seen: _usd(seen.balance.outstanding),
    "headroom": lambda seen: _usd(seen.balance.headroom),
    "held": _held,
    "spent": lambda seen: _usd(seen.balance.spent_this_month),
    "limit": lambda seen: _usd(seen.balance.limit),
    "max": lambda seen: _usd(None if seen.view.tier is None else seen.view.tier.limit_nanos),
    "historical": lambda seen: _usd(seen.view.historical_spend_nanos),
    "breakage": lambda seen: _usd(ledger.get_balance(seen.conn, seen.account, "breakage")),
    "subtotal": _of_bill(lambda bill: _usd(bill.subtotal)),
    "credits-applied": _of_bill(lambda bill: _usd(bill.credits_applied)),
    "payments-applied": _of_bill(lambda bill: _usd(bill.payments_applied)),
    "carried-in": _of_bill(lambda bill: _usd(bill.carried_in)),
    "carried-out": _of_bill(lambda bill: _usd(bill.carried_out)),
    "due": _of_bill(lambda bill: _usd(bill.amount_due)),
    "paid": _of_bill(lambda bill: _usd(bill.paid)),
    "receipt": lambda seen: _usd(seen.receipts()[0].total) if seen.receipts() else "none",
    "may": _may,
    "used": _used,
    "charged": _charged,
    "clamped": _clamped,
}
WORDS: Mapping[str, Callable[[Seen], str]] = {
    "mode": lambda seen: str(seen.view.row.billing_mode),
    "state": lambda seen: str(seen.view.row.state),
    "closed": lambda seen: "no" if seen.view.row.closed_at is None else "yes",
    "tier": _tier,
    "grants": _grants,
    "alerts": _alerts,
    "flags": lambda seen: " ".join(sorted(row.kind for row in abuse.list_flags(seen.conn, [seen.account]))) or "none",
    "invoice": _of_bill(lambda bill: f"{_usd(bill.total)} {bill.state}"),
    "no": _of_bill(lambda bill: f"invoice {bill.number}"),
    "number": _of_bill(lambda bill: str(bill.number)),
    "type": _of_bill(lambda bill: str(bill.type)),
    "attempts": _of_bill(lambda bill: str(bill.attempts)),
    "retry": _of_bill(_retry),
    "lines": lambda seen: str(len(_lines(seen))),
    "receipts": lambda seen: str(len(seen.receipts())),
    "documents": lambda seen: str(len(invoices.list_invoices(seen.conn, seen.account))),
    "wanted": _wanted,
    "cap": _cap,
    "quarantined": lambda seen: "" if seen.outcome.state == "quarantined" else "settled",
    "duplicate": lambda seen: "" if seen.outcome.fresh is False else "billed",
    "gpu-seconds": lambda seen: fleets.gpu_seconds(seen.conn, seen.account),
    "mails": lambda seen: fleets.mails(seen.conn, seen.account),
    "cut": lambda seen: "" if seen.outcome.cut else "goes on",
}
LISTS: Mapping[str, Callable[[Seen], list[str]]] = {
    "line": _lines,
    "allocated": _allocations,
    "tokens": _tokens,
    "deployment": lambda seen: fleets.list_deployments(seen.conn, seen.account),
}
ON_COMMANDS = ("refused", "unchanged")


def mismatch(seen: Seen, expectation: Expectation) -> str | None:
    """What is there instead of what is expected, None where it is as expected; raises Wrong for unknown words."""
    name, *rest = expectation.words
    if name in CAUSES:
        if set(expectation.words) - set(CAUSES):
            raise Wrong(f"`{expectation}`: the causes are {', '.join(CAUSES)}")
        return _differs(_causes(seen), " ".join(expectation.words), "")
    if name in AMOUNTS:
        if len(rest) != 1:
            raise Wrong(f"`{expectation}`: after {name} stands one amount")
        amount = rest[0] if rest[0] in ("none", "nothing") else _usd(usd(rest[0]))
        return _differs(AMOUNTS[name](seen), amount, name)
    if name in WORDS:
        said = WORDS[name](seen)
        if name == "no":
            return None if said == "no invoice" and rest == ["invoice"] else said
        if name == "invoice" and rest:
            rest[0] = _usd(usd(rest[0]))
        return _differs(said, " ".join(rest), name)
    if name in LISTS:
        found = LISTS[name](seen)
        return None if _in_list(found, rest) else "; ".join(f"{name} {item}" for item in found) or f"no {name}"
    raise Wrong(f"`{expectation}` is nothing a story can expect")


def _in_list(found: list[str], rest: list[str]) -> bool:
    return any([_plain(word) for word in item.split()] == [_plain(word) for word in rest] for item in found)


def _plain(word: str) -> str:
    whole, point, fraction = word.partition(".")
    return whole.replace(",", "") + point + fraction.rstrip("0")


def _differs(said: str, wanted: str, name: str) -> str | None:
    return None if said == wanted else f"{name} {said}".strip()


def refusal_mismatch(refusal: PurserError | None, words: list[str]) -> str | None:
    """What came instead of a refusal with this status and these texts in its message."""
    if refusal is None:
        return "not refused"
    status, *texts = words
    if str(refusal.status) != status or any(text not in refusal.message for text in texts):
        return f"refused {refusal.status} {shlex.quote(refusal.message)}"
    return None
