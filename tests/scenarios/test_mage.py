"""Mage Loyalty: signed adjustments in JSON:API, floored at zero."""

from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config

_KEY = {"authorization": "mage_demo_key"}
_JANE = "/mage/v1/customers/6789012345/points"
_EXAMPLE = {
    "adjustment": 500,
    "note": "Goodwill gesture after delayed order",
    "update_lifetime_points": True,
    "send_email": True,
}


def _adjust(gateway: Gateway, adjustment: int, **more: Any) -> httpx2.Response:
    return gateway.post(_JANE, {"adjustment": adjustment, **more}, _KEY)


def _attributes(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    attributes: dict[str, Any] = answer.json()["data"]["attributes"]
    return attributes


def _refused(status: int, title: str, detail: str) -> dict[str, Any]:
    return {"errors": [{"status": str(status), "title": title, "detail": detail}]}


def test_the_documented_example_answers_as_documented(gateway: Gateway) -> None:
    _adjust(gateway, 200)

    answer = gateway.post(_JANE, _EXAMPLE, _KEY)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "data": {
            "type": "points_adjustment",
            "id": "6789012345",
            "attributes": {
                "shopify_customer_id": "6789012345",
                "adjustment": 500,
                "points_before": 200,
                "points_after": 700,
                "current_points": 700,
                "note": "Goodwill gesture after delayed order",
            },
        }
    }


def test_a_deduction_is_answered_with_its_sign_and_without_a_note_as_null(gateway: Gateway) -> None:
    _adjust(gateway, 700)

    answer = _adjust(gateway, -50)

    assert _attributes(answer) == {
        "shopify_customer_id": "6789012345",
        "adjustment": -50,
        "points_before": 700,
        "points_after": 650,
        "current_points": 650,
        "note": None,
    }


@pytest.mark.parametrize("balance", [0, 100])
def test_a_deduction_larger_than_the_balance_floors_at_zero_and_echoes_what_was_asked(
    gateway: Gateway, balance: int
) -> None:
    if balance:
        _adjust(gateway, balance)

    attributes = _attributes(_adjust(gateway, -101))

    assert (attributes["adjustment"], attributes["points_before"]) == (-101, balance)
    assert (attributes["points_after"], attributes["current_points"]) == (0, 0)
    assert gateway.entries()[-1]["points_delta"] == -balance


@pytest.mark.parametrize(
    ("adjustment", "flag", "earned", "burned"),
    [
        (30, {}, 90, 0),
        (30, {"update_lifetime_points": True}, 90, 0),
        (-30, {}, 30, 0),
        (-80, {"update_lifetime_points": True}, 0, 0),
        (30, {"update_lifetime_points": False}, 60, 0),
        (-30, {"update_lifetime_points": False}, 60, 30),
        (-900, {"update_lifetime_points": False}, 60, 100),
    ],
)
def test_lifetime_points_follow_the_flag_which_is_true_unless_said(
    gateway: Gateway, adjustment: int, flag: dict[str, bool], earned: int, burned: int
) -> None:
    _adjust(gateway, 60)
    _adjust(gateway, 40, update_lifetime_points=False)

    _adjust(gateway, adjustment, **flag)

    wallet = gateway.wallet("shopify:6789012345")
    assert (wallet["lifetime_earned"], wallet["lifetime_burned"]) == (earned, burned)


@pytest.mark.parametrize(
    "identifier",
    [
        "6789012345",
        "jane@example.com",
        "jane%40example.com",
        "JANE@EXAMPLE.COM",
        "Jane%40Example.com",
        "%6aane@example.com",
    ],
)
def test_a_customer_is_named_by_shopify_id_or_email_and_answered_by_shopify_id(
    gateway: Gateway, identifier: str
) -> None:
    answer = gateway.post(f"/mage/v1/customers/{identifier}/points", {"adjustment": 5}, _KEY)

    assert answer.status_code == 200
    assert answer.json()["data"]["id"] == "6789012345"
    assert answer.json()["data"]["attributes"]["shopify_customer_id"] == "6789012345"
    assert gateway.wallet("shopify:6789012345")["available"] == 5


@pytest.mark.parametrize("authorization", ["mage_demo_key", "Bearer mage_demo_key", "bearer mage_demo_key"])
def test_the_key_stands_alone_and_a_word_bearer_is_tolerated(gateway: Gateway, authorization: str) -> None:
    answer = gateway.post(_JANE, _EXAMPLE, {"authorization": authorization})

    assert answer.status_code == 200


@pytest.mark.parametrize("media_type", ["application/json", "application/vnd.api+json"])
def test_a_json_api_body_means_the_same_as_a_flat_one(gateway: Gateway, media_type: str) -> None:
    body = {"data": {"type": "points_adjustment", "attributes": {**_EXAMPLE, "update_lifetime_points": False}}}

    answer = gateway.post(_JANE, body, {**_KEY, "content-type": media_type})

    assert _attributes(answer)["points_after"] == 500
    assert _attributes(answer)["note"] == "Goodwill gesture after delayed order"
    assert gateway.wallet("shopify:6789012345")["lifetime_earned"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"adjustment": 0},
        {"adjustment": 0.0},
        {"adjustment": 1.5},
        {"adjustment": "500"},
        {"adjustment": None},
        {"adjustment": True},
        {},
        {"note": "no amount"},
        {"adjustment": 5, "note": 5},
        {"adjustment": 5, "update_lifetime_points": "false"},
        {"adjustment": 5, "send_email": 1},
    ],
)
@pytest.mark.parametrize("resource", [False, True], ids=["flat", "resource"])
def test_an_amount_missing_zero_or_no_integer_is_a_bad_request(
    gateway: Gateway, wrong: dict[str, Any], *, resource: bool
) -> None:
    answer = gateway.post(_JANE, {"data": {"attributes": wrong}} if resource else wrong, _KEY)

    assert answer.status_code == 400
    assert answer.json() == _refused(400, "Bad Request", answer.json()["errors"][0]["detail"])
    assert gateway.entries() == []


def test_a_request_without_a_key_is_told_that_the_header_is_missing(gateway: Gateway) -> None:
    answer = gateway.post(_JANE, _EXAMPLE)

    assert answer.status_code == 401
    assert answer.json() == _refused(401, "Unauthorized", "Missing Authorization header")


def test_a_key_that_nobody_has_is_unauthorized(gateway: Gateway) -> None:
    answer = gateway.post(_JANE, _EXAMPLE, {"authorization": "mage_other_key"})

    assert answer.status_code == 401
    assert answer.json() == _refused(401, "Unauthorized", "Invalid API key")


def test_a_read_only_key_is_refused_in_the_documented_words(gateway: Gateway) -> None:
    answer = gateway.post(_JANE, _EXAMPLE, {"authorization": "mage_demo_readonly"})

    assert answer.status_code == 403
    assert answer.json() == _refused(
        403, "Forbidden", "This API key is read-only and cannot perform write operations"
    )
    assert gateway.entries() == []


@pytest.mark.parametrize("identifier", ["xyz", "nobody@example.com", "cust_abc123", "748394059"])
def test_an_unknown_customer_is_not_found_by_the_name_that_was_sent(gateway: Gateway, identifier: str) -> None:
    answer = gateway.post(f"/mage/v1/customers/{identifier}/points", _EXAMPLE, _KEY)

    assert answer.status_code == 404
    assert answer.json() == _refused(404, "Not Found", f"Customer '{identifier}' not found")


@pytest.mark.parametrize("identifier", ["1234567890", "new@example.com"])
def test_an_unknown_customer_is_enrolled_where_the_merchant_wants_that(
    start_gateway: StartGateway, identifier: str
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)
    path = f"/mage/v1/customers/{identifier}/points"

    first, second = (gateway.post(path, {"adjustment": 5}, _KEY) for _ in range(2))

    assert first.json()["data"]["id"] == identifier
    assert (_attributes(first)["points_before"], _attributes(second)["points_after"]) == (0, 10)


@pytest.mark.parametrize("adjustment", [5, -5])
def test_an_excluded_customer_is_forbidden_in_either_direction(gateway: Gateway, adjustment: int) -> None:
    _adjust(gateway, 100)
    gateway.exclude("shopify:6789012345")

    answer = _adjust(gateway, adjustment)

    assert answer.status_code == 403
    assert answer.json() == _refused(403, "Forbidden", "Customer is excluded from the loyalty programme")
    assert gateway.wallet("shopify:6789012345")["available"] == 100


def test_the_tier_is_recalculated_after_each_adjustment_up_and_down(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [
        {"name": "Silver", "points_required": 100},
        {"name": "Gold", "points_required": 1_000},
    ]
    gateway = start_gateway(config)

    tiers = []
    for adjustment, lifetime in ((99, True), (1, True), (5_000, False), (900, True), (-1, True), (-901, True)):
        _adjust(gateway, adjustment, update_lifetime_points=lifetime)
        tiers.append(gateway.wallet("shopify:6789012345")["tier"])

    assert tiers == [None, "Silver", "Silver", "Gold", "Silver", None]


@pytest.mark.parametrize(
    ("body", "notified"),
    [
        ({"adjustment": 5}, '["email"]'),
        ({"adjustment": 5, "send_email": True}, '["email"]'),
        ({"adjustment": 5, "send_email": False}, None),
        ({"adjustment": -5, "send_email": True}, None),
    ],
)
def test_the_wish_for_an_email_is_kept_for_increases_only(
    gateway: Gateway, body: dict[str, Any], notified: str | None
) -> None:
    gateway.post(_JANE, body, _KEY)

    (entry,) = gateway.entries()
    assert entry["notify"] == notified


def test_a_key_again_answers_the_same_again_and_says_that_it_is_a_replay(gateway: Gateway) -> None:
    keyed = {**_KEY, "Idempotency-Key": "adj-1"}
    first = gateway.post(_JANE, _EXAMPLE, keyed)
    _adjust(gateway, 7)

    again = gateway.post(_JANE, _EXAMPLE, keyed)

    assert again.json() == first.json()
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert gateway.wallet("shopify:6789012345")["available"] == 507


def test_a_key_again_names_the_customer_as_the_first_answer_did(gateway: Gateway) -> None:
    keyed = {**_KEY, "Idempotency-Key": "adj-1"}
    path = "/mage/v1/customers/jane@example.com/points"

    first, again = (gateway.post(path, _EXAMPLE, keyed) for _ in range(2))

    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


def test_a_key_used_for_another_payload_is_unprocessable(gateway: Gateway) -> None:
    keyed = {**_KEY, "Idempotency-Key": "adj-1"}
    gateway.post(_JANE, _EXAMPLE, keyed)

    answer = gateway.post(_JANE, {**_EXAMPLE, "adjustment": 501}, keyed)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["status"] == "422"
    assert gateway.wallet("shopify:6789012345")["available"] == 500


def test_a_refused_request_does_not_use_up_its_key(gateway: Gateway) -> None:
    keyed = {**_KEY, "Idempotency-Key": "adj-1"}
    refused = gateway.post("/mage/v1/customers/nobody@example.com/points", _EXAMPLE, keyed)

    answer = gateway.post(_JANE, _EXAMPLE, keyed)

    assert (refused.status_code, answer.status_code) == (404, 200)
    assert "idempotency-replayed" not in answer.headers


def test_an_unknown_path_and_a_wrong_method_are_json_api_errors(gateway: Gateway) -> None:
    unknown = gateway.post("/mage/v1/customers/6789012345/coins", _EXAMPLE, _KEY)
    wrong = gateway.client.patch(_JANE, json=_EXAMPLE, headers=_KEY)

    assert (unknown.status_code, unknown.json()["errors"][0]["title"]) == (404, "Not Found")
    assert (wrong.status_code, wrong.json()["errors"][0]["title"]) == (405, "Method Not Allowed")
    assert wrong.headers["allow"] == "POST"


def test_the_request_beyond_the_limit_is_refused_in_the_documented_words(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["mage"]["rate_limits"] = {"requests": "2/60s"}
    gateway = start_gateway(config)

    answers = [_adjust(gateway, 5) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json() == _refused(
        429, "Too Many Requests", "Rate limit exceeded. Please retry after a short delay."
    )
    assert gateway.wallet("shopify:6789012345")["available"] == 10


@pytest.mark.parametrize(
    "flat", [{"adjustment": 5}, {"note": "x"}, {"update_lifetime_points": False}, {"send_email": True}]
)
def test_a_resource_with_flat_fields_beside_it_is_refused_on_those(gateway: Gateway, flat: dict[str, Any]) -> None:
    answer = gateway.post(_JANE, {"data": {"attributes": {"adjustment": 5}}} | flat, _KEY)

    (name,) = flat
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["detail"] == f"{name} must be left out"
    assert gateway.entries() == []
