"""The prefix cache: which leading tokens of a prompt this model has seen before.

As in an engine with automatic prefix caching, a prompt is cut into blocks of 16 tokens. A block is known by
its own tokens and all that stood before them, so only a common beginning is found again. The last token of a
prompt is always computed: a prompt seen before, 32 tokens long, has 16 cached tokens, not 32.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

BLOCK_TOKENS = 16


class PrefixCache:
    """Prefix blocks of one model, the least recently used dropped first.

    `capacity_blocks` bounds the memory; 0 turns the cache off.
    """

    def __init__(self, capacity_blocks: int = 65_536) -> None:
        self.capacity_blocks = capacity_blocks
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def read(self, tokens: Sequence[bytes]) -> int:
        """How many leading tokens of this prompt are cached (a multiple of 16); remembers the prompt."""
        if not self.capacity_blocks:
            return 0
        found_tokens = 0
        unbroken = True
        usable_tokens = len(tokens) - 1
        name = b""
        for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            end = start + BLOCK_TOKENS
            name = _block_name(name, tokens[start:end])
            unbroken = unbroken and name in self._blocks
            if unbroken and end <= usable_tokens:
                found_tokens = end
            self._blocks[name] = None
            self._blocks.move_to_end(name)
        while len(self._blocks) > self.capacity_blocks:
            self._blocks.popitem(last=False)
        return found_tokens


def _block_name(previous: bytes, tokens: Sequence[bytes]) -> bytes:
    block = blake2b(previous, digest_size=16)
    for token in tokens:
        block.update(b"%d:" % len(token))
        block.update(token)
    return block.digest()
