"""Mail addresses: one plain address passes, whatever else is refused by name."""

from __future__ import annotations

import pytest

from purser.core.address import check_email, is_email
from purser.core.errors import Invalid

GOOD = (
    "ada@example.com",
    "Ada.Lovelace+billing@mail.example.co.uk",
    "o'hara_{x}~1@example.com",
    "purser@localhost",
    "ada@xn--bcher-kva.example",
    "a@b",
    "1@2.c3",
    f"{'a' * 64}@example.com",
    f"a@{'b' * 63}.example",
)
BAD = (
    "",
    "ada",
    "@example.com",
    "ada@",
    "ada@@example.com",
    "a@b@c",
    "a@[",
    "a@[127.0.0.1]",
    "a@127.0.0.1",
    "a@1",
    "a@b,victim@example.com",
    "a@b, victim@example.com",
    "a@b;c@d",
    "a@b c@d",
    "Ada <ada@example.com>",
    "<ada@example.com>",
    '"a b"@example.com',
    '"a@b"@example.com',
    "a(comment)@example.com",
    "ada@example.com(comment)",
    "group:ada@example.com;",
    "a..b@example.com",
    ".a@example.com",
    "a.@example.com",
    "a@.example.com",
    "a@example..com",
    "a@example.com.",
    "a@-example.com",
    "a@example-.com",
    "a@exa_mple.com",
    "ada@example.com\n",
    "ada@example.com\r\nBcc: victim@example.com",
    "\nada@example.com",
    "ada@example.com\x00",
    " ada@example.com",
    "ada@example.com ",
    "ada\t@example.com",
    "ada@exam\u00adple.com",
    "ada@b\u00fccher.example",
    "ad\u00e1@example.com",
    "a@\uff45xample.com",
    "ada\u3000@example.com",
    "ada@example.com\u2028",
    "a@\u0661\u0662.c",
    "=?utf-8?q?a?=@example.com@b",
    "a\\@example.com",
    "a@example.com>",
    f"{'a' * 65}@example.com",
    f"a@{'b' * 64}.example",
    f"a@{'b.' * 130}c",
    None,
    7,
    b"ada@example.com",
    ["ada@example.com"],
)


@pytest.mark.parametrize("address", GOOD)
def test_one_address_is_one(address: str) -> None:
    assert check_email(address) == address


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_whatever_else_is_refused_by_its_field(value: object) -> None:
    assert not is_email(value)
    with pytest.raises(Invalid, match="contact must be one e-mail address") as refused:
        check_email(value, "contact")
    assert refused.value.field == "contact"
