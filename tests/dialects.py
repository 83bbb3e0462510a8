"""One adjustment, said as each vendor's client says it, to a served gateway."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

_BITBYBIT = "/bitbybit/customer/api/open/v1/loyalty/customers"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a vendor's client adjusts Jane's points; ``customers`` is how many wallets one request moves."""

    name: str
    path: str
    body: Callable[[int, str], dict[str, Any]]
    headers: dict[str, str]
    key_in_body: str | None = None
    customers: int = 1

    def __str__(self) -> str:
        return self.name

    async def adjust(self, client: httpx.AsyncClient, points: int, reason: str, key: str) -> httpx.Response:
        body, headers = self.body(points, reason), dict(self.headers)
        if self.key_in_body is None:
            headers["Idempotency-Key"] = key
        else:
            body[self.key_in_body] = key
        return await client.post(self.path, json=body, headers=headers)


@dataclass(frozen=True, kw_only=True)
class _LoyaltyLion(Dialect):
    """The path is the sign."""

    removing: str = field(default="/loyaltylion/v2/customers/6789012345/remove_points")

    async def adjust(self, client: httpx.AsyncClient, points: int, reason: str, key: str) -> httpx.Response:
        headers = self.headers | {"Idempotency-Key": key}
        path = self.path if points > 0 else self.removing
        return await client.post(path, json=self.body(points, reason), headers=headers)


def _salla(points: int, reason: str) -> dict[str, Any]:
    return {
        "points": abs(points),
        "type": "plus" if points > 0 else "minus",
        "reason": reason,
        "channel_send": [],
    }


_SALLA = {"authorization": "Bearer demo-salla-token"}

BOTH_CUSTOMERS = Dialect(
    name="salla list",
    path="/salla/admin/v2/customers/loyalty/points",
    headers=_SALLA,
    body=lambda points, reason: _salla(points, reason) | {"customers": [748394059, 873874834]},
    customers=2,
)

DIALECTS = (
    Dialect(
        name="bitbybit",
        path=f"{_BITBYBIT}/cust_abc123/points/adjust",
        headers={"x-api-key": "bbb_test_demo"},
        key_in_body="idempotencyKey",
        body=lambda points, reason: {
            "direction": "add" if points > 0 else "deduct",
            "points": abs(points),
            "reason": reason,
        },
    ),
    Dialect(
        name="mage",
        path="/mage/v1/customers/jane@example.com/points",
        headers={"authorization": "mage_demo_key"},
        body=lambda points, reason: {"adjustment": points, "note": reason},
    ),
    Dialect(
        name="yotpo loyalty",
        path="/yotpo/api/v2/points/adjust",
        headers={"x-guid": "demo-guid", "x-api-key": "demo-api-key"},
        body=lambda points, reason: {
            "customer_email": "jane@example.com",
            "point_adjustment_amount": points,
            "history_title": reason,
        },
    ),
    Dialect(
        name="yotpo app developer",
        path="/yotpo/loyalty/v3/stores/demo-app-key/points/adjust?access_token=demo-access-token",
        headers={},
        body=lambda points, reason: {
            "customer_id": "6789012345",
            "point_adjustment_amount": points,
            "history_title": reason,
            "visible_to_customer": "true",
        },
    ),
    BOTH_CUSTOMERS,
    Dialect(
        name="salla everyone",
        path="/salla/admin/v2/customers/loyalty/points",
        headers=_SALLA,
        body=lambda points, reason: _salla(points, reason) | {"customers": [], "select_all": True},
        customers=2,
    ),
    _LoyaltyLion(
        name="loyaltylion",
        path="/loyaltylion/v2/customers/6789012345/points",
        headers={"authorization": "Bearer pat_demo"},
        body=lambda points, reason: {"points": abs(points), "reason": reason},
    ),
)
