"""Yotpo Loyalty & Referrals: two live surfaces over the same points, and answers without a balance."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config

_JANE = "shopify:6789012345"
_LOYALTY = "/yotpo/api/v2/points/adjust"
_HEADERS = {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}
_STORE = "/yotpo/loyalty/v3/stores/demo-app-key/points/adjust?access_token=demo-access-token"
_REWARD = {"customer_email": "jane@example.com", "point_adjustment_amount": 100}
_STORE_REWARD = {**_REWARD, "history_title": "Reward for a review"}

_SURFACES = pytest.mark.parametrize(
    ("path", "headers"),
    [pytest.param(_LOYALTY, _HEADERS, id="loyalty"), pytest.param(_STORE, {}, id="app developer")],
)


def _adjust(gateway: Gateway, amount: int, **more: Any) -> httpx2.Response:
    return gateway.post(_STORE, {**_STORE_REWARD, "point_adjustment_amount": amount, **more})


def _event(gateway: Gateway, name: str) -> dict[str, Any]:
    """The event row of the ledger's only entry."""
    (entry,) = gateway.entries()
    moment = datetime.fromtimestamp(entry["occurred_at"] // 1_000_000, UTC)
    told = f"{moment:%Y-%m-%dT%H:%M:%S}.{entry['occurred_at'] // 1_000 % 1_000:03d}Z"
    return {
        "id": entry["id"],
        "name": name,
        "type": "PointsAdjustment",
        "merchant_id": entry["merchant_id"],
        "customer_id": gateway.wallet(_JANE)["id"],
        "referral_id": None,
        "created_at": told,
        "updated_at": told,
    }


def test_the_documented_parameters_of_the_app_developer_api_answer_the_event_row(gateway: Gateway) -> None:
    answer = gateway.post(
        _STORE,
        {
            "customer_email": "jane@example.com",
            "history_title": "Refund of order 1001",
            "point_adjustment_amount": 250,
            "visible_to_customer": "true",
            "apply_adjustment_to_points_earned": False,
        },
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == _event(gateway, "Refund of order 1001")
    assert gateway.wallet(_JANE)["available"] == 250


def test_the_loyalty_api_answers_the_event_row_also_without_a_title(gateway: Gateway) -> None:
    answer = gateway.post(_LOYALTY, _REWARD, _HEADERS)

    assert answer.status_code == 200
    assert answer.json() == _event(gateway, "Points adjustment")


def test_both_surfaces_adjust_the_same_points(gateway: Gateway) -> None:
    gateway.post(_LOYALTY, _REWARD, _HEADERS)
    gateway.post(_STORE, {**_STORE_REWARD, "point_adjustment_amount": -30})

    assert gateway.wallet(_JANE)["available"] == 70
    assert {entry["wallet_id"] for entry in gateway.entries()} == {gateway.wallet(_JANE)["id"]}


@pytest.mark.parametrize(
    ("amount", "counts", "points"),
    [
        pytest.param(100, True, (200, 150, 20), id="reward customer"),
        pytest.param(30, False, (130, 50, 20), id="refund points deducted by redemption or expiration"),
        pytest.param(-30, False, (70, 50, 50), id="redeem points for a discount"),
        pytest.param(-30, True, (70, 20, 20), id="remove earned points"),
        pytest.param(-100, True, (0, 0, 20), id="remove more than was ever earned"),
        pytest.param(-100, False, (0, 50, 120), id="expire points"),
    ],
)
def test_each_documented_reason_moves_balance_and_lifetime_points_as_the_table_says(
    gateway: Gateway, amount: int, points: tuple[int, int, int], *, counts: bool
) -> None:
    _adjust(gateway, 50)
    _adjust(gateway, 70, apply_adjustment_to_points_earned=False)
    _adjust(gateway, -20, apply_adjustment_to_points_earned=False)

    answer = _adjust(gateway, amount, apply_adjustment_to_points_earned=counts)

    assert answer.status_code == 200
    wallet = gateway.wallet(_JANE)
    assert (wallet["available"], wallet["lifetime_earned"], wallet["lifetime_burned"]) == points


@pytest.mark.parametrize(("options", "earned"), [({}, 60), ({"applies_to_points_earned": False}, 100)])
def test_what_counts_as_earned_unless_said_is_true_or_as_configured(
    start_gateway: StartGateway, options: dict[str, bool], earned: int
) -> None:
    config = demo_config()
    config["vendors"]["yotpo"]["options"] = options
    gateway = start_gateway(config)

    _adjust(gateway, 100, apply_adjustment_to_points_earned=True)
    _adjust(gateway, -40)

    assert gateway.wallet(_JANE)["lifetime_earned"] == earned


@_SURFACES
def test_a_balance_never_goes_below_zero(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    gateway.post(path, _STORE_REWARD, headers)

    refused = gateway.post(path, {**_STORE_REWARD, "point_adjustment_amount": -101}, headers)
    emptied = gateway.post(path, {**_STORE_REWARD, "point_adjustment_amount": -100}, headers)

    assert (refused.status_code, refused.json()) == (422, {"error": "Customer does not have enough points"})
    assert emptied.status_code == 200
    assert gateway.wallet(_JANE)["available"] == 0


@_SURFACES
@pytest.mark.parametrize(
    "customer",
    [
        {"customer_email": "jane@example.com"},
        {"customer_email": "Jane@Example.COM"},
        {"customer_id": "6789012345"},
        {"customer_id": 6789012345},
        {"customer_id": "6789012345", "customer_email": "omar@example.com"},
    ],
    ids=["email", "email in another case", "id as string", "id as number", "id before email"],
)
def test_a_customer_is_named_by_email_or_by_the_merchants_own_id(
    gateway: Gateway, path: str, headers: dict[str, str], customer: dict[str, Any]
) -> None:
    body = {"point_adjustment_amount": 5, "history_title": "gift", **customer}

    answer = gateway.post(path, body, headers)

    assert answer.status_code == 200
    assert gateway.wallet(_JANE)["available"] == 5


def test_the_merchants_own_id_is_looked_up_where_the_configuration_says(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["vendors"]["yotpo"]["options"] = {"customer_id_namespace": "salla"}
    gateway = start_gateway(config)

    found = gateway.post(_LOYALTY, {"customer_id": 748394059, "point_adjustment_amount": 5}, _HEADERS)
    missed = gateway.post(_LOYALTY, {"customer_id": "6789012345", "point_adjustment_amount": 5}, _HEADERS)

    assert (found.status_code, missed.status_code) == (200, 404)
    assert gateway.wallet(_JANE)["available"] == 5


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}),
        ("", {"X-GUID": "demo-guid", "X-API-KEY": "demo-api-key"}),
        ("?guid=demo-guid&api_key=demo-api-key", {}),
        ("?api_key=demo-api-key&merchant_id=demo-guid", {}),
    ],
    ids=["headers", "headers in upper case", "query", "legacy merchant id in the query"],
)
def test_the_loyalty_api_takes_each_form_of_its_credentials(
    gateway: Gateway, query: str, headers: dict[str, str]
) -> None:
    answer = gateway.post(f"{_LOYALTY}{query}", _REWARD, headers)

    assert answer.status_code == 200


def test_the_loyalty_api_takes_the_legacy_credentials_from_the_body_too(gateway: Gateway) -> None:
    legacy = {"merchant_id": "demo-guid", "api_key": "demo-api-key"}

    answer = gateway.post(_LOYALTY, _REWARD | legacy)

    assert answer.status_code == 200


_LEGACY = {"merchant_id": "demo-guid", "api_key": "demo-api-key"}


@pytest.mark.parametrize(
    ("changed", "headers", "told"),
    [
        ({"point_adjustment_amount": 0.5}, {}, "point_adjustment_amount must be of type integer"),
        ({}, {"idempotency-key": ""}, "Idempotency-Key must not be empty"),
    ],
    ids=["body", "header"],
)
def test_an_invalid_request_with_credentials_in_its_body_is_told_as_such(
    gateway: Gateway, changed: dict[str, Any], headers: dict[str, str], told: str
) -> None:
    answer = gateway.post(_LOYALTY, _REWARD | _LEGACY | changed, headers)

    assert (answer.status_code, answer.json()) == (422, {"error": told})


def test_credentials_in_a_form_are_no_media_type_of_ours(gateway: Gateway) -> None:
    answer = gateway.client.post(_LOYALTY, data=_LEGACY | {"point_adjustment_amount": "5"})

    assert answer.status_code == 415


def test_a_key_means_the_same_request_wherever_the_credentials_stand(gateway: Gateway) -> None:
    key = {"idempotency-key": "order-1"}

    answers = [gateway.post(_LOYALTY, _REWARD | _LEGACY, key), gateway.post(_LOYALTY, _REWARD, _HEADERS | key)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(gateway.entries()) == 1


@pytest.mark.parametrize(
    "nobody",
    [
        {"customer_email": ""},
        {"customer_email": "  "},
        {"customer_id": ""},
        {"customer_id": "\u3000"},
        {"customer_id": " ", "customer_email": "jane@example.com"},
    ],
)
@_SURFACES
def test_nobody_is_named_by_white_space(
    start_gateway: StartGateway, path: str, headers: dict[str, str], nobody: dict[str, str]
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)
    body = {"point_adjustment_amount": 5, "history_title": "x"}

    answer = gateway.post(path, body | nobody, headers)

    (name, *_) = nobody
    assert (answer.status_code, answer.json()) == (422, {"error": f"{name} is not valid"})


@_SURFACES
def test_an_empty_email_beside_an_id_is_passed_over(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    body = {**_STORE_REWARD, "customer_id": "6789012345", "customer_email": ""}

    answer = gateway.post(path, body, headers)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (_LOYALTY, {}),
        (_LOYALTY, {"x-guid": "demo-guid"}),
        (_LOYALTY, {"x-guid": "demo-guid", "x-api-key": "other"}),
        (f"{_LOYALTY}?guid=demo-guid&api_key=other", {}),
        (f"{_LOYALTY}?access_token=demo-access-token", {}),
        (_STORE.partition("?")[0], {}),
        (_STORE.partition("?")[0], _HEADERS),
        (_STORE.replace("demo-access-token", "other"), {}),
        (_STORE.replace("demo-app-key", "other-app-key"), {}),
    ],
)
def test_anything_else_is_unauthorized(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    answer = gateway.post(path, _STORE_REWARD, headers)

    assert answer.status_code == 401
    assert list(answer.json()) == ["error"]
    assert gateway.entries() == []


def test_credentials_that_may_only_read_are_forbidden(start_gateway: StartGateway) -> None:
    config = demo_config()
    for credential in config["vendors"]["yotpo"]["credentials"]:
        credential["scopes"] = ["read"]
    gateway = start_gateway(config)

    answers = [gateway.post(_LOYALTY, _REWARD, _HEADERS), gateway.post(_STORE, _STORE_REWARD)]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert [answer.json() for answer in answers] == [{"error": "These credentials may only read"}] * 2
    assert gateway.entries() == []


@pytest.mark.parametrize("wrapper", ["customers", "points", "adjustment"])
def test_the_app_developer_api_takes_a_wrapped_body(gateway: Gateway, wrapper: str) -> None:
    answer = gateway.post(_STORE, {wrapper: _STORE_REWARD, "with_referral_code": True})

    assert answer.status_code == 200
    assert answer.json() == _event(gateway, "Reward for a review")
    assert gateway.wallet(_JANE)["available"] == 100


@pytest.mark.parametrize("wrapper", ["customers", "points", "adjustment"])
def test_a_wrapped_body_is_held_to_the_same_rules(gateway: Gateway, wrapper: str) -> None:
    answer = gateway.post(_STORE, {wrapper: {"point_adjustment_amount": 1.5}})

    assert answer.status_code == 422
    assert set(answer.json()["error"].split("; ")) == {
        f"{wrapper}.history_title is required",
        f"{wrapper}.customer_email is required",
        f"{wrapper}.point_adjustment_amount must be of type integer",
    }


def test_a_further_path_can_stand_for_the_one_that_no_page_shows(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["vendors"]["yotpo"]["path_aliases"] = {
        "/loyalty/v3/stores/{app_key}/adjust": "/loyalty/v3/stores/{app_key}/points/adjust"
    }
    gateway = start_gateway(config)
    alias = _STORE.replace("/points/adjust", "/adjust")

    answers = [
        gateway.post(alias, _STORE_REWARD),
        gateway.post(_STORE, _STORE_REWARD),
        gateway.post(alias.replace("demo-app-key", "other"), _STORE_REWARD),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert gateway.wallet(_JANE)["available"] == 200


@_SURFACES
@pytest.mark.parametrize(
    ("sent", "visible"),
    [({}, 1), (True, 1), ("true", 1), (False, 0), ("false", 0)],
    ids=["unsaid", "true", "string true", "false", "string false"],
)
def test_visible_to_customer_is_a_boolean_or_its_word_and_true_unless_said(
    gateway: Gateway, path: str, headers: dict[str, str], sent: Any, visible: int
) -> None:
    told = {} if sent == {} else {"visible_to_customer": sent}

    answer = gateway.post(path, _STORE_REWARD | told, headers)

    assert answer.status_code == 200
    assert gateway.entries()[0]["visible"] == visible


@_SURFACES
@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"point_adjustment_amount": 1.5}, "point_adjustment_amount"),
        ({"point_adjustment_amount": "100"}, "point_adjustment_amount"),
        ({"point_adjustment_amount": 2_147_483_648}, "point_adjustment_amount"),
        ({"point_adjustment_amount": -2_147_483_649}, "point_adjustment_amount"),
        ({"customer_email": None}, "customer_email"),
        ({"customer_id": None}, "customer_id"),
        ({"apply_adjustment_to_points_earned": "false"}, "apply_adjustment_to_points_earned"),
        ({"visible_to_customer": "no"}, "visible_to_customer"),
        ({"visible_to_customer": 0}, "visible_to_customer"),
        ({"history_title": 5}, "history_title"),
    ],
)
def test_a_wrong_field_is_unprocessable_and_named(
    gateway: Gateway, path: str, headers: dict[str, str], changed: dict[str, Any], field: str
) -> None:
    answer = gateway.post(path, _STORE_REWARD | changed, headers)

    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert {told.split()[0] for told in answer.json()["error"].split("; ")} == {field}
    assert gateway.entries() == []


def test_only_the_app_developer_api_requires_a_title(gateway: Gateway) -> None:
    answers = [gateway.post(_LOYALTY, _REWARD, _HEADERS), gateway.post(_STORE, _REWARD)]

    assert [answer.status_code for answer in answers] == [200, 422]
    assert answers[1].json() == {"error": "history_title is required"}


@pytest.mark.parametrize("amount", [2_147_483_647, 100.0])
def test_any_whole_number_of_32_bits_is_an_amount(gateway: Gateway, amount: float) -> None:
    answer = gateway.post(_LOYALTY, {**_REWARD, "point_adjustment_amount": amount}, _HEADERS)

    assert answer.status_code == 200
    assert gateway.wallet(_JANE)["available"] == amount


def test_unknown_fields_are_ignored(gateway: Gateway) -> None:
    answer = gateway.post(_LOYALTY, {**_REWARD, "reward_text": "x", "pos_account_id": 5}, _HEADERS)

    assert answer.status_code == 200


@_SURFACES
@pytest.mark.parametrize("customer", [{"customer_email": "nobody@example.com"}, {"customer_id": "cust_abc123"}])
def test_an_unknown_customer_does_not_exist(
    gateway: Gateway, path: str, headers: dict[str, str], customer: dict[str, str]
) -> None:
    body = {"point_adjustment_amount": 5, "history_title": "gift", **customer}

    answer = gateway.post(path, body, headers)

    assert (answer.status_code, answer.json()) == (404, {"error": "Customer does not exist"})


@pytest.mark.parametrize("customer", [{"customer_email": "new@example.com"}, {"customer_id": 1234567890}])
def test_an_unknown_customer_is_enrolled_where_the_merchant_wants_that(
    start_gateway: StartGateway, customer: dict[str, Any]
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)

    first, second = (
        gateway.post(_LOYALTY, {"point_adjustment_amount": 5, **customer}, _HEADERS) for _ in range(2)
    )

    assert first.json()["customer_id"] == second.json()["customer_id"]
    assert gateway.entries()[1]["points_after"] == 10


@_SURFACES
@pytest.mark.parametrize("amount", [5, -5])
def test_an_excluded_customer_is_unprocessable_in_either_direction(
    gateway: Gateway, path: str, headers: dict[str, str], amount: int
) -> None:
    _adjust(gateway, 100)
    gateway.exclude(_JANE)

    answer = gateway.post(path, {**_STORE_REWARD, "point_adjustment_amount": amount}, headers)

    assert answer.status_code == 422
    assert answer.json() == {"error": "Customer is excluded from the loyalty programme"}
    assert gateway.wallet(_JANE)["available"] == 100


def test_the_tier_follows_the_points_earned_and_not_the_balance(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [{"name": "Gold", "points_required": 100}]
    gateway = start_gateway(config)

    tiers = []
    for amount, counts in ((500, False), (100, True), (-100, False), (-1, True)):
        _adjust(gateway, amount, apply_adjustment_to_points_earned=counts)
        tiers.append(gateway.wallet(_JANE)["tier"])

    assert tiers == [None, "Gold", "Gold", None]


@pytest.mark.parametrize("path", ["/yotpo/api/v2/points", "/yotpo/api/v2/points/adjust/now", "/yotpo/api/v9"])
def test_an_unknown_path_is_an_html_page(gateway: Gateway, path: str) -> None:
    answer = gateway.post(path, _REWARD, _HEADERS)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!DOCTYPE html>")


def test_a_wrong_method_is_the_same_html_page(gateway: Gateway) -> None:
    answer = gateway.client.get(_LOYALTY, headers=_HEADERS)

    assert answer.status_code == 404
    assert answer.text == gateway.post("/yotpo/api/v9").text


@_SURFACES
def test_a_key_again_answers_the_same_again_and_says_that_it_is_a_replay(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    keyed = {**headers, "Idempotency-Key": "adj-1"}
    first = gateway.post(path, _STORE_REWARD, keyed)
    _adjust(gateway, 7)

    again = gateway.post(path, _STORE_REWARD, keyed)

    assert again.json() == first.json()
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert gateway.wallet(_JANE)["available"] == 107


@_SURFACES
def test_a_key_used_for_another_payload_is_unprocessable(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    keyed = {**headers, "Idempotency-Key": "adj-1"}
    gateway.post(path, _STORE_REWARD, keyed)

    answer = gateway.post(path, {**_STORE_REWARD, "point_adjustment_amount": 101}, keyed)

    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert gateway.wallet(_JANE)["available"] == 100


def test_a_key_used_on_one_surface_is_another_request_on_the_other(gateway: Gateway) -> None:
    gateway.post(_LOYALTY, _STORE_REWARD, {**_HEADERS, "Idempotency-Key": "adj-1"})

    answer = gateway.post(_STORE, _STORE_REWARD, {"Idempotency-Key": "adj-1"})

    assert answer.status_code == 422
    assert gateway.wallet(_JANE)["available"] == 100


def test_a_refused_request_does_not_use_up_its_key(gateway: Gateway) -> None:
    spend = {**_REWARD, "point_adjustment_amount": -60}
    keyed = {**_HEADERS, "Idempotency-Key": "adj-1"}
    refused = gateway.post(_LOYALTY, spend, keyed)
    gateway.post(_LOYALTY, _REWARD, _HEADERS)

    answer = gateway.post(_LOYALTY, spend, keyed)

    assert (refused.status_code, answer.status_code) == (422, 200)
    assert "idempotency-replayed" not in answer.headers
    assert gateway.wallet(_JANE)["available"] == 40


def test_the_loyalty_api_tells_the_second_and_the_minute_and_refuses_beyond(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["yotpo"]["rate_limits"] = {"requests": "2/60s", "store_requests": "1/60s"}
    gateway = start_gateway(config)

    answers = [gateway.post(_LOYALTY, _REWARD, _HEADERS) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json() == {"error": "Too many requests"}
    told = {
        name: [answer.headers[name] for answer in answers]
        for name in answers[0].headers
        if "ratelimit" in name and name != "ratelimit-reset"
    }
    assert told == {
        "ratelimit-limit": ["2", "2", "2"],
        "ratelimit-remaining": ["1", "0", "0"],
        "x-ratelimit-limit-minute": ["600", "600", "600"],
        # A request that the second refuses is not counted in the minute.
        "x-ratelimit-remaining-minute": ["599", "598", "598"],
    }
    assert all(1 <= int(answer.headers["ratelimit-reset"]) <= 60 for answer in answers)


def test_the_app_developer_api_counts_its_own_limit_and_documents_no_headers(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["yotpo"]["rate_limits"] = {"requests": "1/60s", "store_requests": "2/60s"}
    gateway = start_gateway(config)
    gateway.post(_LOYALTY, _REWARD, _HEADERS)

    answers = [gateway.post(_STORE, _STORE_REWARD) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json() == {"error": "Too many requests"}
    assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]
