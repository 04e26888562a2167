"""Embeddings: unit vectors from a text's tokens, so that texts with words in common lie near each other."""

from __future__ import annotations

import base64
import struct
from array import array
from hashlib import blake2b
from math import sqrt

import msgspec

from purser.modelserver.tokens import split_tokens

DIMENSIONS = 64


def embed(tokens: list[bytes], dimensions: int) -> array[float]:
    """The vector of a text, 32-bit floats of length 1: each token adds or takes 1 where its hash says."""
    counts = [0] * dimensions
    for token in tokens:
        place = int.from_bytes(blake2b(token, digest_size=8).digest(), "big")
        counts[(place >> 1) % dimensions] += 1 if place & 1 else -1
    if not any(counts):
        counts[0] = 1
    length = sqrt(sum(count * count for count in counts))
    return array("f", (count / length for count in counts))


def embedding_tokens(item: str | list[int]) -> list[bytes]:
    """The tokens of one input: of a text by the token rule, of token ids one each."""
    return split_tokens(item) if isinstance(item, str) else [b"#%d" % token for token in item]


def embedding_body(
    model: str, vectors: list[array[float]], *, as_base64: bool, usage: dict[str, object] | None
) -> bytes:
    """The answer to an embedding request; base64 is of the little-endian 32-bit floats."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _base64(vector) if as_base64 else vector.tolist(),
        }
        for index, vector in enumerate(vectors)
    ]
    answer: dict[str, object] = {"object": "list", "data": data, "model": model}
    if usage is not None:
        answer["usage"] = usage
    return msgspec.json.encode(answer)


def _base64(vector: array[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
