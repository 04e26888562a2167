"""The billing profile: what is taken, what is refused and what is said then."""

from __future__ import annotations

import pytest

from purser.core.errors import Invalid
from purser.core.profile import COUNTRIES, LONGEST, Profile, change

ADA = Profile("Ada Works", "Main Street 1", city="Berlin", postal_code="10115", country="DE", tax_id="DE123456789")


def test_only_what_is_given_changes() -> None:
    assert change(ADA, {}) == ADA
    moved = change(ADA, {"line1": "Side Street 2", "line2": "Floor 3"})
    assert moved == Profile(
        "Ada Works", "Side Street 2", "Floor 3", "Berlin", "", "10115", country="DE", tax_id="DE123456789"
    )
    assert change(ADA, {"line1": "", "tax_id": ""}) == Profile(
        "Ada Works", city="Berlin", postal_code="10115", country="DE"
    )


def test_everything_may_be_taken_away() -> None:
    assert change(ADA, dict.fromkeys(("name", "line1", "city", "postal_code", "country", "tax_id"), "")) == Profile()
    assert change(Profile(), {}) == Profile()


def test_blanks_around_and_small_letters_are_put_right() -> None:
    made = change(Profile(), {"name": "  Ada ", "country": "de", "tax_id": "de 123.456-789"})
    assert made == Profile("Ada", country="DE", tax_id="DE123456789")


@pytest.mark.parametrize(
    ("country", "tax_id"),
    [("GR", "EL123456789"), ("FR", "FRXX123456789"), ("US", "12-3456789"), ("CH", "CHE-123.456.789"), ("GB", "A123")],
)
def test_tax_ids_that_are_taken(country: str, tax_id: str) -> None:
    made = change(Profile(), {"name": "A", "country": country, "tax_id": tax_id})
    assert made.tax_id == tax_id.replace("-", "").replace(".", "")


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"country": "XX"}, "country", "ISO 3166-1"),
        ({"country": "DEU"}, "country", "ISO 3166-1"),
        ({"country": ""}, "country", "name needs a country"),
        ({"name": ""}, "name", "to whom"),
        ({"name": "a" * (LONGEST + 1)}, "name", "100 characters"),
        ({"postal_code": "1\n2"}, "postalCode", "postalCode must be one line"),
        ({"tax_id": "FR123456789"}, "taxId", "beginning with DE"),
        ({"tax_id": "DE1"}, "taxId", "4 to 20 letters and digits"),
        ({"tax_id": "DE" + "1" * 19}, "taxId", "4 to 20"),
        ({"tax_id": "DE12345678\u00e4"}, "taxId", "letters and digits"),
        ({"country": "GR", "tax_id": "GR123456789"}, "taxId", "beginning with EL"),
        ({"country": "US", "tax_id": "1/2345"}, "taxId", "digits, not"),
    ],
)
def test_what_is_refused(given: dict[str, str], field: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        change(ADA, given)
    assert refused.value.field == field


def test_an_address_or_a_tax_id_alone_needs_a_country() -> None:
    for name, shown in (("postal_code", "postalCode"), ("tax_id", "taxId"), ("city", "city")):
        with pytest.raises(Invalid, match=f"{shown} needs a country"):
            change(Profile(), {name: "1234"})


def test_the_longest_line_is_taken() -> None:
    assert change(ADA, {"name": "a" * LONGEST}).name == "a" * LONGEST


def test_countries_are_those_of_the_standard() -> None:
    assert len(COUNTRIES) == 249
    assert {"DE", "US", "GB", "TW", "XK", "EU", "UK"} & COUNTRIES == {"DE", "US", "GB", "TW"}
