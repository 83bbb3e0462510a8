"""Walking a vendor's lists as its client, page by page: every customer and every entry is told exactly once."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from conftest import NOT_TRACED, Gateway, StartGateway, demo_config
from loyalty_gateway.adjustment import CustomerReference, Everyone
from loyalty_gateway.customer import CustomersQuery, HistoryQuery, Only
from loyalty_gateway.spec import Contract
from loyalty_gateway.told import ToldCustomers, ToldHistory
from loyalty_gateway.vendor import Answer, Task, ValidRequest, Vendor

pytestmark = NOT_TRACED

Walk = Callable[[str, str, Task], list[Any]]

_CUSTOMERS, _ENTRIES = 70, 130
_KEYS: dict[str, dict[str, str]] = {
    "bitbybit": {"x-api-key": "bbb_test_demo"},
    "mage": {"authorization": "mage_demo_key"},
    "yotpo": {"x-guid": "demo-guid", "x-api-key": "demo-api-key"},
    "salla": {"authorization": "Bearer demo-salla-token"},
    "loyaltylion": {"authorization": "Bearer pat_demo"},
}
_STORE = {"app_key": "demo-app-key", "access_token": "demo-access-token"}
_CUSTOMER_LISTS = {
    ("bitbybit", "listCustomers"),
    ("mage", "listCustomers"),
    ("salla", "List-Customers"),
    ("loyaltylion", "customers.listCustomers"),
}


def _of(namespace: str, *, limit: int | None = 30, **more: Any) -> HistoryQuery:
    return HistoryQuery(customer=CustomerReference(namespace, "1"), limit=limit, **more)


_HISTORIES: list[tuple[str, str, HistoryQuery, int]] = [
    ("bitbybit", "getLoyaltyPointHistory", _of("bitbybit"), 5),
    ("bitbybit", "getLoyaltyPointHistory", _of("bitbybit", limit=None), 2),
    ("mage", "listEarningHistory", _of("shopify"), 5),
    ("mage", "listEarningHistory", _of("shopify", newest_first=False, by_points=True), 5),
    ("salla", "Customer-Loyalty-Points", _of("salla", newest_first=False, only=Only.ADDED), 5),
    ("loyaltylion", "customers.listTransactionsForCustomer", _of("shopify"), 5),
    ("loyaltylion", "customers.listTransactionsForCustomer", _of("shopify", newest_first=False), 5),
    ("loyaltylion", "transactions.listTransactions", HistoryQuery(customer=Everyone.EVERYONE, limit=30), 5),
    ("yotpo", "fetchCustomerDetails", _of("shopify", limit=None, newest_first=False), 1),
    ("yotpo", "retrieveStoreCustomerDetails", _of("shopify", limit=None, newest_first=False), 1),
]
"""What is asked of an operation, and how many pages the answer has."""


@pytest.fixture
def crowd(start_gateway: StartGateway) -> Gateway:
    """A gateway with many customers, of whom the first has many entries, each of other points."""
    config = demo_config()
    config["merchants"]["demo"]["customers"] = [
        {"references": {"shopify": name, "email": f"{name}@example.com", "bitbybit": name, "salla": name}}
        for name in map(str, range(1, _CUSTOMERS + 1))
    ]
    gateway = start_gateway(config)
    for points in range(1, _ENTRIES + 1):
        added = gateway.post("/loyaltylion/v2/customers/1/points", {"points": points}, _KEYS["loyaltylion"])
        assert added.status_code == 201
    return gateway


@pytest.fixture
def walk(crowd: Gateway, vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Walk:
    """Gives what each page tells, from the first to that which leads no further."""

    def walk(vendor: str, operation_id: str, task: Task) -> list[Any]:
        return list(_pages(crowd, vendors[vendor], contracts[vendor], operation_id, task))

    return walk


def _pages(gateway: Gateway, vendor: Vendor, contract: Contract, operation_id: str, task: Task) -> Iterator[Any]:
    (operation,) = (one for one in vendor.operations if one.id == operation_id)
    options = msgspec.convert({}, vendor.options)
    request = operation.render_request(task, options)
    while request is not None:
        answer = _answer(gateway, vendor, contract, operation_id, request)
        yield operation.parse_response(answer, request)
        request = operation.next_request(answer, request)


def _answer(
    gateway: Gateway, vendor: Vendor, contract: Contract, operation_id: str, request: ValidRequest
) -> Answer:
    asked = contract.operations[operation_id]
    is_store = "{app_key}" in asked.path
    path = asked.path.format_map(
        {name: quote(value, safe="") for name, value in (*request.path_values.items(), *_STORE.items())}
    )
    answer = gateway.client.request(
        asked.method,
        f"/{vendor.name}{path}",
        params={**request.query, **({"access_token": _STORE["access_token"]} if is_store else {})},
        headers={} if is_store else _KEYS[vendor.name],
        json=request.body,
    )
    assert answer.status_code == 200, answer.text
    return Answer(answer.status_code, answer.json(), dict(answer.headers))


def test_every_list_of_every_vendor_is_walked(vendors: dict[str, Vendor]) -> None:
    lists = {
        (vendor.name, operation.id)
        for vendor in vendors.values()
        for operation in vendor.operations
        if operation.asks in {CustomersQuery, HistoryQuery}
    }

    assert lists == _CUSTOMER_LISTS | {(vendor, operation_id) for vendor, operation_id, _, _ in _HISTORIES}


@pytest.mark.parametrize(
    ("offset", "count"),
    [
        (0, 4),
        (40, 2),
        # Pages begin at multiples of their size, so these have 5 each.
        (25, 9),
    ],
)
@pytest.mark.parametrize(("vendor", "operation_id"), sorted(_CUSTOMER_LISTS))
def test_every_customer_is_told_once(walk: Walk, vendor: str, operation_id: str, offset: int, count: int) -> None:
    pages = walk(vendor, operation_id, CustomersQuery(limit=20, offset=offset))

    assert all(isinstance(page, ToldCustomers) for page in pages)
    assert len(pages) == count
    newest_first = [f"{number}@example.com" for number in range(_CUSTOMERS, 0, -1)]
    told = [customer.value("email") for page in pages for customer in page.customers]
    assert told == newest_first[offset:]


@pytest.mark.parametrize(("vendor", "operation_id", "query", "count"), _HISTORIES)
def test_every_entry_is_told_once(
    walk: Walk, vendor: str, operation_id: str, query: HistoryQuery, count: int
) -> None:
    pages = walk(vendor, operation_id, query)

    assert all(isinstance(page, ToldHistory) for page in pages)
    assert len(pages) == count
    oldest = list(range(1, _ENTRIES + 1))
    told = [entry.points_delta for page in pages for entry in page.entries]
    assert told == (oldest[::-1] if query.newest_first else oldest)
