"""From host and path to vendor and operation."""

import pytest

from conftest import StartGateway, demo_config
from loyalty_gateway.problem import Code, ConfigurationError, Problem
from loyalty_gateway.routing import Match, Paths
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor
from test_bad_input import CASES, Case, every

_HOSTS = [
    (case, host)
    for case in CASES
    for host in {
        "bitbybit": ["api.bitbybit.studio"],
        "mage": ["api.mageloyalty.com"],
        "yotpo": ["loyalty.yotpo.com", "developers.yotpo.com", "app.swellrewards.com"],
        "salla": ["api.salla.dev"],
        "loyaltylion": ["api.loyaltylion.com"],
    }[case.vendor]
    if case.adds
]


def _paths(contracts: dict[str, Contract], vendor: str, aliases: dict[str, str] | None = None) -> Paths:
    return Paths(contracts[vendor].operations.values(), aliases or {}, f"vendors.{vendor}")


@pytest.mark.parametrize(("case", "host"), _HOSTS)
@pytest.mark.parametrize("spelling", ["{}", "{}:443", "{}:8000"])
def test_a_vendor_answers_at_its_real_hosts_without_a_prefix(
    start_gateway: StartGateway, case: Case, host: str, spelling: str
) -> None:
    gateway = start_gateway()
    path = case.url.removeprefix(f"/{case.vendor}")

    answer = gateway.post(path, dict(case.body), {**case.headers, "host": spelling.format(host.upper())})

    assert answer.status_code == case.success


@pytest.mark.parametrize("path", ["/-/live", "/-/ready", "/-/metrics"])
@pytest.mark.parametrize("host", [host for _, host in _HOSTS])
def test_our_own_paths_are_never_a_vendors(start_gateway: StartGateway, path: str, host: str) -> None:
    answer = start_gateway().client.get(path, headers={"host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/-/live", "/-/unknown", "/nobody/v1/customers", "/", "/v1/customers/1/points"])
def test_what_is_nobodys_is_not_found(start_gateway: StartGateway, path: str) -> None:
    answer = start_gateway().post(path, {})

    assert answer.status_code == 404


def test_configured_hosts_stand_instead_of_the_real_ones(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["vendors"]["mage"]["hosts"] = ["Points.Example.com"]
    gateway = start_gateway(config)

    def ask(host: str) -> int:
        headers = {"authorization": "mage_demo_key", "host": host}
        return gateway.post("/v1/customers/6789012345/points", {"adjustment": 5}, headers).status_code

    assert [ask("points.example.com"), ask("api.mageloyalty.com")] == [200, 404]


def test_a_vendor_that_is_not_configured_is_not_served(start_gateway: StartGateway) -> None:
    config = demo_config()
    del config["vendors"]["mage"]
    gateway = start_gateway(config)

    answer = gateway.post("/mage/v1/customers/6789012345/points", {"adjustment": 5})

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_path_values_are_decoded_once(contracts: dict[str, Contract]) -> None:
    match = _paths(contracts, "mage").match("POST", "/v1/customers/jane%2540x%2Fy+z@example.com/points")

    assert match == Match("adjustPoints", {"identifier": "jane%40x/y+z@example.com"})


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v1/customers//points",
        "/v1/customers/1/points/",
        "//v1/customers/1/points",
        "/V1/customers/1/points",
        "/v1/customers/1/2/points",
        "/v1/customers/%ff/points",
        "v1/customers/1/points",
    ],
)
def test_a_path_that_only_resembles_a_published_one_is_unknown(contracts: dict[str, Contract], path: str) -> None:
    with pytest.raises(Problem) as refusal:
        _paths(contracts, "mage").match("POST", path)

    assert refusal.value.code is Code.UNKNOWN_PATH


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "post", ""])
def test_a_method_that_the_path_does_not_know_is_told_with_those_it_knows(
    contracts: dict[str, Contract], method: str
) -> None:
    with pytest.raises(Problem) as refusal:
        _paths(contracts, "mage").match(method, "/v1/customers/1/points")

    assert (refusal.value.code, refusal.value.allow) == (Code.WRONG_METHOD, ("POST",))


@pytest.mark.parametrize("prefix", ["/customer/api/open/v1", "/customer/open/v1"])
def test_bitbybit_answers_under_both_prefixes(start_gateway: StartGateway, prefix: str) -> None:
    answer = start_gateway().post(
        f"/bitbybit{prefix}/loyalty/customers/cust_abc123/points/adjust",
        {"direction": "add", "points": 5, "reason": "correction"},
        {"x-bitbybit-key": "bbb_test_demo"},
    )

    assert answer.status_code == 200


def test_a_configured_alias_answers_beside_the_published_path(start_gateway: StartGateway) -> None:
    config = demo_config()
    published = "/loyalty/v3/stores/{app_key}/points/adjust"
    config["vendors"]["yotpo"]["path_aliases"] = {"/loyalty/v3/stores/{app_key}/adjust": published}
    gateway = start_gateway(config)
    body = {"customer_email": "jane@example.com", "point_adjustment_amount": 5, "history_title": "x"}

    answers = [
        gateway.post(f"/yotpo/loyalty/v3/stores/demo-app-key/{end}?access_token=demo-access-token", body)
        for end in ("adjust", "points/adjust")
    ]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_an_alias_of_a_path_that_is_not_published_is_refused_at_start(contracts: dict[str, Contract]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        _paths(contracts, "yotpo", {"/a": "/api/v2/points/adjust", "/b": "/api/v9"})

    assert refusal.value.where == "vendors.yotpo.path_aliases./b"


_STORE = "/loyalty/v3/stores/{app_key}/points/adjust"


@pytest.mark.parametrize(
    ("alias", "published", "told"),
    [
        ("points", "/api/v2/points/adjust", "must begin with /"),
        ("", "/api/v2/points/adjust", "must begin with /"),
        ("/points", "/api/v2/poi", "stands for no published path"),
        ("/points", "api/v2/points/adjust", "stands for no published path"),
        ("/points", _STORE, f"must have the placeholders of {_STORE}"),
        ("/points/{app}", _STORE, f"must have the placeholders of {_STORE}"),
        ("/points/{app_key}.json", _STORE, f"must have the placeholders of {_STORE}"),
        ("/points/{app_key}/{app_key}", _STORE, f"must have the placeholders of {_STORE}"),
        ("/points", "/loyalty/v3/stores/{app_key}", f"must have the placeholders of {_STORE}"),
        ("/points/{app_key}", "/api/v2/points/adjust", "must have the placeholders of /api/v2/points/adjust"),
        ("/api/v2/points/adjust", "/api/v2/points/adjust", "POST /api/v2/points/adjust is another path already"),
        ("/loyalty/v3", "/loyalty/v3/", f"POST {_STORE} is another path already"),
    ],
)
def test_an_alias_that_cannot_be_is_refused_at_start(
    contracts: dict[str, Contract], alias: str, published: str, told: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        _paths(contracts, "yotpo", {alias: published})

    assert refusal.value.where == f"vendors.yotpo.path_aliases.{alias}"
    assert refusal.value.what == told


def test_an_alias_that_takes_another_operations_path_is_refused_at_start(contracts: dict[str, Contract]) -> None:
    adds, removes = (f"/v2/customers/{{merchant_id}}/{end}" for end in ("points", "remove_points"))

    with pytest.raises(ConfigurationError) as refusal:
        _paths(contracts, "loyaltylion", {adds: removes})

    assert refusal.value.where == f"vendors.loyaltylion.path_aliases.{adds}"
    assert refusal.value.what == f"POST {adds} is another path already"


def test_two_aliases_of_one_path_are_refused_at_start(contracts: dict[str, Contract]) -> None:
    adds, removes = (f"/v2/customers/{{merchant_id}}/{end}" for end in ("points", "remove_points"))
    aliases = {"/x/{merchant_id}/y": adds, "/x": "/v2/customers", "/x/{merchant_id}/points": removes}

    with pytest.raises(ConfigurationError) as refusal:
        _paths(contracts, "loyaltylion", aliases)

    assert refusal.value.where == "vendors.loyaltylion.path_aliases./x/{merchant_id}/points"


@pytest.mark.parametrize(
    ("alias", "published"),
    [("/x", "/v1"), ("/x/", "/v1/"), ("/x", "/v1/"), ("/x/", "/v1"), ("/x/customers/{identifier}/points", "")],
)
def test_a_prefix_is_whole_segments_with_or_without_a_slash_at_its_end(
    contracts: dict[str, Contract], alias: str, published: str
) -> None:
    meant = published or "/v1/customers/{identifier}/points"

    match = _paths(contracts, "mage", {alias: meant}).match("POST", "/x/customers/5/points")

    assert match == Match("adjustPoints", {"identifier": "5"})


def test_every_vendor_has_hosts_of_its_own(vendors: dict[str, Vendor]) -> None:
    hosts = [host for vendor in vendors.values() for host in vendor.hosts]

    assert len(hosts) == len(set(hosts))
    assert {host for _, host in _HOSTS} == set(hosts)


@every()
def test_browsers_of_no_origin_are_told_anything_by_default(start_gateway: StartGateway, case: Case) -> None:
    answer = start_gateway().client.options(
        case.url, headers={"origin": "https://shop.example.com", "access-control-request-method": "POST"}
    )

    assert answer.status_code in {404, 405}
    assert not [name for name in answer.headers if name.startswith("access-control")]


@every()
def test_browsers_of_a_configured_origin_may_call(start_gateway: StartGateway, case: Case) -> None:
    config = demo_config()
    config["vendors"][case.vendor]["cors_origins"] = ["https://shop.example.com"]
    gateway = start_gateway(config)
    gateway.set_available("shopify:6789012345", 100)

    preflight = gateway.client.options(
        case.url, headers={"origin": "https://shop.example.com", "access-control-request-method": "POST"}
    )
    answer = case.send(gateway, origin="https://shop.example.com")
    stranger = case.send(gateway, origin="https://elsewhere.example.com")

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example.com"
    assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"
    assert (answer.status_code, stranger.status_code) == (case.success, case.success)
    assert "access-control-allow-origin" not in stranger.headers
