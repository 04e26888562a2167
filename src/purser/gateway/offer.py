"""An offer: a model as it is sold under one price book, with what the express way needs of both looked up once."""

from __future__ import annotations

from purser.core.admission import hold_nanos
from purser.core.pricebook import PriceBook
from purser.core.rating import Charge, rate
from purser.core.tariff import tariff_of
from purser.core.usage import Quantities, quantities
from purser.gateway.models import Served
from purser.gateway.passage import sent_besides
from purser.gateway.splicing import encode
from purser.http.head import header_lines


class Offer:
    """A model as it is sold under one price book."""

    __slots__ = ("besides", "book", "most_tokens", "name", "rates", "served", "tariff", "whole_seconds")

    def __init__(self, served: Served, book: PriceBook) -> None:
        self.served, self.book = served, book
        self.rates = book.models[served.name]
        self.tariff = tariff_of(self.rates)
        self.name = encode(served.name)
        self.whole_seconds = served.whole_seconds
        self.besides = header_lines(sent_besides(served))
        self.most_tokens = min(served.terms.context_tokens, served.terms.max_output_tokens)

    def hold_nanos(self, input_tokens: int, output_tokens: int) -> int:
        """The most that these bounds can cost."""
        if self.tariff is not None:
            return self.tariff.hold_nanos(input_tokens, output_tokens)
        return hold_nanos(self.rates, input_tokens, output_tokens)

    def charge(self, prompt: int, cached: int, output: int) -> tuple[Quantities, Charge]:
        """What was used, and what it costs."""
        if self.tariff is not None:
            return self.tariff.charge(prompt - cached, cached, output)
        used = quantities(prompt, cached, output)
        return used, rate(used, self.rates)
