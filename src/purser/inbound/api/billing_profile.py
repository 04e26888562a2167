"""The billing profile: to whom an account's invoices are made out, read and changed."""

from __future__ import annotations

from typing import Any

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType, structs

from purser.core.profile import Profile
from purser.flows import profiles as flow
from purser.flows import standing
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import get, patch
from purser.inbound.api.wire import Body, Name, View
from purser.store import profiles

_PATH = "/v1/accounts/{account:str}/billingProfile"


class AddressView(View):
    """A postal address, the country as its ISO 3166-1 alpha-2 code; "" for what is not given."""

    line1: str
    line2: str
    city: str
    region: str
    postal_code: str
    country: str


class ProfileView(View):
    """To whom invoices are made out; "" for what is not given."""

    name: str
    address: AddressView
    tax_id: str


class ChangedAddress(Body):
    """What is to change of an address; "" takes a field away."""

    line1: str | UnsetType = UNSET
    line2: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    postal_code: str | UnsetType = UNSET
    country: str | UnsetType = UNSET


class ChangedProfile(Body):
    """What is to change of a billing profile; "" takes a field away."""

    name: str | UnsetType = UNSET
    address: ChangedAddress | UnsetType = UNSET
    tax_id: str | UnsetType = UNSET


def view(profile: Profile) -> ProfileView:
    """A profile as it stands, or as an invoice keeps it."""
    address = AddressView(
        *(profile.line1, profile.line2, profile.city, profile.region, profile.postal_code, profile.country)
    )
    return ProfileView(profile.name, address, profile.tax_id)


def _given(data: ChangedProfile) -> dict[str, str]:
    told: dict[str, Any] = structs.asdict(data)
    address = told.pop("address")
    told |= {} if address is UNSET else structs.asdict(address)
    return {name: value for name, value in told.items() if value is not UNSET}


@get(_PATH, MEMBER, counted=False)
def get_billing_profile(request: Call, account: Name) -> ProfileView:
    """Say to whom the account's invoices are made out."""
    with request.desk.read() as conn:
        standing.require(conn, account)
        return view(profiles.get_profile(conn, account))


@patch(_PATH, ADMIN, counted=False)
def update_billing_profile(
    request: Call, account: Name, data: JSONBody[ChangedProfile], dry_run: DryRun = False
) -> Response[ProfileView]:
    """Say to whom invoices are made out that are issued from now on; those issued before stay as they are.

    A tax id is 4 to 20 letters and digits; in a country of the European Union it begins with the country's code.
    """
    given = _given(data)
    return once(request, lambda tx: view(flow.change(tx, account, given)), dry_run=dry_run)


ROUTES = [get_billing_profile, update_billing_profile]
