"""One model server for all tests of this folder; it does not wait between tokens unless a request says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.modelserver.running import Running, process, ready_port


@pytest.fixture(scope="package")
def server() -> Iterator[Running]:
    options = ["--port", "0", "--models", "tiny,org/small", "--pace", "0", "--context-tokens", "2000"]
    with process(*options) as child:
        yield Running(ready_port(child))
