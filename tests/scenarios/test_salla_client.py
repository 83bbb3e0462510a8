"""Salla's client: what is asked of a server of Salla's for other vendors' clients, and what its answers tell."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime, Overdraft
from loyalty_gateway.customer import CustomerOrder, CustomerQuery, CustomersQuery, HistoryQuery, Only
from loyalty_gateway.moment import microseconds_of
from loyalty_gateway.problem import Code
from loyalty_gateway.told import ToldCustomer, ToldEntry, ToldHistory, ToldReceipt
from loyalty_gateway.vendor import Answer, Operation, ValidRequest
from loyalty_gateway.vendors.salla import VENDOR, Options

_OPERATIONS = {operation.id: operation for operation in VENDOR.operations}
_ADJUST = _OPERATIONS["updateCustomerLoyaltyPoints"]
_HISTORY = _OPERATIONS["Customer-Loyalty-Points"]
_LIST = _OPERATIONS["List-Customers"]
_DETAILS = _OPERATIONS["Customer-Details"]

_JANE = CustomerReference("salla", "748394059")
_ADDITION = Adjustment(customers=(_JANE,), points_delta=5, lifetime=Lifetime.EARN_AND_BURN)
_GRANTS = HistoryQuery(customer=_JANE, limit=30, only=Only.ADDED, newest_first=False)
_PAGE = CustomersQuery(limit=15)


def _asked(operation: Operation, task: Any) -> ValidRequest | None:
    request: ValidRequest | None = operation.render_request(task, Options())
    return request


def _said(operation: Operation, task: Any) -> ValidRequest:
    request = _asked(operation, task)
    assert request is not None
    return request


def _changed(task: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(task, **fields)


def _told(operation: Operation, body: Any, **query: str) -> Any:
    return operation.parse_response(Answer(200, body), ValidRequest(query=query, options=Options()))


def _refused(status: int, error: Any, operation: Operation = _ADJUST) -> Code | None:
    return VENDOR.parse_problem(Answer(status, {"status": status, "success": False, "error": error}), operation)


def test_an_adjustment_says_what_salla_has_words_for() -> None:
    adjustment = _changed(
        _ADDITION,
        points_delta=-40,
        customers=(_JANE, CustomerReference("wallet", "7")),
        overdraft=Overdraft.FLOOR,
        metadata={"order": 1},
        notify=("push", "email"),
        visible=False,
    )

    assert _said(_ADJUST, adjustment).body == {
        "points": 40,
        "type": "minus",
        "reason": "Points adjustment",
        "channel_send": ["email"],
        "customers": [748394059, 9_000_000_000_000_007],
    }


def test_an_empty_reason_is_none_of_ours() -> None:
    assert _said(_ADJUST, _changed(_ADDITION, reason="")).body["reason"] == ""


def test_a_reset_of_everyone_carries_no_points() -> None:
    body = _said(_ADJUST, _changed(_ADDITION, customers=Everyone.EVERYONE, points_delta=None)).body

    assert (body["reset_points"], body["select_all"], body["customers"]) == (True, True, [])
    assert "points" not in body


@pytest.mark.parametrize(
    "fields",
    [
        {"points_delta": 0},
        {"customers": ()},
        {"customers": (_JANE, CustomerReference("shopify", "6789012345"))},
        {"customers": (CustomerReference("salla", "0007"),)},
        {"customers": (CustomerReference("salla", "jane"),)},
        {"customers": (CustomerReference("salla", "9000000000000001"),)},
        {"customers": (CustomerReference("wallet", "0"),)},
        {"customers": (CustomerReference("wallet", "18446744073709551615"),)},
    ],
)
def test_an_adjustment_that_salla_cannot_say_is_not_said(fields: dict[str, Any]) -> None:
    assert _asked(_ADJUST, _changed(_ADDITION, **fields)) is None


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, True),
        ({"points_delta": -5}, False),
        ({"points_delta": None}, False),
        ({"customers": Everyone.EVERYONE}, False),
    ],
)
def test_the_history_shows_only_what_was_granted_to_those_listed(fields: dict[str, Any], shown: bool) -> None:  # noqa: FBT001
    assert VENDOR.history_shows(_changed(_ADDITION, **fields)) is shown


@pytest.mark.parametrize(
    ("limit", "offset", "page"),
    [
        (30, 60, ("3", "30")),
        (None, 0, ("1", "60")),
        (100, 0, ("1", "60")),
        (100, 200, ("5", "50")),
        (5, 7, ("8", "1")),
    ],
)
def test_a_page_begins_where_it_was_asked_to(limit: int | None, offset: int, page: tuple[str, str]) -> None:
    query = _said(_HISTORY, _changed(_GRANTS, limit=limit, offset=offset)).query

    assert (query["page"], query["per_page"]) == page


@pytest.mark.parametrize(
    "fields",
    [
        {"customer": Everyone.EVERYONE},
        {"customer": CustomerReference("email", "jane@example.com")},
        {"customer": CustomerReference("salla", " ")},
        {"limit": 0},
        {"newest_first": True},
        {"by_points": True},
        {"only": Only.DEDUCTED},
        {"after": 3},
        {"before": 3},
        {"since": 3},
        {"until": 3},
    ],
)
def test_a_history_that_salla_does_not_have_is_not_asked_for(fields: dict[str, Any]) -> None:
    assert _asked(_HISTORY, _changed(_GRANTS, **fields)) is None


def test_a_customer_is_asked_for_by_the_first_number_and_with_the_balance() -> None:
    request = _said(_DETAILS, CustomerQuery(references=(CustomerReference("email", "j@example.com"), _JANE)))

    assert (request.path_values, request.query) == ({"customer": "748394059"}, {"fields[]": "total_points"})


def test_a_customer_without_a_number_is_not_asked_for() -> None:
    nameless = (CustomerReference("email", "j@example.com"), CustomerReference("salla", "jane"))

    assert _asked(_DETAILS, CustomerQuery(references=nameless)) is None


def test_a_list_is_asked_for_by_keyword_and_whole_days_in_riyadh() -> None:
    query = _changed(
        _PAGE,
        containing="jane",
        searched=("email",),
        created_from=microseconds_of("2024-12-29T21:00:00Z"),
        created_until=microseconds_of("2024-12-31T20:59:59.999999Z"),
    )

    assert _said(_LIST, query).query == {
        "page": "1",
        "per_page": "15",
        "keyword": "jane",
        "date_from": "2024-12-30",
        "date_to": "2024-12-31",
        "fields[]": "total_points",
    }


def test_text_that_is_in_every_customer_is_no_keyword() -> None:
    assert "keyword" not in _said(_LIST, _changed(_PAGE, containing="", searched=("email",))).query


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 0},
        {"order": CustomerOrder.AVAILABLE},
        {"descending": False},
        {"after": 1},
        {"after_updated": 1},
        {"updated_from": 0},
        {"updated_until": 0},
        {"excluded": False},
        {"tags": ("vip",)},
        {"sources": ("api",)},
        {"created_from": 0},
        {"created_until": microseconds_of("2024-12-31T21:00:00Z")},
        {"created_from": 10**18},
        {"containing": "6789", "searched": ("shopify",)},
    ],
)
def test_a_list_that_salla_does_not_have_is_not_asked_for(fields: dict[str, Any]) -> None:
    assert _asked(_LIST, _changed(_PAGE, **fields)) is None


def test_an_adjustment_that_was_carried_out_tells_nothing_else() -> None:
    assert _told(_ADJUST, {"status": 201, "success": True, "data": {}}) == ToldReceipt()


def _grant(**fields: Any) -> dict[str, Any]:
    date = {"date": "2024-12-17 17:42:14.000000", "timezone_type": 3, "timezone": "Asia/Riyadh"}
    return {"points": 900, "used_points": 100, "notes": "r", "created_at": date} | fields


def _history(*grants: dict[str, Any], **paging: Any) -> ToldHistory:
    pages = {"total": len(grants), "currentPage": 1, "totalPages": 1} | paging
    history: ToldHistory = _told(_HISTORY, {"data": list(grants), "pagination": pages})
    return history


def test_numbers_come_as_text_and_empty_text_is_none() -> None:
    history = _history(_grant(points="900", used_points="100.0", notes="", colour="red"))

    assert history.entries == (
        ToldEntry(
            points_delta=900, spent=100, reason=None, occurred_at=microseconds_of("2024-12-17T17:42:14+03:00")
        ),
    )
    assert history.customer.wallet.available == 800


@pytest.mark.parametrize("used", [None, "", "a few", 0.5, True])
def test_what_is_no_number_tells_no_balance(used: Any) -> None:
    history = _history(_grant(), _grant(used_points=used))

    assert (history.entries[1].spent, history.customer.wallet.available) == (UNSET, UNSET)


@pytest.mark.parametrize("paging", [{"totalPages": 2}, {"currentPage": 2}, {"total": 2}, {"total": None}])
def test_only_a_page_of_all_grants_tells_the_balance(paging: dict[str, Any]) -> None:
    assert _history(_grant()).customer.wallet.available == 800
    assert _history(_grant(), **paging).customer.wallet.available is UNSET


@pytest.mark.parametrize(
    ("zone", "utc"),
    [
        ("UTC", "2024-12-17T17:42:14Z"),
        ("+04:00", "2024-12-17T13:42:14Z"),
        ("Europe/Berlin", "2024-12-17T16:42:14Z"),
        ("Nowhere/Land", None),
        ("+99:00", None),
        ("", None),
    ],
)
def test_a_moment_is_read_at_the_clock_of_its_zone(zone: str, utc: str | None) -> None:
    date = {"date": "2024-12-17 17:42:14.000000", "timezone_type": 3, "timezone": zone}

    (entry,) = _history(_grant(created_at=date)).entries

    assert entry.occurred_at == (UNSET if utc is None else microseconds_of(utc))


def test_a_date_without_a_zone_tells_no_moment() -> None:
    (entry,) = _history(_grant(created_at="2024-12-17 17:42:14")).entries

    assert entry.occurred_at is UNSET


def _customer(**fields: Any) -> ToldCustomer:
    customer: ToldCustomer = _told(_DETAILS, {"data": fields})
    return customer


def test_a_customer_is_told_with_names_profile_and_balance() -> None:
    customer = _customer(
        id="748394059",
        first_name="Jane",
        last_name="",
        mobile="500000000",
        mobile_code="+966",
        email="Jane@example.com",
        birthday={"date": "1990-05-17 00:00:00.000000", "timezone_type": 3},
        total_points="12.0",
        is_blocked=1,
    )

    assert {str(one) for one in customer.references} == {
        "salla:748394059",
        "email:jane@example.com",
        "phone:+966500000000",
    }
    assert customer.profile == {"first_name": "Jane", "last_name": None, "date_of_birth": "1990-05-17"}
    assert (customer.wallet.available, customer.wallet.excluded) == (12, True)


def test_a_customer_of_whom_little_is_said_is_told_as_that() -> None:
    assert _customer() == ToldCustomer()
    assert _customer(id=None, email="", mobile=500000000, mobile_code="", birthday="soon") == ToldCustomer()
    assert _customer(birthday="").profile == {"date_of_birth": None}


def test_pages_are_asked_for_until_the_last_whatever_the_server_calls_them() -> None:
    request = _said(_LIST, _changed(_PAGE, containing="jane", searched=("email",)))
    answer = Answer(200, {"data": [], "pagination": {"currentPage": 1, "totalPages": "2"}})

    second = _LIST.next_request(answer, request)

    assert second is not None
    assert second.query == {**request.query, "page": "2"}
    assert _LIST.next_request(answer, second) is None
    assert _LIST.next_request(Answer(200, {"data": []}), request) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"customers": ["حقل customers غير صالح"]}, Code.UNKNOWN_CUSTOMER),
        ({"customers": "The selected customers do not exist."}, Code.UNKNOWN_CUSTOMER),
        ({"customers.0": ["x"], "customers.3": ["x"]}, Code.UNKNOWN_CUSTOMER),
        ({"customers": ["حقل customers مطلوب."]}, Code.INVALID),
        ({"points": ["The points may not be greater than 999999."]}, Code.INVALID),
        ({"points": ["حقل points غير صالح"]}, Code.AMOUNT_OUT_OF_RANGE),
        ({"customers": ["x"], "reason": ["x"]}, Code.INVALID),
        ({"reason": ["حقل reason غير صالح"]}, Code.INVALID),
        ({}, Code.INVALID),
        ([], Code.INVALID),
    ],
)
def test_what_is_wrong_with_a_field_tells_the_kind_of_refusal(fields: Any, code: Code) -> None:
    assert _refused(422, {"code": "error", "message": "alert.invalid_fields", "fields": fields}) is code


def test_a_refusal_means_what_the_operation_makes_of_it() -> None:
    no_history = {"code": "error", "fields": {"customer_id": ["حقل customer id غير صالح"]}}
    not_done = {"message": "حدث خطأ أثناء تحديث نقاط الولاء للعملاء"}
    not_there = {"code": "404", "message": "The content you are trying to access is no longer available"}

    assert _refused(422, no_history, _HISTORY) is Code.UNKNOWN_CUSTOMER
    assert (_refused(400, not_done), _refused(400, not_done, _LIST)) == (Code.TOO_FEW_POINTS, None)
    assert (_refused(404, not_there, _DETAILS), _refused(404, not_there, _LIST)) == (
        Code.UNKNOWN_CUSTOMER,
        Code.UNKNOWN_PATH,
    )
    assert _refused(404, not_there | {"code": "error"}, _DETAILS) is Code.UNKNOWN_PATH


@pytest.mark.parametrize(
    "answer",
    [
        Answer(502, text="<html>", media_type="text/html"),
        Answer(422, {"message": "no"}),
        Answer(400, {"error": {"message": "no"}}),
        Answer(400, {"success": False, "error": "no"}),
        Answer(418, {"success": False, "error": {"message": "no"}}),
        Answer(400, [1]),
    ],
)
def test_what_salla_never_says_is_not_understood(answer: Answer) -> None:
    assert VENDOR.parse_problem(answer, _ADJUST) is None
