"""LoyaltyLion: customers listed, found and changed, and transactions, page by page in both directions."""

import asyncio
import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Lifetime, Merchant
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger.sqlite import SqliteLedger

_HERE = "http://127.0.0.1:8000"
_CUSTOMERS = "/loyaltylion/v2/customers"
_JANES = f"{_CUSTOMERS}/6789012345"
_OMARS = f"{_CUSTOMERS}/6789012346"
_TRANSACTIONS = "/loyaltylion/v2/transactions"
_LISTS = pytest.mark.parametrize(
    "path", [_CUSTOMERS, f"{_JANES}/transactions", _TRANSACTIONS], ids=["customers", "transactions of one", "all"]
)
_WAYS = pytest.mark.parametrize("method", ["PATCH", "PUT"])
_KEY = {"authorization": "Bearer pat_demo"}
_READ_ONLY = {"authorization": "Bearer pat_demo_readonly"}
_BASIC = {"authorization": "Basic " + base64.b64encode(b"demo-site-token:demo-site-secret").decode()}
_DEMO = Merchant(name="demo")
_NO_PAGES = {"prev": None, "next": None}


def _get(gateway: Gateway, path: str, headers: dict[str, str] | None = None, **query: Any) -> httpx2.Response:
    return gateway.client.get(path, params=query, headers=_READ_ONLY | (headers or {}))


def _page(gateway: Gateway, path: str, **query: Any) -> dict[str, Any]:
    answer = _get(gateway, path, **query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def _ids(page: dict[str, Any]) -> list[int]:
    (resources,) = (value for name, value in page.items() if name != "cursor")
    return [resource["id"] for resource in resources]


def _walk(gateway: Gateway, path: str, direction: str = "next", **query: Any) -> Iterator[dict[str, Any]]:
    """The pages from the one that the query asks for on, by nothing but their cursors."""
    page = _page(gateway, path, **query)
    yield page
    while (cursor := page["cursor"][direction]) is not None:
        page = _page(gateway, path, cursor=cursor)
        yield page


def _adjust(gateway: Gateway, points: int, customer: str = _JANES, **more: Any) -> None:
    path = f"{customer}/points" if points > 0 else f"{customer}/remove_points"
    answer = gateway.post(path, {"points": abs(points), **more}, _KEY)
    assert answer.is_success, answer.text


def _update(gateway: Gateway, method: str, body: Any, path: str = _JANES) -> httpx2.Response:
    return gateway.client.request(method, path, json=body, headers=_KEY)


def _invalid(**details: str) -> dict[str, Any]:
    return {"error": {"message": "Invalid request", "details": details}}


def _spelt(microseconds: int) -> str:
    """A moment in UTC, to the millisecond, as the vendor's answers have it."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds % 1_000_000 // 1_000:03d}Z"


def _in_ledger(gateway: Gateway, *work: Enrolment | Instruction) -> None:
    """Enrols and adjusts through a ledger of its own on the gateway's file."""

    async def carry_out() -> None:
        ledger = SqliteLedger(str(gateway.ledger))
        await ledger.open()
        for enrolment in (one for one in work if isinstance(one, Enrolment)):
            await ledger.enrol(_DEMO, enrolment)
        await asyncio.gather(*(ledger.adjust(one) for one in work if isinstance(one, Instruction)))
        await ledger.close()

    asyncio.run(carry_out())


def _enrol(gateway: Gateway, *references: str, **changes: Any) -> None:
    named = (reference.partition(":") for reference in references)
    customer = tuple(CustomerReference(namespace, value) for namespace, _, value in named)
    _in_ledger(gateway, Enrolment(references=customer, changes=changes))


def _instruction(points: int, customer: str = "6789012345") -> Instruction:
    return Instruction(
        merchant=_DEMO,
        vendor="loyaltylion",
        adjustment=Adjustment(
            customers=(CustomerReference("shopify", customer),),
            points_delta=points,
            lifetime=Lifetime.EARN_ONLY,
        ),
    )


def _crowd(gateway: Gateway, count: int) -> list[int]:
    """Enrols so many customers; the ids of all there are then, in the order of the list."""
    _in_ledger(
        gateway,
        *(Enrolment(references=(CustomerReference("shopify", f"crowd-{n}"),)) for n in range(count)),
    )
    return [row["id"] for row in gateway.rows("SELECT id FROM wallets ORDER BY id DESC")]


# Customers, found and listed


def test_a_customer_is_listed_with_every_documented_key(gateway: Gateway) -> None:
    _adjust(gateway, 120)
    _adjust(gateway, -20)

    answer = _get(gateway, _CUSTOMERS, email="jane@example.com")

    wallet = gateway.wallet("shopify:6789012345")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers
    assert answer.json() == {
        "customers": [
            {
                "id": wallet["id"],
                "merchant_id": "6789012345",
                "email": "jane@example.com",
                "points_approved": 100,
                "points_pending": 0,
                "points_spent": 0,
                "properties": {},
                "metadata": {},
                "rewards_claimed": 0,
                "blocked": False,
                "guest": False,
                "enrolled": True,
                "enrolled_at": _spelt(wallet["created_at"]),
                "referral_id": None,
                "referred_by": None,
                "loyalty_tier_membership": None,
                "insights_segment": None,
                "birthday": None,
                "referral_url": None,
                "created_at": _spelt(wallet["created_at"]),
                "updated_at": _spelt(wallet["updated_at"]),
                "linked_merchant_ids": [],
            }
        ],
        "cursor": _NO_PAGES,
    }


def test_points_spent_is_what_was_ever_burned_through_any_vendor(gateway: Gateway) -> None:
    _adjust(gateway, 100)
    gateway.post(
        "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust",
        {"direction": "deduct", "points": 30, "reason": "r"},
        {"x-api-key": "bbb_test_demo"},
    )

    (jane,) = _page(gateway, _CUSTOMERS, email="jane")["customers"]

    assert (jane["points_approved"], jane["points_spent"]) == (70, 30)


def test_a_customers_name_further_ids_and_tier_are_told_where_they_are_known(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [{"name": "Gold", "points_required": 100}]
    gateway = start_gateway(config)
    _enrol(gateway, "shopify:7", "shopify:8", "email:lea@example.com", first_name="Lea", last_name="Öz")
    _enrol(gateway, "shopify:9", "email:leo@example.com", last_name="Öz")
    _adjust(gateway, 100, f"{_CUSTOMERS}/8")

    leo, lea = _page(gateway, _CUSTOMERS, email="le", limit=2)["customers"]

    assert (lea["merchant_id"], lea["linked_merchant_ids"]) == ("7", ["8"])
    assert lea["properties"] == {"name": "Lea Öz", "first_name": "Lea", "last_name": "Öz"}
    assert leo["properties"] == {"name": "Öz", "last_name": "Öz"}
    assert lea["loyalty_tier_membership"]["loyalty_tier"]["name"] == "Gold"
    assert leo["loyalty_tier_membership"] is None


def test_customers_are_listed_newest_first(gateway: Gateway) -> None:
    everyone = _crowd(gateway, 3)

    page = _page(gateway, _CUSTOMERS)

    assert _ids(page) == everyone
    assert page["cursor"] == _NO_PAGES


@pytest.mark.parametrize(
    ("email", "found"),
    [
        ("jane@example.com", ["6789012345"]),
        ("JANE@Example.COM", ["6789012345"]),
        ("  jane@example.com ", ["6789012345"]),
        ("@example", ["6789012346", "6789012345"]),
        ("e@e", ["6789012345"]),
        ("%", []),
        ("nobody@example.com", []),
        ("6789012345", []),
    ],
)
def test_email_finds_everyone_in_whose_email_the_text_stands(
    gateway: Gateway, email: str, found: list[str]
) -> None:
    page = _page(gateway, _CUSTOMERS, email=email)

    assert [customer["merchant_id"] for customer in page["customers"]] == found
    assert page["cursor"] == _NO_PAGES


@pytest.mark.parametrize("spelt", ["jane%40example.com", "jane@example.com", "JANE%40EXAMPLE.COM"])
def test_an_email_may_be_percent_encoded_or_not(gateway: Gateway, spelt: str) -> None:
    page = gateway.client.get(f"{_CUSTOMERS}?email={spelt}", headers=_KEY).json()

    assert [customer["email"] for customer in page["customers"]] == ["jane@example.com"]


@pytest.mark.parametrize("spelt", ["ann+shop@example.com", "ann%2Bshop@example.com"])
def test_a_plus_in_an_email_may_be_percent_encoded_or_not(gateway: Gateway, spelt: str) -> None:
    _enrol(gateway, "email:ann+shop@example.com")

    page = gateway.client.get(f"{_CUSTOMERS}?email={spelt}", headers=_KEY).json()

    assert [customer["email"] for customer in page["customers"]] == ["ann+shop@example.com"]


@pytest.mark.parametrize("named", [True, False], ids=["with an id in the shop", "without"])
def test_a_customer_found_by_email_is_adjusted_by_the_id_found(gateway: Gateway, *, named: bool) -> None:
    _enrol(gateway, "email:ann@example.com", *(["shopify:77"] if named else []))
    (found,) = _page(gateway, _CUSTOMERS, email="ANN@example.com")["customers"]

    _adjust(gateway, 40, f"{_CUSTOMERS}/{found['merchant_id']}")
    _adjust(gateway, -15, f"{_CUSTOMERS}/{found['merchant_id']}")

    assert found["merchant_id"] == ("77" if named else f"wallet_{found['id']}")
    assert _page(gateway, _CUSTOMERS, email="ann@")["customers"][0]["points_approved"] == 25
    told = _page(gateway, f"{_CUSTOMERS}/{found['merchant_id']}/transactions")["transactions"]
    assert [one["points_approved"] for one in told] == [-15, 40]
    assert {one["customer"]["merchant_id"] for one in told} == {found["merchant_id"]}


def test_the_ledgers_own_name_of_nobody_enrols_nobody(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)

    answer = gateway.post(f"{_CUSTOMERS}/wallet_99/points", {"points": 1}, _KEY)

    assert (answer.status_code, answer.json()) == (404, {"error": "Customer not found"})


def test_since_id_lists_upwards_and_begins_behind_it(gateway: Gateway) -> None:
    newest, *_, oldest = _crowd(gateway, 4)

    everyone = _page(gateway, _CUSTOMERS, since_id=0)
    some = _page(gateway, _CUSTOMERS, since_id=oldest + 1, limit=2)
    nobody = _page(gateway, _CUSTOMERS, since_id=newest)

    assert _ids(everyone) == list(range(oldest, newest + 1))
    assert _ids(some) == [oldest + 2, oldest + 3]
    assert nobody == {"customers": [], "cursor": _NO_PAGES}


def test_a_client_walks_by_since_id_until_a_page_is_not_full(gateway: Gateway) -> None:
    everyone = _crowd(gateway, 9)

    walked: list[int] = []
    since_id, page = 0, [0, 0, 0]
    while len(page) == 3:
        page = _ids(_page(gateway, _CUSTOMERS, since_id=since_id, limit=3))
        walked += page
        since_id = walked[-1]

    assert walked == everyone[::-1]


@pytest.mark.parametrize(
    "query",
    [{}, {"since_id": 1}, {"sort_direction": "asc"}, {"sort_field": "updated_at"}, {"email": "@example"}],
    ids=str,
)
def test_next_leads_through_all_pages_and_prev_through_the_same_ones_back(
    gateway: Gateway, query: dict[str, Any]
) -> None:
    _crowd(gateway, 9)
    for number in range(5):
        _enrol(gateway, f"email:{number}@example.com")
    whole = _ids(_page(gateway, _CUSTOMERS, **query))

    forwards = list(_walk(gateway, _CUSTOMERS, limit=3, **query))
    back = list(_walk(gateway, _CUSTOMERS, "prev", cursor=forwards[-1]["cursor"]["prev"]))

    assert [one for page in forwards for one in _ids(page)] == whole
    assert [_ids(page) for page in back] == [_ids(page) for page in forwards[-2::-1]]
    assert forwards[0]["cursor"]["prev"] is None
    assert back[-1]["cursor"]["prev"] is None
    assert all(page["cursor"]["next"] for page in back)


def test_the_way_back_to_since_id_ends_there_even_in_larger_pages(gateway: Gateway) -> None:
    _crowd(gateway, 9)
    _, second, *_ = _walk(gateway, _CUSTOMERS, since_id=4, limit=3)

    page = _page(gateway, _CUSTOMERS, cursor=second["cursor"]["prev"], limit=500)

    assert _ids(page) == [5, 6, 7]
    assert page["cursor"]["prev"] is None


def test_customers_are_sorted_by_their_last_change_in_either_direction(gateway: Gateway) -> None:
    newest, middle, *others = _crowd(gateway, 3)
    _adjust(gateway, 1, f"{_CUSTOMERS}/crowd-1")

    down = _ids(_page(gateway, _CUSTOMERS, sort_field="updated_at"))
    up = _ids(_page(gateway, _CUSTOMERS, sort_field="updated_at", sort_direction="asc"))

    assert down == [middle, newest, *others]
    assert up == down[::-1]


def test_a_walk_by_last_change_passes_over_nobody_who_is_left_unchanged(gateway: Gateway) -> None:
    everyone = _crowd(gateway, 9)

    walked: list[int] = []
    for number, page in enumerate(_walk(gateway, _CUSTOMERS, sort_field="updated_at", limit=2)):
        walked += _ids(page)
        _adjust(gateway, 1, f"{_CUSTOMERS}/crowd-{8 - number}")

    changed = {one for one in everyone if one not in walked}
    assert len(walked) == len(set(walked))
    assert changed <= {row["wallet_id"] for row in gateway.entries()}


def test_pages_by_number_lead_on_by_cursors(gateway: Gateway) -> None:
    everyone = _crowd(gateway, 5)

    second = _page(gateway, _CUSTOMERS, limit=3, page=2)
    beyond = _page(gateway, _CUSTOMERS, limit=3, page=9)

    assert _ids(second) == everyone[3:6]
    assert _ids(_page(gateway, _CUSTOMERS, cursor=second["cursor"]["next"])) == everyone[6:]
    assert _ids(_page(gateway, _CUSTOMERS, cursor=second["cursor"]["prev"])) == everyone[:3]
    assert beyond == {"customers": [], "cursor": _NO_PAGES}


@pytest.mark.parametrize("time", ["created", "updated"])
def test_bounds_of_time_belong_to_the_range_to_the_millisecond_that_is_told(gateway: Gateway, time: str) -> None:
    for number in range(3):
        _enrol(gateway, f"shopify:{number}")
    _adjust(gateway, 1, f"{_CUSTOMERS}/0")
    told = {one["merchant_id"]: one[f"{time}_at"] for one in _page(gateway, _CUSTOMERS)["customers"]}

    at_once = _page(gateway, _CUSTOMERS, **{f"{time}_at_min": told["1"], f"{time}_at_max": told["1"]})

    found = [one["merchant_id"] for one in at_once["customers"]]
    assert "1" in found
    assert {told[name] for name in found} == {told["1"]}


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ({"created_at_min": "2018-01-01"}, 2),
        ({"created_at_max": "2018-01-01"}, 0),
        ({"updated_at_max": "2018-01-01T10:30:00.000Z"}, 0),
        ({"updated_at_min": "2018-01-01T10:30:00"}, 2),
        ({"updated_at_min": "2018-01-01 10:30"}, 2),
        ({"created_at_min": "2018-01-01T10:30:00.5+02:00", "created_at_max": "2999-01-01T00:00:00-0800"}, 2),
        ({"created_at_min": "1960-01-01t10:30:00z"}, 2),
    ],
    ids=str,
)
def test_a_moment_may_be_spelt_in_the_ways_of_iso_8601(
    gateway: Gateway, bounds: dict[str, str], found: int
) -> None:
    page = _page(gateway, _CUSTOMERS, **bounds)

    assert len(page["customers"]) == found


def test_an_offset_moves_a_moment_and_its_plus_need_not_be_percent_encoded(gateway: Gateway) -> None:
    _adjust(gateway, 1)
    (told,) = _page(gateway, _TRANSACTIONS)["transactions"]
    moment = datetime.fromisoformat(told["created_at"])
    ahead = moment.replace(tzinfo=None).isoformat(timespec="milliseconds")

    later = gateway.client.get(f"{_TRANSACTIONS}?created_at_min={ahead}+00:00", headers=_KEY).json()
    earlier = gateway.client.get(f"{_TRANSACTIONS}?created_at_max={ahead}+02:00", headers=_KEY).json()

    assert len(later["transactions"]) == 1
    assert earlier["transactions"] == []


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ({"limit": 0}, {"limit": "Too small: expected number to be >=1"}),
        ({"limit": 501}, {"limit": "Too big: expected number to be <=500"}),
        ({"limit": "many"}, {"limit": "Invalid input: expected number, received NaN"}),
        ({"since_id": -1}, {"since_id": "Too small: expected number to be >=0"}),
        ({"since_id": 2**53}, {"since_id": "Too big: expected number to be <=9007199254740991"}),
        ({"page": 0}, {"page": "Too small: expected number to be >=1"}),
        ({"sort_field": "email"}, {"sort_field": 'Invalid option: expected one of "id"|"updated_at"'}),
        ({"sort_direction": "up"}, {"sort_direction": 'Invalid option: expected one of "asc"|"desc"'}),
        ({"created_at_min": "yesterday"}, {"created_at_min": "Invalid input"}),
        ({"created_at_max": "2024-13-01"}, {"created_at_max": "Invalid input"}),
        ({"updated_at_min": "2023-02-29T10:00"}, {"updated_at_min": "Invalid input"}),
        ({"updated_at_max": "1700000000"}, {"updated_at_max": "Invalid input"}),
        (
            {"limit": 0, "since_id": "x"},
            {
                "limit": "Too small: expected number to be >=1",
                "since_id": "Invalid input: expected number, received NaN",
            },
        ),
    ],
    ids=str,
)
def test_a_bad_filter_is_told_on_its_field(
    gateway: Gateway, query: dict[str, Any], details: dict[str, str]
) -> None:
    answer = _get(gateway, _CUSTOMERS, **query)

    assert (answer.status_code, answer.json()) == (400, _invalid(**details))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("email", "Invalid input"),
        ("cursor", "Invalid input"),
        ("created_at_min", "Invalid input"),
        ("limit", "Invalid input: expected number, received NaN"),
    ],
)
def test_a_parameter_without_a_value_is_refused(gateway: Gateway, name: str, told: str) -> None:
    answer = gateway.client.get(f"{_CUSTOMERS}?{name}=", headers=_KEY)

    assert (answer.status_code, answer.json()) == (400, _invalid(**{name: told}))


# Cursors


@_LISTS
def test_the_links_are_absolute_addresses_previous_before_next(gateway: Gateway, path: str) -> None:
    _crowd(gateway, 3)
    for points in (1, 2, 3, 4, 5):
        _adjust(gateway, points)
    first, second, *_, last = (
        gateway.client.get(path, params=query, headers=_KEY) for query in _queries(gateway, path, limit=2)
    )

    links = [
        [(relation, address) for address, relation in re.findall(r'<([^>]+)>; rel="(\w+)"', page.headers["link"])]
        for page in (first, second, last)
    ]

    assert [[relation for relation, _ in told] for told in links] == [["next"], ["previous", "next"], ["previous"]]
    assert all(address.startswith(f"{_HERE}{path}?cursor=") for told in links for _, address in told)
    assert gateway.client.get(links[0][0][1], headers=_KEY).json() == second.json()
    assert _ids(gateway.client.get(links[1][0][1], headers=_KEY).json()) == _ids(first.json())


def _queries(gateway: Gateway, path: str, **query: Any) -> list[dict[str, Any]]:
    """The query of each page of a walk."""
    cursors = [page["cursor"]["next"] for page in _walk(gateway, path, **query)]
    return [query, *({"cursor": cursor} for cursor in cursors if cursor is not None)]


def test_a_cursor_carries_the_filters_and_only_limit_counts_beside_it(gateway: Gateway) -> None:
    for number in range(6):
        _enrol(gateway, f"email:{number}@{'shop' if number % 2 else 'example'}.com")
    first = _page(gateway, _CUSTOMERS, email="@shop", limit=1)

    alone = _page(gateway, _CUSTOMERS, cursor=first["cursor"]["next"])
    beside = _page(gateway, _CUSTOMERS, cursor=first["cursor"]["next"], limit=5, email="jane", since_id=0, page=7)

    assert [customer["email"] for customer in first["customers"]] == ["5@shop.com"]
    assert [customer["email"] for customer in alone["customers"]] == ["3@shop.com"]
    assert [customer["email"] for customer in beside["customers"]] == ["3@shop.com", "1@shop.com"]


@_LISTS
@pytest.mark.parametrize(
    "cursor", ["x", "=", "eyJsYXN0SWQiOjE0NjgsImRpcmVjdGlvbiI6Im5leHQifQ", "شكرا", "a b", "A" * 400]
)
def test_a_cursor_that_no_answer_has_made_is_refused(gateway: Gateway, path: str, cursor: str) -> None:
    answer = _get(gateway, path, cursor=cursor)

    assert (answer.status_code, answer.json()) == (400, _invalid(cursor="Invalid input"))


@_LISTS
def test_a_cursor_that_was_changed_anywhere_is_refused(gateway: Gateway, path: str) -> None:
    for points in (1, 2, 3):
        _adjust(gateway, points)
    cursor = _page(gateway, path, limit=1)["cursor"]["next"]
    changed = [
        *(
            cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
            for place in range(len(cursor))
        ),
        *(cursor[:-1], cursor + "A", cursor + "=", cursor.swapcase(), " " + cursor),
    ]

    statuses = {_get(gateway, path, cursor=one).status_code for one in changed}

    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    assert statuses == {400}


def test_a_cursor_of_another_list_is_refused(gateway: Gateway) -> None:
    paths = [_CUSTOMERS, f"{_JANES}/transactions", f"{_OMARS}/transactions", _TRANSACTIONS]
    for points in (1, 2):
        _adjust(gateway, points)
        _adjust(gateway, points, _OMARS)
    cursors = {path: _page(gateway, path, limit=1)["cursor"]["next"] for path in paths}

    statuses = {
        (path, of): _get(gateway, path, cursor=cursor).status_code
        for path in paths
        for of, cursor in cursors.items()
    }

    assert statuses == {(path, of): 200 if path == of else 400 for path in paths for of in paths}


# Transactions


def test_a_transaction_is_told_as_documented(gateway: Gateway) -> None:
    _adjust(gateway, 100, reason="Thanks for your review")
    _adjust(gateway, -30)

    answer = _get(gateway, f"{_JANES}/transactions")

    added, removed = gateway.entries()
    customer = {
        "id": gateway.wallet("shopify:6789012345")["id"],
        "merchant_id": "6789012345",
        "email": "jane@example.com",
        "points_pending": 0,
        "points_approved": 70,
        "points_spent": 0,
    }
    assert answer.status_code == 200
    assert answer.json() == {
        "transactions": [
            {
                "id": removed["id"],
                "customer": customer,
                "points_approved": -30,
                "points_pending": 0,
                "created_at": _spelt(removed["occurred_at"]),
                "resource": "adjustment",
                "adjustment": {"note": None},
            },
            {
                "id": added["id"],
                "customer": customer,
                "points_approved": 100,
                "points_pending": 0,
                "created_at": _spelt(added["occurred_at"]),
                "resource": "adjustment",
                "adjustment": {"note": "Thanks for your review"},
            },
        ],
        "cursor": _NO_PAGES,
    }


def test_all_transactions_are_those_of_every_customer_newest_first(gateway: Gateway) -> None:
    for points, customer in ((10, _JANES), (20, _OMARS), (-5, _JANES)):
        _adjust(gateway, points, customer)

    told = _page(gateway, _TRANSACTIONS)["transactions"]

    assert [(one["customer"]["merchant_id"], one["points_approved"]) for one in told] == [
        ("6789012345", -5),
        ("6789012346", 20),
        ("6789012345", 10),
    ]
    assert [one["customer"]["points_approved"] for one in told] == [5, 20, 5]


def test_all_transactions_may_be_narrowed_to_one_customer(gateway: Gateway) -> None:
    for points, customer in ((10, _JANES), (20, _OMARS), (30, _JANES)):
        _adjust(gateway, points, customer)
    omar = gateway.wallet("shopify:6789012346")["id"]
    jane = gateway.wallet("shopify:6789012345")["id"]

    told = _page(gateway, _TRANSACTIONS, customer_id=omar)["transactions"]
    pages = list(_walk(gateway, _TRANSACTIONS, customer_id=jane, limit=1))
    unknown = _get(gateway, _TRANSACTIONS, customer_id=99)

    assert [one["points_approved"] for one in told] == [20]
    assert [page["transactions"][0]["points_approved"] for page in pages] == [30, 10]
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Customer not found"})


@pytest.mark.parametrize("path", [f"{_JANES}/transactions", _TRANSACTIONS], ids=["of one", "all"])
def test_transactions_are_bounded_by_times_and_by_since_id(gateway: Gateway, path: str) -> None:
    for points in (1, 2, 3, 4):
        _adjust(gateway, points)
    ids = [entry["id"] for entry in gateway.entries()]
    told = {one["id"]: one["created_at"] for one in _page(gateway, path)["transactions"]}

    since = _page(gateway, path, since_id=ids[1])
    timed = _page(gateway, path, created_at_min=told[ids[1]], created_at_max=told[ids[2]])
    none = _page(gateway, path, created_at_max="2018-01-01")

    assert _ids(since) == ids[2:]
    assert _ids(timed) == [one for one in ids[::-1] if told[ids[1]] <= told[one] <= told[ids[2]]]
    assert none == {"transactions": [], "cursor": _NO_PAGES}


@pytest.mark.parametrize("query", [{}, {"since_id": 3}], ids=["newest first", "since_id"])
@pytest.mark.parametrize("path", [f"{_JANES}/transactions", _TRANSACTIONS], ids=["of one", "all"])
def test_transactions_are_walked_forwards_and_back(gateway: Gateway, path: str, query: dict[str, Any]) -> None:
    _in_ledger(gateway, *(_instruction(points) for points in range(1, 13)))
    whole = _ids(_page(gateway, path, **query))

    forwards = list(_walk(gateway, path, limit=4, **query))
    back = list(_walk(gateway, path, "prev", cursor=forwards[-1]["cursor"]["prev"]))
    larger = _page(gateway, path, cursor=forwards[-1]["cursor"]["prev"], limit=500)

    assert [one for page in forwards for one in _ids(page)] == whole
    assert [_ids(page) for page in back] == [_ids(page) for page in forwards[-2::-1]]
    assert [forwards[0]["cursor"]["prev"], back[-1]["cursor"]["prev"]] == [None, None]
    assert _ids(larger) == whole[: -len(_ids(forwards[-1]))]


@pytest.mark.parametrize("path", [f"{_JANES}/transactions", _TRANSACTIONS], ids=["of one", "all"])
def test_a_walk_over_10000_transactions_shows_each_once_while_others_are_written(
    gateway: Gateway, path: str
) -> None:
    _in_ledger(gateway, *(_instruction(number % 97 + 1) for number in range(10_000)))
    at_the_start = [entry["id"] for entry in gateway.entries()]

    walked: list[int] = []
    for number, page in enumerate(_walk(gateway, path, limit=450)):
        walked += _ids(page)
        _adjust(gateway, 1 if number % 2 else -1)
        _adjust(gateway, 1, _OMARS)

    assert len(at_the_start) == 10_000
    assert walked == at_the_start[::-1]


def test_a_walk_upwards_over_10000_transactions_meets_those_written_on_the_way_too(gateway: Gateway) -> None:
    _in_ledger(gateway, *(_instruction(number % 97 + 1) for number in range(10_000)))

    walked: list[int] = []
    for number, page in enumerate(_walk(gateway, _TRANSACTIONS, since_id=0, limit=500)):
        walked += _ids(page)
        if number < 5:
            _adjust(gateway, 1)

    assert len(walked) == 10_005
    assert all(one < other for one, other in pairwise(walked))


def test_while_others_write_the_way_back_shows_each_page_again(gateway: Gateway) -> None:
    _in_ledger(gateway, *(_instruction(points) for points in range(1, 10)))
    first, second, *_ = list(_walk(gateway, _TRANSACTIONS, limit=3))
    _adjust(gateway, 1)

    again = _page(gateway, _TRANSACTIONS, cursor=second["cursor"]["prev"])
    newer = _page(gateway, _TRANSACTIONS, cursor=again["cursor"]["prev"])

    assert _ids(again) == _ids(first)
    assert [one["points_approved"] for one in newer["transactions"]] == [1]
    assert newer["cursor"]["prev"] is None


@pytest.mark.parametrize("path", [f"{_JANES}/transactions", _TRANSACTIONS], ids=["of one", "all"])
def test_json_may_be_asked_for_and_csv_is_refused(gateway: Gateway, path: str) -> None:
    json, csv = (_get(gateway, path, type=name) for name in ("json", "csv"))

    assert json.status_code == 200
    assert (csv.status_code, csv.json()) == (400, _invalid(type='Invalid option: expected one of "json"'))


# Changes of a customer


@_WAYS
def test_a_birthday_is_kept_and_told_and_taken_away(gateway: Gateway, method: str) -> None:
    kept = _update(gateway, method, {"customer": {"birthday": "1990-05-17"}})
    listed = _page(gateway, _CUSTOMERS, email="jane")["customers"]
    taken = _update(gateway, method, {"customer": {"birthday": None}})

    assert (kept.status_code, kept.json()["customer"]["birthday"]) == (200, "1990-05-17")
    assert kept.json() == {"customer": listed[0]}
    assert taken.json()["customer"]["birthday"] is None


@_WAYS
def test_a_blocked_customer_is_refused_until_unblocked(gateway: Gateway, method: str) -> None:
    _adjust(gateway, 10)

    blocked = _update(gateway, method, {"customer": {"blocked": True}})
    refused = [gateway.post(f"{_JANES}/{way}", {"points": 1}, _KEY) for way in ("points", "remove_points")]
    unblocked = _update(gateway, method, {"customer": {"blocked": False}})
    _adjust(gateway, 1)

    assert [answer.json()["customer"]["blocked"] for answer in (blocked, unblocked)] == [True, False]
    assert {(answer.status_code, answer.text) for answer in refused} == {(422, '{"error":"Customer is blocked"}')}
    assert gateway.wallet("shopify:6789012345")["available"] == 11


@_WAYS
def test_what_is_left_out_stays_as_it_is(gateway: Gateway, method: str) -> None:
    _adjust(gateway, 10)
    _update(gateway, method, {"customer": {"birthday": "1990-05-17", "blocked": True}})

    answers = [_update(gateway, method, {"customer": changes}) for changes in ({}, {"blocked": True})]

    for answer in answers:
        customer = answer.json()["customer"]
        assert (customer["birthday"], customer["blocked"], customer["points_approved"]) == ("1990-05-17", True, 10)


@_WAYS
@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, {"customer": "Invalid input: expected object, received undefined"}),
        ({"customer": None}, {"customer": "Invalid input: expected object, received null"}),
        ({"customer": {"birthday": "17 May"}}, {"customer.birthday": "Invalid ISO date"}),
        ({"customer": {"birthday": "1990-02-30"}}, {"customer.birthday": "Invalid ISO date"}),
        (
            {"customer": {"birthday": 19900517}},
            {"customer.birthday": "Invalid input: expected string, received number"},
        ),
        (
            {"customer": {"blocked": "true"}},
            {"customer.blocked": "Invalid input: expected boolean, received string"},
        ),
        ({"customer": {"email": "x@example.com"}}, {"customer.email": 'Unrecognized key: "email"'}),
        ({"customer": {}, "blocked": True}, {"blocked": 'Unrecognized key: "blocked"'}),
    ],
    ids=str,
)
def test_a_wrong_change_is_told_on_its_field_and_changes_nothing(
    gateway: Gateway, method: str, body: Any, details: dict[str, str]
) -> None:
    before = _page(gateway, _CUSTOMERS, email="jane")

    answer = _update(gateway, method, body)

    assert (answer.status_code, answer.json()) == (400, _invalid(**details))
    assert _page(gateway, _CUSTOMERS, email="jane") == before


@_WAYS
def test_unknown_keys_of_a_change_are_dropped_where_the_configuration_says(
    start_gateway: StartGateway, method: str
) -> None:
    config = demo_config()
    config["vendors"]["loyaltylion"]["overlays"] = ["drop-unknown-keys"]
    gateway = start_gateway(config)

    answer = _update(gateway, method, {"customer": {"blocked": True, "email": "x@example.com"}, "more": 1})

    assert answer.json()["customer"]["blocked"] is True
    assert answer.json()["customer"]["email"] == "jane@example.com"


# Who may, and who is there


@pytest.mark.parametrize("headers", [_KEY, _READ_ONLY, _BASIC], ids=["both scopes", "read only", "site token"])
@_LISTS
def test_reading_needs_the_scope_for_it_or_the_site_token(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    answer = gateway.client.get(path, headers=headers)

    assert answer.status_code == 200


@_LISTS
def test_a_key_that_may_only_write_reads_nothing(start_gateway: StartGateway, path: str) -> None:
    config = demo_config()
    config["vendors"]["loyaltylion"]["credentials"].append(
        {"merchant": "demo", "bearer": "pat_writer", "scopes": ["write_customers"]}
    )
    gateway = start_gateway(config)

    answer = gateway.client.get(path, headers={"authorization": "Bearer pat_writer"})

    assert answer.status_code == 403
    assert answer.json() == {"error": {"message": "The API key needs the scope read_customers"}}


@_WAYS
def test_a_key_that_may_only_read_changes_nobody(gateway: Gateway, method: str) -> None:
    answer = gateway.client.request(method, _JANES, json={"customer": {"blocked": True}}, headers=_READ_ONLY)

    assert answer.status_code == 403
    assert answer.json() == {"error": {"message": "The API key needs the scope write_customers"}}
    assert gateway.wallet("shopify:6789012345")["excluded"] == 0


@_LISTS
def test_without_credentials_nothing_is_read(gateway: Gateway, path: str) -> None:
    answer = gateway.client.get(path)

    assert (answer.status_code, answer.json()) == (401, {"error": {"message": "Authentication is required"}})


def test_site_token_and_secret_may_stand_in_the_url(gateway: Gateway) -> None:
    answer = gateway.client.get(f"http://demo-site-token:demo-site-secret@127.0.0.1:8000{_CUSTOMERS}")

    assert len(answer.json()["customers"]) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{_CUSTOMERS}/1/transactions"),
        ("GET", f"{_CUSTOMERS}/jane@example.com/transactions"),
        ("GET", f"{_CUSTOMERS}/wallet_99/transactions"),
        ("PATCH", f"{_CUSTOMERS}/1"),
        ("PUT", f"{_CUSTOMERS}/wallet_99"),
    ],
)
def test_a_customer_whom_nobody_knows_is_not_found(gateway: Gateway, method: str, path: str) -> None:
    body = None if method == "GET" else {"customer": {"blocked": True}}

    answer = gateway.client.request(method, path, json=body, headers=_KEY)

    assert (answer.status_code, answer.json()) == (404, {"error": "Customer not found"})


def test_customers_and_transactions_of_another_merchant_are_not_there(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["other"] = {"customers": [{"references": {"shopify": "5", "email": "eve@example.com"}}]}
    config["vendors"]["loyaltylion"]["credentials"].append({"merchant": "other", "bearer": "pat_other"})
    gateway = start_gateway(config)
    theirs = {"authorization": "Bearer pat_other"}
    gateway.post(f"{_CUSTOMERS}/5/points", {"points": 10}, theirs)
    eve = gateway.wallet("shopify:5", "other")["id"]

    emails = [one["email"] for one in _page(gateway, _CUSTOMERS, since_id=0)["customers"]]
    transactions = _page(gateway, _TRANSACTIONS)["transactions"]
    hidden = [
        gateway.client.get(f"{_CUSTOMERS}/5/transactions", headers=_KEY),
        gateway.client.get(f"{_CUSTOMERS}/wallet_{eve}/transactions", headers=_KEY),
        gateway.client.get(_TRANSACTIONS, params={"customer_id": eve}, headers=_KEY),
        _update(gateway, "PATCH", {"customer": {"blocked": True}}, f"{_CUSTOMERS}/wallet_{eve}"),
    ]

    assert emails == ["jane@example.com", "omar@example.com"]
    assert transactions == []
    assert [answer.status_code for answer in hidden] == [404, 404, 404, 404]
    assert [one["email"] for one in gateway.client.get(_CUSTOMERS, headers=theirs).json()["customers"]] == [
        "eve@example.com"
    ]


@_LISTS
@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "text/xml"},
        {"accept": "nonsense"},
        {"content-type": "application/json"},
        {"content-type": "text/xml"},
    ],
    ids=str,
)
def test_odd_headers_of_a_read_make_no_difference(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    answer = _get(gateway, path, headers)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


@_LISTS
def test_query_parameters_that_nobody_knows_are_ignored(gateway: Gateway, path: str) -> None:
    _adjust(gateway, 1)

    answer = _get(gateway, path, fields="id", per_page=1, foo="")

    assert answer.json() == _page(gateway, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", _CUSTOMERS),
        ("TRACE", _CUSTOMERS),
        ("GET", _JANES),
        ("DELETE", _JANES),
        ("POST", _TRANSACTIONS),
        ("TRACE", _TRANSACTIONS),
        ("GET", f"{_TRANSACTIONS}/1"),
    ],
)
def test_an_unknown_path_or_method_is_not_found_as_text(gateway: Gateway, method: str, path: str) -> None:
    answer = gateway.client.request(method, path, headers=_KEY)

    assert (answer.status_code, answer.json()) == (404, {"error": "Not found"})


def test_reads_and_changes_count_against_the_same_limit_as_adjustments(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["loyaltylion"]["rate_limits"] = {"requests": "3/60s"}
    gateway = start_gateway(config)
    _adjust(gateway, 1)

    answers = [
        gateway.client.get(_CUSTOMERS, headers=_KEY),
        _update(gateway, "PATCH", {"customer": {}}),
        gateway.client.get(_TRANSACTIONS, headers=_KEY),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json() == {"error": {"message": "Too many requests"}}
