"""The prefix cache finds what a prompt has in common with earlier ones, and stays bounded."""

from __future__ import annotations

import pytest

from purser.modelserver.cache import PrefixCache


def words(start: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, end)]


@pytest.mark.parametrize(
    ("first", "second", "cached"),
    [
        (words(0, 15), words(0, 15), 0),
        (words(0, 16), words(0, 16), 0),
        (words(0, 17), words(0, 17), 16),
        (words(0, 32), words(0, 32), 16),
        (words(0, 33), words(0, 33), 32),
        (words(0, 33), words(0, 100), 32),
        (words(0, 100), words(0, 33), 32),
        (words(0, 40), words(0, 20) + words(50, 80), 16),
        (words(0, 40), words(1, 40), 0),
        (words(0, 32), words(90, 106) + words(16, 40), 0),
    ],
)
def test_whole_blocks_of_a_common_beginning(first: list[bytes], second: list[bytes], cached: int) -> None:
    cache = PrefixCache()
    assert cache.read(first) == 0
    assert cache.read(second) == cached


def test_tokens_that_join_to_the_same_bytes_are_not_the_same() -> None:
    cache = PrefixCache()
    cache.read([b"ab", b"c"] * 20)
    assert cache.read([b"a", b"bc"] * 20) == 0


def test_the_block_used_longest_ago_goes_first() -> None:
    cache = PrefixCache(capacity_blocks=2)
    cache.read(words(0, 17))
    cache.read(words(100, 117))
    assert cache.read(words(0, 17)) == 16
    cache.read(words(200, 217))
    assert len(cache) == 2
    assert cache.read(words(0, 17)) == 16
    assert cache.read(words(100, 117)) == 0


def test_a_cache_without_room_finds_nothing() -> None:
    cache = PrefixCache(capacity_blocks=0)
    assert [cache.read(words(0, 40)), cache.read(words(0, 40)), len(cache)] == [0, 0, 0]
