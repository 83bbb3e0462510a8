"""Yotpo Loyalty & Referrals: customers looked up on both surfaces, with their history, and created and updated."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Lifetime, Merchant
from loyalty_gateway.ledger.sqlite import SqliteLedger

_JANE = "shopify:6789012345"
_KEY = {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}
_CUSTOMERS = "/yotpo/api/v2/customers"
_ADJUST = "/yotpo/api/v2/points/adjust"
_STORE = "/yotpo/loyalty/v3/stores/demo-app-key/customers?access_token=demo-access-token"
_NOBODY = {"error": "Customer does not exist"}


def _get(gateway: Gateway, headers: Mapping[str, str] = _KEY, /, **query: str | int) -> httpx2.Response:
    return gateway.client.get(_CUSTOMERS, params=query, headers=headers)


def _save(gateway: Gateway, **details: Any) -> httpx2.Response:
    return gateway.post(_CUSTOMERS, details, _KEY)


def _customer(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    customer: dict[str, Any] = answer.json()
    return customer


def _adjust(gateway: Gateway, amount: int, title: str | None = None, **more: Any) -> None:
    body = {"customer_email": "jane@example.com", "point_adjustment_amount": amount, **more}
    answer = gateway.post(_ADJUST, body if title is None else body | {"history_title": title}, _KEY)
    assert answer.status_code == 200, answer.text


def _told(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds // 1_000 % 1_000:03d}Z"


def _assert_refused(answer: httpx2.Response, status: int, error: str) -> None:
    """The first sentence of the refusal; further ones tell of the same field."""
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert answer.json()["error"].partition("; ")[0] == error


# Looking up, on the Loyalty API


def test_a_customer_is_answered_unwrapped_with_every_key(gateway: Gateway) -> None:
    _adjust(gateway, 850)
    _adjust(gateway, -395, apply_adjustment_to_points_earned=False)

    answer = _get(gateway, customer_email="jane@example.com")

    assert answer.headers["content-type"] == "application/json"
    assert _customer(answer) == {
        "total_spend_cents": 0,
        "total_purchases": 0,
        "last_purchase_at": None,
        "first_name": None,
        "last_name": None,
        "phone_number": None,
        "perks_redeemed": 0,
        "email": "jane@example.com",
        "points_balance": 455,
        "points_earned": 850,
        "last_seen_at": None,
        "thirty_party_id": "6789012345",
        "third_party_id": "6789012345",
        "pos_account_id": None,
        "has_store_account": False,
        "credit_balance": "$0",
        "credit_balance_in_customer_currency": "$0",
        "opt_in": True,
        "opted_in_at": _told(gateway.wallet(_JANE)["created_at"])[:10],
        "points_expire_at": None,
        "next_points_expire_on": None,
        "next_points_expire_amount": None,
        "birthday_month": None,
        "birth_day": None,
        "birthday_year": None,
        "vip_tier_name": None,
        "vip_tier_entry_date": None,
        "vip_tier_expiration": None,
        "vip_tier_actions_completed": None,
        "vip_tier_maintenance_requirements": None,
        "vip_tier_upgrade_requirements": None,
    }


@pytest.mark.parametrize(
    "query",
    [
        "customer_email=jane@example.com",
        "customer_email=Jane%40Example.COM",
        "customer_email=%20jane@example.com%20",
        "customer_id=6789012345",
        "customer_id=6789012345&customer_email=omar@example.com",
        "customer_email=jane@example.com&phone_number=%2B14155550000",
        "customer_id=%20&customer_email=jane@example.com",
        "phone_number=%2B14155552671",
        "phone_number=+14155552671",
        "phone_number=%2B14155552671&country_iso_code=US",
        "pos_account_id=till-7",
        "customer_email=jane@example.com&country_iso_code=null&with_points=1",
    ],
)
def test_a_customer_is_named_in_many_ways(gateway: Gateway, query: str) -> None:
    _save(gateway, email="jane@example.com", phone_number="+14155552671", pos_account_id="till-7")

    answer = gateway.client.get(f"{_CUSTOMERS}?{query}", headers=_KEY)

    assert _customer(answer)["third_party_id"] == "6789012345"


@pytest.mark.parametrize(
    "query",
    [
        {"customer_email": "nobody@example.com"},
        {"customer_email": "6789012345"},
        {"customer_id": "1"},
        {"customer_id": "jane@example.com"},
        {"customer_id": "cust_abc123"},
        {"customer_id": "wallet_1"},
        {"phone_number": "+14155552671"},
        {"pos_account_id": "6789012345"},
    ],
)
@pytest.mark.parametrize("unknown", ["refuse", "enrol"])
def test_a_customer_whom_nobody_knows_is_not_found_nor_enrolled(
    start_gateway: StartGateway, query: dict[str, str], unknown: str
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = unknown
    gateway = start_gateway(config)

    answer = _get(gateway, **query)

    assert (answer.status_code, answer.json()) == (404, _NOBODY)
    assert len(gateway.rows("SELECT * FROM wallets")) == 2


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", "customer_email is required"),
        ("?with_history=true", "customer_email is required"),
        ("?email=jane@example.com", "customer_email is required"),
        ("?customer_email=", "customer_email is not valid"),
        ("?customer_email=%20", "customer_email is required"),
        ("?customer_id=%E3%80%80&phone_number=%20&pos_account_id=%20", "customer_email is required"),
        ("?customer_id=6789012345&with_history=maybe", "with_history is not valid"),
        ("?customer_id=6789012345&with_referral_code=2", "with_referral_code is not valid"),
    ],
)
def test_a_bad_look_up_is_refused_on_its_field(gateway: Gateway, query: str, error: str) -> None:
    answer = gateway.client.get(f"{_CUSTOMERS}{query}", headers=_KEY)

    _assert_refused(answer, 422, error)


def test_the_history_is_told_where_it_is_wanted_with_the_oldest_first(gateway: Gateway) -> None:
    _adjust(gateway, 200, "Create an Account")
    _adjust(gateway, -50, "Order 1001", apply_adjustment_to_points_earned=False)
    _adjust(gateway, 5, visible_to_customer=False)

    customer = _customer(_get(gateway, customer_id="6789012345", with_history="true"))

    moments = [_told(entry["occurred_at"]) for entry in gateway.entries()]
    assert customer["history_items"] == [
        {
            "created_at": moment,
            "completed_at": moment,
            "date": moment[:10],
            "action": action,
            "points": points,
            "status": "Approved",
        }
        for moment, action, points in zip(
            moments, ["Create an Account", "Order 1001", "Points adjustment"], [200, -50, 5], strict=True
        )
    ]


@pytest.mark.parametrize("wish", ["true", "True", "1", "yes"])
def test_the_switches_take_truth_in_the_spellings_of_programs(gateway: Gateway, wish: str) -> None:
    customer = _customer(_get(gateway, customer_id="6789012345", with_history=wish, with_referral_code=wish))

    assert (customer["history_items"], customer["referral_code"]) == ([], None)


@pytest.mark.parametrize("wish", [{}, {"with_history": "false", "with_referral_code": "False"}])
def test_history_and_referral_code_are_left_out_unless_wanted(gateway: Gateway, wish: dict[str, str]) -> None:
    _adjust(gateway, 5)

    customer = _customer(_get(gateway, customer_id="6789012345", **wish))

    assert not {"history_items", "referral_code"} & set(customer)


def test_points_of_every_vendor_stand_in_the_history(gateway: Gateway) -> None:
    gateway.post("/mage/v1/customers/6789012345/points", {"adjustment": 40}, {"authorization": "mage_demo_key"})
    _adjust(gateway, -15, "Order 1002")

    customer = _customer(_get(gateway, customer_id="6789012345", with_history="true"))

    assert customer["points_balance"] == 25
    assert [item["points"] for item in customer["history_items"]] == [40, -15]


async def _write_history(path: str, count: int) -> None:
    """Adds a point at a time to Jane, as many as told."""
    ledger = SqliteLedger(path)
    await ledger.open()
    instruction = Instruction(
        merchant=Merchant(name="demo"),
        vendor="yotpo",
        adjustment=Adjustment(
            customers=(CustomerReference("shopify", "6789012345"),), points_delta=1, lifetime=Lifetime.NET_EARNED
        ),
    )
    await asyncio.gather(*(ledger.adjust(instruction) for _ in range(count)))
    await ledger.close()


def test_a_long_history_and_its_balance_are_of_the_same_moment(gateway: Gateway) -> None:
    asyncio.run(_write_history(str(gateway.ledger), 10_000))
    before = {_told(entry["occurred_at"]) for entry in gateway.entries()}

    first = _customer(_get(gateway, customer_id="6789012345", with_history="true"))
    _adjust(gateway, 7)
    second = _customer(_get(gateway, customer_id="6789012345", with_history="true"))

    assert len(first["history_items"]) == first["points_balance"] == 10_000
    assert {item["created_at"] for item in first["history_items"]} == before
    assert second["history_items"][:-1] == first["history_items"]
    assert sum(item["points"] for item in second["history_items"]) == second["points_balance"] == 10_007


def test_an_excluded_customer_is_still_told_and_not_opted_in(gateway: Gateway) -> None:
    gateway.exclude(_JANE)

    customer = _customer(_get(gateway, customer_id="6789012345"))

    assert not customer["opt_in"]


def test_the_tier_is_told_by_name_and_the_birthday_in_parts(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [{"name": "Gold", "points_required": 100}]
    gateway = start_gateway(config)
    _adjust(gateway, 100)
    jane = gateway.wallet(_JANE)
    gateway.store.execute(
        "INSERT INTO profiles (merchant_id, wallet_id, date_of_birth) VALUES (?, ?, '1990-05-17')",
        (jane["merchant_id"], jane["id"]),
    )

    customer = _customer(_get(gateway, customer_id="6789012345"))

    assert customer["vip_tier_name"] == "Gold"
    assert (customer["birthday_month"], customer["birth_day"], customer["birthday_year"]) == (5, 17, 1990)


def test_the_id_that_a_look_up_finds_can_be_adjusted(gateway: Gateway) -> None:
    customer = _customer(_get(gateway, customer_email="JANE@example.com"))

    answer = gateway.post(
        _ADJUST, {"customer_id": customer["third_party_id"], "point_adjustment_amount": 30}, _KEY
    )

    assert answer.status_code == 200
    assert _customer(_get(gateway, customer_id=customer["thirty_party_id"]))["points_balance"] == 30


def test_the_id_is_that_of_the_namespace_which_the_configuration_names(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["vendors"]["yotpo"]["options"] = {"customer_id_namespace": "salla"}
    gateway = start_gateway(config)

    found = _customer(_get(gateway, customer_id="748394059"))
    missed = _get(gateway, customer_id="6789012345")

    assert (found["email"], found["third_party_id"]) == ("jane@example.com", "748394059")
    assert missed.status_code == 404


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ({}, _KEY),
        ({"guid": "demo-guid", "api_key": "demo-api-key"}, {}),
        ({"merchant_id": "demo-guid", "api_key": "demo-api-key"}, {}),
    ],
    ids=["headers", "query", "legacy query"],
)
def test_each_form_of_the_credentials_reads_and_saves(
    gateway: Gateway, query: dict[str, str], headers: dict[str, str]
) -> None:
    saved = gateway.client.post(
        _CUSTOMERS, params=query, headers=headers, json={"email": "jane@example.com", "first_name": "Jane"}
    )
    read = _get(gateway, headers, customer_email="jane@example.com", **query)

    assert _customer(saved) == _customer(read)
    assert _customer(read)["first_name"] == "Jane"


def test_older_clients_save_with_credentials_in_the_body(gateway: Gateway) -> None:
    legacy = {"merchant_id": "demo-guid", "api_key": "demo-api-key"}

    answer = gateway.post(_CUSTOMERS, {"id": 7, "email": "new@example.com", **legacy})

    assert _customer(answer)["third_party_id"] == "7"


def test_the_older_host_answers_like_the_newer_one(gateway: Gateway) -> None:
    answers = [
        gateway.client.get(
            "/api/v2/customers?customer_email=jane@example.com&merchant_id=demo-guid&api_key=demo-api-key",
            headers={"host": host},
        )
        for host in ("app.swellrewards.com", "loyalty.yotpo.com")
    ]

    assert _customer(answers[0]) == _customer(answers[1])


@pytest.mark.parametrize(
    "headers",
    [{"accept": "text/xml"}, {"content-type": "application/json"}, {"content-type": "application/xml"}],
)
def test_what_a_client_says_of_media_types_does_not_keep_it_from_reading(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    answer = _get(gateway, _KEY | headers, customer_email="jane@example.com")

    assert answer.headers["content-type"] == "application/json"
    assert _customer(answer)["email"] == "jane@example.com"


@pytest.mark.parametrize("path", [f"{_CUSTOMERS}/recent", f"{_CUSTOMERS}/6789012345", "/yotpo/api/v1/customers"])
def test_a_path_that_nobody_knows_is_a_page(gateway: Gateway, path: str) -> None:
    answer = gateway.client.get(path, headers=_KEY)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_method_that_the_path_does_not_know_is_a_page(gateway: Gateway, method: str) -> None:
    answer = gateway.client.request(method, _CUSTOMERS, headers=_KEY)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


# Looking up, on the App Developer API


def test_the_documented_look_up_answers_the_customer_in_the_wrapper(gateway: Gateway) -> None:
    _adjust(gateway, 30, "Order 1001")

    answer = gateway.post(
        _STORE, {"customers": {"customer_email": "jane@example.com"}, "with_referral_code": True}
    )

    unwrapped = _customer(_get(gateway, customer_email="jane@example.com", with_referral_code="true"))
    assert (answer.status_code, answer.json()) == (200, {"customers": unwrapped})
    assert unwrapped["points_balance"] == 30


@pytest.mark.parametrize(
    "name",
    [
        {"customer_email": "Jane@Example.com"},
        {"customer_id": "6789012345"},
        {"customer_id": 6789012345},
        {"phone_number": "+14155552671"},
        {"pos_account_id": "till-7"},
        {"customer_email": "", "customer_id": "6789012345"},
        {"customer_email": "omar@example.com", "customer_id": "6789012345"},
    ],
)
@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
def test_each_name_is_taken_wrapped_and_bare(gateway: Gateway, name: dict[str, Any], *, wrapped: bool) -> None:
    _save(gateway, email="jane@example.com", phone_number="+14155552671", pos_account_id="till-7")

    answer = gateway.post(_STORE, {"customers": name} if wrapped else name)

    assert answer.status_code == 200
    assert answer.json()["customers"]["third_party_id"] == "6789012345"


@pytest.mark.parametrize(
    "body",
    [
        {"customers": {"customer_id": 6789012345}, "with_history": True},
        {"customers": {"customer_id": 6789012345, "with_history": True}},
        {"customers": {"customer_id": 6789012345}, "with_history": "true"},
        {"customer_id": 6789012345, "with_history": True},
    ],
)
def test_the_history_is_wanted_beside_the_wrapper_or_within(gateway: Gateway, body: dict[str, Any]) -> None:
    _adjust(gateway, 30, "Order 1001")

    answer = gateway.post(_STORE, body)

    (item,) = answer.json()["customers"]["history_items"]
    assert (item["action"], item["points"]) == ("Order 1001", 30)


@pytest.mark.parametrize(
    ("options", "status", "body"),
    [
        ({}, 400, _NOBODY),
        ({"missing_store_customer": 400}, 400, _NOBODY),
        (
            {"missing_store_customer": 404},
            404,
            {"errors": [{"message": {"customer": "Could not find customer"}}]},
        ),
    ],
)
def test_a_look_up_of_nobody_has_two_answers_to_choose_from(
    start_gateway: StartGateway, options: dict[str, int], status: int, body: dict[str, Any]
) -> None:
    config = demo_config()
    config["vendors"]["yotpo"]["options"] = options
    gateway = start_gateway(config)

    looked_up = gateway.post(_STORE, {"customers": {"customer_email": "nobody@example.com"}})
    adjusted = gateway.post(
        _STORE.replace("/customers", "/points/adjust"),
        {"customer_email": "nobody@example.com", "point_adjustment_amount": 5, "history_title": "gift"},
    )

    assert (looked_up.status_code, looked_up.json()) == (status, body)
    assert (adjusted.status_code, adjusted.json()) == (404, _NOBODY)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "customer_email is required"),
        ({"with_history": True}, "customer_email is required"),
        ({"customers": {}}, "customers.customer_email is required"),
        ({"customers": None}, "customers must be of type object"),
        ({"customers": {"customer_email": " "}}, "customers.customer_email is not valid"),
        ({"customers": {"customer_id": ""}}, "customers.customer_id is not valid"),
        ({"customers": {"customer_id": 1.5}}, "customers.customer_id must be of type string or integer"),
        (
            {"customers": {"customer_id": "1"}, "with_history": None},
            "with_history must be of type boolean or string",
        ),
    ],
)
def test_a_bad_look_up_in_a_store_is_refused_on_its_field(
    gateway: Gateway, body: dict[str, Any], error: str
) -> None:
    answer = gateway.post(_STORE, body)

    _assert_refused(answer, 422, error)


# Creating and updating


def test_a_new_customer_is_created_with_all_details(gateway: Gateway) -> None:
    answer = _save(
        gateway,
        id="CUS_1231H9UQOW9H23",
        email="John@Example.com",
        first_name="John",
        last_name="Smith",
        phone_number="+14155552671",
        pos_account_id="till-7",
        tags="vip, eu,,vip ",
        opt_in=True,
        opted_in_at="2022-08-18",
        country_iso_code="US",
    )

    john = _customer(answer)
    assert {name: value for name, value in john.items() if value} == {
        "first_name": "John",
        "last_name": "Smith",
        "phone_number": "+14155552671",
        "email": "john@example.com",
        "thirty_party_id": "CUS_1231H9UQOW9H23",
        "third_party_id": "CUS_1231H9UQOW9H23",
        "pos_account_id": "till-7",
        "credit_balance": "$0",
        "credit_balance_in_customer_currency": "$0",
        "opt_in": True,
        "opted_in_at": _told(gateway.wallet("email:john@example.com")["created_at"])[:10],
    }
    assert _customer(_get(gateway, customer_id="CUS_1231H9UQOW9H23")) == john
    assert gateway.rows("SELECT tags FROM profiles") == [{"tags": '["vip","eu"]'}]


def test_a_customer_who_is_there_is_updated_by_id_or_email(gateway: Gateway) -> None:
    _adjust(gateway, 30)

    by_email = _customer(_save(gateway, email="JANE@example.com", first_name="Jane", tags="a,b"))
    by_id = _customer(_save(gateway, id=6789012345, email="jane@example.com", last_name="Doe", tags="c"))

    assert (by_email["points_balance"], by_id["points_balance"]) == (30, 30)
    assert (by_id["first_name"], by_id["last_name"]) == ("Jane", "Doe")
    assert gateway.rows("SELECT tags FROM profiles") == [{"tags": '["c"]'}]
    assert len(gateway.rows("SELECT * FROM wallets")) == 2


def test_an_email_that_changed_takes_the_place_of_the_earlier_one(gateway: Gateway) -> None:
    changed = _customer(_save(gateway, id="6789012345", email="jane.doe@example.com"))

    assert (changed["email"], changed["third_party_id"]) == ("jane.doe@example.com", "6789012345")
    assert _get(gateway, customer_email="jane@example.com").status_code == 404
    assert _customer(_get(gateway, customer_email="jane.doe@example.com")) == changed


def test_a_guest_gets_an_id_and_a_new_number_takes_the_place_of_the_earlier_one(gateway: Gateway) -> None:
    guest = _customer(_save(gateway, email="guest@example.com", phone_number="+14155550000"))

    account = _customer(_save(gateway, id=7, email="guest@example.com", phone_number="+14155550001"))

    assert (guest["third_party_id"], account["third_party_id"]) == (None, "7")
    assert account["phone_number"] == "+14155550001"
    assert _get(gateway, phone_number="+14155550000").status_code == 404


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_a_detail_that_says_nothing_is_passed_over(gateway: Gateway, nothing: str | None) -> None:
    before = _customer(_save(gateway, email="jane@example.com", phone_number="+14155550000", pos_account_id=7))

    after = _customer(
        _save(gateway, email="jane@example.com", id=nothing, phone_number=nothing, pos_account_id=nothing)
    )

    assert after == before


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_a_name_that_says_nothing_changes_none(gateway: Gateway, nothing: str | None) -> None:
    before = _customer(_save(gateway, email="jane@example.com", first_name="Jane", last_name="Doe"))

    after = _customer(_save(gateway, email="jane@example.com", first_name=nothing, last_name=nothing))

    assert after == before


@pytest.mark.parametrize(("tags", "kept"), [(None, '["a"]'), ("", "[]"), (" , ", "[]"), ("b", '["b"]')])
def test_tags_are_replaced_or_taken_away_and_null_leaves_them(
    gateway: Gateway, tags: str | None, kept: str
) -> None:
    _save(gateway, email="jane@example.com", tags="a")

    _save(gateway, email="jane@example.com", tags=tags)

    assert gateway.rows("SELECT tags FROM profiles") == [{"tags": kept}]


@pytest.mark.parametrize(
    "details",
    [
        {"id": "6789012345", "email": "omar@example.com"},
        {"email": "omar@example.com", "phone_number": "+14155552671"},
        {"email": "new@example.com", "phone_number": "+14155552671"},
        {"id": 7, "email": "new@example.com", "pos_account_id": "till-7"},
    ],
)
def test_details_of_different_customers_are_refused_and_change_nothing(
    gateway: Gateway, details: dict[str, Any]
) -> None:
    _save(gateway, email="jane@example.com", phone_number="+14155552671", pos_account_id="till-7")
    before = gateway.rows("SELECT * FROM customer_references")

    answer = _save(gateway, first_name="Changed", **details)

    _assert_refused(answer, 422, "Customer details belong to another customer")
    assert gateway.rows("SELECT * FROM customer_references") == before
    assert gateway.rows("SELECT * FROM profiles WHERE first_name = 'Changed'") == []


@pytest.mark.parametrize(
    ("details", "error"),
    [
        ({}, "email is required"),
        ({"id": "7"}, "email is required"),
        ({"email": None}, "email must be of type string"),
        ({"email": ""}, "email is not valid"),
        ({"email": "\u3000"}, "email is not valid"),
        ({"email": "a@example.com", "id": 1.5}, "id must be of type string or integer or null"),
        ({"email": "a@example.com", "first_name": 5}, "first_name must be of type string or null"),
        ({"email": "a@example.com", "tags": ["a"]}, "tags must be of type string or null"),
        ({"email": "a@example.com", "opt_in": "yes"}, "opt_in must be of type boolean or null"),
    ],
)
def test_a_bad_detail_is_refused_on_its_field(gateway: Gateway, details: dict[str, Any], error: str) -> None:
    answer = _save(gateway, **details)

    _assert_refused(answer, 422, error)
    assert len(gateway.rows("SELECT * FROM wallets")) == 2


def test_a_customer_who_is_to_take_no_part_is_refused(gateway: Gateway) -> None:
    answer = _save(gateway, email="new@example.com", opt_in=False)

    assert answer.status_code == 422
    assert answer.json()["error"].startswith("opt_in must be one of: ")
    assert _get(gateway, customer_email="new@example.com").status_code == 404


def test_a_body_that_cannot_be_read_is_refused(gateway: Gateway) -> None:
    answers = [
        gateway.post(path, content=content, headers=_KEY | {"content-type": media_type})
        for path in (_CUSTOMERS, _STORE)
        for content, media_type in ((b"{", "application/json"), (b"email=a", "application/x-www-form-urlencoded"))
    ]

    assert [answer.status_code for answer in answers] == [422, 415, 422, 415]


# Who may


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, {}),
        ({"x-guid": "demo-guid"}, {}),
        ({"x-guid": "demo-guid", "x-api-key": "other"}, {}),
        ({}, {"merchant_id": "other", "api_key": "demo-api-key"}),
        ({}, {"access_token": "demo-access-token"}),
    ],
)
def test_strangers_are_unauthorized(gateway: Gateway, headers: dict[str, str], query: dict[str, str]) -> None:
    answers = [
        _get(gateway, headers, customer_email="jane@example.com", **query),
        gateway.client.post(_CUSTOMERS, params=query, headers=headers, json={"email": "jane@example.com"}),
        gateway.post(_STORE.replace("demo-app-key", "other"), {"customers": {"customer_id": "6789012345"}}),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]


def _with_scopes(start_gateway: StartGateway, scopes: list[str]) -> Gateway:
    config = demo_config()
    for credential in config["vendors"]["yotpo"]["credentials"]:
        credential["scopes"] = scopes
    return start_gateway(config)


@pytest.mark.parametrize(
    ("scopes", "statuses"), [(["read"], [200, 200, 403]), (["write"], [403, 403, 200]), ([], [403, 403, 403])]
)
def test_reading_and_saving_need_their_scopes(
    start_gateway: StartGateway, scopes: list[str], statuses: list[int]
) -> None:
    gateway = _with_scopes(start_gateway, scopes)

    answers = [
        _get(gateway, customer_email="jane@example.com"),
        gateway.post(_STORE, {"customers": {"customer_email": "jane@example.com"}}),
        _save(gateway, email="jane@example.com"),
    ]

    assert [answer.status_code for answer in answers] == statuses


def test_another_merchants_customers_are_nobody(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["other"] = {}
    config["vendors"]["yotpo"]["credentials"] += [
        {"merchant": "other", "guid": "other-guid", "api_key": "other-api-key"},
        {"merchant": "other", "app_key": "other-app-key", "access_token": "other-access-token"},
    ]
    gateway = start_gateway(config)
    others = {"x-guid": "other-guid", "x-api-key": "other-api-key"}
    others_store = _STORE.replace("demo-", "other-")

    unseen = [
        _get(gateway, others, customer_id="6789012345"),
        gateway.post(others_store, {"customers": {"customer_email": "jane@example.com"}}),
    ]
    saved = gateway.post(_CUSTOMERS, {"email": "jane@example.com", "first_name": "Another"}, others)

    assert [answer.status_code for answer in unseen] == [404, 400]
    assert _customer(saved)["first_name"] == "Another"
    assert _customer(_get(gateway, customer_email="jane@example.com"))["first_name"] is None


def test_look_ups_are_counted_with_the_adjustments_of_their_surface(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["yotpo"]["rate_limits"] = {"requests": "2/60s", "store_requests": "1/60s"}
    gateway = start_gateway(config)
    _adjust(gateway, 5)

    answers = [
        _get(gateway, customer_email="jane@example.com"),
        _save(gateway, email="jane@example.com"),
        *(gateway.post(_STORE, {"customers": {"customer_id": "6789012345"}}) for _ in range(2)),
    ]

    assert [answer.status_code for answer in answers] == [200, 429, 200, 429]
    assert [answer.headers.get("ratelimit-remaining") for answer in answers] == ["0", "0", None, None]
