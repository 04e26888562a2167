"""Logging to standard error, one line an event."""

from __future__ import annotations

import logging
import sys


def set_up_log(level: int = logging.INFO) -> None:
    """Log to standard error."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
