"""Random usage objects of the shapes that engines give, the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple


class Told(NamedTuple):
    """What an engine told of a request: the shape of the object, and the object."""

    shape: str
    usage: dict[str, Any]


def _count(chance: Random) -> int:
    """From none to more than any context holds, small and large ones alike often."""
    return chance.randrange(10 ** chance.randrange(1, 8)) if chance.random() > 0.05 else 0


def _part(chance: Random, whole: int) -> int:
    return chance.choice((0, whole, chance.randint(0, whole), chance.randint(0, whole)))


def _some(chance: Random, **counts: int) -> dict[str, int]:
    """Details as engines give them: now and then a field is missing where it counts nothing."""
    return {name: count for name, count in counts.items() if count or chance.random() < 0.7}


def _chat(chance: Random) -> dict[str, Any]:
    prompt, output = _count(chance), _count(chance)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    if chance.random() < 0.8:
        cached = _part(chance, prompt)
        usage["prompt_tokens_details"] = _some(chance, cached_tokens=cached)
    if chance.random() < 0.5:
        usage["completion_tokens_details"] = _some(chance, reasoning_tokens=_part(chance, output))
    return usage


def _writes(chance: Random) -> dict[str, Any]:
    """What chat tells where prompts are also written to a cache."""
    usage = _chat(chance)
    cached = _part(chance, usage["prompt_tokens"])
    written = _part(chance, usage["prompt_tokens"] - cached)
    return usage | {"prompt_tokens_details": _some(chance, cached_tokens=cached, cache_write_tokens=written)}


def _speech(chance: Random) -> dict[str, Any]:
    """What chat tells where speech comes and goes: which of the cached tokens are speech it does not tell."""
    usage = _chat(chance)
    prompt, output = usage["prompt_tokens"], usage["completion_tokens"]
    cached = _part(chance, prompt) if chance.random() < 0.5 else 0
    reasoning = chance.randint(0, output)
    return usage | {
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": _part(chance, prompt)},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": _part(chance, output - reasoning)},
    }


def _responses(chance: Random) -> dict[str, Any]:
    prompt, output = _count(chance), _count(chance)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": _part(chance, prompt)},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": _part(chance, output)},
        "total_tokens": prompt + output,
    }


def _realtime(chance: Random) -> dict[str, Any]:
    """Speech, images and text, with how many of each were cached."""
    kinds = ("text_tokens", "audio_tokens", "image_tokens")
    given = {kind: _count(chance) for kind in kinds}
    cached = {kind: _part(chance, given[kind]) for kind in kinds}
    text, audio = _count(chance), _count(chance)
    return {
        "total_tokens": sum(given.values()) + text + audio,
        "input_tokens": sum(given.values()),
        "output_tokens": text + audio,
        "input_token_details": {**given, "cached_tokens": sum(cached.values()), "cached_tokens_details": cached},
        "output_token_details": {"text_tokens": text, "audio_tokens": audio},
    }


def _images(chance: Random) -> dict[str, Any]:
    text, image, output = _count(chance), _count(chance), _count(chance)
    drawn = _part(chance, output)
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image},
        "output_tokens": output,
        "output_tokens_details": {"text_tokens": output - drawn, "image_tokens": drawn},
        "total_tokens": text + image + output,
    }


def _messages(chance: Random) -> dict[str, Any]:
    short, long = _count(chance), _count(chance) if chance.random() < 0.5 else 0
    usage: dict[str, Any] = {
        "input_tokens": _count(chance),
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": _count(chance),
        "output_tokens": _count(chance),
    }
    if long or chance.random() < 0.5:
        usage["cache_creation"] = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
    return usage


def _embeddings(chance: Random) -> dict[str, Any]:
    prompt = _count(chance)
    return {"prompt_tokens": prompt, "total_tokens": prompt}


def _seconds(chance: Random) -> dict[str, Any]:
    long = chance.random() * 10 ** chance.randrange(5)
    return {"type": "duration", "seconds": chance.choice((round(long), round(long, 2), long))}


SHAPES: dict[str, Callable[[Random], dict[str, Any]]] = {
    "chat": _chat,
    "writes": _writes,
    "speech": _speech,
    "responses": _responses,
    "realtime": _realtime,
    "images": _images,
    "messages": _messages,
    "embeddings": _embeddings,
    "seconds": _seconds,
}


def told(chance: Random, shape: str) -> Told:
    """A random usage object of a shape."""
    return Told(shape, SHAPES[shape](chance))
