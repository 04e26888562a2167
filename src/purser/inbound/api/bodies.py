"""Request bodies: JSON read strictly into the type a route expects, every mistake named with what would be right."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import msgspec

from purser.core.errors import Invalid, PurserError

MOST_BODY_BYTES = 8 * 1024 * 1024
MOST_LEVELS = 100
_JSON_TYPES = ("application/json", "text/json")

# What would be right, by a field's own name; the fields of every body and query are told apart by their last part.
RIGHT = {
    "acceleratorCount": "a whole number from 1 to 64",
    "acceleratorType": 'an accelerator such as "NVIDIA_H100_80GB"',
    "accountId": 'an account id such as "ada"',
    "amountUsd": 'dollars as a decimal string such as "12.50"',
    "apiKey": 'an object such as {"displayName": "ci", "expireTime": "2027-01-01T00:00:00Z"}',
    "autoscalingPolicy": 'an object such as {"scaleToZeroWindow": "3600s"}',
    "baseModel": 'a model such as "accounts/ada/models/llama"',
    "billingMode": '"postpaid", "prepaid" or "contract"',
    "bucket": '"1h" or "1d"',
    "cause": '"BLOCKED_BY_ABUSE_RULE"',
    "displayName": "a string of at most 64 characters",
    "effectiveAt": 'an RFC 3339 time such as "2026-03-01T09:00:00Z"',
    "email": "an e-mail address",
    "end": 'an RFC 3339 time such as "2026-04-01T00:00:00Z"',
    "eventTypes": 'a list such as ["invoice.paid"]',
    "expireTime": 'an RFC 3339 time such as "2027-01-01T00:00:00Z"',
    "expiresAt": 'an RFC 3339 time such as "2027-01-01T00:00:00Z"',
    "filter": 'a comparison such as email = "ada@example.com"',
    "forecastAlert": "true or false",
    "id": "a string",
    "keyId": 'the id of a key, such as "key_…"',
    "models": 'an object such as {"tiny": {"input": "0.20", "output": "0.80"}}',
    "month": 'a calendar month such as "2026-03"',
    "monthlySpendThresholds": 'a list such as [{"currencyCode": "USD", "units": "500"}]',
    "maxReplicaCount": "a whole number from 0 to 1000",
    "minReplicaCount": "a whole number from 0 to 1000",
    "n": "the number of a line, a whole number from 1 up",
    "pageSize": "a whole number from 1 to 200",
    "pageToken": "the nextPageToken of the page before",
    "paymentMethod": 'the id of a payment method, such as "pm_…"',
    "quantities": 'an object such as {"input_tokens": 120, "output_tokens": 40}',
    "readyReplicas": "a whole number from 0 to 1000",
    "reason": "a string that says why",
    "replicaCount": "a whole number from 0 to 1000",
    "role": '"admin", "user", "contributor" or "inference-user"',
    "scopes": 'a list such as ["metering"]',
    "serviceAccount": "true or false",
    "signupCreditUsd": 'dollars as a decimal string such as "1.00"',
    "start": 'an RFC 3339 time such as "2026-03-01T00:00:00Z"',
    "thresholdUsd": 'dollars as a decimal string such as "500.00"',
    "to": 'an RFC 3339 time such as "2026-04-01T00:00:00Z"',
    "token": 'the provider\'s payment method, such as "pm_card_visa"',
    "unlimited": "true or false",
    "url": 'an https URL such as "https://example.com/hooks"',
    "userId": 'a user id such as "bot"',
    "value": 'whole dollars as a string, such as "200"',
}
_TYPES = {"str": "a string", "int": "a whole number", "bool": "true or false", "object": "an object", "array": "a list"}
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?\Z", re.DOTALL)
_NAMED = re.compile(r"Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`\Z", re.DOTALL)
_LENGTH = re.compile(r"Expected `\w+` of length (?P<bound>[<>]=?) (?P<n>\d+)")
_BOUND = re.compile(r"Expected `\w+` (?P<bound>[<>]=) (?P<n>\d+)\Z")
_ENUM = re.compile(r"Invalid enum value (?P<got>.*)\Z", re.DOTALL)
_GOT = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`")


class UnsupportedType(PurserError):
    """The body is not of the type that is read here."""

    status = 415


def read_body(raw: bytes, content_type: str | None, kind: Any) -> Any:
    """Read a JSON body as `kind`; raises Invalid naming the field and what would be right, UnsupportedType.

    A field given twice, NaN and text that cannot be stored are refused as well. An empty body reads as null, and where
    neither will do the message says what a body holds.
    """
    if not raw:
        return _convert(None, kind)
    media = (content_type or "application/json").partition(";")[0].strip().lower()
    if media not in _JSON_TYPES and not re.fullmatch(r"application/[\w.+-]+\+json", media):
        raise UnsupportedType(
            f"the body must be sent with Content-Type: application/json, not {media[:60]!r}", field="Content-Type"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"the body must be UTF-8: byte {error.start} is not") from None
    return _convert(parse_json(text), kind)


def parse_json(text: str) -> Any:
    """Parse JSON; raises Invalid for whatever is no JSON, repeats a field, or holds what cannot be stored."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise Invalid(f"the body must be JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise Invalid("the body holds a number with too many digits") from None
    if text.count("[") + text.count("{") > MOST_LEVELS and isinstance(value, dict | list) and not _is_shallow(value):
        raise _too_deep()
    if "\\u" in text and ("\\u0000" in text or not _is_storable(value)):
        raise Invalid("the body must not hold the character NUL or half a surrogate pair")
    return value


def _too_deep() -> Invalid:
    return Invalid(f"the body is nested too deeply: at most {MOST_LEVELS} levels")


def _is_shallow(value: dict[str, Any] | list[Any]) -> bool:
    """Whether lists and objects lie at most MOST_LEVELS deep in one another; deeper ones break whoever looks."""
    level: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        items = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise Invalid(f"the field {twice!r:.60} is given twice", field=twice[:100])
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise Invalid(f"{name} is not JSON; a number must be finite")


def _is_storable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise (_needed(kind) if value is None else explain(str(error), kind)) from None


def _needed(kind: Any) -> Invalid:
    """There is no body where one is needed: what it holds."""
    fields = _fields(kind)
    required = [field for field in fields if field.required]
    described = ", ".join(f"{field.encode_name} ({right(field.encode_name)})" for field in required or fields)
    others = ", ".join(field.encode_name for field in fields if required and not field.required)
    holds = f" with {described}" if required else f" that may hold {described}" if fields else ""
    return Invalid(f"a JSON body is required: an object{holds}" + (f"; it may also hold {others}" if others else ""))


def explain(text: str, kind: Any = None) -> Invalid:
    """One of msgspec's complaints as ours: the field, what is wrong with it, and what would be right."""
    found = _PLACE.match(text)
    what, path = (found["what"], (found["path"] or "").lstrip(".")) if found else (text, "")
    if named := _NAMED.match(what):
        name = named["name"]
        field = f"{path}.{name}" if path else name
        if named["how"] == "missing required":
            return Invalid(f"{field} is missing: {right(name)}", field=field)
        return Invalid(f"{field} is not a field here; known: {', '.join(_names(kind, path))}", field=field)
    if not path:
        wanted = _names(kind, "")
        known = f" with {', '.join(wanted)}" if wanted else ""
        return Invalid(f"the body must be a JSON object{known}")
    return Invalid(say(path, what), field=path)


def say(field: str, what: str) -> str:
    """A sentence on a field from what msgspec says of it."""
    name = re.split(r"[.\[]", field)[-1]
    if length := _LENGTH.match(what):
        bound = {"<=": "at most", ">=": "at least"}.get(length["bound"], length["bound"])
        return f"{field} must have {bound} {length['n']} characters or items"
    if (number := _BOUND.match(what)) and name not in RIGHT:
        return f"{field} must be {'at most' if number['bound'] == '<=' else 'at least'} {number['n']}"
    if value := _ENUM.match(what):
        return f"{field} must be one of the values that GET /openapi.json lists, not {value['got']:.60}"
    got = _GOT.match(what)
    fallback = " or ".join(_TYPES.get(part.strip(), part.strip()) for part in got["wanted"].split("|")) if got else ""
    wanted = RIGHT.get(name) or fallback
    ending = f", not {_TYPES.get(got['got'], got['got'])}" if got else ""
    return f"{field} must be {wanted}{ending}" if wanted else f"{field}: {what}"


def right(name: str) -> str:
    """What would be right for a field."""
    return RIGHT.get(name, "it is required")


def _names(kind: Any, path: str) -> list[str]:
    """The names of a type's fields, at the top of the body or one step below it."""
    for step in [part for part in path.split(".") if part]:
        fields = {field.encode_name: field.type for field in _fields(kind)}
        kind = fields.get(step.partition("[")[0])
    return [field.encode_name for field in _fields(kind)]


def _fields(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    for option in (kind, *getattr(kind, "__args__", ())):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return msgspec.structs.fields(option)
    return ()
