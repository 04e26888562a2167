"""The commands of the story language about abuse: rules, sign-up by a mailed link, and flags that a person clears."""

from __future__ import annotations

from purser.flows import abuse, people
from purser.store import outbox
from tests.stories.language import options
from tests.stories.scene import Outcome, Scene

Words = tuple[str, ...]


def rule(scene: Scene, words: Words) -> Outcome:
    """`rule NAME domain/ip/account TARGET allowed/blocked/suspicious "why"`: the operator makes an abuse rule."""
    name, type_, target, designation, why = words
    made = scene.write(lambda tx: abuse.add(tx, type_.upper(), target, designation.upper(), why))
    scene.rules[name] = made.rule
    return Outcome()


def unrule(scene: Scene, words: Words) -> Outcome:
    """`unrule NAME`: the operator ends an abuse rule."""
    (name,) = words
    scene.write(lambda tx: abuse.end(tx, scene.rules[name]))
    return Outcome()


def sign_up(scene: Scene, words: Words) -> Outcome:
    """`sign-up NAME EMAIL [from ADDRESS]`: somebody asks for a link and follows it; the account is called NAME."""
    name, email, given = words[0], words[1], options(words[2:], ("from",))
    client = given.get("from", "203.0.113.1")
    scene.write(lambda tx: people.ask_to_sign_up(tx, email, client, "http://127.0.0.1:8080"))
    with scene.db.read() as conn:
        newest = outbox.list_for(conn, "", email, 1)[0]
    secret = str(newest.body).partition("token=")[2].split()[0]
    scene.write(lambda tx: people.sign_up(tx, secret, name, client))
    scene.accounts.append(name)
    return Outcome(name)


def clear(scene: Scene, words: Words) -> Outcome:
    """`clear NAME [no-credit]`: a person has looked at an account's flags, and gives the credit that waited, or not."""
    scene.write(lambda tx: abuse.clear_flags(tx, words[0], grant_credit="no-credit" not in words))
    return Outcome(words[0])
