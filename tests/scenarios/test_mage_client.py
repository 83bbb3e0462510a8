"""Mage Loyalty as its clients see it: tasks of other vendors' clients, and answers that are not our own."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime, Overdraft
from loyalty_gateway.customer import (
    CustomerOrder,
    CustomerQuery,
    CustomersQuery,
    CustomerUpdate,
    Enrolment,
    Existing,
    HistoryQuery,
    Only,
)
from loyalty_gateway.problem import Code
from loyalty_gateway.told import ToldCustomer, ToldEntry, ToldHistory, ToldReceipt, ToldWallet
from loyalty_gateway.vendor import Answer, Task, ValidRequest
from loyalty_gateway.vendors.mage import VENDOR

_JANE = CustomerReference("shopify", "6789012345")
_EMAIL = CustomerReference("email", "jane@example.com")
_SALLA = CustomerReference("salla", "748394059")
_OPERATIONS = {operation.id: operation for operation in VENDOR.operations}
_OPTIONS = msgspec.convert({}, VENDOR.options)
_ASKED = ValidRequest(path_values={"identifier": "6789012345"}, options=_OPTIONS)


def _asked(operation: str, task: Task) -> ValidRequest | None:
    return _OPERATIONS[operation].render_request(task, _OPTIONS)


def _told(operation: str, body: Any, status: int = 200, request: ValidRequest = _ASKED) -> Any:
    return _OPERATIONS[operation].parse_response(Answer(status, body), request)


def _adjustment(**other: Any) -> Adjustment:
    usual: dict[str, Any] = {"customers": (_JANE,), "points_delta": 50, "lifetime": Lifetime.NET_EARNED}
    return Adjustment(**usual | other)


# What is asked


def test_what_mage_has_no_words_for_is_left_out_of_an_adjustment() -> None:
    adjustment = _adjustment(
        lifetime=Lifetime.EARN_AND_BURN,
        overdraft=Overdraft.REFUSE,
        reason="Goodwill",
        metadata={"order": 1},
        notify=("sms", "email"),
        visible=False,
        idempotency_key="key-1",
    )

    asked = _asked("adjustPoints", adjustment)

    assert asked is not None
    assert asked.path_values == {"identifier": "6789012345"}
    assert asked.body == {
        "adjustment": 50,
        "note": "Goodwill",
        "update_lifetime_points": True,
        "send_email": True,
    }


@pytest.mark.parametrize(
    "other",
    [
        {"customers": Everyone.EVERYONE},
        {"customers": (_JANE, _EMAIL)},
        {"customers": (_SALLA,)},
        {"customers": (CustomerReference("shopify", "jane@example.com"),)},
        {"customers": (CustomerReference("email", "jane"),)},
        {"customers": (CustomerReference("shopify", " "),)},
        {"points_delta": None},
        {"points_delta": 0},
    ],
    ids=str,
)
def test_an_adjustment_that_mage_cannot_make_is_not_asked_for(other: dict[str, Any]) -> None:
    asked = _asked("adjustPoints", _adjustment(**other))

    assert asked is None


@pytest.mark.parametrize(
    ("lifetime", "flags"),
    [
        (Lifetime.NET_EARNED, [True, True]),
        (Lifetime.BURN_ONLY, [False, False]),
        (Lifetime.EARN_AND_BURN, [True, False]),
        (Lifetime.EARN_ONLY, [True, False]),
        (Lifetime.UNTOUCHED, [False, False]),
    ],
)
def test_the_lifetime_points_move_where_the_amount_moves_what_was_earned(
    lifetime: Lifetime, flags: list[bool]
) -> None:
    asked = [
        _asked("adjustPoints", _adjustment(lifetime=lifetime, points_delta=points_delta))
        for points_delta in (50, -50)
    ]

    assert [request and request.body["update_lifetime_points"] for request in asked] == flags


def test_a_customer_is_looked_up_by_the_first_name_that_mage_knows() -> None:
    asked = _asked("getCustomer", CustomerQuery(references=(_SALLA, _EMAIL, _JANE)))

    assert asked is not None
    assert asked.path_values == {"identifier": "jane@example.com"}
    assert _asked("getCustomer", CustomerQuery(references=(_SALLA,))) is None


@pytest.mark.parametrize(
    ("limit", "offset", "page"),
    [
        (20, 40, ("3", "20")),
        (100, 0, ("1", "100")),
        (250, 0, ("1", "100")),
        (250, 500, ("6", "100")),
        (20, 30, ("3", "15")),
        (250, 250, ("6", "50")),
        (0, 0, None),
    ],
)
def test_a_page_begins_where_it_was_asked_for_and_has_a_size_that_mage_takes(
    limit: int, offset: int, page: tuple[str, str] | None
) -> None:
    lists = [
        _asked("listCustomers", CustomersQuery(limit=limit, offset=offset)),
        _asked("listEarningHistory", HistoryQuery(customer=_JANE, limit=limit, offset=offset)),
    ]

    pages = [one and (one.query["page[number]"], one.query["page[size]"]) for one in lists]
    assert pages == [page, page]


def test_a_whole_history_is_asked_for_in_the_largest_pages() -> None:
    asked = _asked("listEarningHistory", HistoryQuery(customer=_EMAIL, limit=None, newest_first=False))

    assert asked is not None
    assert asked.path_values == {"identifier": "jane@example.com"}
    assert asked.query == {
        "page[number]": "1",
        "page[size]": "100",
        "filter[status]": "approved",
        "sort": "created_at",
    }


@pytest.mark.parametrize(
    "other",
    [
        {"customer": Everyone.EVERYONE},
        {"customer": _SALLA},
        {"only": Only.ADDED},
        {"only": Only.DEDUCTED},
        {"after": 1},
        {"before": 9},
        {"since": 1},
        {"until": 9},
    ],
    ids=str,
)
def test_a_history_within_bounds_that_mage_has_no_words_for_is_not_asked_for(other: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"customer": _JANE, "limit": 20}

    asked = _asked("listEarningHistory", HistoryQuery(**usual | other))

    assert asked is None


@pytest.mark.parametrize(
    "other",
    [
        {"order": CustomerOrder.UPDATED},
        {"after": 0},
        {"order": CustomerOrder.UPDATED, "after": 7, "after_updated": 1},
        {"tags": ("vip",)},
        {"sources": ("api",)},
        {"created_from": 1},
        {"created_until": 1},
        {"updated_from": 1},
        {"updated_until": 1},
        {"containing": "+9665", "searched": ("phone",)},
    ],
    ids=str,
)
def test_a_list_of_customers_that_mage_cannot_give_is_not_asked_for(other: dict[str, Any]) -> None:
    asked = _asked("listCustomers", CustomersQuery(limit=20, **other))

    assert asked is None


def test_a_search_for_nothing_is_no_filter() -> None:
    asked = _asked("listCustomers", CustomersQuery(limit=20, containing="", searched=("email",)))

    assert asked is not None
    assert "filter[email]" not in asked.query


@pytest.mark.parametrize("existing", Existing)
def test_a_customer_is_enrolled_by_the_shopify_id(existing: Existing) -> None:
    asked = _asked("enrollCustomer", Enrolment(references=(_EMAIL, _JANE), existing=existing))

    assert asked is not None
    assert asked.body == {"shopify_customer_id": "6789012345"}


@pytest.mark.parametrize("value", ["", "gid7", "٥", "1" * 20, "7\n"])
def test_a_customer_whose_shopify_id_is_no_number_is_not_enrolled(value: str) -> None:
    asked = _asked("enrollCustomer", Enrolment(references=(CustomerReference("shopify", value), _EMAIL)))

    assert asked is None


def test_an_update_asks_for_what_mage_keeps_and_for_nothing_where_that_is_nothing() -> None:
    some = CustomerUpdate(customer=_JANE, changes={"first_name": "Jane", "date_of_birth": None})
    other = CustomerUpdate(customer=_JANE, changes={"first_name": "Jane"})

    asked = _asked("updateCustomer", some)

    assert asked is not None
    assert asked.body == {"date_of_birth": None}
    assert _asked("updateCustomer", other) is None


# What is told


def test_an_adjustment_tells_what_took_effect_and_what_was_asked() -> None:
    attributes: dict[str, Any] = {
        "shopify_customer_id": 6789012345,
        "adjustment": -80,
        "points_before": 50,
        "points_after": 0,
        "current_points": 0,
        "note": None,
        "unheard_of": [],
    }

    told = _told(
        "adjustPoints", {"data": {"type": "points_adjustment", "id": 6789012345, "attributes": attributes}}
    )

    assert told == ToldReceipt(
        entry=ToldEntry(points_delta=-50, points_asked=-80, points_before=50, points_after=0, reason=None),
        customer=ToldCustomer(references=(_JANE,), wallet=ToldWallet(available=0)),
    )


def test_an_adjustment_tells_no_more_than_the_answer_says() -> None:
    told = _told("adjustPoints", {"data": {"attributes": {"points_after": 7}}})

    assert told == ToldReceipt(entry=ToldEntry(points_after=7))


def test_a_tier_that_was_asked_to_be_left_out_is_not_told() -> None:
    body = {"data": {"id": "6789012345", "attributes": {"vip_tier": None}}}
    without = msgspec.structs.replace(_ASKED, query={"exclude_vip": "true"})

    tiers = [_told("getCustomer", body, request=request).wallet.tier for request in (_ASKED, without)]

    assert tiers == [None, UNSET]


def test_entries_whose_points_were_not_given_are_not_told() -> None:
    entries = [
        {"id": number, "attributes": {"points": 10, "status": status, "created_at": "1970-01-01T00:00:01Z"}}
        for number, status in enumerate(("pending", "approved", "rejected"))
    ]

    told = _told("listEarningHistory", {"data": entries, "meta": {}})

    assert told == ToldHistory(entries=(ToldEntry(id="1", points_delta=10, occurred_at=1_000_000),))


@pytest.mark.parametrize("operation", ["listCustomers", "listEarningHistory"])
def test_pages_lead_on_up_to_the_last(operation: str) -> None:
    answer = Answer(200, {"data": [], "meta": {"total": 41, "page": 2, "per_page": 20, "total_pages": 3}})
    second, third = (
        msgspec.structs.replace(_ASKED, query={"page[number]": number, "sort": "points"}) for number in "23"
    )

    further = _OPERATIONS[operation].next_request(answer, second)

    assert further == third
    assert _OPERATIONS[operation].next_request(answer, third) is None


@pytest.mark.parametrize(
    ("operation", "status", "code"),
    [
        ("adjustPoints", 400, Code.INVALID),
        ("adjustPoints", 401, Code.INVALID_CREDENTIALS),
        ("adjustPoints", 403, Code.CUSTOMER_EXCLUDED),
        ("getCustomer", 403, Code.INSUFFICIENT_SCOPE),
        ("adjustPoints", 404, Code.UNKNOWN_CUSTOMER),
        ("adjustPoints", 409, Code.KEY_IN_FLIGHT),
        ("enrollCustomer", 409, Code.CUSTOMER_CONFLICT),
        ("adjustPoints", 422, Code.INVALID),
        ("adjustPoints", 429, Code.RATE_LIMITED),
        ("adjustPoints", 500, Code.UNFORESEEN),
        ("adjustPoints", 503, Code.UNAVAILABLE),
        ("adjustPoints", 418, None),
    ],
)
def test_a_refusal_in_unknown_words_is_understood_by_its_status(
    operation: str, status: int, code: Code | None
) -> None:
    answer = Answer(status, {"errors": [{"status": str(status), "detail": "Words that nobody knows"}]})

    understood = VENDOR.parse_problem(answer, _OPERATIONS[operation])

    assert understood is code


@pytest.mark.parametrize("body", [UNSET, None, [], {}, {"errors": []}, {"errors": "no"}, {"error": {}}], ids=str)
def test_what_is_not_mages_envelope_is_no_refusal_of_mages(body: Any) -> None:
    understood = VENDOR.parse_problem(Answer(404, body), _OPERATIONS["adjustPoints"])

    assert understood is None
