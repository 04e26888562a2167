"""A program of two workers under the supervisor that answer with their process id; files in its folder say otherwise.

`python -m tests.demo.supervised PORT`. Where there is a file `bad` a worker that starts ends at once, where there is
`deaf` it does not end when it is asked to, and where there is `full` there is no room for another process.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from pathlib import Path

from purser.main.log import set_up_log
from purser.main.supervisor import Supervisor

_fork = os.fork


def _serve(listener: socket.socket) -> None:
    if Path("bad").exists():
        sys.exit(3)
    if Path("deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    words = str(os.getpid())
    answer = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(words)}\r\n\r\n{words}".encode()
    while True:
        line, _ = listener.accept()
        with line:
            line.recv(65536)
            line.sendall(answer)


def _fork_if_there_is_room() -> int:
    if Path("full").exists():
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


def main() -> int:
    """Serve until told to stop."""
    set_up_log()
    os.fork = _fork_if_there_is_room
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    return Supervisor(lambda: _serve(listener), listener, 2).run()


if __name__ == "__main__":
    sys.exit(main())
