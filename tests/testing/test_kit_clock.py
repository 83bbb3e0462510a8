"""The clock of a test: dates and rate limits."""

from __future__ import annotations

import datetime as dt

import httpx
import pytest

from loyalty_gateway.testing.clock import Clock
from loyalty_gateway.testing.gateway import Gateway

NEW_YEAR = "2031-01-01T00:00:00Z"


def adjust(gateway: Gateway) -> httpx.Response:
    url = f"{gateway.url('bitbybit')}/customer/api/open/v1/loyalty/customers/cust_1/points/adjust"
    body = {"direction": "add", "points": 1, "reason": "Hello"}
    # Nothing is encrypted here, and certificates take long to load.
    return httpx.post(url, headers=gateway.headers("bitbybit"), json=body, verify=False)


def test_dates_are_those_of_the_clock(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(bitbybit="cust_1")
    loyalty_gateway.clock.freeze(NEW_YEAR)

    told = [adjust(loyalty_gateway).json()["data"]["ledger"]["occurredAt"]]
    loyalty_gateway.clock.advance(days=1, hours=2, minutes=3, seconds=4)
    told.append(adjust(loyalty_gateway).json()["data"]["ledger"]["occurredAt"])

    assert told == ["2031-01-01T00:00:00.000Z", "2031-01-02T02:03:04.000Z"]


@pytest.mark.loyalty_gateway(rate_limits=True)
def test_a_rate_limit_is_whole_again_when_the_clock_says_so(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(bitbybit="cust_1")
    loyalty_gateway.clock.freeze()

    for _ in range(2):
        answers = [adjust(loyalty_gateway) for _ in range(101)]

        assert [answer.status_code for answer in answers] == [200] * 100 + [429]
        assert answers[-1].headers["ratelimit-reset"] == "60"
        loyalty_gateway.clock.advance(59)
        assert adjust(loyalty_gateway).status_code == 429
        loyalty_gateway.clock.advance(1)


@pytest.mark.loyalty_gateway(rate_limits=True)
def test_a_restored_ledger_leaves_the_counts_alone(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(bitbybit="cust_1")
    loyalty_gateway.clock.freeze()
    remaining = [adjust(loyalty_gateway).headers["ratelimit-remaining"]]

    loyalty_gateway.restore(loyalty_gateway.snapshot())

    remaining.append(adjust(loyalty_gateway).headers["ratelimit-remaining"])
    assert remaining == ["99", "98"]


def test_by_default_no_rate_limit_is_counted(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(bitbybit="cust_1")

    answers = [adjust(loyalty_gateway) for _ in range(101)]

    assert [answer.status_code for answer in answers] == [200] * 101


def test_a_clock_stands_where_it_was_put_and_goes_on_from_there() -> None:
    clock = Clock()
    clock.freeze(NEW_YEAR)

    assert clock.now() == clock.now() == dt.datetime(2031, 1, 1, tzinfo=dt.UTC).timestamp()
    clock.move_to(dt.datetime(2032, 1, 1, tzinfo=dt.UTC))
    assert clock.now() == dt.datetime(2032, 1, 1, tzinfo=dt.UTC).timestamp()
    clock.resume()
    then = clock.microseconds()
    assert clock.microseconds() >= then >= dt.datetime(2032, 1, 1, tzinfo=dt.UTC).timestamp() * 1_000_000
    clock.move_to(NEW_YEAR)
    assert clock.now() < then / 1_000_000


def test_a_clock_does_not_advance_backwards() -> None:
    with pytest.raises(ValueError, match="move_to"):
        Clock().advance(-1)


def test_a_date_time_without_an_offset_is_refused() -> None:
    clock = Clock()

    for tell in (clock.freeze, clock.move_to):
        with pytest.raises(ValueError, match="no offset"):
            tell(dt.datetime(2031, 1, 1))  # noqa: DTZ001 - just that
