"""What is waited for and kept has an end: slow clients and upstreams, large bodies, and a server that stops."""

import asyncio
import contextlib
import json
import select
import threading
import time

import pytest

from purser.http.client import Crowded, Origin, TimedOut
from purser.http.room import Room
from purser.http.server import Exchange, Limits
from tests.http.rig import PATIENCE_SECONDS, Peer, Script, echo, eventually, says, serving, upstream
from tests.http.test_client import CHUNKED, LIMIT, OK, get, holds, turns, with_origin
from tests.http.test_server import GET, HOST

LARGE = 100_000  # more than finds room anyway


def trickling(peer: Peer) -> None:
    """A byte every twenty milliseconds, for as long as somebody takes them."""
    peer.request()
    peer.send(CHUNKED)
    try:
        while True:
            peer.send(b"1\r\nx\r\n")
            time.sleep(0.02)
    except OSError:
        return


# Upstreams


@pytest.mark.parametrize("said", [trickling, holds(b"")], ids=["trickling", "silent"])
def test_an_upstream_that_is_at_it_for_too_long_is_given_up(said: Script) -> None:
    async def work(origin: Origin) -> None:
        async def ask() -> None:
            answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS, whole_seconds=0.3)
            await answer.read(LIMIT)

        with pytest.raises(TimedOut) as info:
            await ask()
        assert info.value.phase == "whole"
        assert origin.connections == 0

    with upstream(said) as up:
        with_origin(up, work)


def test_an_answer_that_nobody_reads_is_given_up_too() -> None:
    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS, whole_seconds=0.3)
        await turns(lambda: origin.connections == 0)
        with pytest.raises(TimedOut) as info:
            await answer.read(2**30)
        assert info.value.phase == "whole"

    def gushing(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            peer.send(b"x" * 100_000_000)
        except OSError:
            return

    with upstream(gushing) as up:
        with_origin(up, work)


def test_the_time_for_the_whole_begins_anew_with_each_request() -> None:
    async def work(origin: Origin) -> None:
        for _ in range(4):
            answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS, whole_seconds=0.5)
            assert await answer.read(LIMIT) == b"ok"
            await asyncio.sleep(0.2)
        assert up.accepted == 1

    with upstream(says(OK, OK, OK, OK)) as up:
        with_origin(up, work)


def test_a_connection_is_not_waited_for_longer_than_making_one_may_take() -> None:
    async def work(origin: Origin) -> None:
        taken = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        with pytest.raises(Crowded):
            await get(origin)
        taken.cancel()
        assert await get(origin) == b"ok"

    with upstream(holds(CHUNKED), says(OK)) as up:
        with_origin(up, work, max_connections=1, connect_timeout_seconds=0.2)


def test_answers_that_are_read_whole_share_their_room() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE

    async def work(origin: Origin) -> None:
        room = Room(LARGE - 64 * 1024)
        first = await origin.open("GET", "/", [], timeout_seconds=5)
        second = await origin.open("GET", "/", [], timeout_seconds=5)
        body = await first.read(LIMIT, room)
        with pytest.raises(Crowded):
            await second.read(LIMIT, room)
        room.leave(len(body))
        third = await origin.open("GET", "/", [], timeout_seconds=5)
        assert len(await third.read(LIMIT, room)) == LARGE, "what was not kept has left no trace"
        small = await origin.open("GET", "/small", [], timeout_seconds=5)
        assert await small.read(LIMIT, Room(0)) == b"ok"

    def by_path(peer: Peer) -> None:
        while peer.more():
            first, _, _ = peer.request()
            peer.send(OK if "/small" in first else answer)

    with upstream(by_path) as up:
        with_origin(up, work)


# Clients


def test_a_request_that_comes_drop_by_drop_is_refused_in_the_end() -> None:
    with serving(echo, limits=Limits(request_timeout_seconds=0.4)) as running, running.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n")
        end = time.monotonic() + PATIENCE_SECONDS
        heard = select.poll()  # not select(): its descriptors end at 1,024
        heard.register(peer.link, select.POLLIN)
        with contextlib.suppress(OSError):  # it may be gone by the time the next drop falls
            while not heard.poll(10) and time.monotonic() < end:
                peer.send(b"x")
        said = peer.rest()
        assert b" 408 " in said or not said
        eventually(lambda: running.server.connections == 0)


def test_a_connection_that_is_kept_may_be_older_than_one_request() -> None:
    with serving(echo, limits=Limits(request_timeout_seconds=0.3)) as running, running.peer() as peer:
        for _ in range(5):
            peer.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nh")
            time.sleep(0.1)
            peer.send(b"i")
            assert peer.reply().status == 200
        peer.send(GET)
        assert peer.reply().status == 200


def test_large_bodies_share_their_room_and_small_ones_always_find_some() -> None:
    limits = Limits(max_body_bytes=LARGE, max_waiting_bytes=0)
    post = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"
    with serving(echo, limits=limits) as running:
        waiting = [running.peer() for _ in range(40)]
        for peer in waiting:
            peer.send(post % LARGE + b"x" * (LARGE - 1))
        refused = 0
        eventually(lambda: running.server.connections == 40)
        with running.peer() as late:
            late.send(post % LARGE + b"x" * LARGE)
            reply = late.reply()
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert json.loads(reply.body)["error"]["code"] == "too_much_waiting"
        assert running.ask(post % 5 + b"hello").status == 200
        for peer in waiting:
            peer.link.close()
        eventually(lambda: running.server.connections == 0)
        for _ in range(50):
            refused += running.ask(post % LARGE + b"x" * LARGE).status != 200
        assert refused == 0, "whoever has gone or was answered has left the room"


# A server that stops


def test_what_outlives_the_grace_is_told_so_and_may_have_a_last_word() -> None:
    async def endless(exchange: Exchange) -> None:
        over = asyncio.Event()
        exchange.on_gone(over.set)
        exchange.start(200, [])
        await over.wait()
        assert exchange.called_off
        assert not exchange.gone
        exchange.end(b"the server is stopping")

    with serving(endless) as running, running.peer() as peer:
        peer.send(GET)
        peer.until(b"\r\n\r\n")
        running.call(running.server.close(grace_seconds=0.1))
        assert b"the server is stopping\r\n0\r\n\r\n" in peer.rest()


def test_whoever_asks_after_that_hears_it_at_once() -> None:
    told = threading.Event()

    async def late(exchange: Exchange) -> None:
        while not exchange.called_off:
            await asyncio.sleep(0.005)
        exchange.on_gone(told.set)
        exchange.answer(503, [], b"")

    with serving(late) as running, running.peer() as peer:
        peer.send(GET)
        eventually(lambda: running.server.running == 1)
        running.call(running.server.close(grace_seconds=0))
        assert peer.reply().status == 503
    assert told.is_set()


def test_a_room_counts_what_is_large() -> None:
    room = Room(10)
    small = 64 * 1024
    assert room.grow(0, small)
    assert room.grow(small, small + 6)
    assert not room.grow(0, small + 5)
    assert room.grow(0, small + 4)
    assert not room.grow(small + 4, small + 5)
    room.leave(small + 6)
    assert room.grow(small + 4, small + 10)
    room.leave(small)
    assert not room.grow(0, small + 1)
    room.leave(small + 10)
    assert room.grow(0, small + 10)
