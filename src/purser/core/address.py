"""Mail addresses: one plain address in ASCII, as any mail server takes it, and nothing around or beside it."""

from __future__ import annotations

import re

from purser.core.errors import Invalid

_MOST = 254
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")


def is_email(value: object) -> bool:
    """Whether this is one mail address such as "ada@example.com".

    Its name is of letters, digits, dots and the signs of RFC 5322, never quoted; its domain is a host's name, an
    international one in the form that begins with "xn--", and no IP address. It may lack a dot ("purser@localhost").
    """
    return isinstance(value, str) and len(value) <= _MOST and _ADDRESS.fullmatch(value) is not None


def check_email(value: object, field: str = "email") -> str:
    """The address; raises Invalid naming `field` where it is not exactly one."""
    if not is_email(value):
        raise Invalid(
            f'{field} must be one e-mail address such as "ada@example.com", in ASCII (an international domain as '
            f"xn--…), not {value!r:.60}",
            field=field,
        )
    return str(value)
