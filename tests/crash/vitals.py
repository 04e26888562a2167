"""What the serving processes and the database take over time: memory, descriptors, bytes on disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.crash.books import Books

_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY_SECONDS = 2.0
_WARM = 4  # a process has settled down after this fraction of its samples
_MOST_GROWTH_BYTES = 64 * 1024 * 1024
_MOST_GROWTH_FILES = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one instant: resident memory and open descriptors."""

    bytes: int
    files: int


class Vitals(threading.Thread):
    """Samples every two seconds, from outside."""

    def __init__(self, books: Books, pids: Callable[[], list[int]]) -> None:
        super().__init__(name="vitals", daemon=True)
        self._books, self._pids, self._stopping = books, pids, threading.Event()
        self.samples: dict[int, list[Sample]] = {}
        self.sizes: list[tuple[float, int]] = []

    def run(self) -> None:
        """Sample until closed."""
        while not self._stopping.is_set():
            for pid in self._pids():
                sample = _look(pid)
                if sample is not None:
                    self.samples.setdefault(pid, []).append(sample)
            self.sizes.append((time.monotonic(), self._books.bytes()))
            self._stopping.wait(_EVERY_SECONDS)

    def close(self) -> None:
        """Sample no more."""
        self._stopping.set()
        self.join()

    @property
    def longest(self) -> list[Sample]:
        """The samples of the process that was there longest."""
        return max(self.samples.values(), key=len, default=[])

    def growth(self) -> tuple[Sample, Sample] | None:
        """The longest-lived process when it had settled down, and at its end: each the median of some samples."""
        if len(self.longest) < 4 * _WARM:
            return None
        some = len(self.longest) // (2 * _WARM)
        start = len(self.longest) // _WARM
        return _median(self.longest[start : start + some]), _median(self.longest[-some:])

    def complaints(self) -> list[str]:
        """What grows that should not."""
        grown = self.growth()
        if grown is None:
            return []
        found = []
        if grown[1].bytes - grown[0].bytes > _MOST_GROWTH_BYTES:
            found.append(f"memory grew from {grown[0].bytes:,} to {grown[1].bytes:,} bytes")
        if grown[1].files - grown[0].files > _MOST_GROWTH_FILES:
            found.append(f"descriptors grew from {grown[0].files} to {grown[1].files}")
        return found


def _median(samples: list[Sample]) -> Sample:
    middle = len(samples) // 2
    return Sample(
        sorted(sample.bytes for sample in samples)[middle], sorted(sample.files for sample in samples)[middle]
    )


def _look(pid: int) -> Sample | None:
    folder = Path(f"/proc/{pid}")
    try:
        resident = int((folder / "statm").read_text().split()[1])
        return Sample(resident * _PAGE, len(list((folder / "fd").iterdir())))
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or is just ending
        return None
