"""A listener between a client and a PostgreSQL server that loses, or keeps back, what a test tells it to."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import closing, suppress

REQUEST, REPLY = "request", "reply"


class Between:
    """Passes everything on; once armed it cuts the next connection that commits, before the server hears, or after."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.lost = 0
        self._losing, self._part = "", 0.0
        self._chance: random.Random | None = None
        self._stand: tuple[int, int] | None = None
        self.stood_still = False
        self._lines: set[socket.socket] = set()
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, what: str) -> None:
        """Lose the next commit's REQUEST or REPLY."""
        self._losing = what

    def stand_still(self, sends: int, some: int) -> None:
        """As of the next BEGIN pass so many of what the client sends and some bytes of the next, then nothing more."""
        self._stand = (sends, some)

    def lose_some(self, chance: random.Random | None, part: float = 0.0) -> None:
        """Lose that part of all commits from now on, REQUEST or REPLY as chance has it; None: no more."""
        self._part, self._chance = part, chance

    def _is_to_lose(self) -> bool:
        chance = self._chance
        if chance is not None and not self._losing and chance.random() < self._part:
            self._losing = chance.choice((REQUEST, REPLY))
        return bool(self._losing)

    def away(self, away: bool) -> None:
        """Whether nobody gets through for now; whoever is connected is cut."""
        self._open = not away
        if away:
            for line in tuple(self._lines):
                _cut(line)

    def close(self) -> None:
        """Be gone, with every connection."""
        self.away(True)
        _cut(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            if not self._open:
                return
            with closing(socket.create_connection(self._server)) as server:
                self._lines |= {client, server}
                back = threading.Thread(target=self._pass_back, args=(server, client), daemon=True)
                back.start()
                left: tuple[int, int] | None = None
                while data := client.recv(65536):
                    if self._stand is not None and b"BEGIN" in data:
                        left, self._stand = self._stand, None
                    if left is not None:
                        sends, some = left
                        left = (sends - 1, some)
                        if sends == 0:
                            self.stood_still = True
                            server.sendall(data[:some])
                        if sends <= 0:
                            continue
                        if b"COMMIT\0" in data:
                            left = None
                    if b"COMMIT\0" in data and self._is_to_lose():
                        self._cut_commit(client, server, data)
                        break
                    server.sendall(data)
                _cut(server)
                back.join()
                self._lines -= {client, server}

    def _cut_commit(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        what, self._losing = self._losing, ""
        _cut(client)
        if what == REPLY:
            server.sendall(data)
            server.shutdown(socket.SHUT_WR)  # the server does what it has got, then ends
            with suppress(OSError):
                while server.recv(65536):
                    continue
        self.lost += 1

    @staticmethod
    def _pass_back(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _cut(client)


def _cut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
