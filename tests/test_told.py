"""What is told of names: those that another ledger made up for its customers mean nobody here."""

from typing import Any

import msgspec
import pytest

from loyalty_gateway.adjustment import CustomerReference
from loyalty_gateway.told import ToldCustomer, names_here, told_names
from loyalty_gateway.vendor import Answer, ValidRequest, Vendor

_JANES_EMAIL = CustomerReference("email", "jane@example.com")
_EMAIL = {"email": "Jane@Example.com"}
_SHOWN = {
    ("bitbybit", "getCustomer"): {"data": {"id": "wallet_7", **_EMAIL}},
    ("mage", "getCustomer"): {
        "data": {"id": "wallet_7", "attributes": {"shopify_customer_id": "wallet_7", **_EMAIL}}
    },
    ("yotpo", "fetchCustomerDetails"): {"third_party_id": "wallet_7", "phone_number": "wallet_7", **_EMAIL},
    ("salla", "Customer-Details"): {"data": {"id": 9_000_000_000_000_007, **_EMAIL}},
    ("loyaltylion", "customers.updateCustomer"): {
        "customer": {"id": 7, "merchant_id": "wallet_7", "linked_merchant_ids": ["wallet_8"], **_EMAIL}
    },
}
"""Answers of each vendor's server about a customer to whom nobody but a ledger has given an id."""


@pytest.mark.parametrize(("vendor", "operation_id"), _SHOWN)
def test_a_name_that_is_another_ledgers_own_is_not_told(
    vendors: dict[str, Vendor], vendor: str, operation_id: str
) -> None:
    (operation,) = (one for one in vendors[vendor].operations if one.id == operation_id)
    request = ValidRequest(options=msgspec.convert({}, vendors[vendor].options))
    body: Any = _SHOWN[vendor, operation_id]

    told = operation.parse_response(Answer(200, body), request)

    assert isinstance(told, ToldCustomer)
    assert told.references == (_JANES_EMAIL,)


def test_every_vendor_is_asked(vendors: dict[str, Vendor]) -> None:
    assert {vendor for vendor, _ in _SHOWN} == vendors.keys()


def test_what_only_looks_like_a_ledgers_own_name_is_told() -> None:
    names = told_names(
        ("shopify", 7), ("shopify", "wallet_07"), ("shopify", "wallet_seven"), ("email", "wallet_7")
    )

    assert [str(name) for name in names] == [
        "shopify:7",
        "shopify:wallet_07",
        "shopify:wallet_seven",
        "email:wallet_7",
    ]


def test_names_are_told_once_and_in_their_order() -> None:
    shop = CustomerReference("shopify", "6789012345")

    assert names_here([shop, _JANES_EMAIL, shop]) == (shop, _JANES_EMAIL)
    assert told_names(("shopify", None), ("email", "")) == ()
