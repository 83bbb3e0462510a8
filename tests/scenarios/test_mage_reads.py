"""Mage Loyalty: customers read, listed, enrolled and updated, and their earning history."""

import asyncio
import re
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Lifetime, Merchant
from loyalty_gateway.ledger.sqlite import SqliteLedger

_KEY = {"authorization": "mage_demo_key"}
_READ_ONLY = {"authorization": "mage_demo_readonly"}
_CUSTOMERS = "/mage/v1/customers"
_JANE = f"{_CUSTOMERS}/6789012345"
_OMAR = f"{_CUSTOMERS}/6789012346"
_HISTORY = f"{_JANE}/earning-history"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def _get(gateway: Gateway, path: str, **query: str | int) -> httpx2.Response:
    return gateway.client.get(path, params=query, headers=_READ_ONLY)


def _list(gateway: Gateway, path: str = _CUSTOMERS, **query: str | int) -> dict[str, Any]:
    """A list, asked with ``page_size`` for ``page[size]`` and so on."""
    told = {re.sub(r"^(page|filter)_(.+)$", r"\1[\2]", name): value for name, value in query.items()}
    answer = _get(gateway, path, **told)
    assert answer.status_code == 200, answer.text
    listed: dict[str, Any] = answer.json()
    return listed


def _ids(listed: dict[str, Any]) -> list[str]:
    return [one["id"] for one in listed["data"]]


def _attributes(answer: httpx2.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    attributes: dict[str, Any] = answer.json()["data"]["attributes"]
    return attributes


def _adjust(gateway: Gateway, path: str, adjustment: int, **more: Any) -> httpx2.Response:
    return gateway.post(f"{path}/points", {"adjustment": adjustment, **more}, _KEY)


def _update(gateway: Gateway, body: Any, path: str = _JANE, headers: dict[str, str] = _KEY) -> httpx2.Response:
    return gateway.client.put(path, json=body, headers=headers)


def _enroll(gateway: Gateway, body: Any) -> httpx2.Response:
    return gateway.post(_CUSTOMERS, body, _KEY)


def _assert_refused(answer: httpx2.Response, status: int, title: str, detail: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json() == {"errors": [{"status": str(status), "title": title, "detail": detail}]}


def _with_tiers(start_gateway: StartGateway, lowest: int) -> Gateway:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [
        {"name": "Bronze", "points_required": lowest},
        {"name": "Gold", "points_required": 500},
    ]
    return start_gateway(config)


# One customer


def test_a_customer_is_answered_with_every_documented_field(gateway: Gateway) -> None:
    _adjust(gateway, _JANE, 1_200)
    _adjust(gateway, _JANE, -750, update_lifetime_points=False)

    answer = _get(gateway, _JANE)

    moments = [_attributes(answer)[name] for name in ("created_at", "updated_at")]
    assert all(map(_MOMENT.fullmatch, moments))
    assert moments[0] < moments[1]
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "data": {
            "type": "customer",
            "id": "6789012345",
            "attributes": {
                "shopify_customer_id": "6789012345",
                "email": "jane@example.com",
                "first_name": None,
                "last_name": None,
                "current_points": 450,
                "lifetime_points": 1_200,
                "redeemed_points": 750,
                "loyalty_status": "member",
                "date_of_birth": None,
                "referral_url": None,
                "referral_code": None,
                "vip_tier": None,
                "points_expire_at": None,
                "created_at": moments[0],
                "updated_at": moments[1],
            },
        }
    }


@pytest.mark.parametrize(
    "identifier",
    ["6789012345", "jane@example.com", "jane%40example.com", "JANE@EXAMPLE.COM", "Jane%40Example.com"],
)
def test_a_customer_is_found_by_shopify_id_or_email_in_any_spelling(gateway: Gateway, identifier: str) -> None:
    answer = _get(gateway, f"{_CUSTOMERS}/{identifier}")

    assert _attributes(answer)["shopify_customer_id"] == "6789012345"


@pytest.mark.parametrize("path", ["/{}", "/{}/earning-history"])
@pytest.mark.parametrize("identifier", ["xyz", "nobody@example.com", "cust_abc123", "wallet_99"])
def test_nobody_is_not_found_by_the_name_that_was_sent(gateway: Gateway, path: str, identifier: str) -> None:
    answer = _get(gateway, _CUSTOMERS + path.format(identifier))

    _assert_refused(answer, 404, "Not Found", f"Customer '{identifier}' not found")


@pytest.mark.parametrize(
    "headers",
    [{"accept": "text/xml"}, {"content-type": "application/json"}, {"content-type": "text/xml", "accept": "x/y"}],
)
@pytest.mark.parametrize("path", [_JANE, _CUSTOMERS, _HISTORY])
def test_odd_headers_and_unknown_parameters_do_not_matter_to_what_is_read(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    answer = gateway.client.get(f"{path}?unheard_of=1&page=7", headers=_KEY | headers)

    assert answer.status_code == 200


def test_a_customer_is_in_the_tier_of_the_lifetime_points(start_gateway: StartGateway) -> None:
    gateway = _with_tiers(start_gateway, lowest=100)

    tiers = [_attributes(_get(gateway, _JANE))["vip_tier"]]
    for points in (100, 400):
        _adjust(gateway, _JANE, points)
        tiers.append(_attributes(_get(gateway, _JANE))["vip_tier"])

    look = {"points_multiplier": 1, "badge_image_url": None, "badge_color": None}
    assert tiers == [
        None,
        {"id": "Bronze", "name": "Bronze", "points_required": 100, **look},
        {"id": "Gold", "name": "Gold", "points_required": 500, **look},
    ]


@pytest.mark.parametrize(
    ("exclude", "told"),
    [
        ("true", False),
        ("True", False),
        ("yes", False),
        ("1", False),
        ("false", True),
        ("False", True),
        ("0", True),
    ],
)
def test_the_tier_is_left_out_where_that_is_asked(
    start_gateway: StartGateway, exclude: str, *, told: bool
) -> None:
    gateway = _with_tiers(start_gateway, lowest=0)

    attributes = _attributes(_get(gateway, _JANE, exclude_vip=exclude))

    assert (attributes["vip_tier"] is not None) == told


@pytest.mark.parametrize("exclude", ["maybe", "2", ""])
def test_exclude_vip_is_true_or_false(gateway: Gateway, exclude: str) -> None:
    answer = _get(gateway, _JANE, exclude_vip=exclude)

    assert answer.status_code == 400
    assert "exclude_vip" in answer.json()["errors"][0]["detail"]


def test_the_id_found_by_email_is_good_for_an_adjustment(gateway: Gateway) -> None:
    (found,) = _list(gateway, filter_email="OMAR@example")["data"]

    answer = _adjust(gateway, f"{_CUSTOMERS}/{found['id']}", 5)

    assert _attributes(answer)["points_after"] == 5
    assert gateway.wallet("email:omar@example.com")["available"] == 5


@pytest.mark.parametrize(
    ("references", "identifier"),
    [
        ({"email": "noor@example.com", "bitbybit": "cust_9"}, "noor@example.com"),
        ({"bitbybit": "cust_9"}, "wallet_3"),
    ],
)
def test_a_customer_without_a_shopify_id_has_an_id_that_every_operation_takes(
    start_gateway: StartGateway, references: dict[str, str], identifier: str
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["customers"].append({"references": references})
    gateway = start_gateway(config)

    found = _list(gateway)["data"][0]

    path = f"{_CUSTOMERS}/{found['id']}"
    adjusted = _adjust(gateway, path, 5)
    assert (found["id"], found["attributes"]["shopify_customer_id"]) == (identifier, identifier)
    assert adjusted.json()["data"]["id"] == _attributes(adjusted)["shopify_customer_id"] == identifier
    assert _get(gateway, path).json()["data"]["id"] == identifier
    assert _update(gateway, {"is_excluded": True}, path).json()["data"]["id"] == identifier
    assert _list(gateway, f"{path}/earning-history")["meta"]["total"] == 1


# Lists of customers


@pytest.fixture
def people(gateway: Gateway) -> Gateway:
    """Jane 30 of 50 and Omar 40 of 40 points; then three who are new: 11, 12 and 13."""
    for path, earned, spent in ((_JANE, 50, 20), (_OMAR, 40, 0)):
        _adjust(gateway, path, earned)
        if spent:
            _adjust(gateway, path, -spent, update_lifetime_points=False)
    for identifier in ("11", "12", "13"):
        _enroll(gateway, {"shopify_customer_id": identifier})
    return gateway


def test_a_list_of_customers_is_pages_of_the_same_resource(people: Gateway) -> None:
    listed = _list(people)

    assert listed["data"][-1] == _get(people, _JANE).json()["data"]
    assert listed["meta"] == {"total": 5, "page": 1, "per_page": 20, "total_pages": 1}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["13", "12", "11", "6789012346", "6789012345"]),
        ({"sort": "-created_at"}, ["13", "12", "11", "6789012346", "6789012345"]),
        ({"sort": "created_at"}, ["6789012345", "6789012346", "11", "12", "13"]),
        ({"sort": "-points"}, ["6789012346", "6789012345", "13", "12", "11"]),
        ({"sort": "points"}, ["11", "12", "13", "6789012345", "6789012346"]),
        ({"sort": "-lifetime_points"}, ["6789012345", "6789012346", "13", "12", "11"]),
        ({"sort": "lifetime_points"}, ["11", "12", "13", "6789012346", "6789012345"]),
        ({"sort": "-redeemed_points"}, ["6789012345", "13", "12", "11", "6789012346"]),
        ({"sort": "redeemed_points"}, ["6789012346", "11", "12", "13", "6789012345"]),
        ({"filter_email": "EXAMPLE.com"}, ["6789012346", "6789012345"]),
        ({"filter_email": "jane@example.com"}, ["6789012345"]),
        ({"filter_email": "%"}, []),
        ({"filter_email": "6789"}, []),
        ({"filter_loyalty_status": "excluded"}, []),
        ({"filter_loyalty_status": "member", "filter_email": "omar"}, ["6789012346"]),
    ],
)
def test_customers_are_filtered_and_sorted(people: Gateway, query: dict[str, str], expected: list[str]) -> None:
    listed = _list(people, **query)

    assert _ids(listed) == expected
    assert listed["meta"]["total"] == len(expected)
    assert listed["meta"]["total_pages"] == (1 if expected else 0)


def test_excluded_customers_and_members_are_told_apart(people: Gateway) -> None:
    _update(people, {"is_excluded": True})

    excluded, members = (_list(people, filter_loyalty_status=status) for status in ("excluded", "member"))

    assert [(one["id"], one["attributes"]["loyalty_status"]) for one in excluded["data"]] == [
        ("6789012345", "excluded")
    ]
    assert _ids(members) == ["13", "12", "11", "6789012346"]


def test_pages_follow_each_other_to_the_last_and_beyond_it_are_empty(people: Gateway) -> None:
    pages = [_list(people, page_number=number, page_size=2) for number in (1, 2, 3, 4, 1_000_000_000)]

    assert [_ids(page) for page in pages] == [["13", "12"], ["11", "6789012346"], ["6789012345"], [], []]
    assert [page["meta"]["page"] for page in pages] == [1, 2, 3, 4, 1_000_000_000]
    assert all(page["meta"] | {"page": 1} == pages[0]["meta"] for page in pages)
    assert pages[0]["meta"] == {"total": 5, "page": 1, "per_page": 2, "total_pages": 3}


_WRONG = [
    ("page[number]", "0"),
    ("page[number]", "-1"),
    ("page[number]", "1.5"),
    ("page[number]", "one"),
    ("page[number]", ""),
    ("page[number]", "1000000001"),
    ("page[number]", "9" * 30),
    ("page[size]", "0"),
    ("page[size]", "101"),
    ("page[size]", "all"),
    ("sort", "email"),
    ("sort", "+points"),
    ("sort", "points,created_at"),
    ("sort", ""),
]


@pytest.mark.parametrize(("name", "value"), [*_WRONG, ("filter[loyalty_status]", "gone"), ("filter[email]", "")])
def test_a_list_of_customers_refuses_a_value_that_is_not_documented(
    gateway: Gateway, name: str, value: str
) -> None:
    answer = _get(gateway, _CUSTOMERS, **{name: value})

    assert name in answer.json()["errors"][0]["detail"]
    _assert_refused(answer, 400, "Bad Request", answer.json()["errors"][0]["detail"])


# Enrolling


def test_a_new_customer_is_created_and_answered(gateway: Gateway) -> None:
    answer = _enroll(gateway, {"shopify_customer_id": "5550001"})

    attributes = _attributes(answer, 201)
    assert answer.json() == _get(gateway, f"{_CUSTOMERS}/5550001").json()
    assert (attributes["shopify_customer_id"], attributes["email"]) == ("5550001", None)
    assert (attributes["current_points"], attributes["loyalty_status"]) == (0, "member")
    assert attributes["created_at"] == attributes["updated_at"]


def test_a_customer_enrolled_already_is_answered_and_stays_as_they_are(gateway: Gateway) -> None:
    _adjust(gateway, _JANE, 5)
    _update(gateway, {"date_of_birth": "1990-05-15", "is_excluded": True})
    before = _get(gateway, _JANE).json()

    answer = _enroll(gateway, {"shopify_customer_id": "6789012345"})

    assert (answer.status_code, answer.json()) == (200, before)
    assert _get(gateway, _JANE).json() == before


def test_a_new_customer_begins_in_the_tier_that_needs_no_points(start_gateway: StartGateway) -> None:
    gateway = _with_tiers(start_gateway, lowest=0)

    answer = _enroll(gateway, {"shopify_customer_id": "5550001"})

    assert _attributes(answer, 201)["vip_tier"]["name"] == "Bronze"


@pytest.mark.parametrize("media_type", ["application/json", "application/vnd.api+json"])
@pytest.mark.parametrize("identifier", ["5550001", 5550001, 5550001.0])
def test_an_enrolment_may_be_a_resource_and_its_id_a_number(
    gateway: Gateway, media_type: str, identifier: str | float
) -> None:
    body = {"data": {"type": "customer", "attributes": {"shopify_customer_id": identifier}}}

    answer = gateway.post(_CUSTOMERS, body, _KEY | {"content-type": media_type})

    assert answer.status_code == 201
    assert gateway.wallet("shopify:5550001")["available"] == 0


@pytest.mark.parametrize(
    "identifier",
    ["", "abc", "wallet_1", "jane@example.com", "5\n", "gid://shopify/Customer/5", "٥", None, 0, -5, 1.5],
)
def test_an_id_that_cannot_be_shopifys_is_a_bad_request(gateway: Gateway, identifier: Any) -> None:
    answer = _enroll(gateway, {"shopify_customer_id": identifier})

    assert answer.status_code == 400
    assert "shopify_customer_id" in answer.json()["errors"][0]["detail"]
    assert len(gateway.rows("SELECT * FROM wallets")) == 2


@pytest.mark.parametrize("body", [{}, {"email": "a@example.com"}, {"data": {"attributes": {}}}, {"data": {}}, []])
def test_an_enrolment_without_an_id_is_a_bad_request(gateway: Gateway, body: Any) -> None:
    answer = _enroll(gateway, body)

    assert answer.status_code == 400
    assert len(gateway.rows("SELECT * FROM wallets")) == 2


# Updating


_DOCUMENTED_UPDATE = {
    "date_of_birth": "1990-05-15T00:00:00.000Z",
    "is_excluded": False,
    "anniversary_date": "2023-03-10T09:00:00.000Z",
}


@pytest.mark.parametrize("body", [_DOCUMENTED_UPDATE, {"data": {"attributes": _DOCUMENTED_UPDATE}}])
@pytest.mark.parametrize("media_type", ["application/json", "application/vnd.api+json"])
def test_the_documented_update_is_kept_and_answered(
    gateway: Gateway, body: dict[str, Any], media_type: str
) -> None:
    answer = _update(gateway, body, headers=_KEY | {"content-type": media_type})

    attributes = _attributes(answer)
    assert (attributes["date_of_birth"], attributes["loyalty_status"]) == ("1990-05-15T00:00:00.000Z", "member")
    assert answer.json() == _get(gateway, _JANE).json()
    (profile,) = gateway.rows("SELECT date_of_birth, anniversary_date FROM profiles")
    assert profile == {"date_of_birth": "1990-05-15", "anniversary_date": "2023-03-10"}


@pytest.mark.parametrize(
    "sent", ["1990-05-15", "1990-05-15T23:30:00-11:00", "1990-05-15T00:30:00+14:00", "1990-05-15t12:00:00z"]
)
def test_a_birthday_is_the_day_that_was_written(gateway: Gateway, sent: str) -> None:
    answer = _update(gateway, {"date_of_birth": sent})

    assert _attributes(answer)["date_of_birth"] == "1990-05-15T00:00:00.000Z"


def test_an_update_changes_what_it_names_and_null_takes_a_date_away(gateway: Gateway) -> None:
    _update(gateway, _DOCUMENTED_UPDATE | {"is_excluded": True})

    kept = _attributes(_update(gateway, {"anniversary_date": None}))
    cleared = _attributes(_update(gateway, {"date_of_birth": None}))

    assert (kept["date_of_birth"], kept["loyalty_status"]) == ("1990-05-15T00:00:00.000Z", "excluded")
    assert (cleared["date_of_birth"], cleared["loyalty_status"]) == (None, "excluded")
    (profile,) = gateway.rows("SELECT date_of_birth, anniversary_date FROM profiles")
    assert profile == {"date_of_birth": None, "anniversary_date": None}


def test_a_customer_who_is_excluded_gets_no_points_until_that_is_over(gateway: Gateway) -> None:
    _update(gateway, {"is_excluded": True}, f"{_CUSTOMERS}/JANE%40example.com")
    refused = _adjust(gateway, _JANE, 5)
    _update(gateway, {"is_excluded": False})
    taken = _adjust(gateway, _JANE, 5)

    _assert_refused(refused, 403, "Forbidden", "Customer is excluded from the loyalty programme")
    assert _attributes(taken)["points_after"] == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"date_of_birth": "15/05/1990"},
        {"date_of_birth": "1990-02-30"},
        {"date_of_birth": "1990-02-30T00:00:00Z"},
        {"date_of_birth": "1990-05-15 00:00:00"},
        {"date_of_birth": ""},
        {"date_of_birth": 19900515},
        {"anniversary_date": "yesterday"},
        {"anniversary_date": ["2023-03-10"]},
        {"is_excluded": "true"},
        {"is_excluded": None},
        {"is_excluded": 1},
    ],
)
@pytest.mark.parametrize("resource", [False, True], ids=["flat", "resource"])
def test_an_update_with_a_wrong_value_is_a_bad_request_on_its_field(
    gateway: Gateway, wrong: dict[str, Any], *, resource: bool
) -> None:
    answer = _update(gateway, {"data": {"attributes": wrong}} if resource else wrong)

    assert answer.status_code == 400
    assert next(iter(wrong)) in answer.json()["errors"][0]["detail"]
    assert gateway.rows("SELECT * FROM profiles") == []


def test_nobody_is_updated(gateway: Gateway) -> None:
    answer = _update(gateway, _DOCUMENTED_UPDATE, f"{_CUSTOMERS}/nobody@example.com")

    _assert_refused(answer, 404, "Not Found", "Customer 'nobody@example.com' not found")


# The earning history


def test_an_adjustment_is_in_the_earning_history(gateway: Gateway) -> None:
    _adjust(gateway, _JANE, 150, note="Goodwill gesture")

    listed = _list(gateway, _HISTORY)

    moment = listed["data"][0]["attributes"]["created_at"]
    assert _MOMENT.fullmatch(moment)
    assert listed == {
        "data": [
            {
                "type": "earning_history_entry",
                "id": "1",
                "attributes": {
                    "earning_rule_id": None,
                    "action": "manual_adjustment",
                    "points": 150,
                    "base_points": 150,
                    "points_multiplier": 1,
                    "status": "approved",
                    "order_id": None,
                    "order_number": None,
                    "shopify_date": None,
                    "points_due_at": None,
                    "points_given_at": moment,
                    "points_expiry_at": None,
                    "manual_intervention": True,
                    "created_at": moment,
                    "updated_at": moment,
                },
            }
        ],
        "meta": {"total": 1, "page": 1, "per_page": 20, "total_pages": 1},
    }


def test_a_customer_without_entries_has_an_empty_history(gateway: Gateway) -> None:
    listed = _list(gateway, _HISTORY)

    assert listed == {"data": [], "meta": {"total": 0, "page": 1, "per_page": 20, "total_pages": 0}}


def test_a_deduction_is_told_by_what_it_took(gateway: Gateway) -> None:
    for points in (30, -10, -100):
        _adjust(gateway, _JANE, points)

    listed = _list(gateway, _HISTORY, sort="created_at")

    took = [entry["attributes"]["points"] for entry in listed["data"]]
    assert took == [30, -10, -20]
    assert sum(took) == _attributes(_get(gateway, _JANE))["current_points"]


def test_an_entry_that_another_vendors_client_wrote_is_in_the_history(gateway: Gateway) -> None:
    path, headers = "/loyaltylion/v2/customers/6789012345/points", {"authorization": "Bearer pat_demo"}
    gateway.post(path, {"points": 7, "reason": "r"}, headers)

    (entry,) = _list(gateway, _HISTORY)["data"]

    assert (entry["attributes"]["points"], entry["attributes"]["action"]) == (7, "manual_adjustment")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [20, -5, 30, 20]),
        ({"sort": "-created_at"}, [20, -5, 30, 20]),
        ({"sort": "created_at"}, [20, 30, -5, 20]),
        ({"sort": "-points_given_at"}, [20, -5, 30, 20]),
        ({"sort": "points_given_at"}, [20, 30, -5, 20]),
        ({"sort": "-points"}, [30, 20, 20, -5]),
        ({"sort": "points"}, [-5, 20, 20, 30]),
        ({"sort": "points", "page_size": 2, "page_number": 2}, [20, 30]),
        ({"filter_status": "approved"}, [20, -5, 30, 20]),
        ({"filter_status": "pending"}, []),
        ({"filter_status": "rejected", "sort": "points"}, []),
        ({"page_size": 3, "page_number": 2}, [20]),
        ({"page_size": 3, "page_number": 3}, []),
    ],
)
def test_a_history_is_filtered_sorted_and_paged(
    gateway: Gateway, query: dict[str, Any], expected: list[int]
) -> None:
    for points in (20, 30, -5, 20):
        _adjust(gateway, _JANE, points)
    _adjust(gateway, _OMAR, 1_000)

    listed = _list(gateway, _HISTORY, **query)

    assert [entry["attributes"]["points"] for entry in listed["data"]] == expected
    assert listed["meta"]["total"] == (0 if query.get("filter_status", "approved") != "approved" else 4)


def test_entries_of_the_same_points_come_in_their_order_or_its_reverse(gateway: Gateway) -> None:
    for _ in range(3):
        _adjust(gateway, _JANE, 5)

    rising, falling = (_list(gateway, _HISTORY, sort=sort) for sort in ("points", "-points"))

    assert (_ids(rising), _ids(falling)) == (["1", "2", "3"], ["3", "2", "1"])


@pytest.mark.parametrize(
    ("name", "value"), [*_WRONG, ("filter[status]", "paid"), ("filter[status]", ""), ("sort", "lifetime_points")]
)
def test_a_history_refuses_a_value_that_is_not_documented(gateway: Gateway, name: str, value: str) -> None:
    answer = _get(gateway, _HISTORY, **{name: value})

    assert name in answer.json()["errors"][0]["detail"]
    _assert_refused(answer, 400, "Bad Request", answer.json()["errors"][0]["detail"])


def _fill(gateway: Gateway, count: int) -> None:
    """Writes thousands of entries through a ledger of its own on the gateway's file, many to a commit."""
    instruction = Instruction(
        merchant=Merchant(name="demo"),
        vendor="mage",
        adjustment=Adjustment(
            customers=(CustomerReference("shopify", "6789012345"),), points_delta=1, lifetime=Lifetime.NET_EARNED
        ),
    )

    async def fill() -> None:
        ledger = SqliteLedger(str(gateway.ledger))
        await ledger.open()
        for _ in range(0, count, 1_000):
            await asyncio.gather(*(ledger.adjust(instruction) for _ in range(1_000)))
        await ledger.close()

    asyncio.run(fill())


@pytest.mark.parametrize(("sort", "may_repeat"), [("created_at", False), ("-created_at", True)])
def test_a_walk_over_10000_entries_misses_none_while_others_are_written(
    gateway: Gateway, sort: str, *, may_repeat: bool
) -> None:
    _fill(gateway, 10_000)
    at_the_start = {str(number) for number in range(1, 10_001)}

    walked: list[str] = []
    number, pages = 0, 1
    while number < pages:
        number += 1
        listed = _list(gateway, _HISTORY, sort=sort, page_size=100, page_number=number)
        pages = listed["meta"]["total_pages"]
        walked += _ids(listed)
        _adjust(gateway, _JANE, 1)

    seen = [entry for entry in walked if entry in at_the_start]
    assert set(seen) == at_the_start
    assert may_repeat or len(seen) == 10_000


# Who may


@pytest.mark.parametrize("path", [_JANE, _CUSTOMERS, _HISTORY])
def test_reading_needs_a_key_that_may_read(start_gateway: StartGateway, path: str) -> None:
    config = demo_config()
    write_only = {"merchant": "demo", "api_key": "write-only", "scopes": ["write"]}
    config["vendors"]["mage"]["credentials"].append(write_only)
    gateway = start_gateway(config)

    missing = gateway.client.get(path)
    wrong = gateway.client.get(path, headers={"authorization": "nobodys"})
    unreadable = gateway.client.get(path, headers={"authorization": "write-only"})

    _assert_refused(missing, 401, "Unauthorized", "Missing Authorization header")
    _assert_refused(wrong, 401, "Unauthorized", "Invalid API key")
    _assert_refused(unreadable, 403, "Forbidden", "This API key cannot perform read operations")


def test_a_read_only_key_neither_enrols_nor_updates(gateway: Gateway) -> None:
    enrolling = gateway.post(_CUSTOMERS, {"shopify_customer_id": "5550001"}, _READ_ONLY)
    updating = _update(gateway, {"is_excluded": True}, headers=_READ_ONLY)

    for answer in (enrolling, updating):
        _assert_refused(answer, 403, "Forbidden", "This API key is read-only and cannot perform write operations")
    assert len(gateway.rows("SELECT * FROM wallets")) == 2
    assert _attributes(_get(gateway, _JANE))["loyalty_status"] == "member"


def test_another_merchants_customers_are_nobody(start_gateway: StartGateway) -> None:
    config = demo_config()
    theirs = {"references": {"shopify": "777", "email": "jane@example.org"}}
    config["merchants"]["other"] = {"customers": [theirs]}
    config["vendors"]["mage"]["credentials"].append({"merchant": "other", "api_key": "other-key"})
    gateway = start_gateway(config)

    ours = [_get(gateway, f"{_CUSTOMERS}/{name}") for name in ("777", "jane@example.org", "wallet_3")]
    history = _get(gateway, f"{_CUSTOMERS}/777/earning-history")
    updated = _update(gateway, {"is_excluded": True}, f"{_CUSTOMERS}/777")
    enrolled = _enroll(gateway, {"shopify_customer_id": "777"})

    assert [answer.status_code for answer in (*ours, history, updated)] == [404] * 5
    assert _list(gateway, filter_email="example.org")["meta"]["total"] == 0
    assert enrolled.status_code == 201
    seen = gateway.client.get(_CUSTOMERS, headers={"authorization": "other-key"}).json()
    assert [(one["id"], one["attributes"]["loyalty_status"]) for one in seen["data"]] == [("777", "member")]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", _JANE, "GET, PUT"),
        ("PATCH", _CUSTOMERS, "GET, POST"),
        ("POST", _HISTORY, "GET"),
    ],
)
def test_a_method_that_a_path_does_not_know_is_told_with_those_it_knows(
    gateway: Gateway, method: str, path: str, allow: str
) -> None:
    answer = gateway.client.request(method, path, headers=_KEY)

    _assert_refused(answer, 405, "Method Not Allowed", "Method not allowed")
    assert answer.headers["allow"] == allow


def test_all_operations_spend_one_limit(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["mage"]["rate_limits"] = {"requests": "5/60s"}
    gateway = start_gateway(config)

    answers = [
        gateway.client.get(_JANE, headers=_KEY),
        gateway.client.get(_CUSTOMERS, headers=_KEY),
        gateway.client.get(_HISTORY, headers=_KEY),
        _enroll(gateway, {"shopify_customer_id": "5550001"}),
        _update(gateway, {"is_excluded": False}),
        _adjust(gateway, _JANE, 5),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 201, 200, 429]


def test_every_answer_of_these_operations_keeps_the_spec(start_gateway: StartGateway) -> None:
    gateway = _with_tiers(start_gateway, lowest=0)
    _adjust(gateway, _JANE, 500)

    for answer in (
        _get(gateway, _JANE),
        _get(gateway, _CUSTOMERS),
        _get(gateway, _HISTORY),
        _get(gateway, f"{_CUSTOMERS}/nobody"),
        _enroll(gateway, {"shopify_customer_id": "5550001"}),
        _update(gateway, {"date_of_birth": "1990-05-15"}),
        _update(gateway, {"date_of_birth": 5}),
        gateway.client.put(_JANE, content=b"{", headers=_KEY | {"content-type": "application/json"}),
        gateway.client.put(_JANE, content=b"{}", headers=_KEY | {"content-type": "text/plain"}),
    ):
        assert answer.status_code < 500

    assert "loyalty_gateway_answer_defects_total{" not in gateway.metrics()
