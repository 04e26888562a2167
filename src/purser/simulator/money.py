"""The money model: how much could be billed at most, added up apart from the product from what was ever granted."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from purser.core.lease import USER
from purser.core.money import NANOS_PER_USD
from purser.flows.claims import SOURCE
from purser.simulator.cast import ROLES

if TYPE_CHECKING:
    from purser.simulator.run import Run
    from purser.store.overview import Posted


class Money:
    """By account: all the credit it was ever given and the highest limit it ever had, against all that was billed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._needs_credit = {role.account for role in ROLES if not role.card and role.mode != "contract"}
        self._given = {role.account: role.credit_nanos for role in ROLES}
        self._given["ada"] += 2 * NANOS_PER_USD // 1_000
        self._limits = {role.account: (role.limit_usd or 0) * NANOS_PER_USD for role in ROLES if role.limit_usd}
        self._budgets = {role.account: role.budget.nanos for role in ROLES}
        self._caps: dict[str, int] = {}
        self._on_budgets: dict[tuple[str, str, str], int] = {}
        self._billed: dict[str, int] = {}
        self._billed_in: dict[tuple[str, str], int] = {}
        self.billed = self.events = self.late = 0

    def give(self, account: str, nanos: int) -> None:
        """Credit is being given: it may have been from now on."""
        self._given[account] += nanos

    def limit(self, account: str, dollars: int) -> None:
        """A limit is being set: it may hold from now on."""
        if account in self._limits:  # for others what was used before it was set may be above it
            self._limits[account] = max(self._limits[account], dollars * NANOS_PER_USD)

    def budget(self, account: str, nanos: int) -> None:
        """The budget of an account's second key is being set: it may hold from now on."""
        self._budgets[account] = max(self._budgets[account], nanos)

    def cap(self, account: str, nanos: int) -> None:
        """The cap of an account's user is being set: it may hold from now on."""
        self._caps[account] = max(self._caps.get(account, 0), nanos)

    def committed(self, events: list[Posted], held: Set[str]) -> None:
        """Usage has been posted; `held` are the holds by API that were open until then."""
        for event in events:
            self.events += 1
            if event.source != SOURCE and event.id not in held:
                self.late += 1
                continue
            account, place = event.account, (event.account, event.month)
            self.billed += event.cost
            self._billed[account] = self._billed.get(account, 0) + event.cost
            self._billed_in[place] = self._billed_in.get(place, 0) + event.cost
            if account in self._needs_credit and self._billed[account] > self._given[account]:
                self._run.blame(
                    "limit", f"{account} was billed {self._billed[account]} of credit of {self._given[account]}"
                )
            for row in event.budget_rows():
                bound = (account, row.kind, row.window)
                spent = self._on_budgets[bound] = self._on_budgets.get(bound, 0) + event.cost
                most = self._caps.get(account, 0) if row.kind == USER else self._budgets[account]
                if spent > most:
                    self._run.blame("limit", f"{account} was billed {spent} of {row.kind} {row.window}: {most}")
            limit = self._limits.get(account)
            if limit is not None and self._billed_in[place] > limit:
                self._run.blame("limit", f"{account} was billed {self._billed_in[place]} of a month's limit of {limit}")
