"""Audit logs: who changed what, when and by which request, as the compatible API lists them."""

from __future__ import annotations

from typing import Annotated

from litestar.params import QueryParameter

from purser.core.errors import Invalid
from purser.core.money import format_usd
from purser.core.period import DAY, NEVER, format_instant, parse_instant
from purser.flows import access
from purser.inbound.api.auth import ADMIN, OPERATOR
from purser.inbound.api.call import Call
from purser.inbound.api.filters import read_comparisons
from purser.inbound.api.routes import get
from purser.inbound.api.wire import MOST_PAGE, Name, PageToken, View, read_token, write_token
from purser.store import accounts, audit_log, operators
from purser.store.audit_log import Values
from purser.store.db import Connection, Row

_PAGE, _DAYS = 10, 30
_OPERATOR = "operator"
_MONEY = {"limit_nanos": "limit", "budget": "budget", "amount": "amount", "granted": "granted"}
_MONEY |= {"total": "total", "paid": "paid", "limit_override": "limit_override"}
_MONEY |= {"default_user_limit": "default_user_limit"}
_FLAGS = ("unlimited", "service_account")
_FIELDS = {"resource": "resource", "principal": "principal", "email": "principal"}
Told = dict[str, str | int | bool | None]

PageSize = Annotated[
    int | None, QueryParameter(name="pageSize", ge=1, le=MOST_PAGE, description="How many at most; 10 by default.")
]
Start = Annotated[
    str | None, QueryParameter(name="startTime", description="From this instant on; the last 30 days if not given.")
]
End = Annotated[str | None, QueryParameter(name="endTime", description="Before this instant.")]
Filter = Annotated[
    str | None,
    QueryParameter(description='Comparisons such as resource = "users/bot" or principal = "bot", joined by AND.'),
]


class ChangeView(View):
    """What became of one thing: its fields before (null where it is new) and after, as far as they differ."""

    resource: str
    before: Told | None
    after: Told


class EntryView(View):
    """An entry: who did what, from where, and what it changed; `payload` is what was written."""

    name: str
    id: str
    timestamp: str
    method: str
    principal: str
    is_admin_action: bool
    api_key_id: str
    resource: str
    message: str
    status: str
    cause: str
    request_id: str
    user_agent: str
    client_ip: str
    payload: dict[str, Told]
    changes: list[ChangeView]


class EntryList(View):
    """A page of entries, newest first."""

    audit_logs: list[EntryView]
    next_page_token: str


def view(conn: Connection, row: Row, *, to_operator: bool) -> EntryView:
    """One entry; which of the operator's people it was is told to the operator alone."""
    within = f"accounts/{row.account}" if row.account else ""
    changes = [
        ChangeView("/".join(part for part in (within, what) if part), _fields(what, before), _fields(what, after) or {})
        for what, before, after in audit_log.decode_changes(row.changes)
    ]
    hidden = row.operator and not to_operator
    return EntryView(
        name=f"{within or _OPERATOR}/auditLogs/{row.id}",
        id=row.id,
        timestamp=format_instant(row.at),
        method=row.method,
        principal=_OPERATOR if hidden else _principal(conn, row),
        is_admin_action=bool(row.operator),
        api_key_id="" if hidden else row.key,
        resource=changes[0].resource,
        message="; ".join(map(_words, changes)),
        status="OK",
        cause=f"{row.method} {row.path}".strip(),
        request_id=row.request,
        user_agent="" if hidden else row.user_agent,
        client_ip="" if hidden else row.client,
        payload={change.resource: change.after for change in changes},
        changes=changes,
    )


def _principal(conn: Connection, row: Row) -> str:
    if row.operator:
        operator = operators.get_operator(conn, row.actor)
        return str(row.actor if operator is None else operator.name)
    user = accounts.get_user(conn, row.account, row.actor)
    return str(row.actor) if user is None else access.name_principal(user)


def _fields(what: str, values: Values | None) -> Told | None:
    """The values as the API spells them: dollars, instants and truth."""
    if values is None:
        return None
    told: Told = {}
    for name, value in values.items():
        first, *rest = _MONEY.get(name, name).split("_")
        field = first + "".join(part.capitalize() for part in rest)
        if name in _MONEY:
            told[f"{field}Usd"] = None if value is None else format_usd(int(value))
        elif name in _FLAGS:
            told[field] = bool(value)
        elif value is not None and (name.endswith("_at") or what.endswith("_at")):
            told[field] = format_instant(int(value))
        else:
            told[field] = value
    return told


def _words(change: ChangeView) -> str:
    if change.before is None:
        return f"{change.resource} made"
    told = [f"{name} {change.before[name]!s} → {value!s}" for name, value in change.after.items()]
    return f"{change.resource}: {', '.join(told)}"


def _list(
    call: Call, account: str | None, size: int | None, token: str | None, span: tuple[int, int], filter_: str | None
) -> EntryList:
    only = read_comparisons(filter_, _FIELDS, 'resource = "users/bot"')
    place, most = read_token(token, str), size or _PAGE
    operator = call.caller.operator
    resource, principal = only.get("resource"), only.get("principal")
    if account is not None and resource is not None:
        resource = resource.removeprefix(f"accounts/{account}").lstrip("/")
    with call.desk.read() as conn:
        if account is not None and principal is not None:
            users = accounts.list_users(conn, account)
            principal = next((row.id for row in users if access.name_principal(row) == principal), principal)
        rows = audit_log.list_entries(
            *(conn, account, *span),
            actor=principal,
            resource=resource,
            after=place[0] if place else None,
            limit=most + 1,
        )
        shown = [view(conn, row, to_operator=operator) for row in rows[:most]]
    return EntryList(shown, write_token(rows[most - 1].id) if len(rows) > most else "")


def _span(call: Call, start: str | None, end: str | None) -> tuple[int, int]:
    end_at = NEVER if end is None else parse_instant(end, "endTime")
    start_at = call.desk.clock.now() - _DAYS * DAY if start is None else parse_instant(start, "startTime")
    if start is not None and end is not None and start_at >= end_at:
        raise Invalid("startTime must lie before endTime", field="startTime")
    return start_at, end_at


@get("/v1/accounts/{account:str}/auditLogs", ADMIN)
def list_audit_logs(
    request: Call,
    account: Name,
    page_size: PageSize = None,
    page_token: PageToken = None,
    start_time: Start = None,
    end_time: End = None,
    filter: Filter = None,
) -> EntryList:
    """List who changed what of an account and by which request, newest first."""
    return _list(request, account, page_size, page_token, _span(request, start_time, end_time), filter)


@get("/operator/v1/auditLogs", OPERATOR)
def list_all_audit_logs(
    request: Call,
    page_size: PageSize = None,
    page_token: PageToken = None,
    start_time: Start = None,
    end_time: End = None,
    filter: Filter = None,
) -> EntryList:
    """List who changed what, of every account and of what they share (prices, the clock, operators)."""
    return _list(request, None, page_size, page_token, _span(request, start_time, end_time), filter)


ROUTES = [list_audit_logs, list_all_audit_logs]
