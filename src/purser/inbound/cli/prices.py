"""The prices commands: the price book in force, and publishing a new version of it."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.inbound.cli import figures
from purser.inbound.cli.failure import NOT_FOUND, Failure
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, MONEY, Column, show_list, tell, tell_dry_run

app = App(name="prices", help="The price book: show, publish. Needs the operator key.")

_COLUMNS = (
    Column("MODEL", "model", ID),
    Column("INPUT", "input", MONEY),
    Column("CACHED INPUT", "cached_input", MONEY),
    Column("OUTPUT", "output", MONEY),
    Column("PRIORITY ×", "priority"),
)
Dollars = Annotated[str, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens, such as 0.20.")]


def _show(reach: Reach, document: dict[str, Any], book: dict[str, Any]) -> None:
    rows = [{"model": model, **price} for model, price in sorted(book["models"].items())]
    show_list(reach.output, document, rows, _COLUMNS, "No model has a price yet. See: purser prices publish --help")
    if reach.output == "table" and rows:
        since = figures.when(book["effectiveAt"])
        tell(f"Dollars per million tokens; version {book['version']}, in force from {since} UTC.")


@app.command(name="show")
def show(
    *,
    version: Annotated[int | None, Parameter(help="This version of the book; the one in force if not given.")] = None,
    reach: Reach = UNSAID,
) -> None:
    """Show every model's price, in dollars per million tokens.

    Example: purser prices show
    """
    found = reach.call_as_operator().get("/operator/v1/prices")
    book = found
    if version is not None:
        book = next((each for each in found["versions"] if each["version"] == version), None)
        if book is None:
            raise Failure(f"there is no version {version} of the price book", code=NOT_FOUND)
    _show(reach, book if version is not None else found, book)
    later = [each for each in found["versions"] if version is None and each["version"] > (found["version"] or 0)]
    for each in reversed(later if reach.output == "table" else []):
        tell(
            f"Version {each['version']} follows on {figures.when(each['effectiveAt'])} UTC: --version {each['version']}"
        )


@app.command(name="publish")
def publish(
    *,
    model: Annotated[str, Parameter(help="The model, as customers call it.")],
    input: Dollars,
    output_price: Annotated[
        str, Parameter(name="--output", allow_leading_hyphen=True, help="Dollars per million tokens, such as 0.80.")
    ],
    cached_input: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million; half of --input if not given.")
    ] = None,
    priority: Annotated[
        str | None, Parameter(help='What service_tier "priority" multiplies every rate by, such as 1.25.')
    ] = None,
    effective_at: Annotated[str | None, Parameter(help="From when, such as 2026-04-01; at once if not given.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Publish a new version of the price book; models not named keep their prices. Nothing already rated changes.

    Example: purser prices publish --model tiny --input 0.20 --output 0.80
    """
    price = {"input": input, "output": output_price}
    price |= {
        name: given for name, given in (("cached_input", cached_input), ("priority", priority)) if given is not None
    }
    body = {"models": {model: price}, **({} if effective_at is None else {"effectiveAt": effective_at})}
    book = reach.call_as_operator().post("/operator/v1/prices", body, dry_run=dry_run)
    tell_dry_run(dry_run)
    _show(reach, book, book)
