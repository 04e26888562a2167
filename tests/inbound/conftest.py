"""The control plane as it runs: a real server on a real port, a real database, the test payment provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inbound.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A running control plane with a manual clock at 2026-03-01 09:00."""
    running = House(tmp_path)
    try:
        yield running
    finally:
        running.close()
