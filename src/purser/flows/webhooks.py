"""Webhook endpoints: where an account wants to be told of what, by a secret shown once, and deliveries sent again."""

from __future__ import annotations

from collections.abc import Sequence

from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.message import PENDING, TOPICS
from purser.core.webhook import SECRET_BYTES, check_url
from purser.flows import standing
from purser.store import endpoints, outbox
from purser.store.db import Connection, Row
from purser.store.writers import Tx

MOST_ENDPOINTS = 20


def add_endpoint(tx: Tx, account: str, url: object, topics: Sequence[str] = ()) -> tuple[str, bytes]:
    """Have an account's facts told to a URL, all of them where no topic is named; answers its id and secret.

    Raises Invalid, and Conflict where there are too many.
    """
    standing.lock(tx, account)
    checked = check_url(url, private=tx.policy.webhook_private_addresses)
    unknown = [topic for topic in topics if topic not in TOPICS]
    if unknown:
        raise Invalid(f"eventTypes must be of {', '.join(TOPICS)}, not {unknown[0]!r:.60}", field="eventTypes")
    if len(endpoints.list_endpoints(tx.conn, account)) >= MOST_ENDPOINTS:
        raise Conflict(f"an account has at most {MOST_ENDPOINTS} endpoints; remove one first", field="url")
    id_, secret = tx.new_id("whep"), tx.world.entropy(8 * SECRET_BYTES).to_bytes(SECRET_BYTES, "big")
    told = ",".join(topic for topic in TOPICS if topic in topics)
    endpoints.insert_endpoint(
        tx.conn, account=account, id=id_, url=checked, topics=told, secret=secret, created_at=tx.now
    )
    return id_, secret


def require(conn: Connection, account: str, endpoint: str) -> Row:
    """An endpoint; raises NotFound."""
    row = endpoints.get_endpoint(conn, account, endpoint)
    if row is None:
        raise NotFound(f"account {account} has no webhook endpoint {endpoint!r:.60}", field="webhookEndpoint")
    return row


def remove_endpoint(tx: Tx, account: str, endpoint: str) -> None:
    """Tell an endpoint nothing more, not even what waits; raises NotFound."""
    standing.lock(tx, account)
    require(tx.conn, account, endpoint)
    endpoints.update_endpoint(tx.conn, account, endpoint, removed_at=tx.now)


def replay(tx: Tx, account: str, endpoint: str, delivery: str) -> Row:
    """Send a delivery once more, under its own id; an endpoint that was gone (410) is asked again. Answers the row.

    Raises NotFound, and Conflict where it has not ended yet.
    """
    standing.lock(tx, account)
    if require(tx.conn, account, endpoint).disabled_at is not None:
        endpoints.update_endpoint(tx.conn, account, endpoint, disabled_at=None)
    row = outbox.get(tx.conn, account, delivery)
    if row is None or row.target != endpoint:
        raise NotFound(f"there is no delivery {delivery!r:.60} to this endpoint", field="delivery")
    if row.state == PENDING:
        raise Conflict("this delivery is still under way: it is tried again by itself", code="FAILED_PRECONDITION")
    outbox.put_again(tx.conn, account, delivery, tx.world.wall())
    again = outbox.get(tx.conn, account, delivery)
    return row if again is None else again
