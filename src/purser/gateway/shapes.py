"""The kinds of billable requests: what bounds each in its body, what of that is no text, what none may hold (H1)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

CHAT, COMPLETIONS, EMBEDDINGS = "chat/completions", "completions", "embeddings"
RESPONSES, MESSAGES, COUNT_TOKENS, RERANK = "responses", "messages", "messages/count_tokens", "rerank"
CAP_FIELDS = ("max_completion_tokens", "max_tokens")

# Fields in which an engine, or what stands before it, takes further fields: they are no way around what is refused.
TEMPLATE = "chat_template_kwargs"
CARRIERS = frozenset(
    (TEMPLATE, "extra_body", "extra_args", "extra_json", "options", "custom_params", "vllm_xargs", "nvext")
)

# Fields that no request may have, and why; those that are other engines' names for a bound would go past ours.
_REFUSED = {
    "chat_template": "the model's own template is used",
    "n_predict": "use max_tokens",
    "num_predict": "use max_tokens",
    "max_new_tokens": "use max_tokens",
    "n_cmpl": "use n",
}
_OTHER_CAPS = ("n_predict", "num_predict", "max_new_tokens", "max_completion_tokens")
_ONE_ANSWER = _REFUSED | dict.fromkeys(("n", "best_of", "n_cmpl"), "a request has one answer")
_NOT_RESPONSES = {
    **_ONE_ANSWER,
    **dict.fromkeys((*_OTHER_CAPS, "max_tokens"), "use max_output_tokens"),
    "request_id": "send the header x-request-id",  # by which others could ask for what is kept under it
}

_NOT_MESSAGES = {
    **_ONE_ANSWER,
    **dict.fromkeys((*_OTHER_CAPS, "max_output_tokens"), "use max_tokens"),
    **dict.fromkeys(("mcp_servers", "container"), "what the model server's own tools read is bounded by nothing in it"),
}

# Fields from which a bound or a price is reckoned: once each, and nowhere else.
_BILLED = frozenset(
    "model messages prompt input stream stream_options service_tier n best_of max_completion_tokens max_tokens".split()
)

# Fields that add no text to the prompt; the JSON of every other field counts toward the input bound.
_NO_TEXT = frozenset(
    "model stream stream_options max_tokens max_completion_tokens n best_of temperature top_p "
    "top_k min_p seed frequency_penalty presence_penalty repetition_penalty length_penalty logit_bias logprobs "
    "top_logprobs echo stop stop_token_ids user metadata store service_tier parallel_tool_calls "
    "encoding_format dimensions prompt_cache_key prompt_cache_isolation_key safety_identifier ignore_eos min_tokens "
    "skip_special_tokens request_id modalities".split()
)


class Shape(Struct, frozen=True, gc=False):
    """What the bodies of one kind of request are like."""

    kind: str
    no_text: frozenset[str]  # fields that are no text of the prompt, or whose text is measured by itself
    caps: tuple[str, ...] = ()  # the names of the output cap, the one that counts first; none: input only
    cap_needed: bool = False
    streamed: bool = True
    is_free: bool = False
    usage_on_request: bool = False  # a stream tells its usage where stream_options ask for it; else always
    refused: Mapping[str, str] = MappingProxyType(_REFUSED)
    odd: frozenset[str] = CARRIERS.union(_REFUSED)  # the fields that need a look: what is refused, what may carry it
    billed: frozenset[str] = _BILLED


def _no_text(own: str, more: str = "") -> frozenset[str]:
    return _NO_TEXT.union(own.split(), more.split())


SHAPES = {
    shape.kind: shape
    for shape in (
        Shape(CHAT, _no_text("messages"), CAP_FIELDS, usage_on_request=True),
        Shape(COMPLETIONS, _no_text("prompt"), CAP_FIELDS, usage_on_request=True),
        Shape(EMBEDDINGS, _no_text("input"), streamed=False),
        Shape(
            RESPONSES,
            _no_text("input instructions", "max_output_tokens max_tool_calls truncation include background"),
            ("max_output_tokens",),
            refused=_NOT_RESPONSES,
            odd=CARRIERS.union(_NOT_RESPONSES),
            billed=_BILLED.union("max_output_tokens background instructions previous_response_id conversation".split()),
        ),
        Shape(
            MESSAGES,
            _no_text("messages system", "stop_sequences"),
            ("max_tokens",),
            cap_needed=True,
            refused=_NOT_MESSAGES,
            odd=CARRIERS.union(_NOT_MESSAGES),
            billed=_BILLED.union(("system", "max_output_tokens")),
        ),
        Shape(
            RERANK,
            _no_text("query documents", "top_n return_documents truncate_prompt_tokens max_tokens_per_doc"),
            streamed=False,
            refused=_ONE_ANSWER,
            odd=CARRIERS.union(_ONE_ANSWER),
            billed=_BILLED.union(("query", "documents")),
        ),
        Shape(COUNT_TOKENS, _no_text("messages system"), streamed=False, is_free=True),
    )
}
KINDS = tuple(SHAPES)
