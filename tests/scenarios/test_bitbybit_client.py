"""bitbybit as its clients see it: what is asked there for clients of other vendors, and what its answers tell."""

from typing import Any

import msgspec
import pytest

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime
from loyalty_gateway.customer import CustomerOrder, CustomerQuery, CustomersQuery, HistoryQuery, Only
from loyalty_gateway.moment import microseconds_of
from loyalty_gateway.told import ToldCustomer, ToldCustomers
from loyalty_gateway.vendor import Answer, ValidRequest
from loyalty_gateway.vendors.bitbybit import VENDOR, Options

_OPERATIONS = {operation.id: operation for operation in VENDOR.operations}
_ADJUST, _HISTORY = _OPERATIONS["adjustCustomerPoints"], _OPERATIONS["getLoyaltyPointHistory"]
_LIST, _GET = _OPERATIONS["listCustomers"], _OPERATIONS["getCustomer"]
_OPTIONS = Options()
_JANE = CustomerReference("bitbybit", "cust_abc123")
_STRANGER = CustomerReference("shopify", "6789012345")
_ENTRIES = HistoryQuery(customer=_JANE, limit=20)
_PAGE = CustomersQuery(limit=20)
_ADDITION = Adjustment(customers=(_JANE,), points_delta=5, lifetime=Lifetime.EARN_AND_BURN)


def _changed(task: Any, changes: dict[str, Any]) -> Any:
    return msgspec.structs.replace(task, **changes)


def _said(operation_id: str, task: Any) -> ValidRequest:
    request = _OPERATIONS[operation_id].render_request(task, _OPTIONS)
    assert request is not None
    return request


def test_an_adjustment_without_a_reason_is_given_one() -> None:
    request = _said("adjustCustomerPoints", _changed(_ADDITION, {"points_delta": -5}))

    assert request.path_values == {"customerId": "cust_abc123"}
    assert request.body == {"direction": "deduct", "points": 5, "reason": "Points adjustment"}


@pytest.mark.parametrize(
    "changes",
    [
        {"points_delta": None},
        {"points_delta": 0},
        {"customers": Everyone.EVERYONE},
        {"customers": (_JANE, CustomerReference("bitbybit", "cust_def456"))},
        {"customers": (_STRANGER,)},
    ],
)
def test_an_adjustment_that_has_no_words_is_not_said(changes: dict[str, Any]) -> None:
    assert _ADJUST.render_request(_changed(_ADDITION, changes), _OPTIONS) is None


@pytest.mark.parametrize(
    ("limit", "offset", "page"),
    [
        (20, 40, ("3", "20")),
        (250, 0, ("1", "100")),
        (250, 250, ("6", "50")),
        (250, 500, ("6", "100")),
        (20, 30, ("3", "15")),
    ],
)
def test_a_page_of_customers_begins_where_it_was_asked_to(limit: int, offset: int, page: tuple[str, str]) -> None:
    query = _said("listCustomers", _changed(_PAGE, {"limit": limit, "offset": offset})).query

    assert (query["page"], query["limit"]) == page


def test_a_list_is_narrowed_by_text_tags_and_sources() -> None:
    query = _changed(
        _PAGE, {"containing": "jane", "searched": ("email",), "tags": ("vip", "eu"), "sources": ("api",)}
    )

    assert _said("listCustomers", query).query == {
        "page": "1",
        "limit": "20",
        "sort": "createdAt:desc",
        "search": "jane",
        "tags": "vip,eu",
        "source": "api",
    }


def test_text_that_is_in_every_customer_is_not_searched_for() -> None:
    query = _changed(_PAGE, {"containing": " ", "searched": ("email",)})

    assert "search" not in _said("listCustomers", query).query


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": 0},
        {"order": CustomerOrder.AVAILABLE},
        {"after": 1},
        {"order": CustomerOrder.UPDATED, "after": 1, "after_updated": 1},
        {"created_from": 0},
        {"created_until": 0},
        {"updated_from": 0},
        {"updated_until": 0},
        {"excluded": False},
        {"tags": ("a,b",)},
        {"sources": ("a,b",)},
        {"tags": (" ",)},
        {"containing": "6789", "searched": ("shopify",)},
    ],
)
def test_a_list_that_would_show_others_than_those_asked_for_is_not_said(changes: dict[str, Any]) -> None:
    assert _LIST.render_request(_changed(_PAGE, changes), _OPTIONS) is None


def test_a_whole_history_is_asked_for_in_the_largest_pages() -> None:
    assert _said("getLoyaltyPointHistory", _changed(_ENTRIES, {"limit": None})).query["limit"] == "100"


def test_a_history_ends_before_the_moment_behind_its_last() -> None:
    until = microseconds_of("2026-01-15T10:30:00.000001Z")

    asked = [_said("getLoyaltyPointHistory", _changed(_ENTRIES, {"until": last})) for last in (until, 2**62)]

    assert [request.query["before"] for request in asked] == [
        "2026-01-15T10:30:00.000002Z",
        "9999-12-31T23:59:59.999999Z",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"customer": Everyone.EVERYONE},
        {"customer": _STRANGER},
        {"limit": 0},
        {"newest_first": False},
        {"by_points": True},
        {"offset": 20},
        {"after": 3},
        {"before": 3},
        {"since": 3},
    ],
)
@pytest.mark.parametrize("only", Only)
def test_a_history_that_would_show_other_entries_is_not_said(changes: dict[str, Any], only: Only) -> None:
    assert _HISTORY.render_request(_changed(_ENTRIES, {"only": only} | changes), _OPTIONS) is None


def test_a_customer_is_looked_up_by_the_first_id_of_the_vendors_own() -> None:
    request = _said("getCustomer", CustomerQuery(references=(_STRANGER, _JANE)))

    assert request.path_values == {"id": "cust_abc123"}
    assert _GET.render_request(CustomerQuery(references=(_STRANGER,)), _OPTIONS) is None


def test_a_customer_is_told_as_far_as_the_answer_goes() -> None:
    body = {"data": {"id": "cust_abc123", "email": None, "tags": None, "unheard_of": 1}}

    told = _GET.parse_response(Answer(200, body), ValidRequest(options=_OPTIONS))

    assert told == ToldCustomer(references=(_JANE,))


def test_the_next_page_is_that_behind_the_one_asked_for_whatever_the_answer_calls_it() -> None:
    asked = _said("listCustomers", _changed(_PAGE, {"offset": 20}))
    meta = {"page": 1, "limit": 20, "total": 70, "hasNextPage": True}

    further = _LIST.next_request(Answer(200, {"data": [], "meta": meta}), asked)

    assert further is not None
    assert further.query == {**asked.query, "page": "3"}
    last = Answer(200, {"data": [], "meta": meta | {"hasNextPage": False}})
    assert _LIST.parse_response(last, asked) == ToldCustomers(customers=(), total=70)
    assert _LIST.next_request(last, asked) is None
