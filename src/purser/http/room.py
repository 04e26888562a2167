"""Room: how many bytes of large bodies may wait in memory at a time, whoever they are from."""

SMALL_BYTES = 64 * 1024


class Room:
    """So many bytes that large bodies share; small ones, and the beginning of every one, always find room."""

    __slots__ = ("_free_bytes",)

    def __init__(self, most_bytes: int) -> None:
        self._free_bytes = most_bytes

    def grow(self, before: int, after: int) -> bool:
        """A body has grown from so many bytes to so many; False, and nothing is taken, where there is no room."""
        if after <= SMALL_BYTES:
            return True
        more = after - max(before, SMALL_BYTES)
        if more > self._free_bytes:
            return False
        self._free_bytes -= more
        return True

    def leave(self, size: int) -> None:
        """A body that has grown to so many bytes is gone."""
        if size > SMALL_BYTES:
            self._free_bytes += size - SMALL_BYTES
