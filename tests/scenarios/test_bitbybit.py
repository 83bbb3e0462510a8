"""bitbybit: a magnitude with a direction, and a wallet in strings for an answer."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.ledger.sqlite import SqliteLedger

_HALF_PAST_TEN = 1_705_314_600_000_000
_KEY = {"x-api-key": "bbb_test_demo"}
_PATH = "/bitbybit/customer/api/open/v1/loyalty/customers/{}/points/adjust"
_JANE = _PATH.format("cust_abc123")
_ADD = {"direction": "add", "points": 50, "reason": "Manual correction"}


def _adjust(gateway: Gateway, direction: str, points: int, **more: Any) -> httpx2.Response:
    return gateway.post(_JANE, {"direction": direction, "points": points, "reason": "correction", **more}, _KEY)


def _data(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def _refusal(answer: httpx2.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
    return answer.status_code, body["error"]["code"], body["error"]["message"]


def test_the_documented_operation_answers_the_wallet_the_entry_and_the_key(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    gateway = start_gateway(ledger=SqliteLedger(str(tmp_path / "at-half-past.db"), clock=lambda: _HALF_PAST_TEN))

    answer = gateway.post(
        _JANE,
        {
            "direction": "add",
            "points": 50,
            "reason": "Manual correction",
            "idempotencyKey": "adj-1",
            "metadata": {"ticket": 4711, "tags": ["vip"]},
        },
        _KEY,
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "data": {
            "wallet": {
                "id": "1",
                "companyId": 1,
                "customerId": "cust_abc123",
                "availablePoints": "50",
                "reservedPoints": "0",
                "lifetimeEarnedPoints": "50",
                "lifetimeBurnedPoints": "0",
                "version": "1",
                "lastLedgerAt": "2024-01-15T10:30:00.000Z",
                "createdAt": "2024-01-15T10:30:00.000Z",
                "updatedAt": "2024-01-15T10:30:00.000Z",
            },
            "ledger": {
                "id": "1",
                "companyId": 1,
                "customerId": "cust_abc123",
                "walletId": "1",
                "entryType": "adjustment",
                "pointsDelta": "50",
                "availableAfter": "50",
                "reservedAfter": "0",
                "referenceType": "manual_adjustment",
                "referenceId": "1",
                "idempotencyKey": "adj-1",
                "note": "Manual correction",
                "metadata": {"ticket": 4711, "tags": ["vip"]},
                "occurredAt": "2024-01-15T10:30:00.000Z",
                "createdAt": "2024-01-15T10:30:00.000Z",
                "createdById": None,
            },
            "idempotencyKey": "adj-1",
        }
    }


def test_a_deduction_is_told_with_its_sign_and_counts_as_burned(gateway: Gateway) -> None:
    _adjust(gateway, "add", 200)

    data = _data(_adjust(gateway, "deduct", 50))

    assert {name: data["ledger"][name] for name in ("pointsDelta", "availableAfter", "note", "metadata")} == {
        "pointsDelta": "-50",
        "availableAfter": "150",
        "note": "correction",
        "metadata": None,
    }
    assert {name: data["wallet"][name] for name in data["wallet"] if name.endswith("Points")} == {
        "availablePoints": "150",
        "reservedPoints": "0",
        "lifetimeEarnedPoints": "200",
        "lifetimeBurnedPoints": "50",
    }
    assert data["wallet"]["version"] == "2"


def test_the_same_wallet_answers_for_each_customer_of_its_own(gateway: Gateway) -> None:
    jane = _data(gateway.post(_JANE, _ADD, _KEY))["wallet"]
    omar = _data(gateway.post(_PATH.format("cust_def456"), _ADD, _KEY))["wallet"]

    assert (jane["customerId"], omar["customerId"]) == ("cust_abc123", "cust_def456")
    assert jane["id"] != omar["id"]
    assert (jane["availablePoints"], omar["availablePoints"]) == ("50", "50")


def test_a_deduction_down_to_nothing_is_taken_and_one_point_more_is_refused(gateway: Gateway) -> None:
    _adjust(gateway, "add", 50)

    refused = _adjust(gateway, "deduct", 51)
    emptied = _adjust(gateway, "deduct", 50)

    assert _refusal(refused) == (400, "VALIDATION_ERROR", "Insufficient points")
    assert _data(emptied)["wallet"]["availablePoints"] == "0"
    assert [entry["points_delta"] for entry in gateway.entries()] == [50, -50]


@pytest.mark.parametrize("prefix", ["/customer/api/open/v1", "/customer/open/v1"])
def test_the_prefix_of_the_document_and_that_of_the_prose_both_lead_to_the_wallet(
    gateway: Gateway, prefix: str
) -> None:
    answer = gateway.post(f"/bitbybit{prefix}/loyalty/customers/cust_abc123/points/adjust", _ADD, _KEY)

    assert _data(answer)["wallet"]["availablePoints"] == "50"


@pytest.mark.parametrize("header", ["x-api-key", "X-API-KEY", "x-bitbybit-key", "X-Bitbybit-Key"])
def test_the_key_is_taken_from_either_header(gateway: Gateway, header: str) -> None:
    answer = gateway.post(_JANE, _ADD, {header: "bbb_test_demo"})

    assert answer.status_code == 200


def test_no_key_and_a_wrong_key_have_codes_of_their_own(gateway: Gateway) -> None:
    missing = _refusal(gateway.post(_JANE, _ADD))
    wrong = _refusal(gateway.post(_JANE, _ADD, {"x-api-key": "bbb_live_other"}))

    assert missing[:2] == (401, "MISSING_API_KEY")
    assert wrong[:2] == (401, "INVALID_API_KEY")
    assert gateway.entries() == []


def test_a_key_that_may_only_read_customers_is_told_which_scope_it_lacks(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["vendors"]["bitbybit"]["credentials"].append(
        {"merchant": "demo", "api_key": "bbb_test_readonly", "scopes": ["customers.read"]}
    )
    gateway = start_gateway(config)

    status, code, message = _refusal(gateway.post(_JANE, _ADD, {"x-api-key": "bbb_test_readonly"}))

    assert (status, code) == (403, "INSUFFICIENT_SCOPE")
    assert "customers.write" in message
    assert gateway.entries() == []


def test_a_key_with_an_allow_list_is_refused_from_elsewhere(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["vendors"]["bitbybit"]["credentials"][0]["networks"] = ["203.0.113.0/24"]

    status, code, _ = _refusal(start_gateway(config).post(_JANE, _ADD, _KEY))

    assert (status, code) == (403, "IP_NOT_ALLOWED")


def test_an_unknown_customer_is_not_found(gateway: Gateway) -> None:
    answer = gateway.post(_PATH.format("cust_nobody"), _ADD, _KEY)

    assert _refusal(answer) == (404, "NOT_FOUND", "Customer not found")


def test_a_customer_is_known_by_the_id_of_bitbybit_and_no_other(gateway: Gateway) -> None:
    answers = [
        gateway.post(_PATH.format(other), _ADD, _KEY) for other in ("6789012345", "748394059", "CUST_ABC123")
    ]

    assert {answer.status_code for answer in answers} == {404}


def test_an_unknown_customer_is_enrolled_where_the_merchant_wants_that(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)

    first = _data(gateway.post(_PATH.format("cust_new"), _ADD, _KEY))["wallet"]
    second = _data(gateway.post(_PATH.format("cust_new"), _ADD, _KEY))["wallet"]

    assert (first["customerId"], first["availablePoints"], second["availablePoints"]) == ("cust_new", "50", "100")
    assert first["id"] == second["id"]


def test_a_deduction_refused_for_an_unknown_customer_enrols_nobody(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)

    answer = gateway.post(_PATH.format("cust_new"), {**_ADD, "direction": "deduct"}, _KEY)

    assert _refusal(answer) == (400, "VALIDATION_ERROR", "Insufficient points")
    assert gateway.rows("SELECT * FROM customer_references WHERE value = 'cust_new'") == []


@pytest.mark.parametrize("direction", ["add", "deduct"])
def test_an_excluded_customer_is_refused_in_either_direction(gateway: Gateway, direction: str) -> None:
    _adjust(gateway, "add", 100)
    gateway.exclude("bitbybit:cust_abc123")

    status, code, _ = _refusal(_adjust(gateway, direction, 1))

    assert (status, code) == (403, "CUSTOMER_EXCLUDED")
    assert gateway.wallet("bitbybit:cust_abc123")["available"] == 100


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, {"direction is required", "points is required", "reason is required"}),
        ({**_ADD, "direction": "burn"}, {"direction must be one of: add, deduct"}),
        ({**_ADD, "points": 0}, {"points must be at least 1"}),
        ({**_ADD, "points": -5}, {"points must be at least 1"}),
        ({**_ADD, "points": 1.5}, {"points must be of type integer"}),
        ({**_ADD, "points": "50"}, {"points must be of type integer"}),
        ({**_ADD, "reason": None}, {"reason must be of type string"}),
        ({**_ADD, "metadata": []}, {"metadata must be of type object"}),
        ({"points": 0, "reason": "x"}, {"direction is required", "points must be at least 1"}),
    ],
)
def test_everything_wrong_with_a_request_is_told_at_once(
    gateway: Gateway, body: dict[str, Any], told: set[str]
) -> None:
    status, code, message = _refusal(gateway.post(_JANE, body, _KEY))

    assert (status, code, set(message.split("; "))) == (400, "VALIDATION_ERROR", told)
    assert gateway.entries() == []


def test_a_key_in_the_body_answers_the_same_again_and_says_that_it_is_a_replay(gateway: Gateway) -> None:
    first = _adjust(gateway, "add", 50, idempotencyKey="adj-1")
    _adjust(gateway, "add", 7)

    again = _adjust(gateway, "add", 50, idempotencyKey="adj-1")

    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert [entry["points_delta"] for entry in gateway.entries()] == [50, 7]


def test_a_key_in_the_header_counts_as_the_one_of_the_body(gateway: Gateway) -> None:
    header = {**_KEY, "Idempotency-Key": "adj-1"}

    first = gateway.post(_JANE, _ADD, header)
    again = gateway.post(_JANE, _ADD, header)

    assert _data(first)["idempotencyKey"] == _data(first)["ledger"]["idempotencyKey"] == "adj-1"
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(gateway.entries()) == 1


def test_equal_keys_in_body_and_header_are_one_key_and_unequal_ones_are_refused(gateway: Gateway) -> None:
    body = {**_ADD, "idempotencyKey": "adj-1"}

    unequal = gateway.post(_JANE, body, {**_KEY, "Idempotency-Key": "adj-2"})
    equal = gateway.post(_JANE, body, {**_KEY, "Idempotency-Key": "adj-1"})

    assert _refusal(unequal)[:2] == (400, "VALIDATION_ERROR")
    assert _data(equal)["idempotencyKey"] == "adj-1"
    assert len(gateway.entries()) == 1


@pytest.mark.parametrize(
    "changed", [{"points": 51}, {"direction": "deduct"}, {"reason": "other"}, {"metadata": {}}]
)
def test_a_key_used_for_another_payload_is_a_validation_error(gateway: Gateway, changed: dict[str, Any]) -> None:
    body = {**_ADD, "idempotencyKey": "adj-1"}
    gateway.post(_JANE, body, _KEY)

    answer = gateway.post(_JANE, body | changed, _KEY)

    assert _refusal(answer)[:2] == (400, "VALIDATION_ERROR")
    assert len(gateway.entries()) == 1


def test_a_key_used_for_one_customer_is_not_taken_for_another(gateway: Gateway) -> None:
    body = {**_ADD, "idempotencyKey": "adj-1"}
    gateway.post(_JANE, body, _KEY)

    answer = gateway.post(_PATH.format("cust_def456"), body, _KEY)

    assert _refusal(answer)[:2] == (400, "VALIDATION_ERROR")
    assert gateway.wallet("bitbybit:cust_def456")["available"] == 0


def test_a_refused_request_does_not_use_up_its_key(gateway: Gateway) -> None:
    refused = _adjust(gateway, "deduct", 50, idempotencyKey="adj-1")
    _adjust(gateway, "add", 80)

    retried = _adjust(gateway, "deduct", 50, idempotencyKey="adj-1")

    assert refused.status_code == 400
    assert _data(retried)["wallet"]["availablePoints"] == "30"
    assert "idempotency-replayed" not in retried.headers


@pytest.mark.parametrize("unkeyed", [{}, {"idempotencyKey": ""}])
def test_a_request_without_a_key_is_carried_out_each_time_and_gets_a_key_of_its_own(
    gateway: Gateway, unkeyed: dict[str, str]
) -> None:
    keys = [_data(_adjust(gateway, "add", 5, **unkeyed))["idempotencyKey"] for _ in range(2)]

    assert all(keys)
    assert keys[0] != keys[1]
    assert gateway.wallet("bitbybit:cust_abc123")["available"] == 10


def test_the_tier_follows_the_lifetime_points_which_a_deduction_does_not_lower(
    start_gateway: StartGateway,
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [
        {"name": "Silver", "points_required": 100},
        {"name": "Gold", "points_required": 1_000},
    ]
    gateway = start_gateway(config)

    tiers = []
    for direction, points in (("add", 99), ("add", 1), ("deduct", 100), ("add", 900), ("deduct", 900)):
        assert _adjust(gateway, direction, points).status_code == 200
        tiers.append(gateway.wallet("bitbybit:cust_abc123")["tier"])

    assert tiers == [None, "Silver", "Silver", "Gold", "Gold"]


def test_unknown_fields_are_no_concern(gateway: Gateway) -> None:
    answer = gateway.post(_JANE, {**_ADD, "source": "import", "customerId": "cust_def456"}, _KEY)

    assert _data(answer)["wallet"]["customerId"] == "cust_abc123"


def test_every_answer_tells_the_limit_and_the_request_beyond_it_is_told_to_wait(
    start_gateway: StartGateway,
) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    config["vendors"]["bitbybit"]["rate_limits"] = {"requests": "2/60s"}
    gateway = start_gateway(config)

    answers = [_adjust(gateway, "add", 5), _adjust(gateway, "deduct", 6), _adjust(gateway, "add", 5)]

    assert [answer.status_code for answer in answers] == [200, 400, 429]
    assert [answer.headers["RateLimit-Limit"] for answer in answers] == ["2"] * 3
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert all(re.fullmatch("[1-5]?[0-9]|60", answer.headers["RateLimit-Reset"]) for answer in answers)
    assert _refusal(answers[2]) == (
        429,
        "RATE_LIMIT_EXCEEDED",
        "Too many requests. Please retry after the reset period.",
    )
    assert len(gateway.entries()) == 1


@pytest.mark.parametrize(("length", "status"), [(255, 200), (256, 400)])
def test_a_key_has_at_most_255_characters(gateway: Gateway, length: int, status: int) -> None:
    answer = gateway.post(_JANE, _ADD | {"idempotencyKey": "é" * length}, _KEY)

    assert answer.status_code == status


def test_the_same_key_in_body_and_header_is_one_key_in_any_script(gateway: Gateway) -> None:
    body = _ADD | {"idempotencyKey": "é-🎁"}

    key = (b"idempotency-key", "é-🎁".encode())
    both = gateway.client.post(_JANE, json=body, headers=[(b"x-api-key", b"bbb_test_demo"), key])
    again = gateway.post(_JANE, body, _KEY)

    assert (both.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"


def test_two_keys_that_differ_are_told_together_with_what_else_is_wrong(gateway: Gateway) -> None:
    body = _ADD | {"idempotencyKey": "one", "points": 0}

    answer = gateway.post(_JANE, body, _KEY | {"idempotency-key": "two"})

    assert answer.status_code == 400
    assert set(answer.json()["error"]["message"].split("; ")) == {
        "points must be at least 1",
        "Idempotency-Key is not valid",
    }
