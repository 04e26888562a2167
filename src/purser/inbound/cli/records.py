"""What the commands for records of models and of datasets share: their options, and what of them is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import Reach
from purser.inbound.cli.show import ID, TEXT, WHEN, Column, show_list

RECORD = Column("ID", "id", ID)
NAME = Column("NAME", "displayName", TEXT)
MADE = (Column("BY", "createdBy", TEXT, spare=True), Column("MADE (UTC)", "createTime", WHEN, spare=True))
ONE = (
    Column("made by", "createdBy"),
    Column("made (UTC)", "createTime", WHEN),
    Column("changed (UTC)", "updateTime", WHEN),
)
DisplayName = Annotated[str | None, Parameter(help="What people call it.")]
Fields = Annotated[
    str | None,
    Parameter(help='Further fields as the API has them, a JSON object such as {"public": true}; null takes one away.'),
]
Filter = Annotated[str | None, Parameter(help='Those alone for which this holds, such as displayName = "Evaluation".')]
OrderBy = Annotated[str | None, Parameter(help='Such as "displayName" or "updateTime desc"; the newest first.')]
Yes = Annotated[bool, Parameter(negative="", help="Do not ask first.")]


def read_fields(given: Mapping[str, Any], further: str | None) -> dict[str, Any]:
    """The fields to send: those given by options, and further ones as JSON; raises Failure for what is no object."""
    found = {name: value for name, value in given.items() if value is not None}
    if further is None:
        return found
    try:
        more = json.loads(further)
    except ValueError:
        more = None
    if not isinstance(more, dict):
        raise usage('--fields must be a JSON object, such as {"public": true}')
    return {**more, **found}


def list_records(
    reach: Reach, plural: str, columns: tuple[Column, ...], filter_: str | None, order_by: str | None
) -> None:
    """List all records."""
    caller = reach.call()
    query = {"filter": filter_, "orderBy": order_by, "pageSize": 200}
    found = caller.pages(reach.within(caller, plural), plural, query)
    show_list(reach.output, found, found[plural], columns, f"No record of {plural}.")
