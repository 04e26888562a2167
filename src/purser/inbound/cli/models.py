"""The model commands: records of an account's models, written down, changed and deleted."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.records import (
    MADE,
    NAME,
    ONE,
    RECORD,
    DisplayName,
    Fields,
    Filter,
    OrderBy,
    Yes,
    list_records,
    read_fields,
)
from purser.inbound.cli.show import ID, NUMBER, Column, confirm, show_one, tell_done, tell_dry_run

app = App(name="model", help="Records of the account's models: list, get, create, update, delete.")

_LIST = (RECORD, Column("KIND", "kind", ID), NAME, *MADE)
_ONE = (
    Column("model", "id"),
    Column("kind", "kind"),
    Column("name", "displayName"),
    Column("description", "description"),
    Column("base model", "peftDetails.baseModel"),
    Column("context length", "contextLength", NUMBER),
    *ONE,
)
Model = Annotated[str, Parameter(help="Its id, such as support-bot.")]
Kind = Annotated[str | None, Parameter(help="Such as HF_PEFT_ADDON, which it is if not given, or HF_BASE_MODEL.")]
Description = Annotated[str | None, Parameter(help="What it is.")]
ContextLength = Annotated[int | None, Parameter(help="The most tokens it takes.")]


@app.command(name="list")
def list_models(*, filter: Filter = None, order_by: OrderBy = None, reach: Reach = UNSAID) -> None:
    """List the records of the account's models; what is served is another list, at /v1/models.

    Example: purser model list --order-by displayName
    """
    list_records(reach, "models", _LIST, filter, order_by)


@app.command(name="get")
def get(model: Model, /, *, reach: Reach = UNSAID) -> None:
    """Show a record of a model.

    Example: purser model get support-bot
    """
    caller = reach.call()
    found = caller.get(reach.within(caller, "models", model))
    show_one(reach.output, found, found, _ONE)


@app.command(name="create")
def create(
    model: Model,
    /,
    *,
    kind: Kind = None,
    display_name: DisplayName = None,
    description: Description = None,
    context_length: ContextLength = None,
    fields: Fields = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Write down a model. It costs nothing, and nothing is uploaded.

    Example: purser model create support-bot --display-name "Support" --context-length 8192
    """
    given = {"kind": kind, "displayName": display_name, "description": description, "contextLength": context_length}
    body = {"modelId": model, "model": read_fields(given, fields)}
    caller = reach.call()
    made = caller.post(reach.within(caller, "models"), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)


@app.command(name="update")
def update(
    model: Model,
    /,
    *,
    kind: Kind = None,
    display_name: DisplayName = None,
    description: Description = None,
    context_length: ContextLength = None,
    fields: Fields = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Change what is written down of a model; what is not given stays.

    Example: purser model update support-bot --fields '{"githubUrl": null}'
    """
    given = {"kind": kind, "displayName": display_name, "description": description, "contextLength": context_length}
    body = read_fields(given, fields)
    if not body:
        raise usage("nothing to change was given", "Give --display-name, --fields or another option.")
    caller = reach.call()
    changed = caller.patch(reach.within(caller, "models", model), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _ONE)


@app.command(name="delete")
def delete(model: Model, /, *, dry_run: DryRun = False, yes: Yes = False, reach: Reach = UNSAID) -> None:
    """Delete a record of a model; its id may be used again.

    Example: purser model delete support-bot --yes
    """
    confirm(f"Delete the record of model {model}?", yes or dry_run)
    caller = reach.call()
    caller.delete(reach.within(caller, "models", model), dry_run=dry_run)
    tell_done(f"The record of model {model} is deleted.", dry_run)
