"""The login command: an address and a key, tried and then kept as a profile."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from cyclopts import Parameter

from purser.inbound.cli.failure import AUTH, Failure, clean, usage
from purser.inbound.cli.profiles import DEFAULT, Profile, keep_profile
from purser.inbound.cli.show import tell
from purser.inbound.cli.wire import DEFAULT_URL, Caller, at


def login(
    *,
    profile: Annotated[str | None, Parameter(help=f"What to call it; or PURSER_PROFILE, or {DEFAULT!r}.")] = None,
    url: Annotated[str | None, Parameter(help=f"Purser's address; or PURSER_URL, or {DEFAULT_URL}.")] = None,
    api_key: Annotated[str | None, Parameter(help="A key of the account; asked for if no key is given.")] = None,
    operator_key: Annotated[str | None, Parameter(help="The operator's key.")] = None,
    account: Annotated[str | None, Parameter(help="The account to work on; the key's own if not given.")] = None,
) -> None:
    """Keep an address and a key as a profile, once they are found to work.

    Without a key it asks for one, unseen. Other commands use the profile
    named by --profile or PURSER_PROFILE, or the one named default.

    Example: purser login --profile staging --url https://purser.example.com
    """
    given = {
        "--profile": profile,
        "--url": url,
        "--api-key": api_key,
        "--operator-key": operator_key,
        "--account": account,
    }
    for option, value in given.items():
        if value is not None and not value.strip():
            raise usage(f"{option} is empty")
    name = profile or os.environ.get("PURSER_PROFILE") or DEFAULT
    address = url or os.environ.get("PURSER_URL") or DEFAULT_URL
    if api_key is None and operator_key is None:
        api_key = _ask()
    me = Caller(address, api_key or operator_key).get("/v1/me")
    if api_key and me.get("operator"):
        api_key, operator_key = None, api_key
    if operator_key and operator_key != api_key and not Caller(address, operator_key).get("/v1/me").get("operator"):
        raise Failure(
            "--operator-key is a key of an account, not the operator's", code=AUTH, then="Give it with --api-key."
        )
    account = account or me.get("account")
    if account is not None:
        Caller(address, api_key or operator_key).get(at("v1", "accounts", account))
    path = keep_profile(name, Profile(address, api_key, operator_key, account))
    whose = f"{me.get('user')} of {me.get('account')}" if me.get("account") else "the operator"
    tell(f"The profile {clean(name)} is kept in {path}: {whose} at {address}.")


def _ask() -> str:
    """A key from the person at the terminal, or the first line of what is piped in."""
    from getpass import getpass

    key = getpass("API key: ", stream=sys.stderr) if sys.stdin.isatty() else sys.stdin.readline()
    if not key.strip():
        raise usage("no key was given", "Give one with --api-key or --operator-key, or pipe it in.")
    return key.strip()
