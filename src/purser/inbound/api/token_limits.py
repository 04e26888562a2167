"""Custom token limits: what the operator sets of an account's tokens a minute, in place of limits that move (Q2)."""

from __future__ import annotations

from collections.abc import Mapping

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.adaptive import ALL_MODELS, GENERATED, METRICS, PROMPT, UNCACHED, Custom, check_custom
from purser.core.errors import Invalid
from purser.flows import token_limits
from purser.inbound.api.auth import OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import get, patch
from purser.inbound.api.wire import Body, Name, PageSize, PageToken, View, instant, page
from purser.store.writers import Tx

_PATH = "/operator/v1/accounts/{account:str}/tokenLimits"
UNLIMITED = "unlimited"
_MOST_DIGITS = 13
_FIELDS = {
    PROMPT: "promptTokensPerMinute",
    UNCACHED: "uncachedPromptTokensPerMinute",
    GENERATED: "generatedTokensPerMinute",
}
Amount = str | int | UnsetType | None


class ChangedTokenLimits(Body):
    """Limits to set of a model, or of all models ("*") that have none of their own.

    Of each metric so many tokens a minute, as an int64 string, or "unlimited"; null takes away what is set, so that the
    limit moves with use again. What is not given stays.
    """

    model: str
    prompt_tokens_per_minute: Amount = UNSET
    uncached_prompt_tokens_per_minute: Amount = UNSET
    generated_tokens_per_minute: Amount = UNSET


class TokenLimitsView(View):
    """What is set of a model, or of all models ("*") that have none of their own; null where nothing is."""

    model: str
    prompt_tokens_per_minute: str | None
    uncached_prompt_tokens_per_minute: str | None
    generated_tokens_per_minute: str | None
    update_time: str | None


class TokenLimitsList(View):
    """A page of what is set, all models first."""

    token_limits: list[TokenLimitsView]
    next_page_token: str
    total_size: int


def _read(given: str | int | None, field: str) -> Custom | None:
    if given is None:
        return None
    text = str(given)
    if text == UNLIMITED:
        return Custom(None)
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise Invalid(
            f'{field} must be a whole number of tokens such as "1000000", "{UNLIMITED}" or null, not {text!r:.40}',
            field=field,
        )
    return check_custom(int(text), field)


def _view(model: str, customs: Mapping[tuple[str, str], Custom]) -> TokenLimitsView:
    found = {metric: customs.get((model, metric)) for metric in METRICS}
    told = {
        metric: None if each is None else UNLIMITED if each.tokens is None else str(each.tokens)
        for metric, each in found.items()
    }
    changes = [each.set_at for each in found.values() if each is not None and each.set_at is not None]
    return TokenLimitsView(model, told[PROMPT], told[UNCACHED], told[GENERATED], instant(max(changes, default=None)))


@get(_PATH, OPERATOR)
def list_token_limits(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> TokenLimitsList:
    """List what is set of an account's tokens a minute, by model; what is in force is in serverlessRateLimits."""
    with request.desk.read() as conn:
        customs = token_limits.list_custom(conn, account)
    models = sorted({model for model, _ in customs}, key=lambda model: (model != ALL_MODELS, model))
    some, more = page(models, page_size, page_token)
    return TokenLimitsList([_view(model, customs) for model in some], more, len(models))


@patch(_PATH, OPERATOR)
def update_token_limits(
    request: Call, account: Name, data: JSONBody[ChangedTokenLimits], dry_run: DryRun = False
) -> Response[TokenLimitsView]:
    """Set what an account may use of a model in a minute, in force in every process within a second.

    A limit that is set does not move, and goes before the one that moves with use, which goes on from where it was once
    this is taken away. A model's own goes before that of all models.
    """
    given = {
        PROMPT: data.prompt_tokens_per_minute,
        UNCACHED: data.uncached_prompt_tokens_per_minute,
        GENERATED: data.generated_tokens_per_minute,
    }
    customs = {
        metric: _read(amount, _FIELDS[metric]) for metric, amount in given.items() if not isinstance(amount, UnsetType)
    }
    if not customs:
        raise Invalid(f"set at least one of {', '.join(_FIELDS.values())}", field=_FIELDS[PROMPT])

    def change(tx: Tx) -> TokenLimitsView:
        token_limits.set_custom(tx, account, data.model, customs)
        return _view(data.model, token_limits.list_custom(tx.conn, account))

    return once(request, change, dry_run=dry_run)


ROUTES = [list_token_limits, update_token_limits]
