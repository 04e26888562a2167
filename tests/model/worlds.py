"""The small worlds that are searched: each has room for some kinds of trouble at once, none for all of them."""

from __future__ import annotations

from tests.model.state import Bounds, Left

# Searched by every run of the tests: together some hundred thousand states.
SMALL = {
    "deaths": Bounds(Left(request=2, slow=1, crash=1)),
    "silence": Bounds(Left(request=2, slow=1, silence=1)),
    "death and silence": Bounds(Left(request=1, crash=1, silence=1)),
    "two late transactions": Bounds(Left(request=1, slow=2, crash=1)),
    "three processes": Bounds(Left(request=1, crash=1, silence=1), processes=3),
    "month": Bounds(Left(request=2, crash=1, roll=1), limit=1),
    "key": Bounds(Left(request=1, slow=1, crash=1), key=1),
    "grants of two": Bounds(Left(request=1, slow=1, silence=1), most=2),
    "changes": Bounds(Left(request=1, slow=1, late=1, lower=1, card=1, lapse=1)),
    "limits": Bounds(Left(request=1, slow=1, late=1, more=1, limit=1)),
}

# Searched on demand: some million states.
WIDE = {
    "death and silence": Bounds(Left(request=2, slow=1, crash=1, silence=1)),
    "two late transactions": Bounds(Left(request=2, slow=2, crash=1)),
    "three processes": Bounds(Left(request=2, crash=1, silence=1), processes=3),
    "month": Bounds(Left(request=1, slow=1, crash=1, roll=1)),
    "month and silence": Bounds(Left(request=2, silence=1, roll=1), limit=1),
    "key": Bounds(Left(request=2, slow=1, crash=1), key=2),
    "grants of two": Bounds(Left(request=2, slow=1, silence=1, crash=1), most=2),
    "changes": Bounds(Left(request=2, crash=1, late=1, lower=1, card=1, lapse=1)),
    "limits": Bounds(Left(request=2, slow=1, crash=1, more=1, limit=1)),
}
