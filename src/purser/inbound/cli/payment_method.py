"""The payment-method commands: the cards an account pays with, listed, added and removed."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, WHEN, Column, confirm, show_list, show_one, tell_done, tell_dry_run

app = App(name="payment-method", help="The cards that an account pays with: list, add, remove.")

_LIST = (
    Column("PAYMENT METHOD", "id", ID),
    Column("BRAND", "card.brand", ID),
    Column("ENDS IN", "card.last4", ID),
    Column("VALID TO", "validTo", ID),
    Column("DEFAULT", "default", ID),
    Column("ADDED (UTC)", "createdAt", WHEN, spare=True),
)
_ONE = (
    Column("payment method", "id"),
    Column("brand", "card.brand"),
    Column("ends in", "card.last4"),
    Column("valid to", "validTo"),
    Column("default", "default"),
)


def _row(method: dict[str, dict[str, int]]) -> dict[str, object]:
    card = method.get("card") or {}
    valid = f"{card['expYear']}-{card['expMonth']:02d}" if "expYear" in card and "expMonth" in card else None
    return {**method, "validTo": valid}


@app.command(name="list")
def list_methods(*, reach: Reach = UNSAID) -> None:
    """List the payment methods on file, newest first.

    Example: purser payment-method list
    """
    caller = reach.call()
    found = caller.get(reach.within(caller, "paymentMethods"))
    rows = [_row(method) for method in found["paymentMethods"]]
    show_list(reach.output, found, rows, _LIST, "No payment method. Add one with: purser payment-method add TOKEN")


@app.command(name="add")
def add(
    token: Annotated[str, Parameter(help="The provider's token; the test provider takes pm_card_visa.")],
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Put a card on file; it becomes the default, and what failed to be paid is charged to it at once.

    Example: purser payment-method add pm_card_visa
    """
    caller = reach.call()
    added = caller.post(reach.within(caller, "paymentMethods"), {"token": token}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, added, _row(added), _ONE)


@app.command(name="remove")
def remove(
    method: Annotated[str, Parameter(help="Its id, as payment-method list shows it.")],
    /,
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Take a card off file. Without any, a postpaid account runs on credit alone.

    Example: purser payment-method remove pm_01J2 --yes
    """
    confirm(f"Take the payment method {method} off file?", yes or dry_run)
    caller = reach.call()
    caller.delete(reach.within(caller, "paymentMethods", method), dry_run=dry_run)
    tell_done(f"The payment method {method} is removed.", dry_run)
