"""The dataset commands: records of an account's datasets, written down, changed and deleted."""

from __future__ import annotations

from typing import Annotated, Literal

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

app = App(name="dataset", help="Records of the account's datasets: list, get, create, update, delete.")

_LIST = (
    RECORD,
    Column("FORMAT", "format", ID),
    Column("EXAMPLES", "exampleCount", NUMBER),
    Column("TOKENS", "estimatedTokenCount", NUMBER),
    NAME,
    *MADE,
)
_ONE = (
    Column("dataset", "id"),
    Column("format", "format"),
    Column("name", "displayName"),
    Column("examples", "exampleCount", NUMBER),
    Column("tokens, estimated", "estimatedTokenCount", NUMBER),
    Column("lies at", "externalUrl"),
    *ONE,
)
Dataset = Annotated[str, Parameter(help="Its id, such as support-chats.")]
Format = Annotated[Literal["CHAT", "COMPLETION", "RL"] | None, Parameter(help="What an example is.")]
Examples = Annotated[int | None, Parameter(help="How many examples it has.")]
Tokens = Annotated[int | None, Parameter(help="How many tokens it has, about.")]
ExternalUrl = Annotated[str | None, Parameter(help="Where it lies.")]


@app.command(name="list")
def list_datasets(*, filter: Filter = None, order_by: OrderBy = None, reach: Reach = UNSAID) -> None:
    """List the records of the account's datasets.

    Example: purser dataset list --order-by displayName
    """
    list_records(reach, "datasets", _LIST, filter, order_by)


@app.command(name="get")
def get(dataset: Dataset, /, *, reach: Reach = UNSAID) -> None:
    """Show a record of a dataset.

    Example: purser dataset get support-chats
    """
    caller = reach.call()
    found = caller.get(reach.within(caller, "datasets", dataset))
    show_one(reach.output, found, found, _ONE)


@app.command(name="create")
def create(
    dataset: Dataset,
    /,
    *,
    format: Format = None,
    display_name: DisplayName = None,
    examples: Examples = None,
    tokens: Tokens = None,
    external_url: ExternalUrl = None,
    fields: Fields = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Write down a dataset. It costs nothing, and nothing is uploaded.

    Example: purser dataset create support-chats --format CHAT --examples 1200 --tokens 480000
    """
    given = _given(format, display_name, examples, tokens, external_url)
    body = {"datasetId": dataset, "dataset": read_fields(given, fields)}
    caller = reach.call()
    made = caller.post(reach.within(caller, "datasets"), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)


@app.command(name="update")
def update(
    dataset: Dataset,
    /,
    *,
    format: Format = None,
    display_name: DisplayName = None,
    examples: Examples = None,
    tokens: Tokens = None,
    external_url: ExternalUrl = None,
    fields: Fields = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Change what is written down of a dataset; what is not given stays.

    Example: purser dataset update support-chats --tokens 512000
    """
    body = read_fields(_given(format, display_name, examples, tokens, external_url), fields)
    if not body:
        raise usage("nothing to change was given", "Give --tokens, --fields or another option.")
    caller = reach.call()
    changed = caller.patch(reach.within(caller, "datasets", dataset), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _ONE)


@app.command(name="delete")
def delete(dataset: Dataset, /, *, dry_run: DryRun = False, yes: Yes = False, reach: Reach = UNSAID) -> None:
    """Delete a record of a dataset; its id may be used again.

    Example: purser dataset delete support-chats --yes
    """
    confirm(f"Delete the record of dataset {dataset}?", yes or dry_run)
    caller = reach.call()
    caller.delete(reach.within(caller, "datasets", dataset), dry_run=dry_run)
    tell_done(f"The record of dataset {dataset} is deleted.", dry_run)


def _given(
    format_: str | None, display_name: str | None, examples: int | None, tokens: int | None, external_url: str | None
) -> dict[str, str | None]:
    return {
        "format": format_,
        "displayName": display_name,
        "exampleCount": None if examples is None else str(examples),
        "estimatedTokenCount": None if tokens is None else str(tokens),
        "externalUrl": external_url,
    }
