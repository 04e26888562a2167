"""The gateway under test, one for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.rig import Rig, running


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A gateway with one model server behind it."""
    with running(tmp_path) as found:
        yield found
