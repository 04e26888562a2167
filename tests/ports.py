"""Ports for programs under test."""

from __future__ import annotations

import random
import socket

# Below those that systems give out for themselves, so that nobody is given one between here and its use.
_RANGE = range(20_000, 32_000)


def free_port() -> int:
    """A port that nothing listens on just now."""
    for port in random.SystemRandom().sample(_RANGE, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port of {_RANGE.start} to {_RANGE.stop} is free")
