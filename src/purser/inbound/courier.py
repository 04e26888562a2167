"""The courier: carries messages from the outbox to a sender and back, in a thread of its own beside the worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from purser.core.errors import Broken, PurserError
from purser.core.message import CLAIM
from purser.core.period import SECOND
from purser.flows import outbox
from purser.flows.outbox import Claimed
from purser.outbound.messages import Message, Sender, Undelivered
from purser.store import outbox as rows
from purser.store.db import Database
from purser.store.writers import Fenced, Tx, World

T = TypeVar("T")
log = logging.getLogger("purser.courier")
_EACH = 2  # for one target at once: one that does not answer keeps nobody else waiting for long
_MOST = 10


class Courier:
    """Sends what is due of one kind; any number of processes may do so at once, each message is claimed by one.

    A message claimed long ago is left alone: its claim may run out while it is sent.
    """

    def __init__(
        self,
        db: Database,
        run: Callable[[Callable[[Tx], object]], object],
        world: World,
        sender: Sender,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db, self._write, self._world, self._sender, self._monotonic = db, run, world, sender, monotonic
        self._stopping = threading.Event()

    def write(self, work: Callable[[Tx], T]) -> T:
        """One transaction, waited for."""
        return self._write(work)  # type: ignore[return-value]

    def deliver(self) -> int:
        """Send what is due now; answers how many messages were claimed."""
        sender, wall = self._sender, self._world.wall()
        with self._db.read() as conn:
            if not rows.is_due(conn, sender.kind, wall):
                return 0
        began = self._monotonic()
        claimed = self.write(lambda tx: outbox.claim_due(tx, sender.kind, _MOST, _EACH))
        with ThreadPoolExecutor(sender.at_once, thread_name_prefix=f"purser-{sender.kind}") as threads:
            for attempt in [threads.submit(self._send, message, began) for message in claimed]:
                attempt.result()
        return len(claimed)

    def _send(self, message: Claimed, claimed_at: float) -> None:
        late = self._monotonic() - claimed_at > CLAIM // SECOND // 2
        if late or self._stopping.is_set():
            return
        told = Message(message.id, message.target, message.subject, message.body, message.written_at, message.secret)
        try:
            status = self._sender.send(told)
        except Undelivered as failed:
            why, code, final = str(failed), failed.status, failed.final
            log.warning("%s %s of %s (%s): %s", self._sender.kind, message.id, message.account, message.topic, why)
            self.write(lambda tx: outbox.record_failure(tx, message, why, code, final=final))
        else:
            self.write(lambda tx: outbox.record_sent(tx, message, status))

    def run(self, every_seconds: int = 1) -> None:
        """Send what is due, once a second, until stopped; what fails is logged and tried the next time."""
        while not self._stopping.is_set():
            try:
                if self.deliver():
                    continue
            except (Broken, Fenced) as error:
                log.warning("messages have to wait: %s", error)
            except PurserError as error:
                log.warning("messages have to wait: %s", error)
            except Exception:
                log.exception("messages are tried again")
            self._stopping.wait(every_seconds)

    def stop(self) -> None:
        """End `run` when what is being sent has ended."""
        self._stopping.set()
