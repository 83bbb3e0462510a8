"""bitbybit: a wallet by itself, its history in pages, and customers made, read and listed."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Lifetime, Merchant
from loyalty_gateway.ledger.sqlite import SqliteLedger
from stores import SqliteFile

_HALF_PAST_TEN = 1_705_314_600_000_000
_KEY = {"x-api-key": "bbb_test_demo"}
_PREFIX = "/bitbybit/customer/api/open/v1"
_CUSTOMERS = f"{_PREFIX}/customers"
_ADA = {"email": "ada@example.com", "phoneNumber": "+62812000111", "firstName": "Ada", "lastName": "Ögren"}
_READS = (
    "/customers",
    "/customers/cust_abc123",
    "/loyalty/customers/cust_abc123/wallet",
    "/loyalty/customers/cust_abc123/history",
)


def _get(gateway: Gateway, path: str, headers: dict[str, str] | None = None, **query: Any) -> httpx2.Response:
    return gateway.client.get(_PREFIX + path, params=query, headers=_KEY | (headers or {}))


def _answered(answer: httpx2.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _refusal(answer: httpx2.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
    return answer.status_code, body["error"]["code"], body["error"]["message"]


def _adjust(gateway: Gateway, points: int, customer: str = "cust_abc123", **more: Any) -> dict[str, Any]:
    """Adjusts and gives the entry of the answer."""
    body = {"direction": "add" if points > 0 else "deduct", "points": abs(points), "reason": "r", **more}
    answer = gateway.post(f"{_PREFIX}/loyalty/customers/{customer}/points/adjust", body, _KEY)
    entry: dict[str, Any] = _answered(answer)["data"]["ledger"]
    return entry


def _create(gateway: Gateway, **details: Any) -> str:
    created = _answered(gateway.post(_CUSTOMERS, details, _KEY), 201)
    return str(created["data"]["id"])


def _history(gateway: Gateway, customer: str = "cust_abc123", **query: Any) -> dict[str, Any]:
    return _answered(_get(gateway, f"/loyalty/customers/{customer}/history", **query))


def _deltas(page: dict[str, Any]) -> list[str]:
    return [entry["pointsDelta"] for entry in page["data"]]


def _ids(gateway: Gateway, **query: Any) -> list[str]:
    return [customer["id"] for customer in _answered(_get(gateway, "/customers", **query))["data"]]


def _fill(gateway: Gateway, points: Iterable[int]) -> None:
    """Adjusts Jane's points through a ledger of its own on the gateway's file, many in each commit."""

    async def adjust_all() -> None:
        ledger = SqliteLedger(str(gateway.ledger))
        await ledger.open()
        await asyncio.gather(*(ledger.adjust(_instruction(amount)) for amount in points))
        await ledger.close()

    asyncio.run(adjust_all())


def _instruction(points: int) -> Instruction:
    adjustment = Adjustment(
        customers=(CustomerReference("bitbybit", "cust_abc123"),),
        points_delta=points,
        lifetime=Lifetime.EARN_AND_BURN,
    )
    return Instruction(merchant=Merchant(name="demo"), vendor="bitbybit", adjustment=adjustment)


def _spelt(microseconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


@pytest.fixture
def at_half_past_ten(start_gateway: StartGateway, tmp_path: Path) -> Gateway:
    """A gateway whose clock stands still."""
    file = SqliteFile(tmp_path / "at-half-past.db")
    return start_gateway(store=file, ledger=file.ledger(clock=lambda: _HALF_PAST_TEN))


# The wallet


def test_a_wallet_is_read_as_the_adjustment_answered_it(gateway: Gateway) -> None:
    _adjust(gateway, 80)
    adjusted = gateway.post(
        f"{_PREFIX}/loyalty/customers/cust_abc123/points/adjust",
        {"direction": "deduct", "points": 30, "reason": "r"},
        _KEY,
    )

    answer = _get(gateway, "/loyalty/customers/cust_abc123/wallet")

    assert answer.headers["content-type"] == "application/json"
    assert _answered(answer) == {"data": adjusted.json()["data"]["wallet"]}
    assert {name: value for name, value in answer.json()["data"].items() if name.endswith("Points")} == {
        "availablePoints": "50",
        "reservedPoints": "0",
        "lifetimeEarnedPoints": "80",
        "lifetimeBurnedPoints": "30",
    }


def test_a_wallet_that_nothing_happened_to_has_no_moment_of_its_ledger(at_half_past_ten: Gateway) -> None:
    answer = _get(at_half_past_ten, "/loyalty/customers/cust_def456/wallet")

    assert _answered(answer) == {
        "data": {
            "id": "2",
            "companyId": 1,
            "customerId": "cust_def456",
            "availablePoints": "0",
            "reservedPoints": "0",
            "lifetimeEarnedPoints": "0",
            "lifetimeBurnedPoints": "0",
            "version": "0",
            "lastLedgerAt": None,
            "createdAt": "2024-01-15T10:30:00.000Z",
            "updatedAt": "2024-01-15T10:30:00.000Z",
        }
    }


# The history


def test_a_history_shows_the_entries_of_the_adjustments_newest_first(gateway: Gateway) -> None:
    added = _adjust(gateway, 50, idempotencyKey="adj-1", metadata={"ticket": 4711})
    deducted = _adjust(gateway, -20)

    page = _history(gateway)

    assert page == {
        "data": [deducted, added],
        "pagination": {"limit": 20, "hasMore": False, "nextBefore": None},
    }


def test_a_history_in_which_nothing_happened_is_empty(gateway: Gateway) -> None:
    _adjust(gateway, 50)

    page = _history(gateway, "cust_def456")

    assert page == {"data": [], "pagination": {"limit": 20, "hasMore": False, "nextBefore": None}}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("all", ["4", "-3", "2", "-1", "10"]),
        ("points_added", ["4", "2", "10"]),
        ("points_deducted", ["-3", "-1"]),
    ],
)
def test_a_history_is_filtered_by_direction(gateway: Gateway, chosen: str, expected: list[str]) -> None:
    for points in (10, -1, 2, -3, 4):
        _adjust(gateway, points)

    whole = _history(gateway, filter=chosen)
    first = _history(gateway, filter=chosen, limit=2)

    assert _deltas(whole) == expected
    assert _deltas(first) == expected[:2]
    assert first["pagination"]["hasMore"] == (len(expected) > 2)


def test_a_filtered_history_is_led_on_by_next_before_too(gateway: Gateway) -> None:
    for points in (10, -1, 2, -3, 4, -5):
        _adjust(gateway, points)

    first = _history(gateway, filter="points_deducted", limit=2)
    last = _history(gateway, filter="points_deducted", limit=2, before=first["pagination"]["nextBefore"])

    assert (_deltas(first), _deltas(last)) == (["-5", "-3"], ["-1"])
    assert last["pagination"] == {"limit": 2, "hasMore": False, "nextBefore": None}


def test_a_page_that_ends_with_the_oldest_entry_is_the_last(gateway: Gateway) -> None:
    for points in (1, 2, 3, 4):
        _adjust(gateway, points)

    first = _history(gateway, limit=2)
    last = _history(gateway, limit=2, before=first["pagination"]["nextBefore"])

    assert (_deltas(first), _deltas(last)) == (["4", "3"], ["2", "1"])
    assert [page["pagination"]["hasMore"] for page in (first, last)] == [True, False]


def test_entries_of_one_millisecond_are_paged_exactly(at_half_past_ten: Gateway) -> None:
    _fill(at_half_past_ten, range(1, 6))
    for points in range(6, 10):
        _adjust(at_half_past_ten, points)

    shown, moments = [], set()
    query: dict[str, Any] = {"limit": 2}
    while query:
        page = _history(at_half_past_ten, **query)
        shown += _deltas(page)
        moments |= {entry["occurredAt"] for entry in page["data"]}
        following = page["pagination"]["nextBefore"]
        query = {"limit": 2, "before": following} if following else {}

    assert len(moments) < len(shown)
    assert shown == [str(points) for points in range(9, 0, -1)]


def test_before_excludes_the_moment_that_it_names(gateway: Gateway) -> None:
    _fill(gateway, (1, 2, 3))
    moments = [entry["occurred_at"] for entry in gateway.entries()]

    at_the_second = _history(gateway, before=_spelt(moments[1]))
    just_after = _history(gateway, before=_spelt(moments[1] + 1))
    before_all = _history(gateway, before=_spelt(moments[0]))

    assert [_deltas(page) for page in (at_the_second, just_after, before_all)] == [["1"], ["2", "1"], []]


@pytest.mark.parametrize(
    ("before", "is_later"),
    [
        ("2024-01-15T10:30:00Z", False),
        ("2024-01-15T17:30:00+07:00", False),
        ("2024-01-15T10:30:00.000001Z", False),
        ("2024-01-15T10:30:00.000002Z", True),
        ("2024-01-15t10:30:01z", True),
        ("2024-01-15T05:30:00.5-05:00", True),
        ("2024-01-15T10:30:01Z\n", True),
        ("9999-12-31T23:59:59.999999999-23:59", True),
        ("0001-01-01T00:00:00+23:59", False),
    ],
)
def test_before_is_a_moment_in_any_zone(at_half_past_ten: Gateway, before: str, *, is_later: bool) -> None:
    _adjust(at_half_past_ten, 5)
    # Behind the microsecond of the wallet itself.
    assert at_half_past_ten.entries()[0]["occurred_at"] == _HALF_PAST_TEN + 1

    page = _history(at_half_past_ten, before=before)

    assert _deltas(page) == (["5"] if is_later else [])


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", "limit must be at least 1"),
        ("limit=101", "limit must be at most 100"),
        ("limit=ten", "limit is not valid"),
        ("limit=", "limit is not valid"),
        ("filter=points_lost", "filter must be one of: all, points_added, points_deducted"),
        ("before=yesterday", "before is not valid"),
        ("before=2024-01-15", "before is not valid"),
        ("before=2024-01-15T10:30:00", "before is not valid"),
        ("before=2024-02-30T10:30:00Z", "before is not valid"),
    ],
)
def test_a_bad_place_in_a_history_is_a_validation_error_on_its_field(
    gateway: Gateway, query: str, told: str
) -> None:
    answer = gateway.client.get(f"{_PREFIX}/loyalty/customers/cust_abc123/history?{query}", headers=_KEY)

    assert _refusal(answer) == (400, "VALIDATION_ERROR", told)


def test_a_walk_over_10000_entries_shows_each_once_while_others_are_written(gateway: Gateway) -> None:
    _fill(gateway, (7 if number % 5 else -3 for number in range(1, 10_001)))
    at_the_start = [str(entry["id"]) for entry in reversed(gateway.entries())]

    walked: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = _history(gateway, limit=100, **before)
        walked += [entry["id"] for entry in page["data"]]
        if not page["pagination"]["hasMore"]:
            break
        before = {"before": page["pagination"]["nextBefore"]}
        _adjust(gateway, 1)

    assert len(at_the_start) == 10_000
    assert walked == at_the_start


# Making customers


def test_a_customer_is_made_and_read_again(at_half_past_ten: Gateway) -> None:
    created = at_half_past_ten.post(_CUSTOMERS, {**_ADA, "tags": ["vip", "eu"]}, _KEY)

    assert _answered(created, 201) == {
        "data": {
            "id": "wallet_3",
            "email": "ada@example.com",
            "phoneNumber": "+62812000111",
            "firstName": "Ada",
            "lastName": "Ögren",
            "imageUrl": None,
            "tags": ["vip", "eu"],
            "addresses": [],
            "createdAt": "2024-01-15T10:30:00.000Z",
            "updatedAt": "2024-01-15T10:30:00.000Z",
        }
    }
    assert _answered(_get(at_half_past_ten, "/customers/wallet_3")) == created.json()


@pytest.mark.parametrize("details", [{"email": "ada@example.com"}, {"phoneNumber": "+62812000111"}])
def test_an_email_or_a_phone_number_alone_makes_a_customer(gateway: Gateway, details: dict[str, str]) -> None:
    customer = _create(gateway, **details)

    read = _answered(_get(gateway, f"/customers/{customer}"))["data"]
    assert {name: read[name] for name in ("email", "phoneNumber", "firstName", "lastName", "tags")} == {
        "email": None,
        "phoneNumber": None,
        "firstName": None,
        "lastName": None,
        "tags": [],
    } | details


def test_a_customer_just_made_is_adjusted_and_has_a_wallet_and_a_history(gateway: Gateway) -> None:
    customer = _create(gateway, email="ada@example.com")

    entry = _adjust(gateway, 25, customer)

    wallet = _answered(_get(gateway, f"/loyalty/customers/{customer}/wallet"))["data"]
    assert (wallet["customerId"], wallet["availablePoints"]) == (entry["customerId"], "25") == (customer, "25")
    assert _history(gateway, customer)["data"] == [entry]


@pytest.mark.parametrize(
    "details",
    [
        {"email": "jane@example.com"},
        {"email": " Jane@EXAMPLE.com"},
        {"phoneNumber": "+62812000111"},
        {"phoneNumber": " +62812000111 "},
        {"email": "new@example.com", "phoneNumber": "+62812000111"},
        {"email": "jane@example.com", "phoneNumber": "+62812000222"},
        {"email": "jane@example.com", "phoneNumber": "+62812000111"},
    ],
)
def test_an_email_or_phone_number_that_somebody_has_is_a_conflict_and_changes_nobody(
    gateway: Gateway, details: dict[str, str]
) -> None:
    _create(gateway, **_ADA)
    before = _answered(_get(gateway, "/customers"))

    answer = gateway.post(_CUSTOMERS, {**details, "firstName": "Eve", "tags": ["taken"]}, _KEY)

    assert _refusal(answer)[:2] == (409, "CONFLICT")
    assert _answered(_get(gateway, "/customers")) == before


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "email is required"),
        ({"firstName": "Ada"}, "email is required"),
        ({"email": "ada"}, "email is not valid"),
        ({"email": ""}, "email is not valid"),
        ({"phoneNumber": "  "}, "phoneNumber is not valid"),
        ({"phoneNumber": 62812}, "phoneNumber must be of type string"),
        ({**_ADA, "tags": "vip"}, "tags must be of type array"),
        ({**_ADA, "tags": [7]}, "tags.0 must be of type string"),
        ({**_ADA, "firstName": None}, "firstName must be of type string"),
        ([], "the request body must be of type object"),
    ],
)
def test_a_customer_who_cannot_be_made_is_a_validation_error(gateway: Gateway, body: Any, told: str) -> None:
    answer = gateway.post(_CUSTOMERS, body, _KEY)

    assert _refusal(answer) == (400, "VALIDATION_ERROR", told)
    assert len(gateway.rows("SELECT * FROM wallets")) == 2


def test_pictures_and_addresses_are_taken_and_not_kept(gateway: Gateway) -> None:
    address = {"address1": "Jl. Sudirman 1", "city": "Jakarta", "mainAddress": True}

    customer = _create(gateway, **_ADA, imageUrl="https://example.com/ada.png", addresses=[address])

    read = _answered(_get(gateway, f"/customers/{customer}"))["data"]
    assert (read["imageUrl"], read["addresses"]) == (None, [])


# Reading customers


def test_a_customer_of_the_configuration_is_read_by_id(gateway: Gateway) -> None:
    customer = _answered(_get(gateway, "/customers/cust_abc123"))["data"]

    assert (customer["id"], customer["email"], customer["phoneNumber"]) == (
        "cust_abc123",
        "jane@example.com",
        None,
    )


@pytest.mark.parametrize(
    "text", ["jane@example.com", "JANE@Example.com", "jane%40example.com", " jane@example.com"]
)
def test_a_customer_found_by_email_is_adjusted_by_the_id_found(gateway: Gateway, text: str) -> None:
    found = gateway.client.get(f"{_CUSTOMERS}?search={text}", headers=_KEY)
    (customer,) = _answered(found)["data"]

    entry = _adjust(gateway, 10, customer["id"])

    assert (entry["customerId"], entry["availableAfter"]) == ("cust_abc123", "10")


def test_a_customer_whom_another_vendor_enrolled_is_found_and_adjusted_too(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)
    enrolled = gateway.post(
        "/mage/v1/customers/cleo@example.com/points", {"adjustment": 5}, {"authorization": "mage_demo_key"}
    )
    assert enrolled.status_code == 200

    (cleo,) = _ids(gateway, search="Cleo@Example.com")
    entry = _adjust(gateway, 10, cleo)

    assert (cleo, entry["availableAfter"]) == ("wallet_3", "15")
    assert _deltas(_history(gateway, cleo)) == ["10", "5"]


# Lists of customers


@pytest.fixture
def people(gateway: Gateway) -> Gateway:
    """Beside Jane and Omar, who are tagged nothing: Ada, Bob and Cem, made in this order."""
    _create(gateway, **_ADA, tags=["vip", "eu"])
    _create(gateway, email="bob@example.org", firstName="Bob", tags=["vip"])
    _create(gateway, phoneNumber="+62812000333", firstName="Cem", lastName="Bobson", tags=["eu"])
    return gateway


_JANE, _OMAR, _WALLETS = "cust_abc123", "cust_def456", ("wallet_3", "wallet_4", "wallet_5")


def test_a_list_shows_customers_as_they_are_read_one_by_one(people: Gateway) -> None:
    page = _answered(_get(people, "/customers"))

    assert [customer["id"] for customer in page["data"]] == [*_WALLETS[::-1], _OMAR, _JANE]
    assert page["meta"] == {"page": 1, "limit": 20, "total": 5, "hasNextPage": False}
    for customer in page["data"]:
        assert _answered(_get(people, f"/customers/{customer['id']}"))["data"] == customer


def test_a_list_is_paged_and_tells_whether_there_is_a_next_page(people: Gateway) -> None:
    pages = [_answered(_get(people, "/customers", page=number, limit=2)) for number in (1, 2, 3, 4)]

    assert [[customer["id"] for customer in page["data"]] for page in pages] == [
        ["wallet_5", "wallet_4"],
        ["wallet_3", _OMAR],
        [_JANE],
        [],
    ]
    assert [page["meta"] for page in pages] == [
        {"page": number, "limit": 2, "total": 5, "hasNextPage": number < 3} for number in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"search": "example.com"}, {_JANE, _OMAR, "wallet_3"}),
        ({"search": "ADA@Example"}, {"wallet_3"}),
        ({"search": "öGREN"}, {"wallet_3"}),
        ({"search": "cem bob"}, {"wallet_5"}),
        ({"search": "bob"}, {"wallet_4", "wallet_5"}),
        ({"search": "+62812000"}, {"wallet_3", "wallet_5"}),
        ({"search": "cust_abc123"}, set()),
        ({"search": "%"}, set()),
        ({"search": "bob+tag@example"}, set()),
        ({"tags": "vip"}, {"wallet_3", "wallet_4"}),
        ({"tags": "vip, eu"}, {"wallet_3"}),
        ({"tags": "VIP"}, set()),
        ({"source": "api"}, set(_WALLETS)),
        ({"source": "shopify,api"}, set(_WALLETS)),
        ({"source": "shopify"}, set()),
        ({"search": "bob", "tags": "eu", "source": "api"}, {"wallet_5"}),
    ],
)
def test_a_list_is_searched_and_filtered(people: Gateway, query: dict[str, Any], found: set[str]) -> None:
    page = _answered(_get(people, "/customers", **query))

    assert {customer["id"] for customer in page["data"]} == found
    assert page["meta"]["total"] == len(found)


def test_a_plus_that_was_not_escaped_still_finds_the_phone_number(people: Gateway) -> None:
    answer = people.client.get(f"{_CUSTOMERS}?search=+62812000333", headers=_KEY)

    assert [customer["id"] for customer in _answered(answer)["data"]] == ["wallet_5"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("updatedAt:desc", [_JANE, "wallet_5", "wallet_4", "wallet_3", _OMAR]),
        ("updatedAt:asc", [_OMAR, "wallet_3", "wallet_4", "wallet_5", _JANE]),
        ("createdAt:desc", ["wallet_5", "wallet_4", "wallet_3", _OMAR, _JANE]),
        ("createdAt:asc", [_JANE, _OMAR, "wallet_3", "wallet_4", "wallet_5"]),
    ],
)
def test_a_list_is_sorted_by_the_last_change_or_by_age(people: Gateway, sort: str, expected: list[str]) -> None:
    _adjust(people, 5)

    assert _ids(people, sort=sort) == expected
    assert _ids(people) == [_JANE, "wallet_5", "wallet_4", "wallet_3", _OMAR]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("page=0", "page must be at least 1"),
        ("page=-1", "page must be at least 1"),
        ("page=last", "page is not valid"),
        ("page=99999999999999999999", "page must be at most 9007199254740991"),
        ("limit=0", "limit must be at least 1"),
        ("limit=101", "limit must be at most 100"),
        ("search=", "search is not valid"),
        ("source=&tags=", "source is not valid; tags is not valid"),
        (
            "sort=name:asc",
            "sort must be one of: updatedAt:desc, updatedAt:asc, createdAt:desc, createdAt:asc",
        ),
        (
            "sort=updatedAt",
            "sort must be one of: updatedAt:desc, updatedAt:asc, createdAt:desc, createdAt:asc",
        ),
    ],
)
def test_a_bad_list_is_a_validation_error_on_its_field(gateway: Gateway, query: str, told: str) -> None:
    answer = gateway.client.get(f"{_CUSTOMERS}?{query}", headers=_KEY)

    assert _refusal(answer) == (400, "VALIDATION_ERROR", told)


def test_the_last_page_that_there_can_be_is_empty(gateway: Gateway) -> None:
    page = _answered(_get(gateway, "/customers", page=2**53 - 1, limit=100))

    assert page == {"data": [], "meta": {"page": 2**53 - 1, "limit": 100, "total": 2, "hasNextPage": False}}


# Who may read, and as whom


@pytest.mark.parametrize("path", _READS)
@pytest.mark.parametrize("prefix", ["/customer/api/open/v1", "/customer/open/v1"])
def test_every_read_answers_under_both_prefixes_and_to_odd_headers(
    gateway: Gateway, prefix: str, path: str
) -> None:
    odd = {"accept": "text/xml", "content-type": "application/json"}

    answer = gateway.client.get(f"/bitbybit{prefix}{path}?utm_source=x&page[size]=", headers=_KEY | odd)

    assert _answered(answer) == _answered(_get(gateway, path))
    assert answer.headers["content-type"] == "application/json"


def test_a_customer_is_made_under_the_other_prefix_too(gateway: Gateway) -> None:
    answer = gateway.post("/bitbybit/customer/open/v1/customers", _ADA, _KEY)

    assert _answered(answer, 201)["data"]["email"] == "ada@example.com"


@pytest.mark.parametrize(
    "path", ["/customers/{}", "/loyalty/customers/{}/wallet", "/loyalty/customers/{}/history"]
)
@pytest.mark.parametrize("unknown", ["cust_nobody", "wallet_77", "6789012345", "jane%40example.com", "wallet_0"])
def test_an_unknown_customer_is_not_found_nor_enrolled(
    start_gateway: StartGateway, path: str, unknown: str
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)

    answer = _get(gateway, path.format(unknown))

    assert _refusal(answer) == (404, "NOT_FOUND", "Customer not found")
    assert len(gateway.rows("SELECT * FROM wallets")) == 2


@pytest.fixture
def shared(start_gateway: StartGateway) -> Gateway:
    """The demo merchant beside another one; one key may only write, one may only read."""
    config = demo_config()
    config["merchants"]["other"] = {
        "customers": [{"references": {"bitbybit": "cust_other", "email": "other@example.com"}}]
    }
    config["vendors"]["bitbybit"]["credentials"] += [
        {"merchant": "other", "api_key": "bbb_test_other"},
        {"merchant": "demo", "api_key": "bbb_test_writes", "scopes": ["customers.write"]},
        {"merchant": "demo", "api_key": "bbb_test_reads", "scopes": ["customers.read"]},
    ]
    return start_gateway(config)


@pytest.mark.parametrize("path", _READS)
def test_a_key_that_may_only_read_reads_and_one_that_may_only_write_does_not(shared: Gateway, path: str) -> None:
    reading = _get(shared, path, {"x-api-key": "bbb_test_reads"})
    writing = _get(shared, path, {"x-api-key": "bbb_test_writes"})

    assert reading.status_code == 200
    assert _refusal(writing) == (403, "INSUFFICIENT_SCOPE", "The API key lacks the scope customers.read")


def test_a_key_that_may_only_read_makes_no_customer(shared: Gateway) -> None:
    reading = shared.post(_CUSTOMERS, _ADA, {"x-api-key": "bbb_test_reads"})
    writing = shared.post(_CUSTOMERS, _ADA, {"x-api-key": "bbb_test_writes"})

    assert _refusal(reading) == (403, "INSUFFICIENT_SCOPE", "The API key lacks the scope customers.write")
    assert writing.status_code == 201


@pytest.mark.parametrize("path", _READS)
def test_without_a_key_or_with_a_wrong_one_nothing_is_read(gateway: Gateway, path: str) -> None:
    missing = gateway.client.get(_PREFIX + path)
    wrong = _get(gateway, path, {"x-api-key": "bbb_live_other"})

    assert _refusal(missing)[:2] == (401, "MISSING_API_KEY")
    assert _refusal(wrong)[:2] == (401, "INVALID_API_KEY")


def test_another_merchants_customers_are_not_there(shared: Gateway) -> None:
    other = {"x-api-key": "bbb_test_other"}
    number = shared.wallet("bitbybit:cust_other", "other")["id"]

    for name in ("cust_other", f"wallet_{number}"):
        assert _refusal(_get(shared, f"/customers/{name}"))[0] == 404
        assert _refusal(_get(shared, f"/loyalty/customers/{name}/wallet"))[0] == 404
        assert _refusal(_get(shared, f"/loyalty/customers/{name}/history"))[0] == 404
    assert _ids(shared) == [_OMAR, _JANE]
    assert _ids(shared, search="other@example.com") == []
    listed = _answered(_get(shared, "/customers", other))["data"]
    assert [customer["id"] for customer in listed] == ["cust_other"]


def test_an_email_that_another_merchants_customer_has_is_free(shared: Gateway) -> None:
    answer = shared.post(_CUSTOMERS, {"email": "other@example.com"}, _KEY)

    assert answer.status_code == 201


def test_reads_and_adjustments_share_one_limit_that_every_answer_tells(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["bitbybit"]["rate_limits"] = {"requests": "5/60s"}
    gateway = start_gateway(config)

    answers = [_get(gateway, path) for path in _READS]
    answers += [gateway.post(_CUSTOMERS, _ADA, _KEY), _get(gateway, "/customers/cust_nobody")]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 201, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]


@pytest.mark.parametrize("path", ["/customers/cust_abc123", "/loyalty/customers/cust_abc123/history"])
def test_a_method_that_a_path_does_not_know_is_told_which_it_knows(gateway: Gateway, path: str) -> None:
    answer = gateway.client.delete(_PREFIX + path, headers=_KEY)

    assert (_refusal(answer)[:2], answer.headers["allow"]) == ((405, "METHOD_NOT_ALLOWED"), "GET")
