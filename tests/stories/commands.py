"""The commands of the story language: what each does to the scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from purser.core.credits import KINDS, PROMOTIONAL
from purser.core.errors import Conflict
from purser.core.limits import Tier
from purser.core.money import NANOS_PER_USD
from purser.core.period import parse_month
from purser.core.policy import Policy
from purser.core.pricebook import PRICE_NAMES
from purser.core.standing import BLOCKED
from purser.core.usage import CACHED, INPUT, OUTPUT, REPORTED, Quantities, check_reported, in_batch, quantities
from purser.flows import accounts, alerts, codes, credits, leaving, metering, modes, payments, token_limits
from purser.store import invoices
from purser.store import payments as payment_rows
from tests.stories import fleets
from tests.stories.caps import approve, limit, reject, token_limit, unlimited, usage_limit, user, want
from tests.stories.guards import clear, rule, sign_up, unrule
from tests.stories.language import Wrong, count, number, options, span, usd, when
from tests.stories.scene import EXACT, OWNER, Outcome, Scene

_SHORT = {"input": "in", "cached_input": "cached", "output": "out"}  # fields of a price, as stories call them
_SHORT_UNIT = {INPUT: "in", CACHED: "cached", OUTPUT: "out"}
Words = tuple[str, ...]
Command = Callable[[Scene, Words], Outcome]


# ── the stage ────────────────────────────────────────────────────────────────────────────────────────────────────
def policy(scene: Scene, words: Words) -> Outcome:
    """`policy NAME VALUE`, before the clock starts."""
    if scene.begun or len(words) < 2:
        raise Wrong("a policy is a name and its value, and stands before `at`")
    name, values = words[0], words[1:]
    if name not in _POLICIES:
        raise Wrong(f"{name!r} is no policy; known: {', '.join(_POLICIES)}")
    scene.policy = _POLICIES[name](scene.policy, values)
    return Outcome()


def _read_tiers(values: Words) -> tuple[Tier, ...]:
    """Pairs such as 100:500: from $100 of historical spend the limit may be up to $500."""
    pairs = [value.partition(":") for value in values]
    tiers = [Tier(n, usd(spend), usd(limit)) for n, (spend, _, limit) in enumerate(pairs, 2)]
    return (Tier(1, 0, 50 * NANOS_PER_USD), *tiers)


_POLICIES: Mapping[str, Callable[[Policy, Words], Policy]] = {
    "credit": lambda given, values: replace(given, signup_credit_nanos=usd(values[0])),
    "sign-up": lambda given, values: replace(given, sign_up=values[0] == "yes"),
    "credit-rule": lambda given, values: replace(given, signup_credit_rule=values[0]),
    "minimum-charge": lambda given, values: replace(given, minimum_charge_nanos=usd(values[0])),
    "depletion-threshold": lambda given, values: replace(given, depletion_threshold_nanos=usd(values[0])),
    "cached-is-input": lambda given, values: replace(given, cached_is_input=values[0] == "yes"),
    "prepaid-from": lambda given, values: replace(given, prepaid_from_at=when(values)),
    "mode": lambda given, values: replace(given, default_mode=values[0]),
    "tiers": lambda given, values: replace(given, tiers=_read_tiers(values)),
    "dunning-days": lambda given, values: replace(given, dunning_days=tuple(number(day) for day in values)),
    "grace-days": lambda given, values: replace(given, payment_grace_days=number(values[0])),
    "tokens-per-minute": lambda given, values: replace(
        given,
        prompt_tokens_per_minute=number(values[0]),
        uncached_prompt_tokens_per_minute=number(values[1]),
        generated_tokens_per_minute=number(values[2]),
    ),
    "size": lambda given, values: replace(given, model_sizes={**given.model_sizes, values[0]: values[1]}),
    "slice-tokens": lambda given, values: replace(given, slice_tokens=number(values[0])),
    **fleets.POLICIES,
}


def at(scene: Scene, words: Words) -> Outcome:
    """`at 2026-03-01 09:00`: the story begins, or goes on, at that time."""
    if scene.begun:
        scene.move(when(words))
    else:
        scene.begin(when(words))
    return Outcome()


def advance(scene: Scene, words: Words) -> Outcome:
    """`advance 3 days`: the clock moves, and all that falls due on the way is done."""
    scene.move(scene.world.now() + span(words))
    return Outcome()


def prices(scene: Scene, words: Words) -> Outcome:
    """`prices MODEL in A out B [cached C] [FIELD D] … [from TIME] [most N] [context N]`, in dollars."""
    given = options(words[1:], ("in", "out", "cached", "from", "most", "context", *PRICE_NAMES))
    fields = {name: given.get(_SHORT.get(name, name)) for name in PRICE_NAMES}
    price = {name: value for name, value in fields.items() if value is not None}
    from_at = when([given["from"]]) if "from" in given else None
    scene.set_prices(words[0], price, from_at, count(given, "most"), count(given, "context"))
    return Outcome()


def gateway(scene: Scene, words: Words) -> Outcome:
    """`gateway NAME`: the next requests come through this one."""
    scene.use_gateway(*words)
    return Outcome()


def crash(scene: Scene, words: Words) -> Outcome:
    """`crash NAME`: a gateway dies with the requests that it runs."""
    scene.crash(*words)
    return Outcome()


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────
def open_(scene: Scene, words: Words) -> Outcome:
    """`open NAME [mode M] [credit C]`."""
    name, given = words[0], options(words[1:], ("mode", "credit"))
    gift = usd(given["credit"]) if "credit" in given else None
    scene.write(
        lambda tx: accounts.open_account(
            tx, name, f"{name}@example.com", billing_mode=given.get("mode"), signup_credit_nanos=gift
        )
    )
    scene.accounts.append(name)
    return Outcome(name)


def alert(scene: Scene, words: Words) -> Outcome:
    """`alert NAME [AMOUNT …] [forecast]`: what the customer wants to be told besides 80 % of the limit."""
    name, amounts = words[0], [usd(word) for word in words[1:] if word != "forecast"]
    scene.write(lambda tx: alerts.set_wish(tx, name, amounts, "forecast" in words))
    return Outcome(name)


def mode(scene: Scene, words: Words) -> Outcome:
    """`mode NAME MODE [from TIME]`: the operator changes how the account pays, at once or from then on."""
    name, to = words[:2]
    given = options(words[2:], ("from",))
    at_ = when([given["from"]]) if "from" in given else None
    scene.write(lambda tx: modes.set_mode(tx, name, to, at_))
    return Outcome(name)


def leave(scene: Scene, words: Words) -> Outcome:
    """`leave NAME [give-up]`: the account is closed, purchased credit given up; `return NAME` opens it again."""
    name, give_up = words[0], words[1:] == ("give-up",)
    scene.write(lambda tx: leaving.close(tx, name, running_nanos=scene.held(name), give_up=give_up))
    return Outcome(name)


def return_(scene: Scene, words: Words) -> Outcome:
    """`return NAME`: a closed account is opened again."""
    (name,) = words
    scene.write(lambda tx: leaving.reopen(tx, name))
    return Outcome(name)


def suspend(scene: Scene, words: Words) -> Outcome:
    """`suspend NAME "why"`: the operator blocks an account."""
    name, why = words
    scene.write(lambda tx: accounts.suspend(tx, name, BLOCKED, why))
    return Outcome(name)


def reinstate(scene: Scene, words: Words) -> Outcome:
    """`reinstate NAME [CAUSE]`: the operator lifts a block."""
    name, cause = words[0], words[1] if words[1:] else BLOCKED
    scene.write(lambda tx: accounts.reinstate(tx, name, cause))
    return Outcome(name)


def show(scene: Scene, words: Words) -> Outcome:
    """`show NAME [MONTH]`: nothing happens; what is expected of the account, and of that month's invoice, follows."""
    name, *month_ = words
    return Outcome(name, month=parse_month(month_[0]) if month_ else None)


# ── use ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def ask(scene: Scene, words: Words) -> Outcome:
    """`ask ID NAME MODEL bytes N [max N] [n N] [stream] [fit|refuse]`: a chat request of one message arrives."""
    id_, name, model = words[:3]
    given = options(words[3:], ("bytes", "max", "n"), ("stream", "fit", "refuse"))
    more: dict[str, object] = {"n": count(given, "n")} if "n" in given else {}
    if "max" in given:
        more["max_tokens"] = count(given, "max")
    if "stream" in given:
        more["stream"] = True
    request = scene.ask(id_, name, model, count(given, "bytes"), more, given.get("fit", given.get("refuse")))
    return Outcome(name, request=request)


def calls(scene: Scene, words: Words) -> Outcome:
    """`calls NAME N`: so many requests of any kind arrive within the minute, until one is refused."""
    name, times = words
    for _ in range(number(times)):
        scene.gateway.call(name)
    return Outcome(name)


def minute(scene: Scene, words: Words) -> Outcome:
    """`minute NAME MODEL in N out N [cached N]`: so many tokens of a model were used in the minute under way."""
    name, model = words[:2]
    given = options(words[2:], ("in", "out", "cached"))
    prompt, cached = count(given, "in"), count(given, "cached")
    used = (prompt, prompt - cached, count(given, "out"))
    scene.write(lambda tx: token_limits.note(tx, name, model, used))
    return Outcome(name)


def slice_(scene: Scene, words: Words) -> Outcome:
    """`slice ID`: a stream asks for its next slice."""
    request = scene.requests.get(words[0])
    if request is None:
        raise Wrong(f"no request {words[0]} is running")
    cut = not request.gateway.next_slice(request)
    return Outcome(request.hold.account, request=request, cut=cut)


def done(scene: Scene, words: Words) -> Outcome:
    """`done ID in N out N [cached N] [written N] [heard N] [spoken N]`: a request ends, its upstream counted these.

    Cached, written to the cache and heard ones are within in, spoken ones within out.
    """
    given = options(words[1:], ("in", "out", "cached", "written", "heard", "spoken"))
    request = scene.take(words[0])
    kinds = {name: count(given, name) for name in ("written", "heard", "spoken")}
    counts = (count(given, "in"), count(given, "cached"), count(given, "out"))
    charge, state = request.gateway.settle(request, *counts, **kinds)
    return Outcome(request.hold.account, charge=charge, state=state)


def void(scene: Scene, words: Words) -> Outcome:
    """`void ID`: a request fails before any output."""
    request = scene.take(words[0])
    request.gateway.lessee.void(request.hold, scene.world.now())
    return Outcome(request.hold.account)


def spend(scene: Scene, words: Words) -> Outcome:
    """`spend NAME AMOUNT [by USER]`: requests that cost exactly so much."""
    name, amount = words[:2]
    who = options(words[2:], ("by",)).get("by", OWNER)
    return Outcome(name, charge=scene.spend(name, usd(amount), who))


def usage(scene: Scene, words: Words) -> Outcome:
    """`usage NAME AMOUNT` or `usage NAME MODEL in N out N [cached N] [UNIT N] … [batch] … [id ID] [on TIME]`."""
    name, what = words[:2]
    given = options(words[2:], ("in", "out", "cached", "id", "on", *REPORTED), ("batch",))
    exact = what[0].isdigit()
    used: Quantities = (
        quantities(0, 0, usd(what))
        if exact
        else check_reported({unit: count(given, _SHORT_UNIT.get(unit, unit)) for unit in REPORTED})
    )
    if "batch" in given:
        used = in_batch(used)
    scene.reported += 1
    event = metering.Reported(
        account=name,
        source="api",
        id=given.get("id", f"u{scene.reported}"),
        model=EXACT if exact else what,
        quantities=used,
        occurred_at=when([given["on"]]) if "on" in given else None,
    )
    return Outcome(name, fresh=scene.write(lambda tx: metering.record(tx, event)))


# ── money ────────────────────────────────────────────────────────────────────────────────────────────────────────
def grant(scene: Scene, words: Words) -> Outcome:
    """`grant NAME AMOUNT [promotional|purchased] [expires TIME]`: credit from the operator."""
    name, amount = words[0], usd(words[1])
    given = options(words[2:], ("expires",), KINDS)
    kind = next((kind for kind in KINDS if kind in given), PROMOTIONAL)
    expires_at = when([given["expires"]]) if "expires" in given else None
    given_ = scene.write(lambda tx: credits.give_credit(tx, name, amount, kind=kind, expires_at=expires_at))
    return Outcome(name, allocation=given_.allocation)


def code(scene: Scene, words: Words) -> Outcome:
    """`code NAME AMOUNT [times N] [days N] [expires TIME]`: the operator makes a credit code."""
    given = options(words[2:], ("times", "days", "expires"))
    expires_at = when([given["expires"]]) if "expires" in given else None
    times, days = int(given.get("times", "1")), int(given["days"]) if "days" in given else None
    scene.codes[words[0]] = scene.write(
        lambda tx: codes.make(tx, usd(words[1]), redemptions=times, credit_days=days, expires_at=expires_at)
    )
    return Outcome()


def end(scene: Scene, words: Words) -> Outcome:
    """`end CODE`: the operator ends a credit code."""
    (name,) = words
    scene.write(lambda tx: codes.end(tx, scene.codes[name].id))
    return Outcome()


def redeem(scene: Scene, words: Words) -> Outcome:
    """`redeem NAME CODE`: an account redeems a credit code, by its name in the story, or one that nobody made."""
    name, which = words
    spelt = scene.codes[which].code if which in scene.codes else which
    scene.write(lambda tx: codes.redeem(tx, name, spelt))
    return Outcome(name)


def card(scene: Scene, words: Words) -> Outcome:
    """`card NAME visa`: a payment method is added; any of the test provider's tokens without `pm_card_`."""
    name, token = words
    scene.worker.add_method(name, f"pm_card_{token}")
    return Outcome(name)


def uncard(scene: Scene, words: Words) -> Outcome:
    """`uncard NAME`: the default payment method is removed."""
    (name,) = words
    with scene.db.read() as conn:
        methods = payment_rows.list_methods(conn, name)
    if not methods:
        raise Wrong(f"{name} has no payment method")
    scene.write(lambda tx: payments.remove_method(tx, name, methods[0].id))
    return Outcome(name)


def buy(scene: Scene, words: Words) -> Outcome:
    """`buy NAME AMOUNT`: credit is bought with the default payment method."""
    name, amount = words
    payment = scene.worker.buy_credit(name, usd(amount))
    return Outcome(name, allocation=tuple(credits.decode_allocation(payment.allocation)))


def pay(scene: Scene, words: Words) -> Outcome:
    """`pay NAME [NUMBER]`: an invoice is paid now, the oldest unpaid one unless named."""
    name, wanted = words[0], words[1:]
    with scene.db.read() as conn:
        found = invoices.list_invoices(conn, name) if wanted else invoices.list_unpaid(conn, name)
    chosen = [row.id for row in found if not wanted or row.number == wanted[0]]
    if not chosen:
        raise Wrong(f"{name} has no such invoice")
    scene.worker.pay_invoice(name, chosen[0])
    return Outcome(name)


def month(scene: Scene, words: Words) -> Outcome:
    """`month 2026-03`: the clock goes to the month's end, where the month closes by itself."""
    (name,) = words
    scene.end_month(parse_month(name))
    return Outcome(month=name)


def close(scene: Scene, words: Words) -> Outcome:
    """`close 2026-03`: the operator closes a month by command."""
    (name,) = words
    waiting = scene.worker.close_month(parse_month(name))
    if waiting:
        raise Conflict(f"requests of {name} are still running for {', '.join(waiting)}")
    return Outcome(month=name)


COMMANDS: Mapping[str, Command] = {
    "policy": policy,
    "at": at,
    "advance": advance,
    "prices": prices,
    "gateway": gateway,
    "crash": crash,
    "open": open_,
    "limit": limit,
    "unlimited": unlimited,
    "token-limit": token_limit,
    "user": user,
    "usage-limit": usage_limit,
    "want": want,
    "approve": approve,
    "reject": reject,
    "alert": alert,
    "mode": mode,
    "leave": leave,
    "return": return_,
    "suspend": suspend,
    "reinstate": reinstate,
    "show": show,
    "ask": ask,
    "calls": calls,
    "minute": minute,
    "slice": slice_,
    "done": done,
    "void": void,
    "spend": spend,
    "usage": usage,
    "grant": grant,
    "code": code,
    "end": end,
    "redeem": redeem,
    "rule": rule,
    "unrule": unrule,
    "sign-up": sign_up,
    "clear": clear,
    "card": card,
    "uncard": uncard,
    "buy": buy,
    "pay": pay,
    "month": month,
    "close": close,
    **fleets.COMMANDS,
}
