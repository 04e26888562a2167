"""What ends a command early: a sentence for stderr, the next step, and the exit code."""

from __future__ import annotations

ERROR, USAGE, AUTH, NOT_FOUND, MONEY, CONFLICT = 1, 2, 4, 5, 6, 7

EXIT_CODES = {401: AUTH, 403: AUTH, 404: NOT_FOUND, 402: MONEY, 412: MONEY, 429: MONEY, 409: CONFLICT}


class Failure(Exception):
    """A command cannot go on; `says` is what happened, `then` what to do about it."""

    def __init__(self, says: str, *, code: int = ERROR, then: str = "", request_id: str = "") -> None:
        super().__init__(says)
        self.says, self.code, self.then, self.request_id = says, code, then, request_id

    def lines(self) -> list[str]:
        """Plain lines for stderr, one for what happened (or for each of several things) and one for the next step."""
        request = f" (request {self.request_id})" if self.request_id else ""
        first, *more = [clean(line) for line in self.says.splitlines()] or [""]
        return [f"purser: {first}{request}", *(f"        {line}" for line in [*more, clean(self.then)] if line)]


def usage(says: str, then: str = "") -> Failure:
    """A wrong option or argument."""
    return Failure(says, code=USAGE, then=then)


def clean(text: object) -> str:
    """Text from elsewhere on one line, without anything that moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()
