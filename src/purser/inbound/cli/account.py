"""The account commands: opened, shown, explained and listed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from purser.inbound.cli.dossier import export
from purser.inbound.cli.figures import when
from purser.inbound.cli.leaving import close, reopen
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    ID,
    MONEY,
    STATE,
    TEXT,
    WHEN,
    Column,
    print_answers,
    show_list,
    show_one,
    tell,
    tell_dry_run,
)
from purser.inbound.cli.wire import at

app = App(name="account", help="Open, show, explain, change, close and list accounts.")
app.command(close, name="close")
app.command(reopen, name="reopen")
app.command(export, name="export")

_LIST = (
    Column("ACCOUNT", "id", ID),
    Column("STANDING", "suspendState", STATE),
    Column("MODE", "billingMode", ID),
    Column("TIER", "tier", ID),
    Column("HISTORICAL SPEND", "historicalSpendUsd", MONEY, spare=True),
    Column("EMAIL", "email", TEXT, spare=True),
    Column("OPENED (UTC)", "createTime", WHEN, spare=True),
)
_ONE = (
    Column("account", "id"),
    Column("display name", "displayName"),
    Column("email", "email"),
    Column("state", "state"),
    Column("closing since (UTC)", "closingAt", WHEN),
    Column("closed (UTC)", "closedAt", WHEN),
    Column("standing", "suspendState"),
    Column("causes", "causes"),
    Column("billing mode", "billingMode"),
    Column("from then on", "nextMode"),
    Column("tier", "tier"),
    Column("payment method", "hasPaymentMethod"),
    Column("historical spend", "historicalSpendUsd", MONEY),
    Column("opened (UTC)", "createTime", WHEN),
)
_NEW = (
    Column("account", "account"),
    Column("user", "user"),
    Column("key id", "apiKey.keyId"),
    Column("API key", "apiKey.key"),
)
_ANSWERS = (Column("", "question"), Column("", "title"), Column("", "answer"))


@app.command(name="create")
def create(
    account: Annotated[str, Parameter(help="The new account's id: 3 to 63 of a-z, 0-9 and -.")],
    /,
    *,
    email: Annotated[str, Parameter(help="Where its invoices and notices go.")],
    display_name: Annotated[str | None, Parameter(help="What people call it.")] = None,
    billing_mode: Annotated[
        Literal["postpaid", "prepaid", "contract"] | None,
        Parameter(help="How it pays; the configured way if not given."),
    ] = None,
    signup_credit: Annotated[
        str | None, Parameter(help="Free credit in dollars; the configured one if not given.")
    ] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Open an account, with its owner, a first API key (printed this once) and its sign-up credit.

    Needs the operator key.

    Example: purser account create ada --email ada@example.com
    """
    body: dict[str, Any] = {
        "id": account,
        "email": email,
        "displayName": display_name,
        "billingMode": billing_mode,
        "signupCreditUsd": signup_credit,
    }
    given = {name: value for name, value in body.items() if value is not None}
    opened = reach.call_as_operator().post("/operator/v1/accounts", given, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, opened, opened, _NEW)
    if not dry_run:
        tell("The API key is shown this once: keep it now.")


@app.command(name="get")
def get(
    account: Annotated[str | None, Parameter(help="Which one; your own if not given.")] = None,
    /,
    *,
    reach: Reach = UNSAID,
) -> None:
    """Show an account: its standing with every cause, tier and billing mode.

    Example: purser account get ada -o json
    """
    caller = reach.call(account)
    path = at("v1", "accounts", account) if account is not None else reach.within(caller)
    found = caller.get(path)
    _show(reach, found)


def _show(reach: Reach, found: dict[str, Any]) -> None:
    causes = [f"{cause['cause']}: {cause['wayBack']}" for cause in found.get("suspensionCauses", [])]
    then = found.get("nextBillingMode")
    told = {"causes": causes, "nextMode": f"{when(then['effectiveAt'])}: {then['billingMode']}" if then else None}
    show_one(reach.output, found, {**found, **told}, _ONE)


@app.command(name="set-mode")
def set_mode(
    account: Annotated[str, Parameter(help="Which account.")],
    mode: Annotated[Literal["postpaid", "prepaid", "contract"], Parameter(help="How it is to pay.")],
    /,
    *,
    at_: Annotated[str | None, Parameter(name="--at", help="From when on, such as 2026-04-01T00:00:00Z.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Change how an account pays, at once or from an instant on. Needs the operator key.

    The month of the change is invoiced at its end, unless it was prepaid throughout. What is owed stays owed, and the
    next credit bought pays it first. To take back what is to come, set the mode that there is.

    Example: purser account set-mode ada prepaid --at 2026-04-01T00:00:00Z
    """
    path = f"{at('operator', 'v1', 'accounts', account)}:setBillingMode"
    body = {"billingMode": mode} if at_ is None else {"billingMode": mode, "effectiveAt": at_}
    changed = reach.call_as_operator().post(path, body, dry_run=dry_run)
    tell_dry_run(dry_run)
    _show(reach, changed)


@app.command(name="explain")
def explain(
    account: Annotated[str | None, Parameter(help="Which one; your own if not given.")] = None,
    /,
    *,
    question: Annotated[
        Literal["suspended", "credits", "invoice", "depletion", "forecast"] | None,
        Parameter(help="The one to answer; all of them if not given."),
    ] = None,
    invoice: Annotated[
        str | None, Parameter(help="The invoice to explain, by number or id; the newest if not given.")
    ] = None,
    reach: Reach = UNSAID,
) -> None:
    """Say why an account is suspended, where its credit went, why its invoice is what it is, and what comes when.

    Example: purser account explain --question forecast
    """
    caller = reach.call(account)
    path = at("v1", "accounts", account) if account is not None else reach.within(caller)
    found = caller.get(f"{path}/explain", {"question": question, "invoice": invoice})
    if reach.output == "table":
        print_answers([(each["title"], each["answer"]) for each in found["answers"]])
    else:
        show_list(reach.output, found, found["answers"], _ANSWERS, "")


@app.command(name="list")
def list_accounts(
    *,
    filter: Annotated[
        str | None, Parameter(help="Such as 'suspendState = CREDIT_DEPLETED AND tier = 2', or 'billingMode = prepaid'.")
    ] = None,
    reach: Reach = UNSAID,
) -> None:
    """List accounts, newest first: all of them with the operator key, else the key's own.

    Example: purser account list --filter 'billingMode = prepaid' -o csv
    """
    found = reach.call_for_all().pages("/v1/accounts", "accounts", {"filter": filter, "pageSize": 200})
    show_list(
        reach.output,
        found,
        found["accounts"],
        _LIST,
        "No account yet. Open one with: purser account create ID --email E",
    )
