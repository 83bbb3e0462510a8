"""LoyaltyLion: the path is the sign, success is an empty body, refusals come in two families."""

import base64
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config

_JANE = "shopify:6789012345"
_ADD = "/loyaltylion/v2/customers/6789012345/points"
_REMOVE = "/loyaltylion/v2/customers/6789012345/remove_points"
_KEY = {"authorization": "Bearer pat_demo"}
_BASIC = {"authorization": "Basic " + base64.b64encode(b"demo-site-token:demo-site-secret").decode()}

_BOTH_WAYS = pytest.mark.parametrize("path", [_ADD, _REMOVE], ids=["add", "remove"])


def _add(gateway: Gateway, points: int, **more: Any) -> httpx2.Response:
    return gateway.post(_ADD, {"points": points, **more}, _KEY)


def _remove(gateway: Gateway, points: int, **more: Any) -> httpx2.Response:
    return gateway.post(_REMOVE, {"points": points, **more}, _KEY)


def _invalid(**details: str) -> dict[str, Any]:
    return {"error": {"message": "Invalid request", "details": details}}


def test_adding_the_documented_body_answers_201_with_zero_bytes(gateway: Gateway) -> None:
    answer = gateway.post(_ADD, {"points": 100, "reason": "Thanks for your review"}, _KEY)

    assert answer.status_code == 201
    assert answer.content == b""
    assert answer.headers["content-length"] == "0"
    assert gateway.wallet(_JANE)["available"] == 100
    assert gateway.entries()[0]["reason"] == "Thanks for your review"


def test_removing_answers_204_without_a_body(gateway: Gateway) -> None:
    _add(gateway, 100)

    answer = _remove(gateway, 30, reason="Returned order")

    assert answer.status_code == 204
    assert answer.content == b""
    assert "content-type" not in answer.headers
    assert gateway.wallet(_JANE)["available"] == 70
    assert gateway.entries()[1]["reason"] == "Returned order"


def test_adding_counts_as_earned_and_removing_counts_nowhere(gateway: Gateway) -> None:
    _add(gateway, 100)
    _remove(gateway, 60)
    _add(gateway, 5)

    wallet = gateway.wallet(_JANE)
    assert (wallet["available"], wallet["lifetime_earned"], wallet["lifetime_burned"]) == (45, 105, 0)


def test_removing_more_than_the_balance_is_refused_and_not_floored(gateway: Gateway) -> None:
    _add(gateway, 100)

    refused = _remove(gateway, 101)
    emptied = _remove(gateway, 100)

    assert (refused.status_code, refused.json()) == (422, {"error": "Customer does not have enough points"})
    assert emptied.status_code == 204
    assert gateway.wallet(_JANE)["available"] == 0


def test_removing_has_no_documented_maximum_and_adding_has(gateway: Gateway) -> None:
    gateway.set_available(_JANE, 5_000_000)

    removed = _remove(gateway, 1_000_001)
    refused = _add(gateway, 1_000_001)
    added = _add(gateway, 1_000_000)

    assert (removed.status_code, refused.status_code, added.status_code) == (204, 400, 201)
    assert refused.json() == _invalid(points="Too big: expected number to be <=1000000")
    assert gateway.wallet(_JANE)["available"] == 4_999_999


@_BOTH_WAYS
@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, {"points": "Invalid input: expected number, received undefined"}),
        ({"points": "10"}, {"points": "Invalid input: expected number, received string"}),
        ({"points": None}, {"points": "Invalid input: expected number, received null"}),
        ({"points": True}, {"points": "Invalid input: expected number, received boolean"}),
        ({"points": [10]}, {"points": "Invalid input: expected number, received array"}),
        ({"points": 1.5}, {"points": "Invalid input: expected int, received number"}),
        ({"points": 0}, {"points": "Too small: expected number to be >=1"}),
        ({"points": -5}, {"points": "Too small: expected number to be >=1"}),
        ({"points": 10, "reason": 5}, {"reason": "Invalid input: expected string, received number"}),
        (
            {"points": 0, "reason": 5},
            {
                "points": "Too small: expected number to be >=1",
                "reason": "Invalid input: expected string, received number",
            },
        ),
    ],
)
def test_each_wrong_field_is_told_in_the_words_of_the_vendors_validator(
    gateway: Gateway, path: str, body: dict[str, Any], details: dict[str, str]
) -> None:
    _add(gateway, 100)

    answer = gateway.post(path, body, _KEY)

    assert (answer.status_code, answer.json()) == (400, _invalid(**details))
    assert gateway.wallet(_JANE)["available"] == 100


@_BOTH_WAYS
@pytest.mark.parametrize("reason", [{}, {"reason": None}, {"reason": ""}, {"reason": "gift"}], ids=str)
def test_a_reason_is_text_or_null_or_absent(gateway: Gateway, path: str, reason: dict[str, Any]) -> None:
    gateway.set_available(_JANE, 100)

    answer = gateway.post(path, {"points": 10, **reason}, _KEY)

    assert answer.is_success
    assert gateway.entries()[0]["reason"] == reason.get("reason")


@_BOTH_WAYS
def test_an_unknown_key_is_refused_as_the_schema_says(gateway: Gateway, path: str) -> None:
    gateway.set_available(_JANE, 100)

    answer = gateway.post(path, {"points": 10, "note": "x"}, _KEY)

    assert (answer.status_code, answer.json()) == (400, _invalid(note='Unrecognized key: "note"'))
    assert gateway.entries() == []


@_BOTH_WAYS
def test_an_unknown_key_is_dropped_where_the_configuration_says(start_gateway: StartGateway, path: str) -> None:
    config = demo_config()
    config["vendors"]["loyaltylion"]["overlays"] = ["drop-unknown-keys"]
    gateway = start_gateway(config)
    gateway.set_available(_JANE, 100)

    taken = gateway.post(path, {"points": 10, "note": "x"}, _KEY)
    refused = gateway.post(path, {"points": "10", "note": "x"}, _KEY)

    assert taken.is_success
    assert refused.json() == _invalid(points="Invalid input: expected number, received string")


@_BOTH_WAYS
@pytest.mark.parametrize("headers", [_KEY, _BASIC], ids=["program key", "site token and secret"])
def test_both_authentication_schemes_are_taken(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    gateway.set_available(_JANE, 100)

    answer = gateway.post(path, {"points": 10}, headers)

    assert answer.is_success


def test_site_token_and_secret_may_stand_in_the_url(gateway: Gateway) -> None:
    answer = gateway.post(f"http://demo-site-token:demo-site-secret@127.0.0.1:8000{_ADD}", {"points": 10})

    assert answer.request.headers["authorization"] == _BASIC["authorization"]
    assert answer.status_code == 201


@_BOTH_WAYS
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer pat_other"},
        {"authorization": "pat_demo"},
        {"authorization": "Basic cGF0X2RlbW86"},
        {"authorization": "Bearer demo-site-token:demo-site-secret"},
    ],
    ids=["none", "unknown key", "no word", "key as user", "pair as key"],
)
def test_anything_else_is_told_that_authentication_is_required(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    answer = gateway.post(path, {"points": 10}, headers)

    assert answer.status_code == 401
    assert answer.json() == {"error": {"message": "Authentication is required"}}
    assert gateway.entries() == []


@_BOTH_WAYS
def test_a_key_without_the_scope_is_forbidden(gateway: Gateway, path: str) -> None:
    answer = gateway.post(path, {"points": 10}, {"authorization": "Bearer pat_demo_readonly"})

    assert answer.status_code == 403
    assert answer.json() == {"error": {"message": "The API key needs the scope write_customers"}}
    assert gateway.entries() == []


@_BOTH_WAYS
def test_an_unknown_customer_is_not_found(gateway: Gateway, path: str) -> None:
    answer = gateway.post(path.replace("6789012345", "1"), {"points": 10}, _KEY)

    assert (answer.status_code, answer.json()) == (404, {"error": "Customer not found"})


def test_a_customer_is_known_by_the_id_in_the_shop_and_not_by_email(gateway: Gateway) -> None:
    answer = gateway.post("/loyaltylion/v2/customers/jane@example.com/points", {"points": 10}, _KEY)

    assert answer.status_code == 404


def test_the_id_is_looked_up_where_the_configuration_says(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["vendors"]["loyaltylion"]["options"] = {"customer_namespace": "email"}
    gateway = start_gateway(config)

    found = gateway.post("/loyaltylion/v2/customers/Jane%40example.com/points", {"points": 10}, _KEY)
    missed = _add(gateway, 10)

    assert (found.status_code, missed.status_code) == (201, 404)
    assert gateway.wallet(_JANE)["available"] == 10


def test_an_unknown_customer_is_enrolled_where_the_merchant_wants_that(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)

    answers = [gateway.post(_ADD.replace("6789012345", "new"), {"points": 10}, _KEY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert gateway.wallet("shopify:new")["available"] == 20


@_BOTH_WAYS
def test_a_blocked_customer_is_refused_both_ways(gateway: Gateway, path: str) -> None:
    _add(gateway, 100)
    gateway.exclude(_JANE)

    answer = gateway.post(path, {"points": 10}, _KEY)

    assert (answer.status_code, answer.json()) == (422, {"error": "Customer is blocked"})
    assert gateway.wallet(_JANE)["available"] == 100


def test_the_tier_rises_with_points_added_and_stays_when_they_are_removed(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [{"name": "Gold", "points_required": 100}]
    gateway = start_gateway(config)

    tiers = []
    for path, points in ((_ADD, 99), (_ADD, 1), (_REMOVE, 100)):
        gateway.post(path, {"points": points}, _KEY)
        tiers.append(gateway.wallet(_JANE)["tier"])

    assert tiers == [None, "Gold", "Gold"]


@_BOTH_WAYS
def test_a_key_again_answers_the_same_again_and_says_that_it_is_a_replay(gateway: Gateway, path: str) -> None:
    _add(gateway, 100)
    keyed = {**_KEY, "Idempotency-Key": "adj-1"}

    first, again = (gateway.post(path, {"points": 10}, keyed) for _ in range(2))

    assert (again.status_code, again.content) == (first.status_code, b"")
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert len(gateway.entries()) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (_ADD, {"points": 11}),
        (_REMOVE, {"points": 10}),
        (_ADD.replace("6789012345", "6789012346"), {"points": 10}),
    ],
    ids=["other points", "removing", "other customer"],
)
def test_a_key_used_for_another_request_is_unprocessable(
    gateway: Gateway, path: str, body: dict[str, int]
) -> None:
    keyed = {**_KEY, "Idempotency-Key": "adj-1"}
    gateway.post(_ADD, {"points": 10}, keyed)

    answer = gateway.post(path, body, keyed)

    assert answer.status_code == 422
    assert answer.json() == {"error": "The idempotency key was used with another request"}
    assert len(gateway.entries()) == 1


def test_a_refused_request_does_not_use_up_its_key(gateway: Gateway) -> None:
    keyed = {**_KEY, "Idempotency-Key": "adj-1"}
    refused = gateway.post(_REMOVE, {"points": 10}, keyed)
    _add(gateway, 15)

    answer = gateway.post(_REMOVE, {"points": 10}, keyed)

    assert (refused.status_code, answer.status_code) == (422, 204)
    assert "idempotency-replayed" not in answer.headers
    assert gateway.wallet(_JANE)["available"] == 5


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{_ADD}/5"),
        ("POST", "/loyaltylion/v3/customers/6789012345/points"),
        ("GET", _ADD),
        ("PUT", _REMOVE),
    ],
)
def test_an_unknown_path_or_method_is_not_found_as_text(gateway: Gateway, method: str, path: str) -> None:
    answer = gateway.client.request(method, path, headers=_KEY)

    assert (answer.status_code, answer.json()) == (404, {"error": "Not found"})


def test_a_body_that_is_not_json_is_a_bad_request_with_a_message(gateway: Gateway) -> None:
    unreadable = gateway.post(_ADD, content=b'{"points": ', headers={**_KEY, "content-type": "application/json"})
    text = gateway.post(_ADD, content=b"points=10", headers={**_KEY, "content-type": "text/plain"})

    assert [answer.status_code for answer in (unreadable, text)] == [400, 400]
    assert unreadable.json() == text.json() == {"error": {"message": "Invalid request"}}


@pytest.mark.parametrize("accept", ["text/xml", "*/*", "nonsense"])
def test_whatever_a_client_accepts_it_is_answered(gateway: Gateway, accept: str) -> None:
    headers = {**_KEY, "accept": accept}

    added = gateway.post(_ADD, {"points": 10}, headers)
    refused = gateway.post(_REMOVE, {"points": 11}, headers)

    assert (added.status_code, refused.status_code) == (201, 422)
    assert refused.headers["content-type"] == "application/json"


def test_the_request_beyond_the_limit_is_refused_with_a_message(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["loyaltylion"]["rate_limits"] = {"requests": "2/60s"}
    gateway = start_gateway(config)

    answers = [_add(gateway, 10), _remove(gateway, 4), _add(gateway, 10)]

    assert [answer.status_code for answer in answers] == [201, 204, 429]
    assert answers[2].json() == {"error": {"message": "Too many requests"}}
    assert gateway.wallet(_JANE)["available"] == 6


def test_a_wrong_type_is_told_before_a_bound(gateway: Gateway) -> None:
    answer = gateway.post(_ADD, {"points": -1.5}, _KEY)

    assert (answer.status_code, answer.json()) == (
        400,
        _invalid(points="Invalid input: expected int, received number"),
    )


def test_of_many_unknown_keys_a_hundred_are_told(gateway: Gateway) -> None:
    answer = gateway.post(_ADD, {"points": 5} | {f"k{number}": 1 for number in range(1_000)}, _KEY)

    assert answer.status_code == 400
    assert len(answer.json()["error"]["details"]) == 100
