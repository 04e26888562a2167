"""Runs a story: each command against the real parts, what is expected after it, and the invariants after every line.

As a program it tells a story line by line: `python -m tests.stories.runner tests/stories/a_dollar.story`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from purser.core.errors import PurserError
from purser.core.money import NANOS_PER_USD
from tests import databases
from tests.stories.checks import check_line, check_story
from tests.stories.commands import COMMANDS
from tests.stories.expectations import LISTS, fingerprint, mismatch, refusal_mismatch, see
from tests.stories.language import Expectation, Step, Wrong, read
from tests.stories.scene import OWNER, Outcome, Scene

FOLDER = Path(__file__).parent


class StoryFailed(Exception):
    """A story that does not hold: file, line, what was expected and what came."""

    def __init__(self, path: Path, line: int, text: str, *found: str) -> None:
        where = path.relative_to(FOLDER.parents[1]) if path.is_relative_to(FOLDER.parents[1]) else path
        super().__init__("\n".join([f"{where}:{line}: {text}", *(f"    {line}" for line in found)]))


def play(path: Path, told: Callable[[str], None] = lambda _: None) -> None:
    """Run a story twice: in a database file with ordinary leases, and in memory with leases of exactly one hold.

    What a customer sees must not depend on either; where the database is a server's, once. Raises StoryFailed.
    """
    with TemporaryDirectory() as folder:
        play_once(path, Path(folder) / "story.db", lease_nanos=NANOS_PER_USD, told=told)
    if databases.is_sqlite():
        play_once(path, None, lease_nanos=0)


def play_once(path: Path, file: Path | None, *, lease_nanos: int, told: Callable[[str], None] = lambda _: None) -> None:
    """Run a story once, in a database file or in memory; raises StoryFailed."""
    try:
        steps = read(path.read_text())
    except Wrong as error:
        raise StoryFailed(path, 0, str(error)) from None
    scene = Scene(path.stem, file, lease_nanos=lease_nanos)
    with closing(scene):
        account = ""
        for step in steps:
            try:
                account = _play_step(scene, step, account)
            except Wrong as error:
                raise StoryFailed(path, step.line, step.text, str(error)) from None
            except _Differs as error:
                raise StoryFailed(path, error.line, step.text, *error.found, _where(file)) from None
            told(f"{step.text}" + "".join(f"\n        ✓ {item}" for item in step.expected))
        broken = check_story(scene)
        if broken:
            raise StoryFailed(path, steps[-1].line, "after the story", *broken, _where(file))


def _where(file: Path | None) -> str:
    return "(in memory, leases of one hold)" if file is None else "(in a file, ordinary leases)"


class _Differs(Exception):
    """Something is not as expected, at a line."""

    def __init__(self, line: int, *found: str) -> None:
        super().__init__(line)
        self.line, self.found = line, found


def _play_step(scene: Scene, step: Step, account: str) -> str:
    """Do one command and check what is expected after it; answers the account that later lines are about."""
    name, *rest = step.words
    command = COMMANDS.get(name)
    if command is None:
        raise Wrong(f"{name!r} is no command; known: {', '.join(COMMANDS)}")
    if not scene.begun and name not in ("policy", "at"):
        raise Wrong("a story begins with `at` and a time")
    named = next((word for word in rest[:2] if word in scene.accounts), account)
    before = fingerprint(scene, named) if _expects(step, "unchanged") else None
    outcome = Outcome(named or None)
    try:
        outcome = command(scene, tuple(rest))
    except PurserError as refusal:
        outcome.refusal = refusal
        if not _expects(step, "refused"):
            raise _Differs(
                step.line, "expected  that it is done", f"got       {refusal_mismatch(refusal, ['-'])}"
            ) from None
    except (IndexError, ValueError):
        raise Wrong(f"{name} is used so: {command.__doc__}") from None
    outcome.user = next((word for word in rest if word in scene.users), OWNER)
    account = outcome.account or account
    if scene.begun:
        scene.beat()
        _check_expected(scene, step, outcome, account, before)
        broken = check_line(scene)
        if broken:
            raise _Differs(step.line, *broken)
    return account


def _expects(step: Step, word: str) -> bool:
    return any(item.words[0] == word for item in step.expected)


def _check_expected(scene: Scene, step: Step, outcome: Outcome, account: str, before: object) -> None:
    if not step.expected:
        return
    if not account:
        raise Wrong("no account is open yet")
    differing: list[tuple[Expectation, str]] = []
    with scene.db.read() as conn:
        seen = see(scene, conn, outcome, account)
        for item in step.expected:
            word = item.words[0]
            if word == "refused":
                found = refusal_mismatch(outcome.refusal, list(item.words[1:]))
            elif word == "unchanged":
                found = None
            else:
                found = mismatch(seen, item)
            if found is not None:
                differing.append((item, found))
        for word, read_list in LISTS.items():
            told, there = sum(item.words[0] == word for item in step.expected), read_list(seen)
            if told and told != len(there) and not differing:
                differing.append((step.expected[-1], f"{len(there)}: " + "; ".join(f"{word} {item}" for item in there)))
    unchanged = [item for item in step.expected if item.words[0] == "unchanged"]
    if unchanged and not differing and before != fingerprint(scene, account):
        differing.append((unchanged[0], f"{account} changed"))
    if differing:
        lines = [part for item, found in differing for part in (f"expected  {item}", f"got       {found}")]
        raise _Differs(differing[0][0].line, *lines)


def _tell(text: str) -> None:
    sys.stdout.write(f"    {text}\n")


def main(arguments: list[str]) -> int:
    """Tell stories; answers 1 where one does not hold."""
    paths = [Path(name) for name in arguments] or sorted(FOLDER.glob("*.story"))
    for path in paths:
        sys.stdout.write(f"— {path.stem}\n")
        try:
            play(path.resolve(), _tell)
        except StoryFailed as failed:
            sys.stdout.write(f"{failed}\n")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
