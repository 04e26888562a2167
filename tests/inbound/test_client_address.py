"""The network address of a request's client, whatever the client says of itself."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from tests.inbound.house import OPERATOR_KEY, House


@pytest.mark.once
def test_of_several_lines_of_the_header_the_last_is_the_proxys(tmp_path: Path) -> None:
    """Some proxies add a line of their own below the client's, instead of going on with it."""
    house = House(tmp_path, trusted_proxies=("127.0.0.0/8",))
    try:
        house.open("ada")
        line = http.client.HTTPConnection("127.0.0.1", house.operator.port, timeout=30)
        line.putrequest("POST", "/operator/v1/accounts/ada:suspend")
        body = b'{"reason": "x"}'
        for name, value in (
            ("authorization", f"Bearer {OPERATOR_KEY}"),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-for", "192.0.2.1"),
        ):
            line.putheader(name, value)
        line.endheaders(body)
        assert line.getresponse().status == 200
        line.close()
        entry = house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"][0]
        assert entry["clientIp"] == "192.0.2.1"
    finally:
        house.close()
