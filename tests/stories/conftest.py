"""Every .story file of this folder is one test case, whose failure shows the story's own line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.stories.runner import StoryFailed, play


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect stories."""
    return StoryFile.from_parent(parent, path=file_path) if file_path.suffix == ".story" else None


class StoryFile(pytest.File):
    """A file with one story."""

    def collect(self) -> Iterator[pytest.Item]:
        """The story."""
        yield StoryCase.from_parent(self, name=self.path.stem)


class StoryCase(pytest.Item):
    """A story as a test case."""

    def runtest(self) -> None:
        """Run the story in a file and in memory, or on a server."""
        with databases.dropped_afterwards():
            play(self.path)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The story's line for one that does not hold, the traceback for anything else."""
        if isinstance(excinfo.value, StoryFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the story stands."""
        return self.path, 0, f"story {self.name}"
