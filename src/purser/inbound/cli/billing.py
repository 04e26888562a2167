"""The billing commands: invoices with their lines, receipts, usage by day, hour and model, the ledger exported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from purser.inbound.cli import figures
from purser.inbound.cli.billing_profile import billed_to_lines, profile, set_profile
from purser.inbound.cli.credits import allocation_words
from purser.inbound.cli.export import export_ledger
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    DAY,
    ID,
    MONEY,
    NUMBER,
    STATE,
    TEXT,
    WHEN,
    Column,
    print_facts,
    print_json,
    print_table,
    show_list,
    tell,
    tell_dry_run,
)

app = App(name="billing", help="Invoices, receipts, usage, and the ledger for other programs.")
app.command(export_ledger, name="export-ledger")
app.command(profile, name="profile")
app.command(set_profile, name="set-profile")

_INVOICES = (
    Column("NUMBER", "number", ID),
    Column("MONTH", "month", ID),
    Column("TYPE", "type", ID, spare=True),
    Column("STATE", "state", STATE),
    Column("TOTAL", "totalUsd", MONEY),
    Column("REMAINING", "remainingUsd", MONEY),
    Column("DUE", "dueAt", DAY, spare=True),
    Column("INVOICE", "id", ID),
)
_LINES = (
    Column("LINE", "n", NUMBER),
    Column("MODEL", "model", TEXT),
    Column("UNIT", "unit", ID),
    Column("QUANTITY", "quantity", NUMBER),
    Column("UNIT PRICE", "price", ID),
    Column("AMOUNT", "amountUsd", MONEY),
    Column("MONTH", "month", ID, spare=True),
)
_LINES_EXACT = tuple(Column("", name) for name in "n model unit quantity unitPriceUsd amountUsd month".split())
_TOTALS = (
    ("subtotal", "subtotalUsd", 1),
    ("credits applied", "creditsAppliedUsd", -1),
    ("tax", "taxUsd", 1),
    ("carried in", "carriedInUsd", 1),
    ("carried out", "carriedOutUsd", -1),
    ("total", "totalUsd", 1),
    ("payments applied", "paymentsAppliedUsd", -1),
    ("amount due", "amountDueUsd", 1),
    ("still to pay", "remainingUsd", 1),
)
_ALWAYS = {"subtotal", "total", "amount due"}
_RECEIPTS = (
    Column("NUMBER", "number", ID),
    Column("ISSUED (UTC)", "issuedAt", WHEN),
    Column("PAID", "amountUsd", MONEY),
    Column("WENT TO", "wentTo", TEXT),
    Column("RECEIPT", "id", ID, spare=True),
)


@app.command(name="list-invoices")
def list_invoices(
    *,
    show_pending: Annotated[bool, Parameter(negative="", help="Add this month's invoice as it stands.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """List invoices and receipts, newest first.

    Example: purser billing list-invoices --show-pending
    """
    caller = reach.call()
    path = reach.within(caller, "invoices")
    found = caller.pages(path, "invoices")
    if show_pending:
        found["invoices"].insert(0, caller.get(f"{path}:preview"))
    show_list(reach.output, found, found["invoices"], _INVOICES, "No invoice yet; add --show-pending for this month's.")


@app.command(name="invoice")
def invoice(
    invoice: Annotated[str, Parameter(help="Its number or id, as list-invoices shows them; or: pending.")],
    /,
    *,
    reach: Reach = UNSAID,
) -> None:
    """Show an invoice with its lines; CSV has the lines with exact unit prices.

    Example: purser billing invoice ADA-0001
    """
    caller = reach.call()
    pending = f"{reach.within(caller, 'invoices')}:preview" if invoice == "pending" else None
    show_invoice(reach, caller.get(pending or reach.within(caller, "invoices", invoice)))


def show_invoice(reach: Reach, found: Mapping[str, Any]) -> None:
    """Print one invoice: its head, its lines and how its total comes about."""
    lines = found.get("lines", [])
    if reach.output == "json":
        print_json(found)
        return
    if reach.output == "csv":
        show_list("csv", lines, lines, _LINES_EXACT, "")
        return
    facts = [
        ("invoice", f"{found.get('number') or 'not issued yet'}  {found.get('id') or ''}".strip()),
        ("month", str(found.get("month"))),
        ("type", str(found.get("type"))),
        ("state", str(found.get("state"))),
    ]
    dates = (("issued (UTC)", "issuedAt"), ("due (UTC)", "dueAt"), ("paid (UTC)", "paidAt"))
    facts += [(name, figures.when(found[key])) for name, key in dates if found.get(key)]
    print_facts(facts + _billed_to(found))
    if lines:
        print()
        rows = [{**line, "price": figures.unit_price(line["unitPriceUsd"], line["unit"])} for line in lines]
        months = {line["month"] for line in lines}
        print_table(rows, _LINES if months != {found.get("month")} else _LINES[:-1])
    print()
    amounts = [(name, sign * (figures.nanos_of(found.get(key)) or 0)) for name, key, sign in _TOTALS]
    kept = [(name, nanos) for name, nanos in amounts if nanos or name in _ALWAYS]
    spelt = figures.dollars_of([nanos for _, nanos in kept])
    width = max(map(len, spelt))
    print_facts([(name, text.rjust(width)) for (name, _), text in zip(kept, spelt, strict=True)])


def _billed_to(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    profile_ = found.get("billedTo")
    lines = billed_to_lines(profile_) if profile_ else []
    return [("billed to" if not n else "", line) for n, line in enumerate(lines)]


_PARTS = (
    Column("UNIT", "unit", TEXT),
    Column("QUANTITY", "quantity", NUMBER),
    Column("UNIT PRICE", "price", ID),
    Column("AMOUNT", "amountUsd", MONEY),
)
_PARTS_EXACT = tuple(Column("", name) for name in "unit quantity unitPriceUsd amountUsd".split())


@app.command(name="explain-charge")
def explain_charge(
    request: Annotated[str, Parameter(help="The x-request-id of an answer, or the id of a reported event.")],
    /,
    *,
    source: Annotated[str | None, Parameter(help="Where a reported event came from, if it was a CloudEvent.")] = None,
    reach: Reach = UNSAID,
) -> None:
    """Explain what one request cost: usage × rate, price version, and which credit or balance paid it.

    Example: purser billing explain-charge req_01K5
    """
    caller = reach.call()
    found = caller.get(f"{reach.within(caller, 'charges')}:explain", {"request": request, "source": source})
    if reach.output != "table":
        show_list(reach.output, found, found["parts"], _PARTS_EXACT, "")
        return
    facts = [
        ("request", f"{found['id']}  {found['model']}"),
        ("used (UTC)", figures.when(found["occurredAt"])),
        ("by", " ".join(filter(None, (found["user"], found["key"]))) or "–"),
        ("price version", f"{found['priceVersion']}, since {figures.when(found['priceSince'])} UTC"),
    ]
    if found["estimated"]:
        facts.append(("estimated", "the engine reported no usage"))
    if found["state"] != "settled":
        facts.append(("state", found["state"]))
    print_facts(facts)
    if found["parts"]:
        print()
        rows = [{**part, "price": figures.unit_price(part["unitPriceUsd"], part["unit"])} for part in found["parts"]]
        print_table(rows, _PARTS)
    print()
    print_facts([("charge", figures.usd(found["chargeUsd"])), *_how_paid(found)])


def _how_paid(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who paid a charge, on which invoice it is, and the ledger's entry."""
    said = []
    if figures.nanos_of(found["notChargedUsd"]):
        said.append(("not charged", f"{figures.usd(found['notChargedUsd'])}: no more was held"))
    for paid in found["paidBy"]:
        who = f"credit {paid['grant']}" if paid["by"] == "credit" else "the balance"
        said.append(("paid by", f"{who}  {figures.usd(paid['amountUsd'])}{'' if paid['drawn'] else ', to be drawn'}"))
    if found["invoice"]:
        on, lines = found["invoice"], found["invoice"]["lines"]
        what = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
        said.append(("invoice", f"{on['number']} ({on['state']}), {what}"))
    if found["entry"]:
        entry = found["entry"]
        said.append(("ledger entry", f"{entry['transaction']}, {entry['events']:,} event{'s'[: entry['events'] != 1]}"))
    return said


@app.command(name="pay")
def pay(
    invoice: Annotated[str, Parameter(help="Its id, as list-invoices shows it.")],
    /,
    *,
    payment_method: Annotated[str | None, Parameter(help="Which card; the default one if not given.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Pay what is left on an invoice now, with a card on file.

    Example: purser billing pay inv_01J2
    """
    caller = reach.call()
    body = {"paymentMethod": payment_method} if payment_method else {}
    paid = caller.post(f"{reach.within(caller, 'invoices', invoice)}:pay", body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_invoice(reach, paid)


@app.command(name="receipts")
def receipts(*, reach: Reach = UNSAID) -> None:
    """List the receipts of credit bought, newest first, with where the money went.

    Example: purser billing receipts -o csv
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "receipts"), "receipts")
    rows = [{**receipt, "wentTo": allocation_words(receipt)} for receipt in found["receipts"]]
    show_list(reach.output, found, rows, _RECEIPTS, "No receipt: no credit was bought yet.")


@app.command(name="usage")
def usage(
    *,
    start: Annotated[
        str | None, Parameter(help="From when, such as 2026-03-01; the month's start if not given.")
    ] = None,
    end: Annotated[str | None, Parameter(help="Until when; now if not given.")] = None,
    bucket: Annotated[Literal["1h", "1d"], Parameter(help="By hour or by day.")] = "1d",
    by_model: Annotated[bool, Parameter(negative="", help="A row for each model.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Show what was used and what it cost, by day or hour.

    Example: purser billing usage --start 2026-03-01 --end 2026-04-01 --by-model
    """
    caller = reach.call()
    query = {"start": start, "end": end, "bucket": bucket, "groupBy": "model" if by_model else None}
    found = caller.get(reach.within(caller, "usage"), query)
    rows = found["rows"]
    units = sorted({unit for row in rows for unit in row["quantities"]}, key=_order)
    columns = [
        Column("DAY" if bucket == "1d" else "HOUR (UTC)", "start", DAY if bucket == "1d" else WHEN),
        *([Column("MODEL", "model", TEXT)] if by_model else []),
        *(Column(unit.replace("_", " ").upper(), f"quantities.{unit}", NUMBER) for unit in units),
        Column("COST", "amountUsd", MONEY),
    ]
    span = f"from {figures.when(found['start'])} to {figures.when(found['end'])} UTC"
    show_list(reach.output, found, rows, columns, f"Nothing was used {span}.")
    if reach.output == "table" and rows:
        tell(f"{figures.usd(found['totalUsd'])} {span}.")


def _order(unit: str) -> tuple[int, str]:
    """Input before cached input before output, then the others in the order of the books."""
    from purser.core.usage import UNITS

    return (UNITS.index(unit) if unit in UNITS else len(UNITS), unit)
