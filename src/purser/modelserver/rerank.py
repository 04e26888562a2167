"""Reranking: documents in the order of how much they have in common with a query."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from purser.modelserver.bodies import BadRequest
from purser.modelserver.embeddings import DIMENSIONS, embed
from purser.modelserver.tokens import split_tokens


class RerankBody(msgspec.Struct, kw_only=True):
    """A request to rerank."""

    model: str
    query: str
    documents: Annotated[list[str | dict[str, Any]], Meta(min_length=1)]
    top_n: Annotated[int, Meta(ge=0)] = 0
    return_documents: bool = True


def pairs_of(body: RerankBody) -> list[list[bytes]]:
    """The tokens that are read for each document: those of the query and its own."""
    query = split_tokens(body.query)
    return [[*query, *split_tokens(_text(document))] for document in body.documents]


def _text(document: str | dict[str, Any]) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise BadRequest("documents must be texts, or objects with a text", "documents")
    return text


def rerank_body(body: RerankBody, model: str, answer_id: str, usage: dict[str, object] | None) -> bytes:
    """The answer: the documents that fit best, the best first."""
    query = embed(split_tokens(body.query), DIMENSIONS)
    found = []
    for index, document in enumerate(body.documents):
        vector = embed(split_tokens(_text(document)), DIMENSIONS)
        score = sum(one * other for one, other in zip(query, vector, strict=True))
        told: dict[str, Any] = {"index": index, "relevance_score": (1 + score) / 2}
        if body.return_documents:
            told["document"] = {"text": _text(document)}
        found.append(told)
    found.sort(key=lambda told: (-told["relevance_score"], told["index"]))
    answer: dict[str, Any] = {"id": answer_id, "model": model, "results": found[: body.top_n or None]}
    return msgspec.json.encode(answer if usage is None else {**answer, "usage": usage})
