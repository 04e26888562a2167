"""Metering: usage of engines that are not behind the gateway, reported singly, in lists, or as CloudEvents (H7, D6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.errors import Conflict, Invalid, NotFound, PurserError
from purser.core.period import parse_instant
from purser.core.usage import Quantities, check_reported, in_batch
from purser.flows import metering
from purser.flows.metering import Reported
from purser.inbound.api.auth import METERING
from purser.inbound.api.call import BODY, Call
from purser.inbound.api.once import converge
from purser.inbound.api.problem import MORE
from purser.inbound.api.routes import post
from purser.inbound.api.wire import View
from purser.store.writers import Tx

MOST_EVENTS = 1_000
_AT_ONCE = 200  # events of one transaction, so that running requests need not wait for a whole list
_UNPRINTABLE = re.compile(r"[\x00-\x1f]")
_OWN_SOURCE = "api"
_EXAMPLE = '{"id": "e1", "account": "ada", "model": "tiny", "quantities": {"input_tokens": 120}}'
_FIELDS = ("id", "account", "model", "occurredAt", "quantities", "user", "batch")
_Read = tuple[int, object, Reported]  # an event's place in its list, as it was given, and as read
_KNOWN = ("account", "model", "occurredAt", "quantities", "user", "batch")


class ErrorView(View):
    """Why an event was not accepted."""

    code: str
    message: str
    field: str | UnsetType = UNSET


class RejectedView(View):
    """An event that was not accepted: its place in the list, its id, and why."""

    index: int
    id: str | None
    error: ErrorView


class Metered(View):
    """What became of the events reported."""

    accepted: int
    duplicates: int
    rejected: list[RejectedView]


def _text(given: dict[str, Any], name: str, field: str | None = None) -> str:
    value = given.get(name)
    field = field or name
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or _UNPRINTABLE.search(value):
        what = "must be" if name in given else "is missing: it must be"
        raise Invalid(f"{field} {what} a string of 1 to 200 characters", field=field)
    return value


def _optional(given: dict[str, Any], name: str) -> str | None:
    return None if given.get(name) is None else _text(given, name)


def read_event(given: object) -> Reported:
    """One event, our own or a CloudEvent; raises Invalid naming the field."""
    if not isinstance(given, dict):
        raise Invalid("an event must be an object with id, account, model and quantities")
    if "specversion" in given:
        return _read_cloud_event(given)
    unknown = next((name for name in given if name not in _FIELDS), None)
    if unknown is not None:
        raise Invalid(f"{unknown[:60]} is not a field here; known: {', '.join(_FIELDS)}", field=unknown[:60])
    return Reported(
        account=_text(given, "account"),
        source=_OWN_SOURCE,
        id=_text(given, "id"),
        model=_text(given, "model"),
        quantities=_used(given, ""),
        occurred_at=_time(given.get("occurredAt"), "occurredAt"),
        user=_optional(given, "user"),
    )


def _used(given: dict[str, Any], within: str) -> Quantities:
    """The quantities, at the batch price where `batch` is true (P4)."""
    batch = given.get("batch", False)
    if not isinstance(batch, bool):
        raise Invalid(f"{within}batch must be true or false", field=f"{within}batch")
    used = check_reported(given.get("quantities"), f"{within}quantities")
    return in_batch(used) if batch else used


def _time(given: object, field: str) -> int | None:
    return None if given is None else parse_instant(given, field)


def _read_cloud_event(given: dict[str, Any]) -> Reported:
    """A CloudEvent 1.0: `source` and `id` are its identity, `time` when it occurred, `data` what was used.

    The account is `data.account`, or the event's `subject`.
    """
    if given["specversion"] != "1.0":
        raise Invalid('specversion must be "1.0"', field="specversion")
    _text(given, "type")
    source = _text(given, "source")
    data = given.get("data")
    if "data_base64" in given or not isinstance(data, dict):
        raise Invalid('data must be a JSON object such as {"model": "tiny", "quantities": {…}}', field="data")
    unknown = next((name for name in data if name not in _KNOWN), None)
    if unknown is not None:
        raise Invalid(f"data.{unknown[:60]} is not known; known: {', '.join(_KNOWN)}", field=f"data.{unknown[:60]}")
    if "account" in data:
        account = _text(data, "account", "data.account")
    else:
        account = _text(given, "subject")
    occurred_at = _time(given.get("time"), "time")
    if occurred_at is None:
        occurred_at = _time(data.get("occurredAt"), "data.occurredAt")
    return Reported(
        account=account,
        source=f"ce:{source}",  # apart from our own events and the gateway's
        id=_text(given, "id"),
        model=_text(data, "model", "data.model"),
        quantities=_used(data, "data."),
        occurred_at=occurred_at,
        user=_optional(data, "user"),
    )


def _of_headers(call: Call, data: object) -> object:
    """The CloudEvent of a request in HTTP's binary mode (the attributes in ce-… headers, the body its data), else data.

    Raises Invalid. What makes the request the same when it is repeated is then its headers, too.
    """
    media = call.headers.get("content-type", "").strip().lower()
    sent = [(name, value) for name, value in call.scope["headers"] if name.startswith(b"ce-")]
    if not sent or media.startswith("application/cloudevents"):
        return data
    event: dict[str, Any] = {}
    for name, value in sent:
        field = name.decode("latin-1")
        if field[3:] in event:
            raise Invalid(f"the header {field} is given twice", field=field)
        event[field[3:]] = _header_text(value, field)
    body: Any = call.scope.get(BODY, b"")
    call.scope[BODY] = b"%b\0%b" % (repr(sorted(sent)).encode(), body)  # type: ignore[literal-required]
    return {"specversion": "", **event, "data": data}


def _header_text(value: bytes, field: str) -> str:
    """An attribute as the CloudEvents binding for HTTP writes it: perhaps quoted, percent-encoded UTF-8."""
    try:
        text = value.decode().strip()
        if len(text) >= 2 and text[0] == text[-1] == '"':
            text = re.sub(r"\\(.)", r"\1", text[1:-1])
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Invalid(f"the header {field} must be percent-encoded UTF-8", field=field) from None


def _check_own(event: Reported, own: str | None) -> Reported:
    """A service account reports for its own account; any other does not exist for it."""
    if own is not None and event.account != own:
        raise NotFound(f"there is no account {event.account!r:.70}", field="account")
    return event


def record_all(tx: Tx, events: Sequence[_Read]) -> Metered:
    """Bill events that were read; what is rejected undoes no other."""
    result = Metered(0, 0, [])
    outcomes = metering.record_all(tx, [reported for _, _, reported in events])
    for (index, given, _), outcome in zip(events, outcomes, strict=True):
        if isinstance(outcome, PurserError):
            result.rejected.append(_rejected(index, given, outcome))
        elif outcome:
            result.accepted += 1
        else:
            result.duplicates += 1
    return result


def _rejected(index: int, given: object, error: PurserError) -> RejectedView:
    id_ = given.get("id") if isinstance(given, dict) else None
    view = ErrorView(error.code, error.message, UNSET if error.field is None else error.field)
    return RejectedView(index, id_[:200] if isinstance(id_, str) else None, view)


def _record_lone(tx: Tx, given: object, own: str | None) -> Metered:
    try:
        new = metering.record(tx, _check_own(read_event(given), own))
    except Conflict as conflict:
        rejected = _rejected(0, given, conflict)
        setattr(conflict, MORE, {"accepted": 0, "duplicates": 0, "rejected": [rejected]})
        raise
    return Metered(int(new), int(not new), [])


def _record_list(call: Call, given: list[Any], own: str | None) -> Metered:
    """Bill a list, a transaction for some of them at a time, those of one account together and in their order."""
    result = Metered(0, 0, [])
    read: list[_Read] = []
    for index, each in enumerate(given):
        try:
            read.append((index, each, _check_own(read_event(each), own)))
        except PurserError as error:
            result.rejected.append(_rejected(index, each, error))
    read.sort(key=lambda one: one[2].account)
    for start in range(0, len(read), _AT_ONCE):
        some = read[start : start + _AT_ONCE]
        part = call.desk.write(lambda tx, some=some: record_all(tx, some))  # type: ignore[misc]
        result.accepted += part.accepted
        result.duplicates += part.duplicates
        result.rejected += part.rejected
    result.rejected.sort(key=lambda rejected: rejected.index)
    return result


@post("/v1/usage", METERING, refuses=(404,))
def report_usage(request: Call, data: JSONBody[dict[str, Any] | list[Any] | None] = None) -> Response[Metered]:
    """Report usage after the fact: one event, up to 1,000 of them, or CloudEvents 1.0, singly or as a batch.

    An event is `{id, account, model, occurredAt?, quantities}`. It is billed once for ever by account, source and
    id, even past the limit. What a list holds that cannot be billed is listed in `rejected`; an event that stands
    alone is refused with its own status, 409 where its id is known with another body. A CloudEvent may also come in
    HTTP's binary mode: its attributes in `ce-…` headers, its data as the body.
    """
    own = None if request.caller.operator else request.caller.account
    given = _of_headers(request, data)
    if not isinstance(given, dict | list):
        raise Invalid(
            f"a JSON body is required: an event such as {_EXAMPLE}, or a list of up to {MOST_EVENTS:,} of them"
        )
    if isinstance(given, list) and not 1 <= len(given) <= MOST_EVENTS:
        raise Invalid(f"a list must hold 1 to {MOST_EVENTS:,} events, not {len(given):,}")

    def report(_: str | None) -> Metered:
        if isinstance(given, dict):
            return request.desk.write(lambda tx: _record_lone(tx, given, own))
        result = _record_list(request, given, own)
        conflicts = [one for one in result.rejected if one.error.code == Conflict.code]
        if len(given) == 1 and conflicts:
            conflict = Conflict(conflicts[0].error.message, field="id")
            setattr(conflict, MORE, {"accepted": 0, "duplicates": 0, "rejected": conflicts})
            raise conflict
        return result

    return converge(request, "usage", report)


ROUTES = [report_usage]
