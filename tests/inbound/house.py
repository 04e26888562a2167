"""A running control plane for tests, and a plain HTTP client for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from litestar import Litestar

from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.flows import rates, setup
from purser.flows.queue import WriteQueue
from purser.http.asgi import answer_with
from purser.http.problem import refuse_in_problem
from purser.http.server import Server
from purser.inbound.api import sign_in_token
from purser.inbound.api.app import create_app, create_routes
from purser.inbound.desk import Desk
from purser.inbound.worker import Worker
from purser.inbound.world import ManualWorld
from purser.outbound.testpay import TestProvider
from purser.store.db import Database
from purser.store.writers import Writer
from tests import databases

OPERATOR_KEY = "operator-key-of-thirty-two-characters"
PRICES = {
    "tiny": {"input": "0.20", "output": "0.80"},
    "dollar": {"input": "1.00", "cached_input": "1.00", "output": "1.00"},  # a million tokens is a dollar
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    raw: bytes
    cookies: tuple[str, ...] = ()  # as they were set

    @property
    def text(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass(frozen=True)
class Client:
    """Calls the control plane with one key."""

    port: int
    key: str | None = None

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; `body` is sent as JSON, `raw` as it is."""
        data = json.dumps(body).encode() if raw is None and body is not None else raw
        sent = {} if data is None else {"content-type": "application/json"}
        if self.key is not None:
            sent["authorization"] = f"Bearer {self.key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, data, sent | dict(headers or {}))
            response = connection.getresponse()
            given = {k.lower(): v for k, v in response.getheaders()}
            return Answer(response.status, given, response.read(), tuple(response.msg.get_all("set-cookie") or ()))
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.call("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        return self.call("POST", path, body, headers=headers)

    def patch(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        return self.call("PATCH", path, body, headers=headers)

    def delete(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.call("DELETE", path, headers=headers)


_spare: list[Litestar] = []  # making the routes takes longer than most tests: houses that are closed leave theirs


class House:
    """Database, writer, worker and control plane of one process."""

    def __init__(self, folder: Path, policy: Policy = Policy(), **desk: Any) -> None:  # noqa: B008 - it is frozen
        self.counted: list[str] = []
        self.policy = policy
        self.wait_seconds = 0
        self.world = ManualWorld(parse_instant("2026-03-01T09:00:00Z"))
        self.db = Database(databases.at(folder / "purser.db"))
        self.writer = Writer(self.db, self.world, policy, host="here", pid=1)
        self.queue = WriteQueue(self.writer)
        self.queue.run(lambda tx: setup.prepare(tx, PRICES, OPERATOR_KEY))
        worker = Worker(self.db, self.queue.run, self.world, TestProvider())
        self.desk = Desk(self.db, self.queue, self.world, policy, worker, count_request=self._count, **desk)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        self.operator = Client(self._server.port, OPERATOR_KEY)
        self.nobody = Client(self._server.port)

    async def _count(self, account: str) -> tuple[int, int, int]:
        self.counted.append(account)
        with self.db.read() as conn:
            most = rates.requests_per_minute(conn, account, self.policy, self.world.now())
        return self.wait_seconds, most, 0

    async def _start(self) -> Server:
        self._routes = _spare.pop() if _spare else create_routes()
        server = Server(answer_with(create_app(self.desk, self._routes)), refuse=refuse_in_problem)
        await server.start()
        return server

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(1), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        _spare.append(self._routes)
        self.queue.stop()
        self.writer.close()
        self.db.dispose()

    # ── what tests do again and again ────────────────────────────────────────────────────────────────────────────
    def open(self, account: str, **more: Any) -> Client:
        """Open an account; answers its owner's client."""
        body = {"id": account, "email": f"{account}@example.com", **more}
        answer = self.operator.post("/operator/v1/accounts", body)
        assert answer.status == 201, answer.text
        return replace(self.operator, key=answer.json["apiKey"]["key"])

    def member(self, account: str, user: str, role: str) -> Client:
        """A user with a role, and their client."""
        path = f"/v1/accounts/{account}/users"
        assert self.operator.post(f"{path}?userId={user}", {"role": role}).status == 200
        made = self.operator.post(f"{path}/{user}/apiKeys", {"apiKey": {"displayName": "test"}})
        return replace(self.operator, key=made.json["key"])

    def card(self, account: str, token: str = "pm_card_visa") -> str:
        """Put a card on file."""
        answer = self.operator.post(f"/v1/accounts/{account}/paymentMethods", {"token": token})
        assert answer.status == 200, answer.text
        return str(answer.json["id"])

    def spend(self, account: str, dollars: int, id_: str, **more: Any) -> None:
        """Use `dollars` worth of the model whose million tokens cost a dollar."""
        event = {
            "id": id_,
            "account": account,
            "model": "dollar",
            "quantities": {"input_tokens": dollars * 1_000_000},
            **more,
        }
        answer = self.operator.post("/v1/usage", event)
        assert answer.status == 200, answer.text
        assert answer.json == {"accepted": 1, "duplicates": 0, "rejected": []}

    def advance(self, to: str) -> None:
        """Move the clock."""
        answer = self.operator.post("/operator/v1/clock:advance", {"to": to})
        assert answer.status == 200, answer.text

    def balance(self, account: str) -> Any:
        return self.operator.get(f"/v1/accounts/{account}/balance").json

    def account(self, account: str) -> Any:
        return self.operator.get(f"/v1/accounts/{account}").json

    def invoices(self, account: str) -> Any:
        return self.operator.get(f"/v1/accounts/{account}/invoices").json["invoices"]

    def link(self, account: str, user: str = "owner", valid_seconds: int = 600) -> str:
        return sign_in_token(self.desk, account, user, valid_seconds)

    def audit(self) -> list[Any]:
        """What the audit finds wrong."""
        answer = self.operator.post("/operator/v1/audit")
        assert answer.status == 200, answer.text
        violations: list[Any] = answer.json["violations"]
        return violations
