"""What is logged: a line an event, also of what the pool of connections meets; what fails of ours is told whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

SCRIPT = """
import logging
from purser.main.log import set_up_log
set_up_log()
try:
    raise OSError("server closed the\\n\\tconnection: 100 %s")
except OSError:
    logging.getLogger("sqlalchemy.pool.impl.QueuePool").error("Exception during %s", "reset", exc_info=True)
    logging.getLogger("purser.worker").exception("it failed")
"""


def test_a_lost_connection_is_a_line_and_what_failed_of_ours_is_told_whole() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    first, second, *rest = done.stderr.splitlines()
    said = "ERROR sqlalchemy.pool.impl.QueuePool Exception during reset: server closed the connection: 100 %s"
    assert first.endswith(said)
    assert second.endswith("ERROR purser.worker it failed")
    assert rest[0].startswith("Traceback")
