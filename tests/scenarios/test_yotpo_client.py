"""Yotpo as an upstream: what is asked there for clients of other vendors, and how its answers are understood."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime, Overdraft
from loyalty_gateway.customer import CustomerQuery, Enrolment, Existing, HistoryQuery, Only
from loyalty_gateway.moment import microseconds_of
from loyalty_gateway.problem import Code
from loyalty_gateway.told import ToldCustomer, ToldEntry, ToldHistory, ToldReceipt, ToldWallet
from loyalty_gateway.vendor import Answer, Operation, ValidRequest
from loyalty_gateway.vendors.yotpo import VENDOR, Options

_OPERATIONS = {operation.id: operation for operation in VENDOR.operations}
_LOYALTY, _STORE = _OPERATIONS["adjustPoints"], _OPERATIONS["adjustStorePoints"]
_FETCH, _RETRIEVE = _OPERATIONS["fetchCustomerDetails"], _OPERATIONS["retrieveStoreCustomerDetails"]
_SAVE = _OPERATIONS["createOrUpdateCustomer"]
_OPTIONS = Options()
_ASKED = ValidRequest(options=_OPTIONS)
_JANE = CustomerReference("shopify", "6789012345")
_JANES_EMAIL = CustomerReference("email", "jane@example.com")
_STRANGER = CustomerReference("bitbybit", "cust_abc123")
_ADJUSTMENT = Adjustment(customers=(_JANE,), points_delta=100, lifetime=Lifetime.EARN_AND_BURN)
_HISTORY = HistoryQuery(customer=_JANE, limit=None, newest_first=False)

_SURFACES = pytest.mark.parametrize("operation", [_LOYALTY, _STORE], ids=lambda operation: operation.id)
_LOOK_UPS = pytest.mark.parametrize("operation", [_FETCH, _RETRIEVE], ids=lambda operation: operation.id)


def _body(operation: Operation, adjustment: Adjustment) -> Any:
    request = operation.render_request(adjustment, _OPTIONS)
    assert request is not None
    return request.body


def _changed(**changes: Any) -> Adjustment:
    return msgspec.structs.replace(_ADJUSTMENT, **changes)


def test_the_loyalty_api_is_asked_without_a_title_where_there_is_no_reason() -> None:
    body = _body(_LOYALTY, _changed(metadata={"order": 1}, overdraft=Overdraft.FLOOR, notify=("email",)))

    assert body == {
        "customer_id": "6789012345",
        "point_adjustment_amount": 100,
        "apply_adjustment_to_points_earned": True,
        "visible_to_customer": True,
    }


def test_the_app_developer_api_is_asked_with_a_title_and_truth_as_a_word() -> None:
    body = _body(_STORE, _changed(customers=(_JANES_EMAIL,), visible=False))

    assert body == {
        "customer_email": "jane@example.com",
        "point_adjustment_amount": 100,
        "apply_adjustment_to_points_earned": True,
        "history_title": "Points adjustment",
        "visible_to_customer": "false",
    }


@pytest.mark.parametrize(
    ("lifetime", "said"),
    [
        (Lifetime.NET_EARNED, [True, True]),
        (Lifetime.EARN_AND_BURN, [True, False]),
        (Lifetime.EARN_ONLY, [True, False]),
        (Lifetime.BURN_ONLY, [False, False]),
        (Lifetime.UNTOUCHED, [False, False]),
    ],
)
@_SURFACES
def test_the_earned_points_follow_an_amount_only_where_it_was_meant_to_move_them(
    operation: Operation, lifetime: Lifetime, said: list[bool]
) -> None:
    bodies = [_body(operation, _changed(lifetime=lifetime, points_delta=points)) for points in (5, -5)]

    assert [body["apply_adjustment_to_points_earned"] for body in bodies] == said


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"customers": (_JANE, _JANES_EMAIL)}, id="several customers"),
        pytest.param({"customers": Everyone.EVERYONE}, id="everyone"),
        pytest.param({"points_delta": None}, id="a reset"),
        pytest.param({"customers": (_STRANGER,)}, id="a name of another vendor"),
        pytest.param({"customers": (CustomerReference("shopify", " "),)}, id="a name of white space"),
        pytest.param({"customers": (CustomerReference("phone", "+966500000000"),)}, id="a phone number"),
    ],
)
@_SURFACES
def test_what_an_adjustment_cannot_say_there_is_not_asked(operation: Operation, changes: dict[str, Any]) -> None:
    assert operation.render_request(_changed(**changes), _OPTIONS) is None


def test_the_id_of_a_customer_is_one_of_the_configured_namespace() -> None:
    options = Options(customer_id_namespace="bitbybit")

    request = _LOYALTY.render_request(_changed(customers=(_STRANGER,)), options)

    assert request is not None
    assert request.body["customer_id"] == "cust_abc123"
    assert VENDOR.namespaces(options) == ("bitbybit", "email")


@_LOOK_UPS
def test_a_customer_is_looked_up_by_the_first_name_that_the_vendor_knows(operation: Operation) -> None:
    phone = CustomerReference("phone", "+966500000000")

    request = operation.render_request(CustomerQuery(references=(_STRANGER, phone, _JANE)), _OPTIONS)

    assert request is not None
    assert operation.parse_request(request) == HistoryQuery(customer=phone, limit=0, newest_first=False)


@_LOOK_UPS
def test_a_whole_history_is_asked_for_with_its_customer(operation: Operation) -> None:
    request = operation.render_request(_HISTORY, _OPTIONS)

    assert request is not None
    assert operation.parse_request(request) == _HISTORY


@pytest.mark.parametrize(
    "changes",
    [
        {"newest_first": True},
        {"limit": 5},
        {"only": Only.ADDED},
        {"since": 1},
        {"until": 1},
        {"after": 1},
        {"before": 1},
        {"offset": 1},
        {"by_points": True},
        {"customer": Everyone.EVERYONE},
        {"customer": _STRANGER},
        # As a query it would be read as a+b@example.com, who may be somebody else.
        {"customer": CustomerReference("email", "a b@example.com")},
    ],
    ids=lambda changes: next(iter(changes)),
)
@_LOOK_UPS
def test_a_history_that_cannot_be_had_is_not_asked_for(operation: Operation, changes: dict[str, Any]) -> None:
    assert operation.render_request(msgspec.structs.replace(_HISTORY, **changes), _OPTIONS) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"existing": Existing.REFUSE}, id="only a new one"),
        pytest.param({"existing": Existing.KEEP}, id="as they are"),
        pytest.param({"references": (_JANE,)}, id="without an email"),
    ],
)
def test_an_enrolment_that_might_overwrite_somebody_is_not_asked_for(changes: dict[str, Any]) -> None:
    enrolment = Enrolment(references=(_JANE, _JANES_EMAIL), existing=Existing.UPDATE)

    assert _SAVE.render_request(enrolment, _OPTIONS) is not None
    assert _SAVE.render_request(msgspec.structs.replace(enrolment, **changes), _OPTIONS) is None


@pytest.mark.parametrize(("tags", "said"), [((), {"tags": ""}), (("vip", "a,b"), {"tags": "vip"}), (("a,b",), {})])
def test_a_tag_with_a_comma_is_left_out_and_takes_no_other_away(
    tags: tuple[str, ...], said: dict[str, str]
) -> None:
    enrolment = Enrolment(references=(_JANES_EMAIL,), existing=Existing.UPDATE, changes={"tags": tags})

    request = _SAVE.render_request(enrolment, _OPTIONS)

    assert request is not None
    assert request.body == {"email": "jane@example.com"} | said


def test_an_event_is_told_whatever_it_leaves_out_or_has_besides() -> None:
    told = [
        _LOYALTY.parse_response(Answer(200, body), _ASKED)
        for body in (UNSET, {}, {"id": "7", "name": "Points adjustment", "points": 3}, {"id": 7, "name": None})
    ]

    untitled = ToldReceipt(entry=ToldEntry(id="7", reason=None))
    assert told == [ToldReceipt(), ToldReceipt(), untitled, untitled]


def test_a_customer_of_the_vendors_own_server_is_told_as_far_as_the_answer_goes() -> None:
    body = {
        "thirty_party_id": 6789012345,
        "points_balance": 320,
        "opt_in": False,
        "opted_in_at": "2022-08-18",
        "birthday_month": 5,
        "birth_day": 17,
        "birthday_year": None,
        "vip_tier_name": None,
        "swell_id": 1,
    }

    told = _FETCH.parse_response(Answer(200, body), _ASKED)

    assert told == ToldCustomer(
        references=(_JANE,),
        wallet=ToldWallet(
            available=320, excluded=True, tier=None, created_at=microseconds_of("2022-08-18T00:00:00Z")
        ),
    )


def test_a_history_is_told_with_its_titles_and_its_customer() -> None:
    items = [{"action": "Order 1001", "points": -50, "created_at": "2022-08-18T10:30:00+02:00"}, {"points": 5}]

    told = _RETRIEVE.parse_response(Answer(200, {"customers": {"history_items": items, "email": ""}}), _ASKED)

    assert told == ToldHistory(
        entries=(
            ToldEntry(reason="Order 1001", points_delta=-50, occurred_at=microseconds_of("2022-08-18T08:30:00Z")),
            ToldEntry(points_delta=5),
        )
    )


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (Answer(422, {"error": "Customer does not have enough points"}), Code.TOO_FEW_POINTS),
        (Answer(422, {"error": "something unheard of"}), Code.INVALID),
        (Answer(423, {"error": "something unheard of"}), Code.RECORD_BUSY),
        (Answer(404, {"error": "something unheard of"}), Code.UNKNOWN_CUSTOMER),
        (Answer(400, {"error": "Customer does not exist"}), Code.UNKNOWN_CUSTOMER),
        (Answer(404, {"errors": [{"message": {"customer": "Could not find customer"}}]}), Code.UNKNOWN_CUSTOMER),
        (Answer(404, text="<html>", media_type="text/html; charset=utf-8"), Code.UNKNOWN_PATH),
        (Answer(502, text="<html>", media_type="text/html"), None),
        (Answer(404, text="not here", media_type="text/plain"), None),
        (Answer(422, {"message": "another's envelope"}), None),
        (Answer(418, {"error": "something unheard of"}), None),
        (Answer(503, ["no envelope"]), None),
    ],
)
def test_a_refusal_of_the_vendors_own_is_understood_and_nobody_elses(answer: Answer, means: Code | None) -> None:
    assert VENDOR.parse_problem(answer, _RETRIEVE) is means
