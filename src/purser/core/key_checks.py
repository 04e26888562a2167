"""Wrong keys: how many each network has sent in a minute, counted in bounded memory; right keys are never counted."""

from __future__ import annotations

from collections import OrderedDict

WINDOW_SECONDS = 60
MOST_NETWORKS = 10_000


def wrong_keys_message(wait_seconds: int) -> str:
    """Why the key is not even called wrong any more."""
    return (
        "The API key is unknown, revoked or expired, and many such keys came from this network address; check the key, "
        f"and try again in {wait_seconds} s."
    )


class KeyChecks:
    """The wrong keys of the last minute, by the network that sent them (as `network_of` names it).

    A network's minute begins with a wrong key and ends 60 seconds later, whatever comes meanwhile. Where more networks
    send wrong keys than are remembered, those whose minute began first are forgotten first. `now` is the whole seconds
    of any monotonic clock.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._minutes: OrderedDict[str, list[int]] = OrderedDict()  # when each began, and how many came since

    def count(self, network: str, now: int) -> int:
        """A wrong key came: answers 0, or where the minute had as many as it may, the whole seconds until it ends."""
        minute = self._minutes.get(network)
        if minute is None or now - minute[0] >= WINDOW_SECONDS:
            self._minutes.pop(network, None)
            self._minutes[network] = minute = [now, 0]
            if len(self._minutes) > MOST_NETWORKS:
                self._minutes.popitem(last=False)
        minute[1] += 1
        return 0 if minute[1] <= self.most else minute[0] + WINDOW_SECONDS - now

    def is_over(self, network: str, now: int) -> bool:
        """Whether a network's minute has had as many wrong keys as it may."""
        minute = self._minutes.get(network)
        return minute is not None and minute[1] >= self.most and now - minute[0] < WINDOW_SECONDS
