"""The command `purser`: what it can do, imported when it is used, and what its mistakes look like on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, Group
from cyclopts.exceptions import CycloptsError

from purser import __version__
from purser.inbound.cli.audit import audit
from purser.inbound.cli.doctor import doctor
from purser.inbound.cli.failure import ERROR, EXIT_CODES, USAGE, Failure
from purser.inbound.cli.init import init
from purser.inbound.cli.login import login
from purser.inbound.cli.replay import replay
from purser.inbound.cli.status import status

START = Group("Start here", sort_key=1)
ACCOUNT = Group("An account and its money", sort_key=2)
OPERATE = Group("For the operator", sort_key=3)
TRY = Group("Try it out", sort_key=4)
ABOUT = Group("About", sort_key=99)

_ABOUT = (
    "Purser, the billing desk for AI inference: money is held before work starts.\n\n"
    "Data goes to stdout, talk to stderr; -o json prints what the API answered. Exit codes: 0 ok, 1 error, 2 usage, "
    "4 key or role, 5 not found, 6 limit or credit, 7 conflict."
)

app = App(
    name="purser",
    help=_ABOUT,
    help_format="plaintext",
    version=__version__,
    version_flags=["--version"],
    group_commands=START,
    suppress_keyboard_interrupt=False,
)
app["--help"].group = ABOUT
app["--version"].group = ABOUT

_NOUNS = (
    (ACCOUNT, "account", "purser.inbound.cli.account:app", "Open, show and list accounts."),
    (ACCOUNT, "quota", "purser.inbound.cli.quota:app", "What an account may use, such as its monthly spend limit."),
    (ACCOUNT, "rate-limit", "purser.inbound.cli.rate_limit:app", "How many requests and tokens a minute may bring."),
    (ACCOUNT, "alerts", "purser.inbound.cli.alerts:app", "What of a month's spend is told, by mail and webhook."),
    (
        ACCOUNT,
        "credits",
        "purser.inbound.cli.credits:app",
        "Credit: what there is, buying it, redeeming codes, granting it.",
    ),
    (
        ACCOUNT,
        "billing",
        "purser.inbound.cli.billing:app",
        "Invoices, receipts, usage, and the ledger for other programs.",
    ),
    (ACCOUNT, "payment-method", "purser.inbound.cli.payment_method:app", "The cards that an account pays with."),
    (ACCOUNT, "key", "purser.inbound.cli.key:app", "API keys."),
    (ACCOUNT, "user", "purser.inbound.cli.user:app", "The users of an account."),
    (ACCOUNT, "invitation", "purser.inbound.cli.invitation:app", "People invited to an account by mail."),
    (ACCOUNT, "webhook", "purser.inbound.cli.webhook:app", "Where to tell what happens, signed."),
    (ACCOUNT, "limits", "purser.inbound.cli.limits:app", "What users and groups may spend in a month."),
    (ACCOUNT, "model", "purser.inbound.cli.models:app", "Records of the account's models."),
    (ACCOUNT, "dataset", "purser.inbound.cli.datasets:app", "Records of the account's datasets."),
    (ACCOUNT, "deployment", "purser.inbound.cli.deployments:app", "Models on GPUs of an account's own."),
    (ACCOUNT, "audit-log", "purser.inbound.cli.audit_log:app", "Who changed what, when, and by which request."),
    (
        OPERATE,
        "prices",
        "purser.inbound.cli.prices:app",
        "The price book: what is in force, and publishing a new version.",
    ),
    (OPERATE, "credit-code", "purser.inbound.cli.credit_codes:app", "Codes that accounts redeem for credit."),
    (OPERATE, "abuse-rule", "purser.inbound.cli.abuse_rules:app", "Who may sign up, and which accounts are blocked."),
    (OPERATE, "month", "purser.inbound.cli.month:app", "Closing a month into its invoices."),
    (OPERATE, "operator", "purser.inbound.cli.operators:app", "Suspending an account and letting it back in."),
    (OPERATE, "clock", "purser.inbound.cli.clock:app", "Billing time, and moving a manual clock."),
)
for _group, _name, _where, _help in _NOUNS:
    app.command(_where, name=_name, help=_help, group=_group)

for _command, _group in (
    (init, START),
    (doctor, START),
    (login, START),
    (status, START),
    (audit, OPERATE),
    (replay, TRY),
):
    app.command(_command, group=_group)

# Options that every command takes may also stand before it: purser -o json status.
_LEADING = {"--url", "--api-key", "--operator-key", "--account", "--profile", "--output", "-o"}


def run_app(arguments: Sequence[str] | None = None) -> int:
    """Run the command that was asked for, by default on the command line; answers the exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    tokens = options_last(list(sys.argv[1:] if arguments is None else arguments))
    try:
        code = _run(tokens)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115
        return ERROR
    return code


def _run(tokens: list[str]) -> int:
    from purser.core.errors import Broken, PurserError

    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _refuse(Failure(_spell(error), code=USAGE, then=f"See: {_chain(error)} --help"))
    except Failure as failure:
        return _refuse(failure)
    except PurserError as error:
        code = USAGE if error.status == 400 else EXIT_CODES.get(error.status, ERROR)
        return _refuse(Failure(error.message, code=code))
    except Broken as error:
        return _refuse(Failure(str(error)))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return code if isinstance(code, int) else 0


def _refuse(failure: Failure) -> int:
    sys.stdout.flush()
    for line in failure.lines():
        print(line, file=sys.stderr)
    return failure.code


def _spell(error: CycloptsError) -> str:
    """What is wrong, in a sentence that names the nearest right thing; lists of all commands are for --help."""
    text = str(error).partition(" Available commands:")[0].strip()
    return text.rstrip(".") if not text.endswith("?") else text


def _chain(error: CycloptsError) -> str:
    return " ".join(["purser", *(error.command_chain or ())])


def options_last(tokens: list[str]) -> list[str]:
    """The same words with the common options that stand before the command moved behind it."""
    n = 0
    while n < len(tokens) and tokens[n].partition("=")[0] in _LEADING:
        n += 1 if "=" in tokens[n] else 2
    leading, rest = tokens[:n], tokens[n:]
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *leading, *rest[end:]] if rest else leading
