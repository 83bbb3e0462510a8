"""A shop's client of bitbybit's loyalty API: gives points for orders, each order's once."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx

PRODUCTION = "https://api.bitbybit.studio"


class Refused(Exception):  # noqa: N818 - what happened, in the words of the shop
    """bitbybit will not do it, however often it is asked."""


class Unclear(Exception):  # noqa: N818
    """Nobody knows yet whether it was done; asking again for the same order is safe."""


class PointsClient:
    """Calls bitbybit. ``sleep`` waits so many seconds before a further attempt."""

    def __init__(
        self,
        api_key: str,
        *,
        url: str = PRODUCTION,
        timeout: float = 5.0,
        attempts: int = 3,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=url, headers={"x-api-key": api_key}, timeout=timeout)
        self._attempts = attempts
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def give(self, customer: str, points: int, *, order: str) -> int:
        """Gives points for an order, once; the balance afterwards. Raises Refused or Unclear."""
        # The key is the order's, so whatever became of an earlier attempt, points are given once.
        asked = {"direction": "add", "points": points, "reason": f"Order {order}", "idempotencyKey": order}
        path = f"/customer/api/open/v1/loyalty/customers/{customer}/points/adjust"
        for _ in range(self._attempts):
            try:
                answer = self._http.post(path, json=asked)
            except httpx.TransportError:
                continue
            if answer.status_code == 429:
                self._sleep(float(answer.headers["ratelimit-reset"]))
            elif 400 <= answer.status_code < 500:
                raise Refused(answer.text)
            elif answer.is_success and (balance := _balance(answer)) is not None:
                return balance
        raise Unclear(order)


def _balance(answer: httpx.Response) -> int | None:
    try:
        return int(answer.json()["data"]["wallet"]["availablePoints"])
    except (ValueError, KeyError, TypeError):
        return None
