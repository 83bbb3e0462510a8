"""Refusals by order: which one a status means, and rate limits until they are over."""

from __future__ import annotations

import httpx
import pytest
from kit_client import ask, defects, dialect_of, enrol_jane

from loyalty_gateway.problem import Code
from loyalty_gateway.spec import Contract
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.testing.served import serving
from loyalty_gateway.vendor import Vendor, discover

VENDORS = sorted(discover())
NEW_YEAR = "2031-01-01T00:00:00Z"


@pytest.fixture
def gateway(loyalty_gateway: Gateway) -> Gateway:
    enrol_jane(loyalty_gateway)
    return loyalty_gateway


def refused_by_order(gateway: Gateway, vendor: str, status: int) -> httpx.Response:
    gateway.faults.status(vendor, status)
    answer = ask(gateway, vendor)
    assert gateway.requests[-1].fault == "status"
    return answer


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_refusal_is_one_that_the_vendor_documents_where_there_is_one(
    gateway: Gateway, vendors: dict[str, Vendor], contracts: dict[str, Contract], vendor: str, status: int
) -> None:
    gateway.faults.status(vendor, status)

    answer = ask(gateway, vendor)

    assert answer.status_code == status
    if answer.headers["content-type"].startswith("application/json"):
        assert defects(vendors[vendor], contracts[vendor], gateway.requests[-1].operation, answer) == []
    else:
        # That of something before the vendor, which has no such status itself.
        assert (vendor, status) in {("salla", 403), ("salla", 404), ("yotpo", 404)}
    assert gateway.wallet(shopify="6789012345").available == 0


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_rate_limit_is_told_as_the_vendor_tells_it(
    gateway: Gateway, vendors: dict[str, Vendor], contracts: dict[str, Contract], vendor: str
) -> None:
    gateway.faults.rate_limit(vendor, seconds=30)

    answer = ask(gateway, vendor)

    assert answer.status_code == 429
    assert defects(vendors[vendor], contracts[vendor], gateway.requests[-1].operation, answer) == []
    told = {name: value for name, value in answer.headers.items() if name.endswith("remaining")}
    assert set(told.values()) <= {"0"}


def test_a_rate_limit_refuses_whoever_asks_until_the_clock_says_that_it_is_over(gateway: Gateway) -> None:
    gateway.clock.freeze(NEW_YEAR)
    gateway.faults.rate_limit("bitbybit", seconds=60, nth=2)
    answers = [ask(gateway, "bitbybit") for _ in range(4)]

    gateway.clock.advance(seconds=59)
    answers.append(ask(gateway, "bitbybit"))
    gateway.clock.advance(seconds=1)

    assert [answer.status_code for answer in answers] == [200, 429, 429, 429, 429]
    assert [answer.headers["ratelimit-reset"] for answer in answers[1:]] == ["60", "60", "60", "1"]
    assert [ask(gateway, "bitbybit").status_code for _ in range(2)] == [200, 200]
    assert gateway.faults.ordered()[0].done == 4


def test_rate_limits_come_as_often_as_they_are_ordered(gateway: Gateway) -> None:
    # In floating-point numbers the sum of these two is later than it is in microseconds.
    gateway.clock.freeze("2031-01-01T00:00:00.539235Z")
    gateway.faults.rate_limit("mage", seconds=0.832, times=2)
    statuses = []

    for _ in range(3):
        statuses += [ask(gateway).status_code for _ in range(2)]
        gateway.clock.advance(seconds=0.832)

    assert statuses == [429, 429, 429, 429, 200, 200]


def test_nobody_is_told_to_come_back_before_a_rate_limit_is_over(gateway: Gateway) -> None:
    gateway.clock.freeze(NEW_YEAR)
    gateway.faults.rate_limit("bitbybit", seconds=1.4)

    gateway.clock.advance(seconds=float(ask(gateway, "bitbybit").headers["ratelimit-reset"]))

    assert ask(gateway, "bitbybit").status_code == 200


@pytest.mark.parametrize("vendor", VENDORS)
def test_401_is_that_of_wrong_credentials(gateway: Gateway, vendor: str) -> None:
    wrong = {name: f"{value}x" for name, value in gateway.headers(vendor).items()}
    really = ask(gateway, vendor, headers=wrong)

    answer = refused_by_order(gateway, vendor, 401)

    assert (answer.status_code, answer.json()) == (401, really.json())


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_missing_scope_is_the_one_that_the_operation_needs(vendors: dict[str, Vendor], vendor: str) -> None:
    credential = {field: f"a-{field}-that-reads" for field in vendors[vendor].credential_forms[0]}
    may_read = {"merchant": "demo", **credential, "scopes": vendors[vendor].scopes[:1]}
    config = {"merchants": {"demo": {}}, "vendors": {vendor: {"credentials": [may_read]}}}

    with serving() as served, served.gateway(config) as gateway:
        really = ask(gateway, vendor)
        gateway.faults.status(vendor, code="insufficient_scope")
        answers = [ask(gateway, vendor)]
        if really.status_code == 403:
            answers.append(refused_by_order(gateway, vendor, 403))

    assert really.status_code in {401, 403}
    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (really.status_code, really.json()) for _ in answers
    ]


@pytest.mark.parametrize("vendor", VENDORS)
def test_that_of_an_invalid_request_tells_of_a_field_that_was_sent(gateway: Gateway, vendor: str) -> None:
    sent = dialect_of(vendor).body(10, "Hello")
    really = ask(gateway, vendor, json=sent | {"points": "many", "adjustment": "much", "customer_email": 5})

    answer = refused_by_order(gateway, vendor, really.status_code)

    assert answer.status_code == really.status_code
    assert next(iter(sent)) in answer.text


@pytest.mark.parametrize(
    ("vendor", "status", "path", "told"),
    [
        ("mage", 404, "/v1/customers/6789012345/points", "Customer '6789012345' not found"),
        ("mage", 404, "/v1/customers", "Resource not found"),
        ("mage", 400, "/v1/customers/6789012345/points", "adjustment is not valid"),
        ("mage", 403, "/v1/customers/6789012345/points", "read-only"),
        ("bitbybit", 409, "/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust", "idempotency key"),
        ("bitbybit", 409, "/customer/api/open/v1/customers", "exists already"),
        ("loyaltylion", 422, "/v2/customers/6789012345/points", "blocked"),
    ],
)
def test_a_status_is_told_as_such_a_request_can_be_refused(
    gateway: Gateway, vendor: str, status: int, path: str, told: str
) -> None:
    gateway.faults.status(vendor, status)

    answer = httpx.post(
        gateway.url(vendor) + path, headers=gateway.headers(vendor), json=dialect_of(vendor).body(10, "Hello")
    )

    assert answer.status_code == status
    assert told in answer.text


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_refusal_can_be_ordered_by_its_code(
    gateway: Gateway, vendors: dict[str, Vendor], contracts: dict[str, Contract], vendor: str
) -> None:
    for code in Code:
        gateway.faults.status(vendor, code=code.value)

        answer = ask(gateway, vendor)

        assert answer.status_code >= 400, code
        if answer.headers["content-type"].startswith("application/json"):
            assert defects(vendors[vendor], contracts[vendor], gateway.requests[-1].operation, answer) == [], code
        else:
            assert (vendor, code) in {("yotpo", Code.UNKNOWN_PATH), ("yotpo", Code.WRONG_METHOD)}

    assert gateway.wallet(shopify="6789012345").available == 0


def test_a_code_decides_between_refusals_of_one_status(gateway: Gateway) -> None:
    codes = (Code.UNREADABLE, Code.AMOUNT_OUT_OF_RANGE, Code.TOO_FEW_POINTS)
    for code in codes:
        gateway.faults.status("mage", code=code)

    answers = [ask(gateway) for _ in codes]

    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert len({answer.text for answer in answers}) == 3
