"""The billing profile's commands: to whom invoices are made out, shown and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import Column, show_one, tell, tell_dry_run

_ADDRESS = ("line1", "line2", "city", "region", "postalCode", "country")
_ONE = (
    Column("name", "name"),
    *(Column(title, f"address.{title}") for title in ("line1", "line2", "city", "region")),
    Column("postal code", "address.postalCode"),
    Column("country", "address.country"),
    Column("tax id", "taxId"),
)


def billed_to_lines(profile: Mapping[str, Any]) -> list[str]:
    """A profile as it stands on an invoice, line by line."""
    address = profile["address"]
    place = " ".join(part for part in (address["postalCode"], address["city"], address["region"]) if part)
    lines = [profile["name"], address["line1"], address["line2"], place, address["country"]]
    return [line for line in [*lines, profile["taxId"] and f"tax id {profile['taxId']}"] if line]


def profile(*, reach: Reach = UNSAID) -> None:
    """Show to whom invoices are made out.

    Example: purser billing profile
    """
    caller = reach.call()
    found = caller.get(reach.within(caller, "billingProfile"))
    if reach.output == "table" and not found["name"]:
        tell("No billing profile. Say to whom invoices are made out with: purser billing set-profile --name N")
    show_one(reach.output, found, found, _ONE)


def set_profile(
    *,
    name: Annotated[str | None, Parameter(help="The company or person.")] = None,
    line1: Annotated[str | None, Parameter(help="Street and number.")] = None,
    line2: Annotated[str | None, Parameter(help="More of the address.")] = None,
    city: Annotated[str | None, Parameter(help="The city.")] = None,
    region: Annotated[str | None, Parameter(help="State or province.")] = None,
    postal_code: Annotated[str | None, Parameter(help="The postal code.")] = None,
    country: Annotated[str | None, Parameter(help="The country as its ISO 3166-1 code, such as DE.")] = None,
    tax_id: Annotated[
        str | None, Parameter(help="In the European Union the VAT identification number, with the country's code.")
    ] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Say to whom invoices are made out that are issued from now on; "" takes a field away.

    Example: purser billing set-profile --name "Ada Works" --country DE --tax-id DE123456789
    """
    values = dict(zip(_ADDRESS, (line1, line2, city, region, postal_code, country), strict=True))
    address = {field: value for field, value in values.items() if value is not None}
    body: dict[str, Any] = {"name": name, "taxId": tax_id, "address": address or None}
    given = {field: value for field, value in body.items() if value is not None}
    if not given:
        raise usage("nothing to change was given", "purser billing set-profile --help lists what can be.")
    caller = reach.call()
    changed = caller.patch(reach.within(caller, "billingProfile"), given, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _ONE)
