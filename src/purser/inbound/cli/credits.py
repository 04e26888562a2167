"""The credits commands: what credit there is, buying it, redeeming a code, and granting it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from purser.inbound.cli import figures
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import DAY, ID, MONEY, WHEN, Column, show_list, show_one, tell, tell_dry_run
from purser.inbound.cli.wire import at

app = App(name="credits", help="Credit: list, buy, redeem, grant.")

_LIST = (
    Column("CREDIT", "id", ID),
    Column("KIND", "kind", ID),
    Column("REMAINING", "remainingUsd", MONEY),
    Column("GRANTED", "grantedUsd", MONEY, spare=True),
    Column("EXPIRES", "expiresAt", DAY, spare=True),
    Column("USED", "usedUsd", MONEY, spare=True),
    Column("LAPSED", "lapsedUsd", MONEY, spare=True),
    Column("SINCE (UTC)", "createdAt", WHEN, spare=True),
)
_PURCHASE = (
    Column("payment", "id"),
    Column("paid", "amountUsd", MONEY),
    Column("receipt", "receipt"),
    Column("went to", "wentTo"),
)
_GRANT = (
    Column("credit", "id"),
    Column("kind", "kind"),
    Column("amount", "amountUsd", MONEY),
    Column("expires", "expiresAt", DAY),
    Column("went to", "wentTo"),
)
_REDEEMED = (
    Column("credit", "credit"),
    Column("amount", "amount", MONEY),
    Column("expires", "expiresAt", DAY),
)
Amount = Annotated[str, Parameter(allow_leading_hyphen=True, help="Dollars, such as 20 or 12.50.")]


def allocation_words(answer: Mapping[str, Any]) -> list[str]:
    """Where money went, in words: ["$250.00 to invoice inv_…", "$250.00 to credit"]."""
    parts = answer.get("allocation") or []
    return [f"{figures.usd(part['amountUsd'])} to {part['to']} {part.get('id', '')}".strip() for part in parts]


@app.command(name="list")
def list_credits(*, reach: Reach = UNSAID) -> None:
    """List every credit grant, newest first, with what became of it.

    Example: purser credits list
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "credits"), "credits")
    show_list(reach.output, found, found["credits"], _LIST, "No credit yet. Buy some with: purser credits buy 20")
    if reach.output == "table" and found["credits"]:
        tell(f"{figures.usd(found.get('creditUsd'))} of credit in all.")


@app.command(name="buy")
def buy(
    amount: Amount,
    /,
    *,
    payment_method: Annotated[str | None, Parameter(help="Which card; the default one if not given.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Buy credit: the card is charged now. What is owed is paid first, the rest becomes credit.

    Example: purser credits buy 20
    """
    caller = reach.call()
    body = {"amountUsd": amount, **({"paymentMethod": payment_method} if payment_method else {})}
    bought = caller.post(f"{reach.within(caller, 'credits')}:purchase", body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, bought, {**bought, "wentTo": allocation_words(bought)}, _PURCHASE)


@app.command(name="redeem")
def redeem(
    code: Annotated[str, Parameter(help="As it was given; dashes and capitals do not matter.")],
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Redeem a credit code, which an account can do once for each.

    Example: purser credits redeem 7K3M-0QRT-9XVB-2HJD-5WNA
    """
    caller = reach.call()
    account = reach.account_of(caller)
    given = caller.post("/v1/creditCodes:redeem", {"code": code, "name": f"accounts/{account}"}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, given, given, _REDEEMED)


@app.command(name="grant")
def grant(
    amount: Amount,
    /,
    *,
    kind: Annotated[
        Literal["promotional", "purchased"], Parameter(help="Free, or for money received elsewhere.")
    ] = "promotional",
    expires: Annotated[str | None, Parameter(help="When it lapses, such as 2027-01-01; never if not given.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Give an account credit. Needs the operator key.

    Example: purser credits grant 100 --account ada --kind purchased
    """
    caller = reach.call_as_operator()
    path = at("operator", "v1", "accounts", reach.account_of(caller), "grants")
    body = {"amountUsd": amount, "kind": kind, **({"expiresAt": expires} if expires else {})}
    given = caller.post(path, body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, given, {**given, "wentTo": allocation_words(given)}, _GRANT)
