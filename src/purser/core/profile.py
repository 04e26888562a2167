"""The billing profile: to whom an account's invoices are made out, read by simple, stated rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from purser.core.errors import Invalid

LONGEST = 100
COUNTRIES = frozenset(  # ISO 3166-1 alpha-2
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ "
    "CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO "
    "FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE "
    "JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO "
    "MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW "
    "PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM "
    "TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW".split()
)
_EU = frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split())
_TAX_ID = re.compile(r"[A-Z0-9]{4,20}\Z", re.ASCII)
_NAMES = {"postal_code": "postalCode", "tax_id": "taxId"}


@dataclass(frozen=True, slots=True)
class Profile:
    """Name, postal address, country (ISO 3166-1 alpha-2) and tax id; "" for what is not given."""

    name: str = ""
    line1: str = ""
    line2: str = ""
    city: str = ""
    region: str = ""
    postal_code: str = ""
    country: str = ""
    tax_id: str = ""


def change(profile: Profile, given: Mapping[str, str]) -> Profile:
    """A profile with some fields changed, "" taking one away; raises Invalid.

    Each is one line of at most 100 characters. An address or a tax id needs a country, the name of a company or person
    too. A tax id is 4 to 20 letters and digits, spaces, dots and hyphens between them being left out; in a country of
    the European Union it is the VAT identification number, which begins with the country's code (EL for Greece).
    """
    made = replace(profile, **{name: _line(name, value) for name, value in given.items()})
    made = replace(made, country=made.country.upper(), tax_id=re.sub(r"[ .-]", "", made.tax_id).upper())
    if made.country and made.country not in COUNTRIES:
        raise Invalid(f'country must be an ISO 3166-1 code such as "DE", not {made.country!r:.20}', field="country")
    filled = [name for name, value in asdict(made).items() if value and name != "country"]
    if filled and not made.country:
        field = _NAMES.get(filled[0], filled[0])
        raise Invalid(f'{field} needs a country beside it: an ISO 3166-1 code such as "DE"', field="country")
    if made.country and not made.name:
        raise Invalid("name must say to whom invoices are made out", field="name")
    _check_tax_id(made)
    return made


def _line(name: str, value: str) -> str:
    field = _NAMES.get(name, name)
    if len(value) > LONGEST or not value.isprintable():
        raise Invalid(f"{field} must be one line of at most {LONGEST} characters", field=field)
    return value.strip()


def _check_tax_id(profile: Profile) -> None:
    if not profile.tax_id:
        return
    prefix = ("EL" if profile.country == "GR" else profile.country) if profile.country in _EU else ""
    if not _TAX_ID.match(profile.tax_id) or not profile.tax_id.startswith(prefix):
        begins = f", beginning with {prefix}" if prefix else ""
        raise Invalid(
            f"taxId must be 4 to 20 letters and digits{begins}, not {profile.tax_id!r:.40}",
            field="taxId",
        )
