"""Requests that make the model work: from a body to a job ready to be sent, and embeddings."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from secrets import token_hex

from purser.http.exchange import Exchange, Request
from purser.modelserver import messages, responses
from purser.modelserver.bodies import (
    BadRequest,
    ChatBody,
    EmbeddingBody,
    TextBody,
    decode,
    token_lists,
)
from purser.modelserver.cache import PrefixCache
from purser.modelserver.counters import Counters, RequestRecord
from purser.modelserver.delivery import JSON, TRUNCATED_BYTES, Job, Pace, cut_short, deliver, fail_early
from purser.modelserver.embeddings import DIMENSIONS, embed, embedding_body, embedding_tokens
from purser.modelserver.failures import Failures
from purser.modelserver.generation import Choice, Usage, Wish, generate, usage_object
from purser.modelserver.messages import CountBody, MessagesBody, MessageWording
from purser.modelserver.prompts import Prompt, answer_schema, chat_prompt, text_prompts, tool_call
from purser.modelserver.rerank import RerankBody, pairs_of, rerank_body
from purser.modelserver.responses import ResponseBody, ResponseWording
from purser.modelserver.wording import Wording

Body = ChatBody | TextBody | ResponseBody | MessagesBody
BODIES: dict[str, type[Body]] = {
    "/v1/chat/completions": ChatBody,
    "/v1/completions": TextBody,
    "/v1/responses": ResponseBody,
    "/v1/messages": MessagesBody,
}
Say = Callable[[str, dict[str, object] | None], bytes]
_PROMPT_FIELD: dict[type[Body], str] = {TextBody: "prompt", ResponseBody: "input"}
OTHER_MODEL = "other/model"
FASTEST_TOKENS_PER_SECOND = 1_000_000

_PACE_IN_PROMPT = re.compile(rb"\[\[pace=([0-9.]{1,10})\]\]")


@dataclass(frozen=True, slots=True)
class Task:
    """A checked request: its prompts, what is asked for each, and how many answers."""

    body: Body
    prompts: list[Prompt]
    wish: Wish
    answers: int
    candidates: int


def pace_of(request: Request, default: Pace) -> Pace:
    """The pace a request asks for by `x-model-pace` or `[[pace=N]]` (tokens a second, 0: no waiting)."""
    given = request.header(b"x-model-pace")
    if given is None:
        found = _PACE_IN_PROMPT.findall(request.body)
        given = found[-1] if found else None
    if given is None:
        return default
    try:
        tokens_per_second = float(given)
    except ValueError:
        tokens_per_second = math.nan
    if not 0 <= tokens_per_second <= FASTEST_TOKENS_PER_SECOND:
        raise BadRequest("x-model-pace takes tokens per second from 0 to 1000000", "x-model-pace")
    return replace(default, tokens_per_second=tokens_per_second)


class Model:
    """One served model: its context and its prefix cache, and how it answers."""

    def __init__(self, name: str, context_tokens: int, cache_blocks: int, counters: Counters) -> None:
        self.name = name
        self.context_tokens = context_tokens
        self._cache = PrefixCache(cache_blocks)
        self._counters = counters
        self._run = token_hex(4)
        self._numbers = count()

    def check(self, body: Body) -> Task:
        """A body that is right in itself, checked for what this model can do; raises BadRequest."""
        if isinstance(body, ChatBody):
            prompts, answers, candidates = [chat_prompt(body)], body.n or 1, body.n or 1
            wish = Wish(
                self.name,
                body.seed,
                body.cap,
                body.stops,
                body.reasoning_effort or "none",
                tool_call(body),
                answer_schema(body),
            )
        elif isinstance(body, ResponseBody):
            prompts, answers, candidates = [responses.prompt_of(body)], 1, 1
            call = responses.call_of(body)
            wish = Wish(self.name, body.seed, body.cap, [], body.effort, call)
        elif isinstance(body, MessagesBody):
            prompts, answers, candidates = [messages.prompt_of(body)], 1, 1
            call = messages.call_of(body)
            wish = Wish(self.name, body.seed, body.cap, body.stops, body.effort, call)
        else:
            prompts, answers = text_prompts(body), body.n or 1
            candidates = body.best_of or answers
            if candidates < answers:
                raise BadRequest("best_of must not be less than n", "best_of")
            if body.stream and candidates > answers:
                raise BadRequest("best_of cannot be streamed", "best_of")
            wish = Wish(self.name, body.seed, body.cap, body.stops, echo=bool(body.echo))
        if body.cap == 0 and not wish.echo:
            raise BadRequest("max_tokens must be at least 1", "max_tokens")
        if body.stream_options is not None and not body.stream:
            raise BadRequest("stream_options needs stream", "stream_options")
        for prompt in prompts:
            self._check_room(len(prompt.tokens), body.cap, _PROMPT_FIELD.get(type(body), "messages"))
        return Task(body, prompts, wish, answers, candidates)

    def _check_room(self, prompt_tokens: int, cap: int | None, param: str) -> None:
        if prompt_tokens + (cap or 0) > self.context_tokens or prompt_tokens >= self.context_tokens:
            raise BadRequest(
                f"This model's context is {self.context_tokens} tokens, but the prompt has {prompt_tokens} "
                f"and {cap or 1} more are asked for. Shorten the prompt or ask for fewer tokens.",
                param,
                code="context_length_exceeded",
            )

    def work(self, task: Task, exchange: Exchange, record: RequestRecord, failures: Failures, pace: Pace) -> Job:
        """Read the prompts and generate every answer; nothing is sent yet."""
        choices: list[Choice] = []
        unseen_tokens = reasoning_tokens = cached_tokens = 0
        for prompt in task.prompts:
            cached = self._cache.read(prompt.tokens)
            cached_tokens += cached
            room = self.context_tokens - len(prompt.tokens)
            for candidate in range(task.candidates):
                choice = generate(prompt, task.wish, room, failures, candidate)
                reasoning_tokens += len(choice.reasoning)
                if candidate >= task.answers:
                    unseen_tokens += choice.generated
                    continue
                choice.index, choice.cached_tokens = len(choices), cached
                choices.append(choice)
        usage = Usage(
            sum(len(prompt.tokens) for prompt in task.prompts),
            cached_tokens,
            unseen_tokens + sum(choice.generated for choice in choices),
            reasoning_tokens if task.wish.reasoning_effort != "none" else None,
        )
        wording = self._wording(task.body, usage, failures)
        return Job(
            exchange,
            record,
            self._counters,
            failures,
            pace,
            choices,
            usage,
            wording,
            unseen_tokens,
            task.body.usage_asked,
            task.body.running_usage_asked,
        )

    def _wording(self, body: Body, usage: Usage, failures: Failures) -> Wording | ResponseWording | MessageWording:
        chat = isinstance(body, ChatBody)
        answer_id = self.next_id("chatcmpl" if chat else "cmpl")
        name = OTHER_MODEL if failures.other_model else body.model
        if isinstance(body, ResponseBody):
            return ResponseWording(answer_id, int(time.time()), name, body, failed=failures.failed)
        if isinstance(body, MessagesBody):
            return MessageWording(answer_id, name, usage_object(usage, failures))
        return Wording(answer_id, int(time.time()), name, chat=chat, null_usage=failures.null_usage)

    def next_id(self, kind: str) -> str:
        """The id of another answer."""
        return f"{kind}-{self._run}{next(self._numbers):08x}"

    def embedding_inputs(self, body: EmbeddingBody) -> list[list[bytes]]:
        """The tokens of each input; raises BadRequest."""
        return self._checked([embedding_tokens(item) for item in token_lists(body.input, "input")], "input")

    def reranked(self, body: RerankBody) -> list[list[bytes]]:
        """The tokens of the query with each document; raises BadRequest."""
        return self._checked(pairs_of(body), "documents")

    def _checked(self, inputs: list[list[bytes]], param: str) -> list[list[bytes]]:
        for tokens in inputs:
            self._check_room(len(tokens), 0, param)
        return inputs


class Work:
    """The models that are served, and the requests to them."""

    def __init__(self, models: list[Model], counters: Counters) -> None:
        self.models = {model.name: model for model in models}
        self.counters = counters

    def model(self, name: str) -> Model:
        """The model of that name; raises BadRequest."""
        model = self.models.get(name)
        if model is None:
            raise BadRequest(f"The model `{name}` does not exist.", "model", 404, "model_not_found")
        return model

    async def complete(self, exchange: Exchange, record: RequestRecord, failures: Failures, pace: Pace) -> None:
        """A chat, a text completion, a response or a message. Raises BadRequest before anything is sent."""
        wrong: BadRequest | None = None
        try:
            body = decode(exchange.request.body, BODIES[exchange.request.path])
            record.stream = bool(body.stream)
            record.max_tokens, record.usage_asked = body.cap, body.usage_asked
            record.running_usage_asked = body.running_usage_asked
            record.model = body.model
            model = self.model(body.model)
            task = model.check(body)
        except BadRequest as error:
            wrong = error
        self.counters.begin(record)
        if await fail_early(exchange, failures, stream=record.stream and not failures.no_stream):
            self.counters.end(record, "failed")
            return
        if wrong is not None:
            raise wrong
        await deliver(model.work(task, exchange, record, failures, pace))

    async def embed(self, exchange: Exchange, record: RequestRecord, failures: Failures) -> None:
        """Embeddings. Raises BadRequest before anything is sent."""

        def read() -> tuple[str, list[list[bytes]], Say]:
            body = decode(exchange.request.body, EmbeddingBody)
            record.model = body.model
            inputs = self.model(body.model).embedding_inputs(body)

            def say(model: str, usage: dict[str, object] | None) -> bytes:
                vectors = [embed(tokens, body.dimensions or DIMENSIONS) for tokens in inputs]
                return embedding_body(model, vectors, as_base64=body.encoding_format == "base64", usage=usage)

            return body.model, inputs, say

        await self._read_only(exchange, record, failures, read)

    async def rerank(self, exchange: Exchange, record: RequestRecord, failures: Failures) -> None:
        """A rerank. Raises BadRequest before anything is sent."""

        def read() -> tuple[str, list[list[bytes]], Say]:
            body = decode(exchange.request.body, RerankBody)
            record.model = body.model
            model = self.model(body.model)
            name = model.next_id("rerank")
            return body.model, model.reranked(body), lambda model, usage: rerank_body(body, model, name, usage)

        await self._read_only(exchange, record, failures, read)

    def count(self, exchange: Exchange) -> None:
        """How many tokens a message's prompt has. Raises BadRequest."""
        body = decode(exchange.request.body, CountBody)
        self.model(body.model)
        tokens = len(messages.prompt_of(body).tokens)
        exchange.answer(200, JSON, b'{"input_tokens":%d}' % tokens)

    async def _read_only(
        self,
        exchange: Exchange,
        record: RequestRecord,
        failures: Failures,
        read: Callable[[], tuple[str, list[list[bytes]], Say]],
    ) -> None:
        """A request that generates no tokens: `read` answers its model, the tokens it reads, and what is said."""
        wrong: BadRequest | None = None
        try:
            name, inputs, say = read()
        except BadRequest as error:
            wrong = error
        self.counters.begin(record)
        if await fail_early(exchange, failures, stream=False):
            self.counters.end(record, "failed")
            return
        if wrong is not None:
            raise wrong
        prompt_tokens = sum(len(tokens) for tokens in inputs)
        self.counters.read_prompt(record, prompt_tokens, 0)
        usage = usage_object(Usage(prompt_tokens, 0, 0), failures, completion=False)
        answer = say(OTHER_MODEL if failures.other_model else name, usage)
        if failures.truncate:
            await cut_short(exchange, answer, len(answer) + TRUNCATED_BYTES)
            self.counters.end(record, "failed")
        else:
            self.counters.end(record, "finished")
            exchange.answer(200, JSON, answer)
