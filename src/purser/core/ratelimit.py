"""Request rates: how one rate is shared out to many writers, exactly in every minute (Q1).

A rate is so many units in any 60 seconds. What is given to a writer is its share: it lets no more through in any 60
seconds than its share, and gives back only what it has not used for 60 seconds. The shares never come to more than the
rate, so neither does what all writers let through together, in any 60 seconds and whatever their clocks show.

Small rates are not shared out, for most of such a share would lie where nobody asks: each request is counted in the
store, which keeps the instants of the last minute. Both kinds count against one rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WINDOW_SECONDS = 60
WINDOW = WINDOW_SECONDS * 1_000_000
SMALL = 60  # a rate up to this is counted in the store, request by request
_OF_REST, _OF_RATE = 4, 16  # a share grows at most by these fractions at a time, so that others find some,
_FIRST, _FIRST_OF_RATE = 64, 256  # and from the larger of these by doubling, so that little is lost with its writer


@dataclass(slots=True)
class Tokens:
    """A share of so many tokens a minute: what of it is held by running requests, and used in the last minute.

    What was used is kept by the second, and counts until its whole second is a minute old.
    """

    share: int = 0
    usable: int = 0  # of the share
    held: int = 0
    used: int = 0
    seconds: deque[tuple[int, int]] = field(default_factory=deque)

    @property
    def spare(self) -> int:
        """What can be held."""
        return self.usable - self.held - self.used

    def use(self, second: int, tokens: int) -> None:
        """Tokens were used in a second of any monotonic clock."""
        if not tokens:
            return
        self.used += tokens
        if self.seconds and self.seconds[-1][0] == second:
            tokens += self.seconds.pop()[1]
        self.seconds.append((second, tokens))

    def forget_old(self, second: int) -> None:
        """What is a minute old counts no more."""
        while self.seconds and self.seconds[0][0] < second - WINDOW_SECONDS:
            self.used -= self.seconds.popleft()[1]


def whole_seconds(micros: int) -> int:
    """A wait in whole seconds, at least 1: what is asked again then is not too early."""
    return max(1, -(-micros // 1_000_000))


@dataclass(frozen=True, slots=True)
class Part:
    """What one writer has of a rate; `free_at` is when a closed writer's part counts no more, None while it is open."""

    writer: int
    share: int
    free_at: int | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What is in force of one rate, at one instant of the store's clock, microseconds.

    `seen` are the instants that the store counts itself, oldest first.
    """

    seen: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def taken(self) -> int:
        """All that counts against the rate."""
        return len(self.seen) + sum(part.share for part in self.parts)

    def share_of(self, writer: int) -> int:
        """What an open writer has of it."""
        return sum(part.share for part in self.parts if part.free_at is None and part.writer == writer)

    def is_shared_with(self, writer: int) -> bool:
        """Whether other open writers than this one have shares."""
        return any(part.free_at is None and part.writer != writer for part in self.parts)


def current(seen: Iterable[int], parts: Iterable[Part], now: int) -> Rate:
    """The rate as it is at `now`: what is over is left out.

    Where the store's clock was set back, what it shows as still to come counts as having happened just now, so that
    nothing is counted for longer than it may.
    """
    kept = tuple(min(at, now) for at in seen if at > now - WINDOW)
    return Rate(kept, tuple(part for part in parts if part.free_at is None or part.free_at > now))


@dataclass(frozen=True, slots=True)
class Given:
    """What a writer that asked for one more gets: a share of so many, or the one counted in the store, or neither.

    `left` is what is to be had after it. `wait` is how long until something is free, microseconds; None where that is
    for a writer to say that has a share. `over` says whether more is taken than the rate is by now.
    """

    share: int
    counted: bool
    left: int
    wait: int | None = None
    over: bool = False

    @property
    def admitted(self) -> bool:
        """Whether one more may be let through."""
        return self.counted or self.share > 0


def ask(rate: Rate, most: int, now: int, own: int, least: int | None = None) -> Given:
    """What a writer gets that has `own` and needs at least `least` more of a rate of `most` a minute.

    Without `least` it needs one, which is counted in the store where the rate is small.
    """
    left, counts, least = most - rate.taken, least is None and most <= SMALL, 1 if least is None else least
    if left < least:
        return Given(0, False, max(0, left), _wait(rate, least - left, now), over=left < 0)
    if counts:
        return Given(0, True, left - 1)
    share = max(least, min(left // _OF_REST, most // _OF_RATE, max(_FIRST, most // _FIRST_OF_RATE, own)))
    return Given(share, False, left - share)


def too_much_spare(spare: int, most: int) -> int:
    """How much of its spare a writer gives back unasked: what it has would be lost for a while with it."""
    enough = most // _OF_RATE
    return spare - enough if spare > 2 * enough else 0


def _wait(rate: Rate, missing: int, now: int) -> int | None:
    """How long until `missing` units are free, by what the store knows; None where open writers have shares."""
    frees: list[tuple[int, int]] = [(at + WINDOW, 1) for at in rate.seen]
    for part in rate.parts:
        if part.free_at is None:
            return None
        frees.append((part.free_at, part.share))
    for at, units in sorted(frees):
        missing -= units
        if missing <= 0:
            return at - now
    return None


# ── headers ──────────────────────────────────────────────────────────────────────────────────────────────────────
def headers(most: int, remaining: int, wait_seconds: int | None = None) -> Sequence[tuple[bytes, bytes]]:
    """The rate as answers tell it, in the older style and as the IETF's draft has it; with a wait where it is spent."""
    state = b'"requests";r=%d' % remaining
    return [
        (b"x-ratelimit-limit-requests", b"%d" % most),
        (b"x-ratelimit-remaining-requests", b"%d" % remaining),
        (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (most, WINDOW_SECONDS)),
        (b"ratelimit", state if wait_seconds is None else b"%b;t=%d" % (state, wait_seconds)),
    ]
