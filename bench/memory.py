"""Memory: of a worker at rest and after a load, and of each open stream with 2,000 slow ones open.

`python -m bench.memory [--streams N]`. Resident memory of one `purser serve` process. The streams' clients read what
comes; the model server sends a chunk to each every two seconds.
"""

from __future__ import annotations

import argparse
import resource
import selectors
import socket
import time
from pathlib import Path

from bench import load, tables
from bench.cores import resident_bytes
from bench.gateway import scratch
from bench.gateways import Gateway, model_server, purser

_PACE_MS = 2000.0
_OPEN_SECONDS = 60.0


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000, metavar="N")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        scratch() as folder,
        model_server(_PACE_MS) as server,
        purser(folder, server.url, f"sqlite:///{folder}/purser.db") as ours,
    ):
        if ours.pid is None:
            raise RuntimeError("purser has no process")
        fresh = resident_bytes(ours.pid)
        body = load.write_body(folder, "JSON")
        tables.progress("a load first")
        if load.wrk() is not None:
            load.press(ours.url, body, ours.key, connections=64, seconds=2)
        time.sleep(1)
        loaded = resident_bytes(ours.pid)
        tables.progress(f"opening {options.streams} streams")
        opened, full = _hold_open(ours, load.write_body(folder, "streams"), options.streams)
    each = (full - loaded) / max(1, opened)
    rows = [
        ["worker, fresh", tables.mebibytes(fresh)],
        ["worker, after a load of 64 connections", tables.mebibytes(loaded)],
        [f"worker, {opened:,} streams open", tables.mebibytes(full)],
        ["each open stream", f"{each / 1024:.0f} KiB"],
    ]
    print(f"Memory\n\n{tables.table(['', 'resident'], rows)}\n")


def _hold_open(ours: Gateway, body: Path, streams: int) -> tuple[int, int]:
    """Open streams until all have begun; answers how many did, and the gateway's memory then."""
    host, _, port = ours.url.removeprefix("http://").partition(":")
    raw = body.read_bytes()
    head = f"POST {load.PATH} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ours.key}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw
    selector = selectors.DefaultSelector()
    lines: list[socket.socket] = []
    begun: set[int] = set()
    end = time.monotonic() + _OPEN_SECONDS
    while len(begun) < streams and time.monotonic() < end:
        for _ in range(min(50, streams - len(lines))):
            line = socket.create_connection((host, int(port)))
            line.sendall(request)
            selector.register(line, selectors.EVENT_READ)
            lines.append(line)
        for key, _ in selector.select(0.05):
            sock = key.fileobj
            if isinstance(sock, socket.socket) and b"data: " in sock.recv(65536):
                begun.add(sock.fileno())
    full = resident_bytes(ours.pid or 0)
    for line in lines:
        line.close()
    return len(begun), full


if __name__ == "__main__":
    main()
