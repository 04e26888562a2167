"""Deaths: who was killed when, and how long what they had set aside stayed out of reach."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.crash.books import Books
from tests.crash.looking import Sight

_LOOK_SECONDS = 0.005
_FAR_APART_SECONDS = 1.0
_QUIET_SECONDS = 0.4  # a transaction that was under way at a server may still come; nothing after that


@dataclass(slots=True)
class Death:
    """One process killed, at an instant of the monotonic clock.

    `back_at` is when no open writer and no lease of it was left. Where for a while nobody lived who could have closed
    it, it was `alone`, and what counts is `from_at`: since when somebody did.
    """

    sight: Sight
    at: float
    writers: set[int]
    alone: bool = False
    from_at: float | None = None
    back_at: float | None = None
    gone_since: float | None = None  # as far as was seen
    unseen: bool = False  # the watch itself did not come to look for so long that it cannot tell

    @property
    def pid(self) -> int:
        """The process."""
        return self.sight.pid

    @property
    def back_ms(self) -> float | None:
        """For how many milliseconds it was out of reach; None where that is not known."""
        began = self.from_at if self.alone else self.at
        if began is None or self.back_at is None or self.unseen:
            return None
        return max(0.0, self.back_at - began) * 1000


class Deaths(threading.Thread):
    """Watches the books, a look every five milliseconds while somebody's headroom is not back."""

    def __init__(self, books: Books, is_running: Callable[[int], bool]) -> None:
        super().__init__(name="deaths", daemon=True)
        self._books, self._is_running = books, is_running
        self._door, self._wake, self._stopping = threading.Lock(), threading.Event(), threading.Event()
        self._open: list[Death] = []
        self._gaps: list[float] = []
        self.all: list[Death] = []

    def add(self, death: Death) -> None:
        """Somebody died just now."""
        with self._door:
            self._open.append(death)
            self.all.append(death)
        self._wake.set()

    def waiting(self) -> list[Death]:
        """Those whose headroom is not back, as far as is known."""
        with self._door:
            return list(self._open)

    def close(self) -> None:
        """Watch no more."""
        self._stopping.set()
        self._wake.set()
        self.join()

    def looks_ms(self) -> tuple[float, float]:
        """How far apart looks were, milliseconds: the median, and the most; so exact is what was measured."""
        gaps = sorted(self._gaps) or [0.0]
        return gaps[len(gaps) // 2] * 1000, gaps[-1] * 1000

    def run(self) -> None:
        """Watch until closed."""
        last = None
        while not self._stopping.is_set():
            if not self.waiting():
                last = None
                self._wake.wait()
                self._wake.clear()
                continue
            now = time.monotonic()
            if last is not None:
                self._note_gap(now - last)
            last = now
            self._look()
            self._stopping.wait(_LOOK_SECONDS)

    def _note_gap(self, seconds: float) -> None:
        self._gaps.append(seconds)
        if seconds > _FAR_APART_SECONDS:
            for death in self.waiting():
                death.unseen = True

    def _look(self) -> None:
        with self._books.snapshot():
            writers, owners = self._books.open_writers(), self._books.lease_owners()
        now = time.monotonic()
        living = any(self._is_running(pid) for pid in set(writers.values()))
        for death in self.waiting():
            if not living:
                death.alone, death.from_at = True, None
            elif death.alone and death.from_at is None:
                death.from_at = now
            death.writers |= {id_ for id_, pid in writers.items() if pid == death.pid}
            left = any(id_ in writers or f"writer:{id_}" in owners for id_ in death.writers)
            if left:
                death.gone_since = None
            elif death.gone_since is None:
                death.gone_since = now
            elif now - death.gone_since > _QUIET_SECONDS:
                death.back_at = death.gone_since
                with self._door:
                    self._open.remove(death)
