"""How a command reaches Purser: the options that all of them take, from flags, the environment or a profile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from purser.inbound.cli.failure import AUTH, Failure, usage
from purser.inbound.cli.profiles import Profile, choose_profile
from purser.inbound.cli.show import tell
from purser.inbound.cli.wire import DEFAULT_URL, Caller, at

REACH = Group("Reaching Purser, and how to print", sort_key=90)
Format = Literal["table", "json", "csv"]
DryRun = Annotated[bool, Parameter(negative="", help="Show what would be, and change nothing.")]


@Parameter(name="*", group=REACH)
@dataclass(frozen=True)
class Printing:
    """How to print; for commands that call nobody."""

    output: Annotated[Format, Parameter(name=["--output", "-o"], help="How to print what was found.")] = "table"


@Parameter(name="*", group=REACH)
@dataclass(frozen=True)
class Way:
    """Which Purser, as whom and for which account.

    An API key opens its own account, the operator's key every account. Where both are given in one place, as by two
    exported variables, the API key is used for its own account and the operator's key for any other.
    """

    url: Annotated[str | None, Parameter(help=f"Purser's address; or PURSER_URL, or {DEFAULT_URL}.")] = None
    api_key: Annotated[str | None, Parameter(help="A key of the account; or PURSER_API_KEY.")] = None
    operator_key: Annotated[
        str | None,
        Parameter(
            help="The operator's key; or PURSER_OPERATOR_KEY. It opens every account: beside an API key it is used "
            "where --account is another than that key's own."
        ),
    ] = None
    account: Annotated[str | None, Parameter(help="The account; or PURSER_ACCOUNT, or the key's own.")] = None
    profile: Annotated[str | None, Parameter(help="A profile that login made; or PURSER_PROFILE.")] = None

    def levels(self) -> list[Profile]:
        """What was given by flag, by environment and by profile, in the order in which they count."""
        for name in ("url", "api_key", "operator_key", "account", "profile"):
            if getattr(self, name) == "":
                raise usage(f"--{name.replace('_', '-')} is empty")
        flags = Profile(self.url, self.api_key, self.operator_key, self.account)
        names = ("PURSER_URL", "PURSER_API_KEY", "PURSER_OPERATOR_KEY", "PURSER_ACCOUNT")
        environment = Profile(*(os.environ.get(name) or None for name in names))
        return [flags, environment, choose_profile(self.profile or os.environ.get("PURSER_PROFILE") or None)]

    @property
    def address(self) -> str:
        """Purser's URL."""
        return next((level.url for level in self.levels() if level.url), DEFAULT_URL)

    def call(self, account: str | None = None) -> Caller:
        """A caller for the routes of an account, by default the one named by option, environment or profile.

        The first place that gives a key decides. Where it gives the account's and the operator's, the account's key
        is used for its own account and the operator's for every other, which is then said.
        """
        level = self._first_with_key()
        named = account or self.named
        if not level.api_key or (level.operator_key and named and not self._owns(level.api_key, named)):
            return Caller(self.address, level.operator_key, operator=True)
        return Caller(self.address, level.api_key)

    def _owns(self, key: str, account: str) -> bool:
        own = Caller(self.address, key).get("/v1/me")["account"]
        if own not in (None, account):
            tell(f"The API key is {own}'s; for {account} the operator's key is used.")
        return bool(own == account)

    def call_for_all(self) -> Caller:
        """A caller for what the operator sees of every account, and anybody else of their own."""
        level = self._first_with_key()
        if level.operator_key:
            return Caller(self.address, level.operator_key, operator=True)
        return Caller(self.address, level.api_key)

    def _first_with_key(self) -> Profile:
        level = next((level for level in self.levels() if level.api_key or level.operator_key), None)
        if level is None:
            raise Failure(
                "no key to call Purser with",
                code=AUTH,
                then="Give one with --api-key or PURSER_API_KEY, or keep one with: purser login",
            )
        return level

    @property
    def named(self) -> str | None:
        """The account that was named, if one was."""
        return next((level.account for level in self.levels() if level.account), None)

    def call_as_operator(self) -> Caller:
        """A caller for the operator's routes."""
        key = next((level.operator_key for level in self.levels() if level.operator_key), None)
        if key is None:
            raise Failure(
                "this is the operator's, and no operator key was given",
                code=AUTH,
                then="Give it with --operator-key or PURSER_OPERATOR_KEY; purser init printed it once.",
            )
        return Caller(self.address, key, operator=True)

    def account_of(self, caller: Caller) -> str:
        """The account to work on: the one named, else the key's own."""
        if self.named is not None:
            return self.named
        own = None if caller.operator else caller.get("/v1/me")["account"]
        if own is None:
            raise usage(
                "which account? The operator's key may work on any", "Name one with --account or PURSER_ACCOUNT."
            )
        return str(own)

    def within(self, caller: Caller, *parts: str) -> str:
        """A path below the account: ("quotas",) is "/v1/accounts/ada/quotas"."""
        return at("v1", "accounts", self.account_of(caller), *parts)


@Parameter(name="*", group=REACH)
@dataclass(frozen=True)
class Reach(Way):
    """Which Purser, as whom, for which account, and how to print."""

    output: Annotated[Format, Parameter(name=["--output", "-o"], help="How to print what was found.")] = "table"


UNSAID = Reach()
