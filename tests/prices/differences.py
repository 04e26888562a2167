"""What a usage costs by our code, beside what another calculator makes of it, and every difference with its reason.

A reason is a change of our own sum into theirs: a count or a rate of it. What no reason makes equal is unexplained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from purser.core.money import NANOS_PER_USD
from purser.core.pricebook import read_price
from purser.core.rating import rate
from purser.core.usage import BATCH, CACHED, INPUT, PLAIN_OF, REPORTED, Inconsistent, as_priced, in_batch, normalise
from tests.prices.usages import Told

UNPRICED = "nothing that was told has a price: kept for review here, $0 there"
HALF_A_NANO = Fraction(1, 2 * NANOS_PER_USD)


@dataclass
class Sale:
    """A usage of a model: what the engine told, and what it costs by us, taken apart for the reasons to change."""

    model: str
    price: Mapping[str, str]
    listed: Mapping[str, Any]  # the other's own price of the model
    told: Told
    batch: bool
    charged: Fraction | None  # dollars as we charge them; None where we refuse to
    counts: dict[str, Fraction]  # by unit, each kind of tokens apart
    rates: dict[str, Fraction]  # dollars per one of a unit

    def rate(self, unit: str) -> Fraction:
        """Dollars for one of a unit, or for one of the plain kind where its own has no rate."""
        return self.rates.get(unit, self.rates.get(PLAIN_OF.get(unit, unit), Fraction(0)))

    @property
    def dollars(self) -> Fraction:
        """The sum, not rounded."""
        return sum((count * self.rate(unit) for unit, count in self.counts.items()), Fraction(0))

    @property
    def halves_cached(self) -> bool:
        """Whether cached tokens cost half of plain ones here."""
        return INPUT in self.rates and 2 * self.rates[CACHED] == self.rates[INPUT]

    def detail(self, *names: str) -> Fraction:
        """A count in the engine's object, found by names within names; none where it is missing."""
        found: Any = self.told.usage
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return Fraction(found or 0)


def sell(model: str, price: Mapping[str, str], listed: Mapping[str, Any], told: Told, *, batch: bool = False) -> Sale:
    """What a usage costs by our code, from the engine's object to the charge."""
    rates = read_price(model, dict(price))
    measured = normalise(told.usage)
    assert measured is not None, told
    used = in_batch(measured.quantities) if batch else measured.quantities
    try:
        charged: Fraction | None = Fraction(rate(as_priced(used, rates), rates).amount_nanos, NANOS_PER_USD)
    except Inconsistent:
        charged = None
    each = {}
    for unit in (unit for unit in REPORTED if unit in rates):
        per = rates[BATCH.get(unit, unit) if batch else unit]
        each[unit] = Fraction(per.nanos, NANOS_PER_USD * per.per)
    counts = {unit: Fraction(count) for unit, count in measured.quantities.items()}
    return Sale(model, price, listed, told, batch, charged, counts, each)


@dataclass(frozen=True)
class Reason:
    """Why another calculator comes to another sum: what of ours to change for theirs, where it applies."""

    says: str
    change: Callable[[Sale], None]


@dataclass
class Tally:
    """What came of comparing: figures for the page, and what nobody can explain."""

    models: set[str] = field(default_factory=set)
    usages: int = 0
    equal: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # by them or by us: there is one sum, or none
    unexplained: list[str] = field(default_factory=list)

    def compare(
        self, sale: Sale, theirs: Fraction | Decimal | float, reasons: Sequence[Reason], error: Fraction = Fraction(0)
    ) -> None:
        """Count a usage: `theirs` is in dollars; `error` is what they may be off by themselves."""
        self.models.add(sale.model)
        self.usages += 1
        exact = Fraction(theirs)
        if sale.charged is None:
            if exact == 0:
                self.refused[UNPRICED] += 1
            else:
                self._complain(sale, exact)
            return
        if abs(sale.charged - sale.dollars) > HALF_A_NANO:
            self._complain(sale, exact)
        elif abs(sale.charged - exact) <= HALF_A_NANO + error:
            self.equal += 1
        else:
            self._explain(sale, exact, reasons, error)

    def refuse(self, sale: Sale, says: str) -> None:
        """Count a usage of which they make no sum."""
        self.models.add(sale.model)
        self.usages += 1
        self.refused[says] += 1

    def _explain(self, sale: Sale, theirs: Fraction, reasons: Sequence[Reason], error: Fraction) -> None:
        found, before = [], sale.dollars
        for reason in reasons:
            reason.change(sale)
            if sale.dollars != before:
                found.append(reason.says)
            before = sale.dollars
        if abs(before - theirs) > HALF_A_NANO + error:
            self._complain(sale, theirs)
        self.explained.update(found)

    def _complain(self, sale: Sale, theirs: Fraction) -> None:
        charged = None if sale.charged is None else float(sale.charged)
        self.unexplained.append(
            f"{sale.model} ({sale.price}, {dict(sale.listed)!r:.300}): {sale.told}{' in a batch' if sale.batch else ''}"
            f" costs {charged} here and {float(theirs)} there, {float(sale.dollars)} by the reasons known"
        )
