"""Salla: a customer's grants with what is used of them, the list of customers with its search, and one of them."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Lifetime, Merchant
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger.sqlite import SqliteLedger

_POINTS = "/salla/admin/v2/customers/loyalty/points"
_CUSTOMERS = "/salla/admin/v2/customers"
_TOKEN = {"authorization": "Bearer demo-salla-token"}
_READ_ONLY = {"authorization": "Bearer demo-salla-readonly"}
_JANE, _OMAR = 748394059, 873874834
_DEMO = Merchant(name="demo")
_NOT_FOUND_ARABIC = "المحتوى الذي تحاول الوصول اليه غير متوفر"


def _get(gateway: Gateway, path: str, headers: dict[str, str] | None = None, **query: Any) -> httpx2.Response:
    told = {name.replace("_list", "[]"): value for name, value in query.items()}
    return gateway.client.get(path, params=told, headers=_READ_ONLY | (headers or {}))


def _page(gateway: Gateway, path: str, **query: Any) -> dict[str, Any]:
    answer = _get(gateway, path, **query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def _ids(gateway: Gateway, **query: Any) -> list[int]:
    return [one["id"] for one in _page(gateway, _CUSTOMERS, **query)["data"]]


def _adjust(gateway: Gateway, points: int | None, *customers: int) -> None:
    body = {
        "points": abs(points or 1),
        "type": "minus" if (points or 0) < 0 else "plus",
        "reset_points": points is None,
        "reason": "r",
        "channel_send": [],
        "customers": list(customers or (_JANE,)),
    }
    answer = gateway.post(_POINTS, body, _TOKEN)
    assert answer.status_code == 201, answer.text


def _enrol(gateway: Gateway, *enrolments: Enrolment) -> None:
    """Enrols customers through a ledger of its own on the gateway's file."""

    async def enrol() -> None:
        ledger = SqliteLedger(str(gateway.ledger))
        await ledger.open()
        for enrolment in enrolments:
            await ledger.enrol(_DEMO, enrolment)
        await ledger.close()

    asyncio.run(enrol())


def _enrolment(email: str, phone: str | None = None, **changes: Any) -> Enrolment:
    references = [CustomerReference("email", email)]
    if phone is not None:
        references.append(CustomerReference("phone", phone))
    return Enrolment(references=tuple(references), changes=changes)


def _invalid(field: str, text: str) -> dict[str, Any]:
    error = {"code": "error", "message": "alert.invalid_fields", "fields": {field: [text]}}
    return {"status": 422, "success": False, "error": error}


def _spelt_in_riyadh(microseconds: int) -> dict[str, Any]:
    moment = datetime(1970, 1, 1, 3, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return {"date": f"{moment:%Y-%m-%d %H:%M:%S.%f}", "timezone_type": 3, "timezone": "Asia/Riyadh"}


# The history of points


def test_a_grant_is_told_as_documented(gateway: Gateway) -> None:
    _adjust(gateway, 900)

    answer = _get(gateway, _POINTS, customer_id=_JANE)

    (entry,) = gateway.entries()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "status": 200,
        "success": True,
        "data": [
            {
                "name": "مخصصة",
                "points": 900,
                "used_points": 0,
                "status": "مؤكدة",
                "created_at": _spelt_in_riyadh(entry["occurred_at"]),
                "expiry_date": None,
                "order_id": None,
                "used_at": None,
                "notes": "r",
                "reference_id": None,
            }
        ],
        "pagination": {
            "count": 1,
            "total": 1,
            "perPage": 30,
            "currentPage": 1,
            "totalPages": 1,
            "links": {},
        },
    }


def test_the_words_of_a_grant_are_english_where_that_is_preferred(gateway: Gateway) -> None:
    _adjust(gateway, 900)

    (grant,) = _get(gateway, _POINTS, {"accept-language": "en"}, customer_id=_JANE).json()["data"]

    assert (grant["name"], grant["status"]) == ("Custom", "Confirmed")


def test_a_history_without_grants_has_one_empty_page(gateway: Gateway) -> None:
    page = _page(gateway, _POINTS, customer_id=_JANE)

    assert page["data"] == []
    assert page["pagination"] == {
        "count": 0,
        "total": 0,
        "perPage": 30,
        "currentPage": 1,
        "totalPages": 1,
        "links": {},
    }


@pytest.mark.parametrize(
    ("adjustments", "grants"),
    [
        ([10, 20, -4], [(10, 4), (20, 0)]),
        ([10, 20, -10], [(10, 10), (20, 0)]),
        ([10, 20, -14], [(10, 10), (20, 4)]),
        ([10, -10, 20, -1], [(10, 10), (20, 1)]),
        ([10, 20, None, 5, -2], [(10, 10), (20, 20), (5, 2)]),
        ([10, 20, None], [(10, 10), (20, 20)]),
    ],
)
def test_deductions_and_resets_use_up_the_oldest_grants(
    gateway: Gateway, adjustments: list[int | None], grants: list[tuple[int, int]]
) -> None:
    for points in adjustments:
        _adjust(gateway, points)

    data = _page(gateway, _POINTS, customer_id=_JANE)["data"]

    assert [(grant["points"], grant["used_points"]) for grant in data] == grants
    balance = sum(grant["points"] - grant["used_points"] for grant in data)
    assert balance == gateway.wallet(f"salla:{_JANE}")["available"]


def test_a_grant_of_another_vendor_is_told_too_and_may_have_no_notes(gateway: Gateway) -> None:
    mage = "/mage/v1/customers/6789012345/points"
    gateway.post(mage, {"adjustment": 7}, {"authorization": "mage_demo_key"})

    (grant,) = _page(gateway, _POINTS, customer_id=_JANE)["data"]

    assert (grant["points"], grant["notes"]) == (7, None)


def test_pages_of_30_lead_to_each_other_by_http_links_that_keep_the_customer(gateway: Gateway) -> None:
    for points in range(1, 62):
        _adjust(gateway, points)

    pages = [_page(gateway, _POINTS, customer_id=_JANE, page=number) for number in (1, 2, 3, 4)]

    here = f"http://127.0.0.1:8000{_POINTS}?customer_id={_JANE}&page="
    assert [[grant["points"] for grant in page["data"]] for page in pages] == [
        list(range(1, 31)),
        list(range(31, 61)),
        [61],
        [],
    ]
    assert [page["pagination"]["links"] for page in pages] == [
        {"next": f"{here}2"},
        {"previous": f"{here}1", "next": f"{here}3"},
        {"previous": f"{here}2"},
        {"previous": f"{here}3"},
    ]
    assert [page["pagination"]["count"] for page in pages] == [30, 30, 1, 0]
    assert [page["pagination"]["currentPage"] for page in pages] == [1, 2, 3, 4]
    assert {page["pagination"]["total"] for page in pages} == {61}
    assert {page["pagination"]["totalPages"] for page in pages} == {3}


def test_links_have_the_host_and_path_that_the_client_called_and_never_https(gateway: Gateway) -> None:
    for points in (1, 2):
        _adjust(gateway, points)

    page = gateway.client.get(
        "https://api.salla.dev/admin/v2/customers/loyalty/points",
        params={"customer_id": _JANE, "per_page": 1, "note": "ا&page=9"},
        headers=_READ_ONLY,
    ).json()

    link = page["pagination"]["links"]["next"]
    assert link.startswith("http://api.salla.dev/admin/v2/customers/loyalty/points?customer_id=748394059&")
    assert parse_qs(urlsplit(link).query) == {
        "customer_id": [str(_JANE)],
        "per_page": ["1"],
        "note": ["ا&page=9"],
        "page": ["2"],
    }


def test_a_page_may_have_another_size(gateway: Gateway) -> None:
    for points in (1, 2, 3):
        _adjust(gateway, points)

    page = _page(gateway, _POINTS, customer_id=_JANE, per_page=2, page=2)

    assert [grant["points"] for grant in page["data"]] == [3]
    assert (page["pagination"]["perPage"], page["pagination"]["totalPages"]) == (2, 2)


def test_a_missing_customer_id_is_the_documented_422(gateway: Gateway) -> None:
    arabic = _get(gateway, _POINTS)
    english = _get(gateway, _POINTS, {"accept-language": "en"})

    assert (arabic.status_code, arabic.json()) == (422, _invalid("customer_id", "حقل customer id مطلوب."))
    assert english.json() == _invalid("customer_id", "The customer id field is required.")


@pytest.mark.parametrize(
    "stranger", ["", "1", "abc", "9" * 5_000, "-5", "٧٤٨", "9000000000000099", "748394059.0", "' OR 1"]
)
def test_the_history_of_nobody_is_422_on_the_customer(gateway: Gateway, stranger: str) -> None:
    answer = _get(gateway, _POINTS, customer_id=stranger)

    assert (answer.status_code, answer.json()) == (422, _invalid("customer_id", "حقل customer id غير صالح"))


@pytest.mark.parametrize("spelt", [str(_JANE), f"0{_JANE}", "9000000000000001"])
def test_a_customer_is_known_by_number_with_zeros_before_it_and_by_the_ledgers_own(
    gateway: Gateway, spelt: str
) -> None:
    _adjust(gateway, 5)

    assert len(_page(gateway, _POINTS, customer_id=spelt)["data"]) == 1


_EACH_LIST = pytest.mark.parametrize(
    "path", [f"{_POINTS}?customer_id={_JANE}&", f"{_CUSTOMERS}?"], ids=["points", "customers"]
)
_BAD_PAGES = [
    ("page", "0"),
    ("page", "-1"),
    ("page", "x"),
    ("page", "1.5"),
    ("page", ""),
    ("page", "2147483648"),
    ("page", "9" * 5_000),
    ("per_page", "0"),
    ("per_page", "61"),
    ("per_page", "all"),
]


@pytest.mark.parametrize(("name", "value"), _BAD_PAGES, ids=lambda value: value[:12])
@pytest.mark.parametrize(
    "path", [f"{_POINTS}?customer_id={_JANE}&", f"{_CUSTOMERS}?"], ids=["points", "customers"]
)
def test_a_bad_page_is_told_on_the_parameter(gateway: Gateway, path: str, name: str, value: str) -> None:
    answer = gateway.client.get(f"{path}{name}={value}", headers=_READ_ONLY)

    assert (answer.status_code, answer.json()) == (422, _invalid(name, f"حقل {name.replace('_', ' ')} غير صالح"))


@pytest.mark.parametrize(
    "path", [f"{_POINTS}?customer_id={_JANE}&", f"{_CUSTOMERS}?"], ids=["points", "customers"]
)
def test_the_farthest_page_is_empty(gateway: Gateway, path: str) -> None:
    answer = gateway.client.get(f"{path}page=2147483647&per_page=60", headers=_READ_ONLY)

    assert (answer.status_code, answer.json()["data"]) == (200, [])


def _fill(gateway: Gateway, points: list[int]) -> None:
    """Writes Jane's entries through a ledger of its own on the gateway's file, many to a commit."""
    instructions = [
        Instruction(
            merchant=_DEMO,
            vendor="salla",
            adjustment=Adjustment(
                customers=(CustomerReference("salla", str(_JANE)),),
                points_delta=delta,
                lifetime=Lifetime.EARN_AND_BURN,
            ),
        )
        for delta in points
    ]

    async def fill() -> None:
        ledger = SqliteLedger(str(gateway.ledger))
        await ledger.open()
        await asyncio.gather(*map(ledger.adjust, instructions))
        await ledger.close()

    asyncio.run(fill())


_LONG = [number % 97 + 50 if number % 3 else -(number % 11 + 1) for number in range(1, 10_001)]
_GRANTED = [points for points in _LONG if points > 0]


def test_all_pages_of_10000_entries_together_are_the_balance(gateway: Gateway) -> None:
    _fill(gateway, _LONG)

    grants: list[dict[str, Any]] = []
    links = {"next": f"http://127.0.0.1:8000{_POINTS}?customer_id={_JANE}"}
    while "next" in links:
        page = gateway.client.get(links["next"], headers=_READ_ONLY).json()
        grants += page["data"]
        links = page["pagination"]["links"]

    assert [grant["points"] for grant in grants] == _GRANTED
    assert sum(grant["points"] - grant["used_points"] for grant in grants) == sum(_LONG)
    assert sum(_LONG) == gateway.wallet(f"salla:{_JANE}")["available"]


def test_a_walk_over_10000_entries_shows_each_grant_once_while_others_are_written(gateway: Gateway) -> None:
    _fill(gateway, _LONG)
    written = [entry["occurred_at"] for entry in gateway.entries() if entry["points_delta"] > 0]
    at_the_start = [_spelt_in_riyadh(moment)["date"] for moment in written]

    walked: list[str] = []
    number, pages = 0, 1
    while number < pages:
        number += 1
        page = _page(gateway, _POINTS, customer_id=_JANE, per_page=60, page=number)
        pages = page["pagination"]["totalPages"]
        walked += [grant["created_at"]["date"] for grant in page["data"]]
        _adjust(gateway, (7, -300, 1)[number % 3])

    assert len(set(at_the_start)) == len(_GRANTED)
    assert walked[: len(at_the_start)] == at_the_start
    assert len(walked) == len(set(walked))


# Customers


def test_customers_are_listed_newest_first_in_pages_of_15(gateway: Gateway) -> None:
    _enrol(gateway, *(_enrolment(f"c{number}@example.com") for number in range(3, 18)))

    first, second, third = (_page(gateway, _CUSTOMERS, page=number) for number in (1, 2, 3))

    own = [9 * 10**15 + number for number in range(17, 2, -1)]
    assert [one["id"] for one in first["data"]] == own
    assert [one["id"] for one in second["data"]] == [_OMAR, _JANE]
    assert third["data"] == []
    assert first["pagination"] == {
        "count": 15,
        "total": 17,
        "perPage": 15,
        "currentPage": 1,
        "totalPages": 2,
        "links": {"next": f"http://127.0.0.1:8000{_CUSTOMERS}?page=2"},
    }
    assert second["pagination"]["links"] == {"previous": f"http://127.0.0.1:8000{_CUSTOMERS}?page=1"}


def test_a_page_of_customers_may_be_smaller_and_its_links_keep_the_search(gateway: Gateway) -> None:
    page = _page(gateway, _CUSTOMERS, per_page=1, keyword="example")

    assert [one["id"] for one in page["data"]] == [_OMAR]
    assert parse_qs(urlsplit(page["pagination"]["links"]["next"]).query) == {
        "per_page": ["1"],
        "keyword": ["example"],
        "page": ["2"],
    }


@pytest.mark.parametrize(
    ("keyword", "found"),
    [
        ("jane@example.com", [1]),
        ("JANE@Example.COM", [1]),
        ("@example.com", [2, 1]),
        ("noor", [3]),
        ("Noor al", [3]),
        ("نورة", [4]),
        ("966511804534", [3]),
        ("+966511804534", [3]),
        ("511804", [3]),
        ("nobody", []),
        ("%", []),
        ("_", []),
    ],
)
def test_a_keyword_is_looked_for_in_email_name_and_mobile_number(
    gateway: Gateway, keyword: str, found: list[int]
) -> None:
    _enrol(
        gateway,
        _enrolment("n@sample.org", "+966511804534", first_name="Noor", last_name="Al Saud"),
        _enrolment("x@sample.org", first_name="نورة"),
    )
    numbers = {1: _JANE, 2: _OMAR, 3: 9 * 10**15 + 3, 4: 9 * 10**15 + 4}

    page = _page(gateway, _CUSTOMERS, keyword=keyword)

    assert [one["id"] for one in page["data"]] == [numbers[number] for number in found]
    assert page["pagination"]["total"] == len(found)


def test_a_percent_encoded_email_or_a_bare_plus_is_found_too(gateway: Gateway) -> None:
    _enrol(gateway, _enrolment("n@sample.org", "+966511804534"))

    by_email = gateway.client.get(f"{_CUSTOMERS}?keyword=JANE%40example.com", headers=_READ_ONLY).json()
    by_phone = gateway.client.get(f"{_CUSTOMERS}?keyword=+966511804534", headers=_READ_ONLY).json()

    assert [one["id"] for one in by_email["data"]] == [_JANE]
    assert [one["email"] for one in by_phone["data"]] == ["n@sample.org"]


def test_days_bound_when_customers_were_enrolled_both_included_in_riyadh(gateway: Gateway) -> None:
    created = gateway.wallet(f"salla:{_JANE}")["created_at"]
    today = datetime.fromisoformat(_spelt_in_riyadh(created)["date"])
    day, before, after = (f"{today + timedelta(days=days):%Y-%m-%d}" for days in (0, -1, 1))

    assert _ids(gateway, date_from=day, date_to=day) == [_OMAR, _JANE]
    assert _ids(gateway, date_from=before) == [_OMAR, _JANE]
    assert _ids(gateway, date_to=after) == [_OMAR, _JANE]
    assert _ids(gateway, date_from=after) == _ids(gateway, date_to=before) == []
    assert _ids(gateway, date_from="0001-01-01", date_to="9999-12-31") == [_OMAR, _JANE]


@pytest.mark.parametrize(
    ("name", "value"),
    [("date_from", "yesterday"), ("date_to", "2024-02-30"), ("keyword", ""), ("fields[]", "shoe_size")],
)
def test_a_bad_filter_is_told_on_the_parameter(gateway: Gateway, name: str, value: str) -> None:
    answer = gateway.client.get(_CUSTOMERS, params={name: value}, headers=_READ_ONLY)

    assert (answer.status_code, answer.json()) == (422, _invalid(name, f"حقل {name.replace('_', ' ')} غير صالح"))


def test_a_customer_of_whom_little_is_known_has_every_documented_field(gateway: Gateway) -> None:
    answer = _get(gateway, f"{_CUSTOMERS}/{_JANE}")

    updated = gateway.wallet(f"salla:{_JANE}")["updated_at"]
    assert answer.status_code == 200
    assert answer.json() == {
        "status": 200,
        "success": True,
        "data": {
            "id": _JANE,
            "first_name": "",
            "last_name": "",
            "mobile": None,
            "mobile_code": "",
            "email": "jane@example.com",
            "urls": {"customer": "", "admin": ""},
            "avatar": "",
            "gender": None,
            "birthday": None,
            "city": "",
            "country": "",
            "country_code": "",
            "currency": "",
            "location": "",
            "updated_at": _spelt_in_riyadh(updated),
            "groups": [],
        },
    }
    assert _page(gateway, _CUSTOMERS, keyword="jane")["data"] == [answer.json()["data"]]


def test_what_other_vendors_clients_told_of_a_customer_is_shown(gateway: Gateway) -> None:
    enrolment = _enrolment(
        "n@sample.org", "+966511804534", first_name="Noor", last_name="Saud", date_of_birth="1997-06-03"
    )
    _enrol(gateway, enrolment)

    shown = _page(gateway, f"{_CUSTOMERS}/{9 * 10**15 + 3}")["data"]

    assert (shown["first_name"], shown["last_name"]) == ("Noor", "Saud")
    assert (shown["mobile_code"], shown["mobile"]) == ("966", 511804534)
    assert shown["birthday"] == {
        "date": "1997-06-03 00:00:00.000000",
        "timezone_type": 3,
        "timezone": "Asia/Riyadh",
    }


@pytest.mark.parametrize(
    ("phone", "mobile_code", "mobile"),
    [
        ("+966 51 180-4534", "966", 511804534),
        ("00966511804534", "966", 511804534),
        ("+14155550100", "1", 4155550100),
        ("+447700900123", "44", 7700900123),
        ("+201001234567", "20", 1001234567),
        ("0511804534", "", 511804534),
        ("511804534", "", 511804534),
        ("+" + "9" * 40, "", None),
        ("9" * 40, "", None),
        ("call me", "", None),
    ],
)
def test_a_phone_number_falls_apart_into_the_code_of_its_country_and_the_rest(
    gateway: Gateway, phone: str, mobile_code: str, mobile: int | None
) -> None:
    _enrol(gateway, _enrolment("n@sample.org", phone))

    (shown,) = _page(gateway, _CUSTOMERS, keyword="n@sample.org")["data"]

    assert (shown["mobile_code"], shown["mobile"]) == (mobile_code, mobile)


def test_extra_fields_tell_the_balance_and_the_exclusion(gateway: Gateway) -> None:
    _adjust(gateway, 21)
    gateway.exclude(f"salla:{_JANE}")

    asked = gateway.client.get(
        f"{_CUSTOMERS}/{_JANE}?fields[]=total_points&fields[]=is_blocked", headers=_READ_ONLY
    ).json()["data"]
    listed = _page(gateway, _CUSTOMERS, keyword="jane", fields_list="total_points")["data"]

    assert (asked["total_points"], asked["is_blocked"]) == (21, True)
    assert listed == [asked]


@pytest.mark.parametrize("stranger", ["1", "0", "9" * 18, "9000000000000099"])
def test_a_number_that_nobody_has_is_the_documented_404(gateway: Gateway, stranger: str) -> None:
    arabic = _get(gateway, f"{_CUSTOMERS}/{stranger}")
    english = _get(gateway, f"{_CUSTOMERS}/{stranger}", {"accept-language": "en"})

    assert arabic.status_code == english.status_code == 404
    assert arabic.json() == {
        "status": 404,
        "success": False,
        "error": {"code": 404, "message": _NOT_FOUND_ARABIC},
    }
    assert english.json()["error"] == {
        "code": 404,
        "message": "The content you are trying to access is no longer available",
    }


@pytest.mark.parametrize("name", ["abc", "1.5", "-5", "9" * 19, "9" * 5_000, "jane@example.com", "loyalty"])
def test_a_path_that_is_no_id_is_told_on_the_customer(gateway: Gateway, name: str) -> None:
    answer = _get(gateway, f"{_CUSTOMERS}/{name}")

    assert (answer.status_code, answer.json()) == (422, _invalid("customer", "حقل customer غير صالح"))


def test_the_id_found_by_email_is_the_one_to_adjust(gateway: Gateway) -> None:
    _enrol(gateway, _enrolment("n@sample.org"))
    (known,) = _ids(gateway, keyword="JANE@EXAMPLE.COM")
    (own,) = _ids(gateway, keyword="n@sample.org")

    _adjust(gateway, 5, known, own)

    for customer in (known, own):
        (grant,) = _page(gateway, _POINTS, customer_id=customer)["data"]
        assert grant["points"] == 5


def test_a_reference_that_is_no_number_of_sallas_gives_way_to_the_ledgers_own(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["customers"] = [{"references": {"salla": name}} for name in ("x", "007", "9" * 16)]
    gateway = start_gateway(config)

    assert _ids(gateway) == [9 * 10**15 + 3, 9 * 10**15 + 2, 9 * 10**15 + 1]
    assert [_get(gateway, f"{_CUSTOMERS}/{9 * 10**15 + number}").status_code for number in (1, 2, 3)] == [200] * 3


# Who may, and what clients do


_EACH_PATH = pytest.mark.parametrize(
    "path",
    [f"{_POINTS}?customer_id={_JANE}", _CUSTOMERS, f"{_CUSTOMERS}/{_JANE}"],
    ids=["points", "customers", "customer"],
)


@_EACH_PATH
def test_reading_needs_a_token_with_the_scope_to_read(start_gateway: StartGateway, path: str) -> None:
    config = demo_config()
    writer = {"merchant": "demo", "bearer": "writer", "scopes": ["customers.read_write"]}
    config["vendors"]["salla"]["credentials"].append(writer)
    gateway = start_gateway(config)

    missing = gateway.client.get(path)
    wrong = gateway.client.get(path, headers={"authorization": "Bearer nobody"})
    scopeless = gateway.client.get(path, headers={"authorization": "Bearer writer"})
    read_only = gateway.client.get(path, headers=_READ_ONLY)

    answers = (missing, wrong, scopeless, read_only)
    assert [answer.status_code for answer in answers] == [401, 401, 401, 200]
    assert missing.json()["error"] == {"code": "Invalid-token", "message": "please provide a valid API Key"}
    assert wrong.json()["error"] == {"code": "Unauthorized", "message": "The access token is invalid"}
    assert scopeless.json()["error"] == {
        "code": "Unauthorized",
        "message": "The access token should have access to one of those scopes: customers.read",
    }


def test_another_merchants_customers_are_nobodys(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["other"] = {"customers": [{"references": {"salla": "11", "email": "o@example.com"}}]}
    config["vendors"]["salla"]["credentials"].append({"merchant": "other", "bearer": "other-token"})
    gateway = start_gateway(config)
    other = {"authorization": "Bearer other-token"}
    (own,) = [one["id"] for one in _get(gateway, _CUSTOMERS, other).json()["data"]]

    paths = [f"{_CUSTOMERS}/{name}" for name in (11, 9 * 10**15 + 3)]
    seen_by_demo = [_get(gateway, path).status_code for path in paths]
    seen_by_other = [_get(gateway, path, other).status_code for path in paths]
    history = _get(gateway, _POINTS, other, customer_id=_JANE)

    assert own == 11
    assert (seen_by_demo, seen_by_other) == ([404, 404], [200, 200])
    assert history.status_code == 422
    assert _ids(gateway) == [_OMAR, _JANE]


@_EACH_PATH
@pytest.mark.parametrize(
    "habit",
    [
        {"accept": "text/xml"},
        {"content-type": "application/json"},
        {"accept": "text/html", "content-type": "text/xml"},
    ],
    ids=str,
)
def test_headers_that_do_not_fit_and_unknown_parameters_change_nothing(
    gateway: Gateway, path: str, habit: dict[str, str]
) -> None:
    usual = gateway.client.get(path, headers=_READ_ONLY)
    joint = "&" if "?" in path else "?"

    answer = gateway.client.get(f"{path}{joint}_=123&utm_source=x", headers=_READ_ONLY | habit)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == usual.json()


@_EACH_PATH
def test_a_read_spends_of_the_same_limits_as_an_adjustment(start_gateway: StartGateway, path: str) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["salla"]["rate_limits"] = {"plan": "2/60s"}
    gateway = start_gateway(config)
    _adjust(gateway, 1)

    answers = [gateway.client.get(path, headers=_READ_ONLY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["0", "0"]
    assert re.fullmatch(r"[1-9]\d?", answers[1].headers["Retry-After"])


def test_a_method_that_no_path_knows_is_405_with_those_it_knows(gateway: Gateway) -> None:
    answer = gateway.client.request("DELETE", f"{_CUSTOMERS}/{_JANE}", headers=_TOKEN)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["status"] == 405


def test_answers_keep_the_spec(gateway: Gateway) -> None:
    _enrol(gateway, _enrolment("n@sample.org", "+966511804534", first_name="N", date_of_birth="1997-06-03"))
    _adjust(gateway, 5)
    for path in (f"{_POINTS}?customer_id={_JANE}", f"{_CUSTOMERS}?fields[]=is_blocked", f"{_CUSTOMERS}/{_JANE}"):
        gateway.client.get(path, headers=_READ_ONLY)
        gateway.client.get(f"{path}9", headers=_READ_ONLY)

    gateway.client.__exit__(None, None, None)

    lines = gateway.lines()
    assert len(lines) == 7
    assert [line for line in lines if "defects" in line] == []
