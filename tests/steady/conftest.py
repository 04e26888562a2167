"""One server before upstreams that misbehave, for a whole module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from purser.main.process import raise_file_limit
from tests.steady import upstreams
from tests.steady.served import Served, engine, serving

BEHAVIOURS = (
    upstreams.silent,
    upstreams.trickling_whole,
    upstreams.trickling_stream,
    upstreams.flapping,
    upstreams.garbage,
    upstreams.much_announced,
    upstreams.much_in_chunks,
    upstreams.much_in_one_event,
    upstreams.much_in_many_events,
    upstreams.gushing,
)


@pytest.fixture(scope="session", autouse=True)
def many_connections() -> None:
    """The crowds of clients are larger than the usual limit of open files."""
    raise_file_limit()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a sound model `tiny`, one model for each misbehaviour by its name, and a dead one."""
    with ExitStack() as stack:
        sound = stack.enter_context(engine())
        urls = {each.__name__: [stack.enter_context(upstreams.behaving(each))] for each in BEHAVIOURS}
        urls |= {"tiny": [sound.base_url], "dead": ["http://127.0.0.1:9/v1"]}
        urls["half_dead"] = ["http://127.0.0.1:9/v1", sound.base_url]
        yield stack.enter_context(serving(tmp_path_factory.mktemp("steady"), urls, timeout_seconds=1))
