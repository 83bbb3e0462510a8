"""LoyaltyLion's client: what is asked of the vendor when the task came through another vendor's API."""

from typing import Any

import msgspec
import pytest

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime, Overdraft
from loyalty_gateway.customer import (
    CustomerOrder,
    CustomerQuery,
    CustomersQuery,
    CustomerUpdate,
    HistoryQuery,
    Only,
)
from loyalty_gateway.problem import Code
from loyalty_gateway.told import ToldCustomer, ToldCustomers, ToldHistory, ToldReceipt
from loyalty_gateway.vendor import Answer, Operation, ValidRequest
from loyalty_gateway.vendors.loyaltylion import VENDOR, Options

_OPTIONS = Options()
_OPERATIONS = {operation.id.partition(".")[2]: operation for operation in VENDOR.operations}
_ADD, _REMOVE = _OPERATIONS["addPointsToCustomer"], _OPERATIONS["removePointsFromCustomer"]
_LIST, _UPDATE = _OPERATIONS["listCustomers"], _OPERATIONS["updateCustomer"]
_OF_CUSTOMER, _OF_ALL = _OPERATIONS["listTransactionsForCustomer"], _OPERATIONS["listTransactions"]
_JANE = CustomerReference("shopify", "6789012345")
_EMAIL = CustomerReference("email", "jane@example.com")
_BITBYBIT = CustomerReference("bitbybit", "cust_abc123")
_SHOWN = {"id": 7, "merchant_id": "6789012345", "email": "Jane@Example.com", "points_approved": 150}
_NEVER_SENT = ValidRequest(options=_OPTIONS)


def _adjusting(points_delta: int | None, *customers: CustomerReference) -> Adjustment:
    return Adjustment(
        customers=customers or (_JANE,),
        points_delta=points_delta,
        lifetime=Lifetime.NET_EARNED,
        overdraft=Overdraft.FLOOR,
        metadata={"order": 1},
        notify=("email",),
        idempotency_key="key-1",
    )


def _asked(operation: Operation, task: Any) -> ValidRequest:
    request = operation.render_request(task, _OPTIONS)
    assert request is not None
    return request


def _entry_of(**fields: Any) -> dict[str, Any]:
    return {"id": 1, "customer": _SHOWN, "points_approved": 50, "points_pending": 0} | fields


@pytest.mark.parametrize(("operation", "points_delta"), [(_ADD, 30), (_REMOVE, -30)], ids=["add", "remove"])
def test_an_adjustment_is_a_magnitude_whose_sign_is_the_path(operation: Operation, points_delta: int) -> None:
    request = _asked(operation, _adjusting(points_delta))

    assert request.path_values == {"merchant_id": "6789012345"}
    assert request.body == {"points": 30}


@pytest.mark.parametrize(
    "adjustment",
    [
        _adjusting(None),
        _adjusting(0),
        _adjusting(30, _BITBYBIT),
        _adjusting(-30, _EMAIL),
        _adjusting(30, CustomerReference("shopify", "\u2003")),
        _adjusting(30, _JANE, CustomerReference("shopify", "6789012346")),
        msgspec.structs.replace(_adjusting(30), customers=Everyone.EVERYONE),
    ],
    ids=["reset", "zero", "stranger", "email", "blank", "list", "everyone"],
)
def test_what_has_no_words_is_asked_by_neither_operation(adjustment: Adjustment) -> None:
    assert _ADD.render_request(adjustment, _OPTIONS) is None
    assert _REMOVE.render_request(adjustment, _OPTIONS) is None


def test_a_sign_is_not_asked_by_the_operation_of_the_other() -> None:
    assert _ADD.render_request(_adjusting(-30), _OPTIONS) is None
    assert _REMOVE.render_request(_adjusting(30), _OPTIONS) is None


def test_customers_are_named_in_the_namespace_of_the_options() -> None:
    options = Options(customer_namespace="bitbybit")

    request = _ADD.render_request(_adjusting(30, _BITBYBIT), options)

    assert VENDOR.namespaces(options) == ("bitbybit",)
    assert request is not None
    assert request.path_values == {"merchant_id": "cust_abc123"}
    assert _ADD.render_request(_adjusting(30), options) is None


def test_an_empty_answer_tells_no_more_than_that_points_moved() -> None:
    assert _ADD.parse_response(Answer(201), _NEVER_SENT) == ToldReceipt()
    assert _REMOVE.parse_response(Answer(204), _NEVER_SENT) == ToldReceipt()


def test_an_update_without_anything_that_can_be_said_is_not_asked() -> None:
    update = CustomerUpdate(customer=_JANE, changes={"first_name": "Jane"})

    assert _UPDATE.render_request(update, _OPTIONS) is None
    blocking = _asked(_UPDATE, msgspec.structs.replace(update, excluded=True))
    assert blocking.body == {"customer": {"blocked": True}}


def test_a_customer_is_looked_up_by_the_newest_transaction() -> None:
    request = _asked(_OF_CUSTOMER, CustomerQuery(references=(_BITBYBIT, _EMAIL, _JANE)))

    told = _OF_CUSTOMER.parse_response(Answer(200, {"transactions": [_entry_of()]}), request)

    assert (request.path_values, request.query) == ({"merchant_id": "6789012345"}, {"limit": "1"})
    assert isinstance(told, ToldHistory)
    assert told.customer.references == (_JANE, _EMAIL)
    assert told.customer.wallet.available == 150
    assert told.entries[0].customer == told.customer


def test_a_customer_without_transactions_is_not_told() -> None:
    answer = Answer(200, {"transactions": [], "cursor": {"prev": None, "next": None}})

    assert _OF_CUSTOMER.parse_response(answer, _NEVER_SENT) == ToldHistory(entries=(), customer=ToldCustomer())


def test_a_customer_is_looked_up_by_email_among_those_alike() -> None:
    request = _asked(_LIST, CustomerQuery(references=(_BITBYBIT, _EMAIL)))

    told = _LIST.parse_response(
        Answer(200, {"customers": [_SHOWN | {"email": "mary-jane@example.com"}, _SHOWN]}), request
    )

    assert request.query == {"limit": "500", "email": "jane@example.com"}
    assert isinstance(told, ToldCustomers)
    assert [one.value("email") for one in told.customers] == ["mary-jane@example.com", "jane@example.com"]


@pytest.mark.parametrize("operation", [_OF_CUSTOMER, _LIST])
def test_a_customer_whom_the_vendor_cannot_know_is_not_looked_up(operation: Operation) -> None:
    assert operation.render_request(CustomerQuery(references=(_BITBYBIT,)), _OPTIONS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"order": CustomerOrder.AVAILABLE},
        {"after": 5},
        {"after": 2**53, "descending": False},
        {"after": 5, "descending": False, "order": CustomerOrder.UPDATED},
        {"limit": 0},
        {"containing": "jane", "searched": ("email", "phone")},
        {"containing": "jane", "searched": ("email",), "searches_names": True},
        {"containing": " ", "searched": ("email",)},
    ],
)
def test_a_list_that_would_show_others_than_those_asked_for_is_not_asked(changes: dict[str, Any]) -> None:
    query = msgspec.structs.replace(CustomersQuery(limit=50), **changes)

    assert _LIST.render_request(query, _OPTIONS) is None


@pytest.mark.parametrize(("limit", "offset", "said"), [(1_000, 500, "500"), (50, 100, "50"), (50, 70, "35")])
def test_a_page_is_as_large_as_the_vendor_has_them(limit: int, offset: int, said: str) -> None:
    request = _asked(_LIST, CustomersQuery(limit=limit, offset=offset))

    assert request.query["limit"] == said
    assert (int(request.query.get("page", 1)) - 1) * int(said) == offset


@pytest.mark.parametrize(
    "changes",
    [{"after": 5}, {"before": 5}, {"offset": 5}, {"by_points": True}, {"after": 2**53, "newest_first": False}],
)
def test_a_history_that_has_no_words_is_not_asked(changes: dict[str, Any]) -> None:
    query = HistoryQuery(customer=_JANE, limit=10)

    assert _OF_CUSTOMER.render_request(msgspec.structs.replace(query, **changes), _OPTIONS) is None


def test_a_whole_history_from_its_beginning_rises_behind_no_entry() -> None:
    query = HistoryQuery(customer=_JANE, limit=None, newest_first=False, only=Only.ADDED)

    assert _asked(_OF_CUSTOMER, query).query == {"limit": "500", "since_id": "0"}


def test_a_history_is_asked_of_those_whom_the_operation_can_name() -> None:
    everyone = HistoryQuery(customer=Everyone.EVERYONE, limit=10)
    jane = msgspec.structs.replace(everyone, customer=_JANE)

    assert _OF_CUSTOMER.render_request(everyone, _OPTIONS) is None
    assert _OF_ALL.render_request(jane, _OPTIONS) is None
    assert _asked(_OF_ALL, everyone).query == {"limit": "10"}


def test_bounds_at_the_ends_of_the_calendar_can_be_said() -> None:
    query = HistoryQuery(customer=_JANE, limit=10, since=-(2**62), until=2**62)

    said = _asked(_OF_CUSTOMER, query).query

    assert said["created_at_min"] == "0001-01-01T00:00:00.000000Z"
    assert said["created_at_max"] == "9999-12-31T23:59:59.999999Z"


def test_the_cursor_leads_on_with_the_size_of_the_page_alone() -> None:
    request = _asked(_OF_CUSTOMER, HistoryQuery(customer=_JANE, limit=10, since=0))

    further = _OF_CUSTOMER.next_request(Answer(200, {"cursor": {"prev": None, "next": "c2"}}), request)

    assert further is not None
    assert further.path_values == request.path_values
    assert further.query == {"cursor": "c2", "limit": "10"}
    assert _OF_CUSTOMER.next_request(Answer(200, {"cursor": {"prev": "c1", "next": None}}), further) is None


def test_an_answer_with_ids_as_text_and_unheard_of_fields_is_understood() -> None:
    transaction = _entry_of(id="9", resource="activity", activity={"name": "$purchase"}, unheard_of=[1])
    transaction["customer"] = {"id": "7", "merchant_id": 6789012345, "state": "enrolled"}

    told = _OF_ALL.parse_response(Answer(200, {"transactions": [transaction]}), _NEVER_SENT)

    assert isinstance(told, ToldHistory)
    (entry,) = told.entries
    assert (entry.id, entry.points_delta, entry.reason) == ("9", 50, msgspec.UNSET)
    assert entry.customer == ToldCustomer(references=(_JANE,))


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (422, {"error": "Customer does not have enough points"}, Code.TOO_FEW_POINTS),
        (400, {"error": {"message": "Customer does not have enough points"}}, Code.TOO_FEW_POINTS),
        (422, {"error": "Points could not be removed"}, Code.INVALID),
        (404, {"error": "No such customer"}, Code.UNKNOWN_CUSTOMER),
        (401, {"error": "Who are you?"}, Code.INVALID_CREDENTIALS),
        (400, {"error": {"message": "Invalid request", "details": {"points": "Too small"}}}, Code.INVALID),
        (429, {"error": {"message": "Slow down"}}, Code.RATE_LIMITED),
        (503, {"error": {"message": "Customer is blocked"}}, Code.UNAVAILABLE),
        (502, {"error": {"message": "Bad gateway"}}, None),
        (422, {"errors": ["Customer does not have enough points"]}, None),
        (422, {"error": {"code": "CONFLICT"}}, None),
        (404, ["Customer not found"], None),
    ],
)
def test_a_refusal_is_understood_by_its_text_or_else_by_its_status(
    status: int, body: Any, code: Code | None
) -> None:
    assert VENDOR.parse_problem(Answer(status, body), _REMOVE) is code


def test_a_refusal_that_is_not_json_is_not_the_vendors() -> None:
    html = Answer(503, text="<h1>503</h1>", media_type="text/html")

    assert VENDOR.parse_problem(html, _ADD) is None


def test_what_is_not_found_without_any_customer_in_the_request_is_the_path() -> None:
    assert VENDOR.parse_problem(Answer(404, {"error": "Nothing here"}), _LIST) is Code.UNKNOWN_PATH
