"""Where a vendor is found: by the first segment of the path or at its real hosts; ``/-/`` is ours alone."""

from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config

_SHOP = "https://shop.example.com"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A published operation with a good request; ``path`` is the vendor's own, ``missing`` one it has not."""

    vendor: str
    hosts: tuple[str, ...]
    path: str
    body: dict[str, Any]
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""

    def __str__(self) -> str:
        return f"{self.vendor} {self.path.rpartition('/')[2]}"

    def post(self, gateway: Gateway, prefix: str, *, after: str = "", host: str | None = None) -> httpx2.Response:
        headers = self.headers if host is None else {**self.headers, "host": host}
        return gateway.post(f"{prefix}{self.path}{after}{self.query}", self.body, headers)


_SALLA_BODY = {"points": 5, "type": "plus", "reason": "r", "channel_send": [], "customers": [748394059]}
_YOTPO_HOSTS = ("loyalty.yotpo.com", "developers.yotpo.com", "app.swellrewards.com")
_YOTPO_BODY = {"customer_email": "jane@example.com", "point_adjustment_amount": 5, "history_title": "gift"}

_OPERATIONS = (
    Operation(
        vendor="bitbybit",
        hosts=("api.bitbybit.studio",),
        path="/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust",
        headers={"x-api-key": "bbb_test_demo"},
        body={"direction": "add", "points": 5, "reason": "r"},
        status=200,
    ),
    Operation(
        vendor="mage",
        hosts=("api.mageloyalty.com",),
        path="/v1/customers/6789012345/points",
        headers={"authorization": "mage_demo_key"},
        body={"adjustment": 5},
        status=200,
    ),
    Operation(
        vendor="yotpo",
        hosts=_YOTPO_HOSTS,
        path="/api/v2/points/adjust",
        headers={"x-guid": "demo-guid", "x-api-key": "demo-api-key"},
        body=_YOTPO_BODY,
        status=200,
    ),
    Operation(
        vendor="yotpo",
        hosts=_YOTPO_HOSTS,
        path="/loyalty/v3/stores/demo-app-key/points/adjust",
        query="?access_token=demo-access-token",
        body=_YOTPO_BODY,
        status=200,
    ),
    Operation(
        vendor="salla",
        hosts=("api.salla.dev",),
        path="/admin/v2/customers/loyalty/points",
        headers={"authorization": "Bearer demo-salla-token"},
        body=_SALLA_BODY,
        status=201,
    ),
    Operation(
        vendor="loyaltylion",
        hosts=("api.loyaltylion.com",),
        path="/v2/customers/6789012345/points",
        headers={"authorization": "Bearer pat_demo"},
        body={"points": 5},
        status=201,
    ),
    Operation(
        vendor="loyaltylion",
        hosts=("api.loyaltylion.com",),
        path="/v2/customers/6789012345/remove_points",
        headers={"authorization": "Bearer pat_demo"},
        body={"points": 5},
        status=204,
    ),
)
_AT_HOSTS = [(operation, host) for operation in _OPERATIONS for host in operation.hosts]
_HOSTS = sorted({host for _, host in _AT_HOSTS})

_each_operation = pytest.mark.parametrize("operation", _OPERATIONS, ids=str)


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Gateway:
    """The demo gateway, whose Jane has points to take away."""
    gateway = start_gateway()
    gateway.set_available("shopify:6789012345", 1_000)
    return gateway


@_each_operation
def test_a_vendor_answers_below_its_name(gateway: Gateway, operation: Operation) -> None:
    answer = operation.post(gateway, f"/{operation.vendor}")

    assert answer.status_code == operation.status
    assert [entry["vendor"] for entry in gateway.entries()] == [operation.vendor]


@pytest.mark.parametrize(("operation", "host"), _AT_HOSTS, ids=str)
def test_a_vendor_answers_at_its_real_hosts_without_its_name(
    gateway: Gateway, operation: Operation, host: str
) -> None:
    answers = [operation.post(gateway, "", host=spelling) for spelling in (host, f"{host}:443", host.upper())]

    assert [answer.status_code for answer in answers] == [operation.status] * 3
    assert [entry["vendor"] for entry in gateway.entries()] == [operation.vendor] * 3


@pytest.mark.parametrize(("operation", "host"), _AT_HOSTS, ids=str)
def test_a_real_host_knows_its_own_vendor_only(gateway: Gateway, operation: Operation, host: str) -> None:
    others = [other for other in _OPERATIONS if other.vendor != operation.vendor]

    answers = [other.post(gateway, prefix, host=host) for other in others for prefix in ("", f"/{other.vendor}")]

    assert {answer.status_code for answer in answers} == {404}
    assert gateway.entries() == []


@_each_operation
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "loyalty.example.com", "api.salla.dev.example.com"])
def test_elsewhere_a_vendors_path_without_its_name_is_nobodys(
    gateway: Gateway, operation: Operation, host: str
) -> None:
    bare = operation.post(gateway, "", host=host)
    named = operation.post(gateway, f"/{operation.vendor}", host=host)

    assert (bare.status_code, named.status_code) == (404, operation.status)


@pytest.mark.parametrize("host", [*_HOSTS, "127.0.0.1"])
def test_our_own_paths_answer_on_any_host(gateway: Gateway, host: str) -> None:
    answers = [gateway.client.get(f"/-/{name}", headers={"host": host}) for name in ("live", "ready", "metrics")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].json() == {"live": True}


@_each_operation
def test_a_vendors_operation_is_never_below_our_own_paths(gateway: Gateway, operation: Operation) -> None:
    for host in (*operation.hosts, "127.0.0.1:8000"):
        for prefix in ("/-", f"/-/{operation.vendor}"):
            assert operation.post(gateway, prefix, host=host).status_code == 404

    assert gateway.entries() == []


@_each_operation
@pytest.mark.parametrize("after", ["/", "//", "%2F"])
def test_a_trailing_slash_is_an_unknown_path(gateway: Gateway, operation: Operation, after: str) -> None:
    by_name = operation.post(gateway, f"/{operation.vendor}", after=after)
    by_host = operation.post(gateway, "", after=after, host=operation.hosts[0])

    assert (by_name.status_code, by_host.status_code) == (404, 404)
    assert gateway.entries() == []


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("gid:%2F%2Fshopify%2FCustomer%2F1", "gid://shopify/Customer/1"),
        ("a%2fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a%2Bb", "a+b"),
        ("a+b", "a+b"),
        ("%D8%B3%D9%84%D8%A9", "سلة"),
    ],
)
@pytest.mark.parametrize("vendor", ["bitbybit", "mage", "loyaltylion"])
def test_a_customer_in_the_path_is_decoded_once(
    start_gateway: StartGateway, vendor: str, encoded: str, decoded: str
) -> None:
    config = demo_config()
    customers = config["merchants"]["demo"]["customers"]
    customers.append({"references": {"shopify": decoded, "bitbybit": decoded}})
    gateway = start_gateway(config)
    (operation, *_) = [operation for operation in _OPERATIONS if operation.vendor == vendor]
    path = operation.path.replace("6789012345", encoded).replace("cust_abc123", encoded)

    answer = gateway.post(f"/{vendor}{path}", operation.body, operation.headers)

    assert answer.status_code == operation.status
    assert gateway.wallet(f"shopify:{decoded}")["available"] == 5


@pytest.mark.parametrize("vendor", ["bitbybit", "mage", "loyaltylion"])
def test_a_slash_of_the_path_itself_is_no_part_of_a_customer(gateway: Gateway, vendor: str) -> None:
    (operation, *_) = [operation for operation in _OPERATIONS if operation.vendor == vendor]
    path = operation.path.replace("6789012345", "6789012345/x").replace("cust_abc123", "cust_abc123/x")

    answer = gateway.post(f"/{vendor}{path}", operation.body, operation.headers)

    assert answer.status_code == 404
    assert gateway.entries() == []


@_each_operation
def test_configured_hosts_stand_in_for_the_real_ones(start_gateway: StartGateway, operation: Operation) -> None:
    config = demo_config()
    config["vendors"][operation.vendor]["hosts"] = ["Points.Example.com"]
    gateway = start_gateway(config)
    gateway.set_available("shopify:6789012345", 100)

    answers = [operation.post(gateway, "", host=host) for host in ("points.example.com", operation.hosts[0])]

    assert [answer.status_code for answer in answers] == [operation.status, 404]


def _preflight(gateway: Gateway, operation: Operation, origin: str) -> httpx2.Response:
    return gateway.client.options(
        f"/{operation.vendor}{operation.path}",
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,x-guid,x-api-key",
        },
    )


@_each_operation
def test_no_browser_may_call_unless_configured(gateway: Gateway, operation: Operation) -> None:
    answers = [
        _preflight(gateway, operation, _SHOP),
        gateway.post(
            f"/{operation.vendor}{operation.path}{operation.query}",
            operation.body,
            {**operation.headers, "origin": _SHOP},
        ),
    ]

    assert answers[0].status_code in {404, 405}
    assert answers[1].status_code == operation.status
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


@_each_operation
def test_a_browser_of_a_configured_origin_may_call_this_vendor_and_no_other(
    start_gateway: StartGateway, operation: Operation
) -> None:
    config = demo_config()
    config["vendors"][operation.vendor]["cors_origins"] = [_SHOP]
    gateway = start_gateway(config)

    allowed = _preflight(gateway, operation, _SHOP)
    elsewhere = _preflight(gateway, operation, "https://elsewhere.example.com")
    others = [_preflight(gateway, other, _SHOP) for other in _OPERATIONS if other.vendor != operation.vendor]

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == _SHOP
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "x-guid" in allowed.headers["access-control-allow-headers"].lower()
    for refused in (elsewhere, *others):
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "HUSH"])
def test_a_browser_may_use_the_methods_of_an_api(start_gateway: StartGateway, method: str) -> None:
    config = demo_config()
    config["vendors"]["mage"]["cors_origins"] = [_SHOP]

    answer = start_gateway(config).client.options(
        "/mage/v1/x", headers={"origin": _SHOP, "access-control-request-method": method}
    )

    assert answer.status_code == (400 if method in {"TRACE", "HUSH"} else 200)
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"


@_each_operation
def test_a_browser_reads_the_rate_limits_and_the_replay(start_gateway: StartGateway, operation: Operation) -> None:
    config = demo_config()
    config["server"]["rate_limits"] = True
    chosen = config["vendors"][operation.vendor]
    chosen |= {"cors_origins": [_SHOP], "rate_limits": dict.fromkeys(chosen["rate_limits"], "2/60s")}
    gateway = start_gateway(config)
    gateway.set_available("shopify:6789012345", 100)
    once = replace(operation, headers={**operation.headers, "origin": _SHOP, "idempotency-key": "k"})

    answers = [once.post(gateway, f"/{operation.vendor}") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [operation.status, operation.status, 429]
    exposed = answers[0].headers["access-control-expose-headers"].lower().split(", ")
    sent = {name for answer in answers for name in answer.headers if not name.startswith("access-control-")}
    assert "idempotency-replayed" in sent
    assert sent - {"content-type", "content-length", "vary"} <= set(exposed)
    assert {"retry-after", "link"} <= set(exposed)


@_each_operation
def test_a_browser_reads_refusals_too(start_gateway: StartGateway, operation: Operation) -> None:
    config = demo_config()
    config["vendors"][operation.vendor]["cors_origins"] = [_SHOP]
    gateway = start_gateway(config)

    answer = gateway.post(f"/{operation.vendor}{operation.path}", operation.body, {"origin": _SHOP})

    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == _SHOP
