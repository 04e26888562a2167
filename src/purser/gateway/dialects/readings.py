"""Which reading a stream gets, by the kind of its request."""

from __future__ import annotations

from purser.core.admission import Ask
from purser.gateway.bodies import Body
from purser.gateway.dialects.chunks import Chunks
from purser.gateway.dialects.messages import Messages
from purser.gateway.dialects.reading import BYTES_PER_TOKEN, Reading, WordsTally
from purser.gateway.dialects.responses import Responses
from purser.gateway.models import Served
from purser.gateway.shapes import MESSAGES
from purser.gateway.streams import Tally, Wanted

_SEVERAL_A_DELTA = ("openai", "other")  # engines whose events may each hold several tokens


def begin(body: Body, ask: Ask, served: Served) -> Reading:
    """A reading of the stream that answers a request."""
    wanted = Wanted(served.name, body.usage_asked, body.counts_asked)
    if body.shape.usage_on_request:
        return Chunks(Tally(ask.input_bytes, ask.choices), wanted)
    tally = WordsTally(ask.input_bytes, ask.choices)
    if served.terms.engine in _SEVERAL_A_DELTA:
        tally.bytes_per_token = BYTES_PER_TOKEN
    return (Messages if body.kind == MESSAGES else Responses)(tally, wanted)
