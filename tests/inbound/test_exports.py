"""Exports and the clients that fetch them: none keeps a connection of the database, and only so many are under way."""

from __future__ import annotations

import http.client
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from purser.core.errors import Unavailable
from purser.flows import dossier
from purser.inbound import spool
from purser.inbound.api import export
from purser.inbound.spool import Spool
from purser.store import ledger
from tests import oracles
from tests.demo.program import eventually
from tests.inbound.house import OPERATOR_KEY, House
from tests.inbound.test_cli_export import many
from tests.inbound.test_dossier import opened

LEDGER = "/v1/accounts/ada/ledger:export?format=hledger"
ZIP = "/v1/accounts/ada:export"


def fill(house: House, entries: int) -> None:
    """An account's ledger with so many entries more."""
    for start in range(0, entries, 1_000):
        some = [("ada", many(n)) for n in range(start, min(start + 1_000, entries))]
        house.writer.run(lambda tx, some=some: ledger.post_all(tx, some))  # type: ignore[misc]


@contextmanager
def asking(house: House, path: str = LEDGER) -> Iterator[http.client.HTTPResponse]:
    """A client that has had the head of an answer, and takes its time with the rest."""
    connection = http.client.HTTPConnection("127.0.0.1", house.operator.port, timeout=60)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sock.connect(("127.0.0.1", house.operator.port))
    with closing(connection):
        connection.request("GET", path, headers={"authorization": f"Bearer {OPERATOR_KEY}"})
        yield connection.getresponse()


def in_use(house: House) -> int:
    """How many connections of the database are."""
    return int(house.db.engine.pool.checkedout())  # type: ignore[attr-defined]


def test_clients_that_do_not_read_keep_no_connection_and_get_the_whole_of_it_in_the_end(house: House) -> None:
    house.open("ada")
    fill(house, 25_000)
    with house.db.read() as conn:
        whole = oracles.export(conn, "hledger", "ada").encode()
    with asking(house) as first, asking(house) as second:
        assert eventually(lambda: in_use(house) == 1, 60), "the writer's alone"
        assert house.desk.exports._open.total() == 2, "and neither has read"
        assert first.read() == whole
        assert second.read() == whole
    assert eventually(lambda: not house.desk.exports._open.total(), 10)


def test_an_account_has_two_at_once(house: House) -> None:
    house.open("ada")
    house.open("bob")
    fill(house, 25_000)
    with asking(house), asking(house) as second:
        for path in (LEDGER, ZIP):
            refused = house.operator.get(path)
            assert (refused.status, refused.json["code"]) == (429, "RESOURCE_EXHAUSTED")
            assert refused.headers["retry-after"] == str(spool.RETRY_SECONDS)
            assert "2 exports of account ada are under way" in refused.json["detail"]
        assert house.operator.get(LEDGER.replace("ada", "bob")).status == 200
        second.read()
        assert eventually(lambda: house.operator.get(ZIP).status == 200, 10)


@pytest.mark.parametrize("bound", ["MOST_OPEN", "MOST_MADE"])
def test_a_process_has_so_many_at_once(house: House, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, bound, 3)
    house.open("ada")
    with ExitStack() as others:
        for n in range(3):
            others.enter_context(
                house.desk.exports.place(f"other-{n}") if bound == "MOST_OPEN" else house.desk.exports.making()
            )
        for path in (LEDGER, ZIP, "/operator/v1/ledger:export?format=beancount"):
            refused = house.operator.get(path)
            assert (refused.status, refused.json["code"]) == (503, "UNAVAILABLE")
            assert refused.headers["retry-after"] == str(spool.RETRY_SECONDS)
            assert "3 exports are" in refused.json["detail"]
    assert house.operator.get(ZIP).status == 200
    assert eventually(lambda: house.desk.exports._open.total() == house.desk.exports._made == 0, 10)


def test_what_is_refused_leaves_its_place(house: House) -> None:
    for _ in range(spool.MOST_OF_ONE + 1):
        assert house.operator.get("/v1/accounts/dan:export").status == 404
        assert house.operator.get("/v1/accounts/dan/ledger:export?format=hledger").status == 404


def test_what_is_many_is_not_counted_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.open("ada")
    fill(house, 10)
    assert house.operator.get(LEDGER).headers["x-purser-transactions"] == "11", "with the gift"
    assert "x-purser-parts" in house.operator.get(ZIP).headers
    monkeypatch.setattr(export, "_COUNTED", 11)
    monkeypatch.setattr(dossier, "_COUNTED", 11)
    answer = house.operator.get(LEDGER)
    assert (answer.status, "x-purser-transactions" in answer.headers) == (200, False)
    answer = house.operator.get(ZIP)
    assert "x-purser-parts" not in answer.headers
    assert opened(answer.raw)["ledger"]


def test_a_spool_keeps_what_is_made_on_disk() -> None:
    def pieces() -> Iterator[bytes]:
        for n in range(2_000):
            yield bytes([n % 256]) * 10_000

    held = Spool(pieces())
    tracemalloc.start()
    while held.make_some():
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1_000_000, f"{most:,} bytes for 20 MB"
    taken = b"".join(iter(held.take, b""))
    assert taken == b"".join(pieces())
    held.close()


def test_a_disk_without_room_is_said() -> None:
    held = Spool(iter([b"x"]))
    held._file.close()
    held._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed below
    with pytest.raises(Unavailable, match="could not be kept"):
        held.make_some()
    held.close()
