"""Salla: lists of customers or everyone, a reset in three spellings, Arabic unless English is asked for."""

import time
from itertools import permutations
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config

_PATH = "/salla/admin/v2/customers/loyalty/points"
_TOKEN = {"authorization": "Bearer demo-salla-token"}
_JANE, _OMAR = 748394059, 873874834
_EXAMPLE: dict[str, Any] = {
    "points": 900,
    "reset_point": False,
    "type": "plus",
    "reason": "Valid reason text",
    "channel_send": ["email", "sms"],
    "customers": [748394059, 873874834],
}
_DONE = {
    "status": 201,
    "success": True,
    "data": {"code": 201, "message": "تم تحديث نقاط الولاء للعملاء بنجاح"},
}
_NOT_DONE = {
    "status": 400,
    "success": False,
    "error": {"message": "حدث خطأ أثناء تحديث نقاط الولاء للعملاء"},
}


def _adjust(gateway: Gateway, points: int, kind: str, *customers: int, **more: Any) -> httpx2.Response:
    body = {"points": points, "type": kind, "reason": "r", "channel_send": [], "customers": list(customers)}
    return gateway.post(_PATH, body | more, _TOKEN)


def _balances(gateway: Gateway) -> tuple[int, int]:
    return gateway.wallet(f"salla:{_JANE}")["available"], gateway.wallet(f"salla:{_OMAR}")["available"]


def _invalid(**fields: str) -> dict[str, Any]:
    return {
        "status": 422,
        "success": False,
        "error": {
            "code": "error",
            "message": "alert.invalid_fields",
            "fields": {name: [text] for name, text in fields.items()},
        },
    }


def _unauthorized(code: str, message: str) -> dict[str, Any]:
    return {"status": 401, "success": False, "error": {"code": code, "message": message}}


def test_the_documented_example_answers_as_documented_and_moves_both_customers(gateway: Gateway) -> None:
    answer = gateway.post(_PATH, _EXAMPLE, _TOKEN)

    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == _DONE
    assert _balances(gateway) == (900, 900)
    assert [(entry["points_delta"], entry["reason"], entry["notify"]) for entry in gateway.entries()] == [
        (900, "Valid reason text", '["email","sms"]')
    ] * 2


def test_minus_takes_points_from_each_customer_listed(gateway: Gateway) -> None:
    _adjust(gateway, 900, "plus", _JANE, _OMAR)

    answer = _adjust(gateway, 100, "minus", _JANE, _OMAR)

    assert (answer.status_code, answer.json()) == (201, _DONE)
    assert _balances(gateway) == (800, 800)


def test_minus_below_zero_for_one_customer_refuses_the_list_and_moves_nobody(gateway: Gateway) -> None:
    _adjust(gateway, 100, "plus", _JANE)
    _adjust(gateway, 99, "plus", _OMAR)

    answer = _adjust(gateway, 100, "minus", _JANE, _OMAR)

    assert (answer.status_code, answer.json()) == (400, _NOT_DONE)
    assert _balances(gateway) == (100, 99)


def test_minus_below_zero_for_one_customer_refuses_everyone_and_moves_nobody(gateway: Gateway) -> None:
    _adjust(gateway, 100, "plus", _JANE)

    answer = _adjust(gateway, 1, "minus", select_all=True)

    assert (answer.status_code, answer.json()) == (400, _NOT_DONE)
    assert _balances(gateway) == (100, 0)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"points": 30, "type": "plus"}, (90, 80, 40)),
        ({"points": 30, "type": "minus"}, (30, 50, 70)),
        ({"points": 30, "type": "plus", "reset_points": True}, (0, 50, 40)),
    ],
    ids=["plus", "minus", "reset"],
)
@pytest.mark.parametrize("whom", [{"customers": [_JANE]}, {"select_all": True}], ids=["listed", "everyone"])
def test_plus_is_earned_minus_is_burned_and_a_reset_is_neither(
    gateway: Gateway, asked: dict[str, Any], expected: tuple[int, int, int], whom: dict[str, Any]
) -> None:
    gateway.set_available(f"salla:{_JANE}", 50)
    gateway.set_available(f"salla:{_OMAR}", 50)
    _adjust(gateway, 50, "plus", _JANE, _OMAR)
    _adjust(gateway, 40, "minus", _JANE, _OMAR)

    answer = gateway.post(_PATH, {"reason": "r", "channel_send": [], **asked, **whom}, _TOKEN)

    assert answer.status_code == 201
    wallet = gateway.wallet(f"salla:{_JANE}")
    assert (wallet["available"], wallet["lifetime_earned"], wallet["lifetime_burned"]) == expected


@pytest.mark.parametrize(
    "twice", [[_JANE, _JANE], [_JANE, str(_JANE)], [_JANE, float(_JANE)], [str(_JANE), f"0{_JANE}"]]
)
def test_a_customer_listed_twice_is_adjusted_once(gateway: Gateway, twice: list[Any]) -> None:
    answer = gateway.post(_PATH, {**_EXAMPLE, "customers": twice}, _TOKEN)

    assert answer.status_code == 201
    assert _balances(gateway) == (900, 0)
    assert len(gateway.entries()) == 1


def test_numeric_strings_pass_for_customers(gateway: Gateway) -> None:
    answer = gateway.post(_PATH, {**_EXAMPLE, "customers": [str(_JANE), _OMAR]}, _TOKEN)

    assert (answer.status_code, answer.json()) == (201, _DONE)
    assert _balances(gateway) == (900, 900)


@pytest.mark.parametrize("customers", [{}, {"customers": []}], ids=["absent", "empty"])
def test_select_all_addresses_every_customer_without_a_list(
    gateway: Gateway, customers: dict[str, list[int]]
) -> None:
    body = {name: value for name, value in _EXAMPLE.items() if name != "customers"}

    answer = gateway.post(_PATH, {**body, **customers, "select_all": True}, _TOKEN)

    assert (answer.status_code, answer.json()) == (201, _DONE)
    assert _balances(gateway) == (900, 900)


def test_select_all_beside_a_list_of_customers_is_refused(gateway: Gateway) -> None:
    answer = gateway.post(_PATH, _EXAMPLE | {"select_all": True}, _TOKEN)

    assert (answer.status_code, answer.json()) == (422, _invalid(customers="حقل customers غير صالح"))
    assert gateway.entries() == []


def test_select_all_passes_over_an_excluded_customer(gateway: Gateway) -> None:
    gateway.exclude(f"salla:{_OMAR}")

    answer = _adjust(gateway, 5, "plus", select_all=True)

    assert answer.status_code == 201
    assert _balances(gateway) == (5, 0)
    assert len(gateway.entries()) == 1


def test_an_excluded_customer_in_a_list_refuses_the_list(gateway: Gateway) -> None:
    gateway.exclude(f"salla:{_OMAR}")

    answer = gateway.post(_PATH, _EXAMPLE, _TOKEN)

    assert (answer.status_code, answer.json()) == (422, _invalid(customers="حقل customers غير صالح"))
    assert _balances(gateway) == (0, 0)


def test_select_all_beyond_the_configured_number_of_customers_is_answered_and_seen_by_everybody_all_the_same(
    start_gateway: StartGateway,
) -> None:
    gateway = start_gateway(demo_config(everyone_at_once=1))

    answer = _adjust(gateway, 5, "plus", select_all=True)
    shown = [
        gateway.client.get(f"/salla/admin/v2/customers/loyalty/points?customer_id={one}", headers=_TOKEN).json()
        for one in (_JANE, _OMAR)
    ]

    assert (answer.status_code, answer.json()) == (201, _DONE)
    assert [one["data"][0]["points"] for one in shown] == [5, 5]


def test_select_all_set_to_false_leaves_the_list_in_force(gateway: Gateway) -> None:
    listed = gateway.post(_PATH, {**_EXAMPLE, "customers": [_JANE], "select_all": False}, _TOKEN)
    nobody = gateway.post(_PATH, {**_EXAMPLE, "customers": [], "select_all": False}, _TOKEN)

    assert (listed.status_code, nobody.status_code) == (201, 422)
    assert nobody.json() == _invalid(customers="حقل customers غير صالح")
    assert _balances(gateway) == (900, 0)


@pytest.mark.parametrize("spelling", ["reset_points", "reset_point", "rest_point"])
@pytest.mark.parametrize("points", [{}, {"points": 900}], ids=["without points", "with points"])
def test_a_reset_in_any_spelling_empties_the_balances_with_or_without_points(
    gateway: Gateway, spelling: str, points: dict[str, int]
) -> None:
    _adjust(gateway, 500, "plus", _JANE, _OMAR)
    reset = {"type": "plus", "reason": "r", "channel_send": [], "customers": [_JANE], spelling: True}

    answer = gateway.post(_PATH, reset | points, _TOKEN)

    assert (answer.status_code, answer.json()) == (201, _DONE)
    assert _balances(gateway) == (0, 500)


@pytest.mark.parametrize(("true", "false"), list(permutations(["reset_points", "reset_point", "rest_point"], 2)))
def test_a_reset_that_is_true_and_false_at_once_is_refused(gateway: Gateway, true: str, false: str) -> None:
    body = {name: value for name, value in _EXAMPLE.items() if name != "reset_point"}

    answer = gateway.post(_PATH, body | {true: True, false: False}, _TOKEN)

    name = false.replace("_", " ")
    assert (answer.status_code, answer.json()) == (422, _invalid(**{false: f"حقل {name} غير صالح"}))
    assert gateway.entries() == []


@pytest.mark.parametrize(
    "customers",
    [["9" * 5_000], ["1" * 21], [10**4_000], [_JANE] * 10_001],
    ids=["5000 digits as text", "21 digits as text", "4001 digits", "10001 customers"],
)
def test_customers_beyond_the_bounds_are_refused_on_the_field(gateway: Gateway, customers: list[Any]) -> None:
    answer = gateway.post(_PATH, _EXAMPLE | {"customers": customers}, _TOKEN)

    assert (answer.status_code, answer.json()) == (422, _invalid(customers="حقل customers غير صالح"))


def test_ten_thousand_customers_are_adjusted_at_once(gateway: Gateway) -> None:
    answer = gateway.post(_PATH, _EXAMPLE | {"customers": [_JANE, str(_OMAR)] * 5_000}, _TOKEN)

    assert answer.status_code == 201
    assert _balances(gateway) == (900, 900)


def test_a_reset_of_everyone_empties_every_balance(gateway: Gateway) -> None:
    _adjust(gateway, 500, "plus", _JANE, _OMAR)

    answer = gateway.post(
        _PATH,
        {"reset_points": True, "type": "minus", "reason": "r", "channel_send": [], "select_all": True},
        _TOKEN,
    )

    assert answer.status_code == 201
    assert _balances(gateway) == (0, 0)


@pytest.mark.parametrize("spelling", ["reset_points", "reset_point", "rest_point"])
def test_a_reset_that_is_false_still_needs_points(gateway: Gateway, spelling: str) -> None:
    body = {"type": "plus", "reason": "r", "channel_send": [], "customers": [_JANE], spelling: False}

    answer = gateway.post(_PATH, body, _TOKEN)

    assert (answer.status_code, answer.json()) == (422, _invalid(points="حقل points مطلوب."))


@pytest.mark.parametrize("stranger", [1, "1", 6789012345])
def test_an_unknown_customer_refuses_the_whole_list(gateway: Gateway, stranger: Any) -> None:
    answer = gateway.post(_PATH, {**_EXAMPLE, "customers": [_JANE, stranger, _OMAR]}, _TOKEN)

    assert (answer.status_code, answer.json()) == (422, _invalid(customers="حقل customers غير صالح"))
    assert _balances(gateway) == (0, 0)


def test_unknown_customers_are_enrolled_where_the_merchant_wants_that(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)

    answers = [gateway.post(_PATH, {**_EXAMPLE, "customers": [_JANE, 11, "12"]}, _TOKEN) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert [gateway.wallet(f"salla:{customer}")["available"] for customer in (_JANE, 11, 12)] == [1_800] * 3


@pytest.mark.parametrize("channels", [[], ["email"], ["sms", "mobile"]])
def test_the_channels_are_kept_and_may_be_none(gateway: Gateway, channels: list[str]) -> None:
    answer = gateway.post(_PATH, {**_EXAMPLE, "customers": [_JANE], "channel_send": channels}, _TOKEN)

    (entry,) = gateway.entries()
    assert answer.status_code == 201
    assert entry["notify"] == (None if not channels else str(channels).replace("'", '"').replace(" ", ""))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"points": 1.5}, "points"),
        ({"points": 0}, "points"),
        ({"points": 1_000_000}, "points"),
        ({"points": "900"}, "points"),
        ({"type": "times"}, "type"),
        ({"reason": 5}, "reason"),
        ({"channel_send": ["pigeon"]}, "channel_send"),
        ({"customers": ["abc"]}, "customers"),
        ({"customers": [_JANE, 1.5]}, "customers"),
        ({"customers": _JANE}, "customers"),
    ],
)
def test_an_invalid_field_is_told_below_its_name(gateway: Gateway, changed: dict[str, Any], field: str) -> None:
    answer = gateway.post(_PATH, _EXAMPLE | changed, _TOKEN)

    assert answer.status_code == 422
    assert answer.json() == _invalid(**{field: f"حقل {field.replace('_', ' ')} غير صالح"})
    assert gateway.entries() == []


def test_missing_fields_are_told_with_a_full_stop_and_invalid_ones_without(gateway: Gateway) -> None:
    answer = gateway.post(_PATH, {"points": 1.5, "reason": "r"}, _TOKEN)

    assert answer.status_code == 422
    assert answer.json() == _invalid(
        points="حقل points غير صالح",
        type="حقل type مطلوب.",
        channel_send="حقل channel send مطلوب.",
        customers="حقل customers مطلوب.",
    )


@pytest.mark.parametrize("amount", [1, 999_999, 5.0])
def test_whole_points_within_the_documented_bounds_are_taken(gateway: Gateway, amount: float) -> None:
    answer = gateway.post(_PATH, {**_EXAMPLE, "points": amount}, _TOKEN)

    assert answer.status_code == 201
    assert _balances(gateway) == (amount, amount)


@pytest.mark.parametrize(
    ("accept_language", "english"),
    [
        ({}, False),
        ({"accept-language": "ar"}, False),
        ({"accept-language": "ar-SA,en;q=0.5"}, False),
        ({"accept-language": "fr"}, False),
        ({"accept-language": "*"}, False),
        ({"accept-language": "en;q=0"}, False),
        ({"accept-language": "garbled;;q=,"}, False),
        ({"accept-language": "en"}, True),
        ({"accept-language": "EN"}, True),
        ({"accept-language": "en-GB,en;q=0.9"}, True),
        ({"accept-language": "fr,en;q=0.8,ar;q=0.2"}, True),
        ({"accept-language": "ar;q=0.2, en;q=0.8"}, True),
    ],
    ids=str,
)
def test_messages_are_arabic_unless_english_is_preferred(
    gateway: Gateway, accept_language: dict[str, str], *, english: bool
) -> None:
    headers = _TOKEN | accept_language

    done = gateway.post(_PATH, _EXAMPLE, headers).json()
    invalid = gateway.post(_PATH, {**_EXAMPLE, "points": 0}, headers).json()
    refused = gateway.post(_PATH, {**_EXAMPLE, "type": "minus", "points": 901}, headers).json()
    unknown = gateway.post(f"{_PATH}/all", _EXAMPLE, headers).json()

    assert done["data"]["message"] == (
        "Loyalty points updated successfully" if english else "تم تحديث نقاط الولاء للعملاء بنجاح"
    )
    assert invalid == _invalid(points="The points field is invalid" if english else "حقل points غير صالح")
    assert refused["error"]["message"] == (
        "The loyalty points could not be updated" if english else "حدث خطأ أثناء تحديث نقاط الولاء للعملاء"
    )
    assert unknown["error"]["message"] == (
        "The content is not available" if english else "المحتوى الذي تحاول الوصول اليه غير متوفر"
    )


def test_an_unknown_path_answers_the_documented_text(gateway: Gateway) -> None:
    answer = gateway.post("/salla/admin/v2/customers/loyalty/coins", _EXAMPLE, _TOKEN)

    assert answer.status_code == 404
    assert answer.json() == {
        "status": 404,
        "success": False,
        "error": {"code": "error", "message": "المحتوى الذي تحاول الوصول اليه غير متوفر"},
    }


@pytest.mark.parametrize("headers", [{}, {"authorization": "demo-salla-token"}, {"authorization": "Token x"}])
def test_a_missing_or_garbled_header_is_an_invalid_token(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = gateway.post(_PATH, _EXAMPLE, headers)

    assert answer.status_code == 401
    assert answer.json() == _unauthorized("Invalid-token", "please provide a valid API Key")


def test_a_token_that_nobody_has_is_unauthorized(gateway: Gateway) -> None:
    answer = gateway.post(_PATH, _EXAMPLE, {"authorization": "Bearer other-salla-token"})

    assert answer.status_code == 401
    assert answer.json() == _unauthorized("Unauthorized", "The access token is invalid")


def test_a_missing_scope_is_unauthorized_in_the_documented_words(gateway: Gateway) -> None:
    answer = gateway.post(_PATH, _EXAMPLE, {"authorization": "Bearer demo-salla-readonly"})

    assert answer.status_code == 401
    assert answer.json() == _unauthorized(
        "Unauthorized", "The access token should have access to one of those scopes: customers.read_write"
    )
    assert _balances(gateway) == (0, 0)


@pytest.mark.parametrize("whom", [{"customers": [_JANE, _OMAR]}, {"select_all": True}], ids=["listed", "everyone"])
def test_the_tier_of_each_customer_is_recalculated(start_gateway: StartGateway, whom: dict[str, Any]) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [
        {"name": "Silver", "points_required": 100},
        {"name": "Gold", "points_required": 150},
    ]
    gateway = start_gateway(config)
    _adjust(gateway, 50, "plus", _OMAR)

    tiers = []
    for asked in ({"points": 99}, {"points": 1}, {"reset_points": True}):
        gateway.post(_PATH, {"type": "plus", "reason": "r", "channel_send": [], **whom, **asked}, _TOKEN)
        tiers.append([gateway.wallet(f"salla:{customer}")["tier"] for customer in (_JANE, _OMAR)])

    assert tiers == [[None, "Silver"], ["Silver", "Gold"], ["Silver", "Gold"]]


@pytest.mark.parametrize("whom", [{"customers": [_JANE, _OMAR]}, {"select_all": True}], ids=["listed", "everyone"])
def test_a_key_again_answers_the_same_again_and_says_that_it_is_a_replay(
    gateway: Gateway, whom: dict[str, Any]
) -> None:
    body = {"points": 5, "type": "plus", "reason": "r", "channel_send": [], **whom}
    keyed = {**_TOKEN, "Idempotency-Key": "adj-1"}
    first = gateway.post(_PATH, body, keyed)

    again = gateway.post(_PATH, body, keyed)

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert _balances(gateway) == (5, 5)


def test_a_replay_answers_in_the_language_asked_for_this_time(gateway: Gateway) -> None:
    keyed = {**_TOKEN, "Idempotency-Key": "adj-1"}
    gateway.post(_PATH, _EXAMPLE, keyed)

    again = gateway.post(_PATH, _EXAMPLE, {**keyed, "accept-language": "en"})

    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["data"]["message"] == "Loyalty points updated successfully"


def test_a_key_used_for_another_payload_is_an_invalid_field(gateway: Gateway) -> None:
    keyed = {**_TOKEN, "Idempotency-Key": "adj-1"}
    gateway.post(_PATH, _EXAMPLE, keyed)

    answer = gateway.post(_PATH, {**_EXAMPLE, "customers": [_JANE]}, keyed)

    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "alert.invalid_fields"
    assert _balances(gateway) == (900, 900)


def test_a_refused_request_does_not_use_up_its_key(gateway: Gateway) -> None:
    spend = {**_EXAMPLE, "type": "minus"}
    keyed = {**_TOKEN, "Idempotency-Key": "adj-1"}
    refused = gateway.post(_PATH, spend, keyed)
    gateway.post(_PATH, _EXAMPLE, _TOKEN)

    answer = gateway.post(_PATH, spend, keyed)

    assert (refused.status_code, answer.status_code) == (400, 201)
    assert "idempotency-replayed" not in answer.headers
    assert _balances(gateway) == (0, 0)


def test_every_answer_tells_the_limit_and_the_request_beyond_it_when_to_come_back(
    start_gateway: StartGateway,
) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["salla"]["rate_limits"] = {"plan": "2/60s"}
    gateway = start_gateway(config)
    before = int(time.time())

    answers = [
        gateway.post(_PATH, _EXAMPLE, _TOKEN),
        gateway.post(_PATH, {}, _TOKEN),
        gateway.post(_PATH, _EXAMPLE, _TOKEN),
    ]

    assert [answer.status_code for answer in answers] == [201, 422, 429]
    assert [answer.headers["X-RateLimit-Limit"] for answer in answers] == ["2", "2", "2"]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert ["Retry-After" in answer.headers for answer in answers] == [False, False, True]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert before <= int(answers[2].headers["X-RateLimit-Reset"]) <= int(time.time()) + 61
    refused = answers[2].json()
    assert refused == {
        "status": 429,
        "success": False,
        "error": {"code": "too_many_requests", "message": refused["error"]["message"]},
    }
    assert _balances(gateway) == (900, 900)


def test_the_limit_of_customers_holds_beside_that_of_the_plan(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["salla"]["rate_limits"] = {"plan": "100/60s", "customers": "1/600s"}
    gateway = start_gateway(config)

    answers = [gateway.post(_PATH, _EXAMPLE, _TOKEN) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 429]
    assert answers[1].headers["X-RateLimit-Limit"] == "1"
    assert 500 < int(answers[1].headers["Retry-After"]) <= 600
