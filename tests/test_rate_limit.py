"""Rate limits, as each vendor documents and tells them."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.authentication import Caller
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.vendor import Budget, RateLimit, Vendor
from test_bad_input import CASES, Case, every, in_voice


def _limited(rate: str = "2/60s", **overrides: Any) -> dict[str, Any]:
    config = demo_config(**overrides)
    config["server"]["rate_limits"] = True
    for name, limits in {
        "bitbybit": ["requests"],
        "mage": ["requests"],
        "yotpo": ["requests", "store_requests"],
        "salla": ["plan"],
        "loyaltylion": ["requests"],
    }.items():
        config["vendors"][name]["rate_limits"] = dict.fromkeys(limits, rate)
    return config


@pytest.fixture
def limited(start_gateway: StartGateway) -> Gateway:
    """Two requests a minute for each limit."""
    gateway = start_gateway(_limited())
    gateway.set_available("shopify:6789012345", 1_000)
    return gateway


@every()
def test_the_request_beyond_the_limit_is_refused_and_moves_nothing(limited: Gateway, case: Case) -> None:
    answers = [case.send(limited) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [case.success, case.success, 429, 429]
    assert all(in_voice(case.vendor, answer) for answer in answers[2:])
    assert len(limited.entries()) == 2


@every()
def test_limits_can_be_switched_off(start_gateway: StartGateway, case: Case) -> None:
    config = _limited("1/60s")
    config["server"]["rate_limits"] = False
    gateway = start_gateway(config)
    gateway.set_available("shopify:6789012345", 1_000)

    answers = [case.send(gateway) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {case.success}
    assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]


@every()
def test_a_refused_request_counts_too(limited: Gateway, case: Case) -> None:
    answers = [case.send(limited, b"{") for _ in range(3)]

    assert [answer.status_code for answer in answers][2] == 429
    assert answers[0].status_code == answers[1].status_code != 429


@every()
def test_a_caller_whom_nobody_knows_spends_nobodys_limit(limited: Gateway, case: Case) -> None:
    strangers = [case.unauthenticated().send(limited) for _ in range(3)]

    assert {answer.status_code for answer in strangers} == {401}
    assert case.send(limited).status_code == case.success


@every()
def test_another_merchants_requests_spend_nothing_of_ours(start_gateway: StartGateway, case: Case) -> None:
    config = _limited("1/60s")
    config["merchants"]["other"] = {}
    secrets = {
        "bitbybit": [{"api_key": "other"}],
        "mage": [{"api_key": "other"}],
        "yotpo": [{"guid": "other", "api_key": "other"}, {"app_key": "other", "access_token": "other"}],
        "salla": [{"bearer": "other"}],
        "loyaltylion": [{"bearer": "other"}],
    }[case.vendor]
    config["vendors"][case.vendor]["credentials"] += [{"merchant": "other", **secret} for secret in secrets]
    gateway = start_gateway(config)
    gateway.set_available("shopify:6789012345", 1_000)
    path = case.path.replace("demo-app-key", "other") + ("?access_token=other" if case.query else "")
    headers = (
        {"authorization": "Bearer other"}
        if case.vendor in {"salla", "loyaltylion"}
        else dict.fromkeys(case.headers, "other")
    )

    others = [gateway.post(path, dict(case.body), headers).status_code for _ in range(2)]

    assert others[0] in {404, 422}
    assert others[1] == 429
    assert case.send(gateway).status_code == case.success


def test_the_two_operations_of_loyaltylion_share_one_limit(limited: Gateway) -> None:
    add, remove = [case for case in CASES if case.vendor == "loyaltylion"]
    remove = Case(**{**vars(remove), "headers": add.headers})

    statuses = [add.send(limited).status_code, remove.send(limited).status_code, add.send(limited).status_code]

    assert statuses == [201, 204, 429]


def test_the_two_surfaces_of_yotpo_have_limits_of_their_own(limited: Gateway) -> None:
    account, store = [case for case in CASES if case.vendor == "yotpo"]

    statuses = [case.send(limited).status_code for case in (account, account, account, store, store, store)]

    assert statuses == [200, 200, 429, 200, 200, 429]


def test_mages_limit_is_counted_for_each_key(limited: Gateway) -> None:
    (case,) = [case for case in CASES if case.vendor == "mage"]
    reader = Case(**{**vars(case), **case.read_only})

    statuses = [one.send(limited).status_code for one in (case, case, case, reader)]

    assert statuses == [200, 200, 429, 403]


def test_sallas_limit_is_counted_for_the_merchant_whichever_the_token(limited: Gateway) -> None:
    (case,) = [case for case in CASES if case.vendor == "salla"]
    reader = Case(**{**vars(case), **case.read_only})

    statuses = [one.send(limited).status_code for one in (case, case, reader)]

    assert statuses == [201, 201, 429]


def _told(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if "ratelimit" in name or name == "retry-after"}


def test_bitbybit_tells_its_limit_on_every_answer(limited: Gateway) -> None:
    (case,) = [case for case in CASES if case.vendor == "bitbybit"]

    answers = [
        case.unauthenticated().send(limited),
        case.send(limited),
        case.send(limited, b""),
        case.send(limited),
        limited.post("/bitbybit/nowhere"),
        limited.client.get(case.path),
    ]

    assert [answer.status_code for answer in answers] == [401, 200, 400, 429, 404, 405]
    told = [_told(answer.headers) for answer in answers]
    assert [headers["ratelimit-remaining"] for headers in told] == ["2", "1", "0", "0", "2", "2"]
    assert {headers["ratelimit-limit"] for headers in told} == {"2"}
    assert {headers["ratelimit-reset"] for headers in told} <= {"59", "60"}


def test_salla_tells_what_is_left_of_the_tightest_limit_and_when_to_come_back(limited: Gateway) -> None:
    (case,) = [case for case in CASES if case.vendor == "salla"]
    before = time.time()

    answers = [case.unauthenticated().send(limited), *(case.send(limited) for _ in range(3))]
    answers.append(limited.post("/salla/nowhere"))

    told = [_told(answer.headers) for answer in answers]
    assert told.pop() == {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "2"}
    assert told[:3] == [{"x-ratelimit-limit": "2", "x-ratelimit-remaining": left} for left in ("2", "1", "0")]
    assert told[3].pop("retry-after") in {"59", "60"}
    assert before + 59 <= int(told[3].pop("x-ratelimit-reset")) <= time.time() + 61
    assert told[3] == {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "0"}


@pytest.mark.parametrize(
    ("plan", "customers", "left"),
    [((2, 60), (9, 600), (0, 7)), ((9, 60), (2, 600), (7, 0))],
    ids=["plan", "customers"],
)
def test_a_request_that_one_limit_refuses_spends_none_of_the_others(
    vendors: dict[str, Vendor], plan: tuple[int, int], customers: tuple[int, int], left: tuple[int, int]
) -> None:
    limits = RateLimits(vendors["salla"], {"plan": plan, "customers": customers})
    caller = Caller(id="x", merchant=Merchant(name="demo"), scopes=frozenset())

    spent = [limits.spend(vendors["salla"].operations[0], caller) for _ in range(6)]

    assert [refusal is not None for _, refusal in spent] == [False] * 2 + [True] * 4
    assert tuple(budget.remaining for budget in spent[-1][0]) == left


def test_salla_tells_the_limit_that_refuses_and_its_end(start_gateway: StartGateway) -> None:
    config = _limited()
    config["vendors"]["salla"]["rate_limits"] = {"plan": "2/60s", "customers": "2/600s"}
    gateway = start_gateway(config)
    (case,) = [case for case in CASES if case.vendor == "salla"]

    told = [_told(case.send(gateway).headers) for _ in range(3)][-1]

    assert 590 < int(told["retry-after"]) <= 600
    assert abs(int(told["x-ratelimit-reset"]) - time.time() - int(told["retry-after"])) < 3


def test_bitbybit_tells_its_limit_on_a_query_that_is_too_long(limited: Gateway) -> None:
    (case,) = [case for case in CASES if case.vendor == "bitbybit"]

    answer = limited.client.post(f"{case.path}?x={'x' * 9_000}", headers=dict(case.headers))

    assert answer.status_code == 400
    assert set(_told(answer.headers)) == {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


def test_yotpo_tells_the_second_and_the_minute_of_the_account_and_nothing_of_a_store(
    start_gateway: StartGateway,
) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    gateway = start_gateway(config)
    account, store = [case for case in CASES if case.vendor == "yotpo"]

    told = _told(account.send(gateway).headers)

    assert told == {
        "ratelimit-limit": "10",
        "ratelimit-remaining": "9",
        "ratelimit-reset": "1",
        "x-ratelimit-limit-minute": "600",
        "x-ratelimit-remaining-minute": "599",
    }
    assert _told(store.send(gateway).headers) == {}


@every(tuple(case for case in CASES if case.vendor in {"mage", "loyaltylion"}))
def test_a_vendor_that_documents_no_headers_sends_none(limited: Gateway, case: Case) -> None:
    answers = [case.send(limited) for _ in range(3)]

    assert [_told(answer.headers) for answer in answers] == [{}, {}, {}]


def test_the_limits_in_force_without_a_configuration_are_the_documented_ones(vendors: dict[str, Vendor]) -> None:
    limits = {
        name: {
            (limit.name, limit.requests, limit.seconds, limit.per, limit.sliding)
            for operation in vendor.operations
            for limit in operation.rate_limits
        }
        for name, vendor in vendors.items()
    }

    assert limits == {
        "bitbybit": {("requests", 100, 60, "credential", False)},
        "mage": {("requests", 6, 1, "credential", True)},
        "yotpo": {
            ("requests", 10, 1, "merchant", False),
            ("minute", 600, 60, "merchant", False),
            ("store_requests", 100, 60, "credential", False),
        },
        "salla": {("plan", 720, 60, "merchant", False), ("customers", 500, 600, "merchant", False)},
        "loyaltylion": {("requests", 20, 1, "credential", False)},
    }
    assert all(operation.rate_limits for vendor in vendors.values() for operation in vendor.operations)


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def _is_refused(limits: RateLimits, vendor: Vendor) -> bool:
    caller = Caller(id="x", merchant=Merchant(name="demo"), scopes=frozenset())
    return limits.spend(vendor.operations[0], caller)[1] is not None


@pytest.fixture(params=["mage", "loyaltylion"], ids=["sliding", "fixed"])
def vendor_of_either_kind(request: pytest.FixtureRequest, vendors: dict[str, Vendor]) -> Vendor:
    return vendors[request.param]


def test_a_limit_is_whole_again_after_its_time_and_not_before(vendor_of_either_kind: Vendor) -> None:
    clock = Clock()
    limits = RateLimits(vendor_of_either_kind, {"requests": (3, 10)}, clock)

    refused = []
    for seconds in (0, 0, 0, 0, 9.9, 0.1, 0, 0, 0):
        clock.now += seconds
        refused.append(_is_refused(limits, vendor_of_either_kind))

    assert refused == [False] * 3 + [True] * 2 + [False] * 3 + [True]


def test_a_sliding_limit_gives_back_one_request_at_a_time_and_a_fixed_one_all_at_once(
    vendors: dict[str, Vendor],
) -> None:
    clock = Clock()
    limits = {name: RateLimits(vendors[name], {"requests": (2, 10)}, clock) for name in ("mage", "loyaltylion")}

    refused = []
    for seconds in (0, 5, 5.5, 0):
        clock.now += seconds
        refused.append(tuple(_is_refused(one, vendors[name]) for name, one in limits.items()))

    assert refused == [(False, False), (False, False), (False, False), (True, False)]


def test_a_clock_that_is_set_back_keeps_nobody_out_for_longer(
    vendor_of_either_kind: Vendor,
) -> None:
    clock = Clock()
    limits = RateLimits(vendor_of_either_kind, {"requests": (1, 10)}, clock)
    _is_refused(limits, vendor_of_either_kind)
    clock.now -= 3_600

    assert not _is_refused(limits, vendor_of_either_kind)


def test_two_vendors_never_share_a_limit_of_the_same_name(limited: Gateway) -> None:
    statuses = [case.send(limited).status_code for _ in range(2) for case in CASES if case.adds]

    assert 429 not in statuses


@pytest.mark.parametrize("seconds_ahead", [0.0, 0.2, 59.99, 60.0])
def test_what_is_told_to_wait_is_never_too_short(seconds_ahead: float) -> None:
    limit = RateLimit(name="requests", requests=1, seconds=60, per="credential")

    budget = Budget(limit=limit, remaining=0, resets_at=1_000.0 + seconds_ahead, now=1_000.0)

    assert budget.resets_in >= max(1, seconds_ahead)
