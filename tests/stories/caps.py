"""The commands of the story language about limits: an account's own, of its tokens, its users and groups, and more."""

from __future__ import annotations

from purser.core.adaptive import ALL_MODELS, GENERATED, PROMPT, UNCACHED, Custom
from purser.flows import access, accounts, limit_requests, token_limits, usage_limits
from purser.store import accounts as rows
from purser.store import limit_requests as requests
from tests.stories.language import Wrong, number, options, usd
from tests.stories.scene import OWNER, Outcome, Scene

Words = tuple[str, ...]


def limit(scene: Scene, words: Words) -> Outcome:
    """`limit NAME DOLLARS`: the customer's own monthly spend limit."""
    name, value = words
    scene.write(lambda tx: accounts.set_limit(tx, name, value))
    return Outcome(name)


def unlimited(scene: Scene, words: Words) -> Outcome:
    """`unlimited NAME [no]`: the operator lifts the account out of the tiers, or puts it back."""
    name, on = words[0], words[1:] != ("no",)
    scene.write(lambda tx: accounts.set_unlimited(tx, name, on))
    return Outcome(name)


def user(scene: Scene, words: Words) -> Outcome:
    """`user NAME USER [in GROUP]`: a user of the account, made where there is none, from now on in that group."""
    name, who = words[:2]
    given = options(words[2:], ("in",))
    with scene.db.read() as conn:
        known = rows.get_user(conn, name, who) is not None
    if not known:
        scene.write(lambda tx: access.create_user(tx, name, who))
        scene.write(lambda tx: access.create_key(tx, name, who))
        scene.users.append(who)
    if "in" in given:
        scene.write(
            lambda tx: usage_limits.set_user(tx, name, who, override=None, groups=(given["in"],), keep_override=True)
        )
    return Outcome(name)


def usage_limit(scene: Scene, words: Words) -> Outcome:
    """`usage-limit NAME AMOUNT|none [user USER|group GROUP]`: what each user, one, or each of a group may spend."""
    name, amount = words[0], None if words[1] == "none" else usd(words[1])
    given = options(words[2:], ("user", "group"))
    if "group" in given:
        group, tier = given["group"], f"usd-{words[1]}".replace(".", "-")
        if amount is not None:
            scene.write(lambda tx: usage_limits.create_tier(tx, name, tier, amount))
        scene.write(lambda tx: usage_limits.assign(tx, name, group, None if amount is None else tier))
    elif "user" in given:
        who = given["user"]
        with scene.db.read() as conn:
            row = rows.get_user(conn, name, who)
        groups = [] if row is None else str(row.member_of).split()
        scene.write(
            lambda tx: usage_limits.set_user(tx, name, who, override=amount, groups=groups, keep_override=False)
        )
    else:
        scene.write(lambda tx: usage_limits.set_default(tx, name, amount))
    return Outcome(name)


def token_limit(scene: Scene, words: Words) -> Outcome:
    """`token-limit NAME MODEL|all [prompt N] [uncached N] [generated N]`: what the operator sets of tokens a minute.

    N may be `unlimited`, or `none` to take away what is set.
    """
    name, model = words[0], ALL_MODELS if words[1] == "all" else words[1]
    given = options(words[2:], (PROMPT, UNCACHED, GENERATED))
    customs = {
        metric: None if text == "none" else Custom(None if text == "unlimited" else number(text))
        for metric, text in given.items()
    }
    scene.write(lambda tx: token_limits.set_custom(tx, name, model, customs))
    return Outcome(name)


def want(scene: Scene, words: Words) -> Outcome:
    """`want NAME USER AMOUNT`: a user asks for a higher usage limit."""
    name, who, amount = words
    scene.write(lambda tx: limit_requests.ask(tx, name, who, usd(amount), ""))
    return Outcome(name)


def approve(scene: Scene, words: Words) -> Outcome:
    """`approve NAME USER [AMOUNT]`: an admin approves what a user asked for last, or another amount."""
    name, who, amount = words[0], words[1], usd(words[2]) if words[2:] else None
    wanted = _newest(scene, name, who)
    scene.write(lambda tx: limit_requests.approve(tx, name, wanted, amount, OWNER))
    return Outcome(name)


def reject(scene: Scene, words: Words) -> Outcome:
    """`reject NAME USER`: an admin rejects what a user asked for last."""
    name, who = words
    wanted = _newest(scene, name, who)
    scene.write(lambda tx: limit_requests.reject(tx, name, wanted, "", OWNER))
    return Outcome(name)


def _newest(scene: Scene, account: str, who: str) -> str:
    with scene.db.read() as conn:
        found = requests.list_of(conn, account, who)
    if not found:
        raise Wrong(f"{who} has asked for nothing")
    return str(found[0].id)
