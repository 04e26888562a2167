"""Logging to standard error, one line an event."""

from __future__ import annotations

import logging
import sys


def set_up_log(level: int = logging.INFO) -> None:
    """Log to standard error."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(_shorten)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _shorten(record: logging.LogRecord) -> bool:
    """What the pool says of connections that the database has ended is told in a line, without its way through code."""
    if record.name.startswith("sqlalchemy.pool") and record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        record.msg, record.args = f"{record.getMessage()}: {' '.join(str(error).split())}", None
        record.exc_info = record.exc_text = None
    return True
