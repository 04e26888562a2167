"""What one server takes from its clients before it says no."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on clients. Sizes in bytes, times in seconds.

    `max_waiting_bytes` bounds the large bodies of all requests that are being read or answered, together (though two
    of the largest allowed always find room).

    `head_timeout_seconds` runs from a request's first byte (or the connection's start) to the end of its headers,
    `request_timeout_seconds` from there to the end of its body; `body_timeout_seconds` is the longest silence within a
    body, and the longest time a client may take nothing of an answer that waits for it; `keep_alive_seconds` is how
    long a connection may idle between requests.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    max_head_bytes: int = 64 * 1024
    max_waiting_bytes: int = 256 * 1024 * 1024
    max_connections: int = 10_000
    head_timeout_seconds: float = 15.0
    body_timeout_seconds: float = 60.0
    request_timeout_seconds: float = 300.0
    keep_alive_seconds: float = 75.0
