"""The models served: their names, bounds and upstreams, and which upstream is tried next."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from purser.gateway.bodies import Terms
from purser.gateway.refusals import no_model
from purser.http.client import Origin
from purser.settings import ModelSettings

MOST_RUNNING = 10_000  # requests of one process; more wait in vain for the same cores
_REST_SECONDS = 2.0
_WHOLE_SILENCES = 6  # an answer may last so many times the longest silence that is borne


@dataclass(slots=True, eq=False)
class Target:
    """One upstream of a model: a pool of connections and the path its API lives under."""

    origin: Origin
    base: str
    resting_until: float = 0.0


@dataclass(slots=True)
class Served:
    """A model as served."""

    name: str
    upstream_model: str
    terms: Terms
    timeout_seconds: float
    targets: list[Target]
    authorization: bytes | None
    turn: int = 0

    @property
    def whole_seconds(self) -> float:
        """The longest that an answer may take from its request to its end."""
        return self.timeout_seconds * _WHOLE_SILENCES

    def in_order(self, now: float) -> list[Target]:
        """The upstreams in the order to try: in turn, those that just failed last."""
        if len(self.targets) == 1:
            return self.targets
        self.turn = (self.turn + 1) % len(self.targets)
        ordered = self.targets[self.turn :] + self.targets[: self.turn]
        return sorted(ordered, key=lambda target: target.resting_until > now)

    @staticmethod
    def rest(target: Target, now: float) -> bool:
        """An upstream failed: try the others first for a while; answers whether it was not resting yet."""
        awake = target.resting_until <= now
        target.resting_until = now + _REST_SECONDS
        return awake


def serve_models(models: Iterable[ModelSettings], connect_timeout_seconds: int = 5) -> dict[str, Served]:
    """The models by name; models that share an upstream share its connections."""
    origins: dict[str, Origin] = {}
    served = {}
    for model in models:
        targets = []
        for url in model.upstreams:
            parts = urlsplit(url)
            root = f"{parts.scheme}://{parts.netloc}"
            if root not in origins:
                origins[root] = Origin(
                    root, max_connections=MOST_RUNNING, connect_timeout_seconds=connect_timeout_seconds
                )
            origin = origins[root]
            targets.append(Target(origin, parts.path.rstrip("/")))
        served[model.name] = Served(
            name=model.name,
            upstream_model=model.upstream_model,
            terms=Terms(model.context_tokens, model.max_output_tokens, model.tokens_per_byte, model.engine, model.fit),
            timeout_seconds=model.timeout_seconds,
            targets=targets,
            authorization=None if model.upstream_key is None else b"Bearer " + model.upstream_key.encode(),
        )
    return served


def list_models(served: Mapping[str, Served], path: str, priced: Container[str]) -> dict[str, object]:
    """The models that have a price, or the one that the path names; raises Refusal where there is none."""
    entries = {name: _describe(name, model) for name, model in served.items() if name in priced}
    _, _, name = path.partition("/models/")
    if not name:
        return {"object": "list", "data": list(entries.values())}
    entry = entries.get(name) or entries.get(unquote(name))
    if entry is None:
        raise no_model(name)
    return entry


def _describe(name: str, model: Served) -> dict[str, object]:
    context = model.terms.context_tokens
    return {"id": name, "object": "model", "created": 0, "owned_by": "purser", "context_length": context}


def origins_of(served: Iterable[Served]) -> set[Origin]:
    """Every pool of connections, to be closed at the end."""
    return {target.origin for model in served for target in model.targets}
