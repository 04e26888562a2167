"""The named mistakes of callers, each with a code, and the one error that stops the process.

PurserError
├── Invalid            a field is missing or wrong; says which and what would be right   (400)
├── Unauthenticated    no key, or one that is unknown, expired or revoked               (401)
├── Insufficient       money does not cover what was asked                              (402)
├── Forbidden          the key's role or scope does not allow it                        (403)
├── NotFound           there is no such thing, or not for this caller                   (404)
├── Conflict           it exists, or its state does not allow this now                  (409)
├── Suspended          the account is suspended                                         (412)
├── TooLarge           the body is over the limit                                       (413)
├── TooMany            over a request rate                                              (429)
├── Unimplemented      the compatible API has it, Purser does not                       (501)
└── Unavailable        money cannot be held safely just now; try again                  (503)
    └── Unsettled      it ran, and its cost is not written yet: not to be sent again    (503)
Broken                 an invariant does not hold: stop rather than guess
"""

from __future__ import annotations


class PurserError(Exception):
    """A caller's mistake or a refusal; `code` is stable, `message` is for people, `field` names the input."""

    status = 400
    code = "INVALID_ARGUMENT"

    def __init__(self, message: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        if code is not None:
            self.code = code


class Invalid(PurserError):
    """A field is missing or wrong; the message says which and what would be right."""


class Unauthenticated(PurserError):
    """No key was sent, or one that is unknown, expired or revoked."""

    status = 401
    code = "UNAUTHENTICATED"


class Insufficient(PurserError):
    """Money does not cover what was asked."""

    status = 402
    code = "insufficient_headroom"


class Forbidden(PurserError):
    """The key's role or scope does not allow it."""

    status = 403
    code = "PERMISSION_DENIED"


class NotFound(PurserError):
    """There is no such thing, or not for this caller."""

    status = 404
    code = "NOT_FOUND"


class Conflict(PurserError):
    """It exists already, or its state does not allow this now."""

    status = 409
    code = "ALREADY_EXISTS"


class Suspended(PurserError):
    """The account is suspended; the message says why and what lifts it."""

    status = 412
    code = "PRECONDITION_FAILED"


class TooLarge(PurserError):
    """The body is over the limit."""

    status = 413
    code = "request_too_large"


class TooMany(PurserError):
    """Over a request rate."""

    status = 429
    code = "RESOURCE_EXHAUSTED"


class Unimplemented(PurserError):
    """The compatible API has it, and Purser does not; the message says what there is instead."""

    status = 501
    code = "UNIMPLEMENTED"


class Unavailable(PurserError):
    """Money cannot be held safely just now; trying again later is right."""

    status = 503
    code = "UNAVAILABLE"


class Unsettled(Unavailable):
    """A request ran, and whether it is billed is not known yet: sent again, it might be billed twice."""

    code = "settlement_unknown"


class Broken(Exception):
    """An invariant does not hold; the process stops rather than guess."""
