"""The configuration: what is wrong in it is named by its path, and the shipped file is the demo."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conftest import DEMO, ROOT, demo_config
from loyalty_gateway import config as config_module
from loyalty_gateway.app import create_app
from loyalty_gateway.config import Config, load_config, parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor

_SHIPPED = (ROOT / "config.yaml").read_text(encoding="utf-8")


def _refused(
    raw: Any, vendors: dict[str, Vendor], environment: dict[str, str] | None = None
) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        parse_config(raw, vendors, environment or {})
    return refusal.value


def _changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    raw = demo_config()
    change(raw)
    return raw


def _set(path: str, value: Any) -> dict[str, Any]:
    """The demo with one key replaced; parts of the path that are numbers are places in a list."""
    raw = demo_config()
    *way, last = path.split("/")
    node: Any = raw
    for part in way:
        node = node[int(part)] if part.isdigit() else node[part]
    node[int(last) if last.isdigit() else last] = value
    return raw


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("sever", {}, "sever"),
        ("server", [], "server"),
        ("server/port", "eighty", "server.port"),
        ("server/port", 80.5, "server.port"),
        ("server/prot", 80, "prot"),
        ("server/rate_limits", "no", "server.rate_limits"),
        ("server/largest_body", None, "server.largest_body"),
        ("ledger", 5, "ledger"),
        ("everyone_at_most", "many", "everyone_at_most"),
        ("idempotency/keep_hours", "long", "idempotency.keep_hours"),
        ("idempotency/keep_days", 1, "keep_days"),
        ("merchants/demo/customers/1/references", [], "references"),
        ("merchants/demo/customers/1/references", {}, "merchants.demo.customers[1].references"),
        ("merchants/demo/tiers", [{"name": "Gold"}], "points_required"),
        ("vendors/salla/backend", "upstream", "vendors.salla.backend"),
        ("vendors/salla/backends", "engine", "backends"),
        ("vendors/salla/options", {"language": "en"}, "language"),
        (
            "vendors/yotpo/options/applies_to_points_earned",
            "yes",
            "vendors.yotpo.options.applies_to_points_earned",
        ),
        ("vendors/salla/hosts", "api.salla.dev", "vendors.salla.hosts"),
        ("vendors/salla/cors_origins", [5], "vendors.salla.cors_origins[0]"),
        ("vendors/salla/credentials/1/merchant", "nobody", "vendors.salla.credentials[1].merchant"),
        ("vendors/salla/credentials/1/bearer", 12345, "vendors.salla.credentials[1].bearer"),
        ("vendors/salla/credentials/0/scopes", "all", "vendors.salla.credentials[0].scopes"),
        ("vendors/salla/credentials/0/networks", ["10.0.0.1/8"], "vendors.salla.credentials[0].networks"),
        ("vendors/salla/credentials/0/networks", ["here"], "vendors.salla.credentials[0].networks"),
        ("vendors/salla/credentials/0/networks", "10.0.0.0/8", "vendors.salla.credentials[0].networks"),
        ("vendors/salla/rate_limits", {"requests": "1/1s"}, "vendors.salla.rate_limits.requests"),
        ("vendors/salla/rate_limits/plan", "fast", "vendors.salla.rate_limits.plan"),
        ("vendors/salla/rate_limits/plan", "0/60s", "vendors.salla.rate_limits.plan"),
        ("vendors/salla/rate_limits/plan", "60/0s", "vendors.salla.rate_limits.plan"),
        ("vendors/salla/rate_limits/plan", "60/1m", "vendors.salla.rate_limits.plan"),
        ("vendors/salla/rate_limits/plan", "-1/60s", "vendors.salla.rate_limits.plan"),
        ("vendors/smile", {}, "vendors.smile"),
    ],
)
def test_a_bad_key_is_named_by_its_path(vendors: dict[str, Vendor], path: str, value: Any, told: str) -> None:
    refusal = _refused(_set(path, value), vendors)

    assert told in f"{refusal.where}: {refusal.what}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("server/largest_body", 0),
        ("server/largest_body", -1),
        ("everyone_at_most", -1),
        ("idempotency/keep_hours", -1),
        ("idempotency/keep_hours", float("inf")),
        ("idempotency/keep_hours", float("nan")),
    ],
)
def test_a_number_that_can_mean_nothing_is_refused(vendors: dict[str, Vendor], path: str, value: float) -> None:
    refusal = _refused(_set(path, value), vendors)

    assert path.replace("/", ".") in refusal.where


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_cannot_be_is_refused(vendors: dict[str, Vendor], port: int) -> None:
    assert "server.port" in _refused(_set("server/port", port), vendors).where


def test_a_bad_key_of_one_merchant_names_the_merchant(vendors: dict[str, Vendor]) -> None:
    raw = _set("merchants/demo/unknown_customers", "maybe")

    assert "merchants.demo.unknown_customers" in _refused(raw, vendors).where


def test_an_unknown_vendor_is_told_with_those_there_are(vendors: dict[str, Vendor]) -> None:
    refusal = _refused(_set("vendors/smile", {}), vendors)

    assert refusal.what == "no such vendor; there are bitbybit, loyaltylion, mage, salla, yotpo"


def test_an_unknown_limit_is_told_with_those_there_are(vendors: dict[str, Vendor]) -> None:
    refusal = _refused(_set("vendors/salla/rate_limits", {"x": "1/1s"}), vendors)

    assert refusal.what == "no such limit; there are customers, plan"


@pytest.mark.parametrize("raw", [[], "text", 5, {"vendors": []}, {"merchants": "demo"}])
def test_a_file_that_is_no_mapping_is_refused(vendors: dict[str, Vendor], raw: Any) -> None:
    assert _refused(raw, vendors).where.startswith("config")


@pytest.mark.parametrize("points", [(100, 100), (200, 100), (100, 300, 200)])
def test_tiers_that_do_not_ascend_are_refused(vendors: dict[str, Vendor], points: tuple[int, ...]) -> None:
    tiers = [{"name": f"tier {number}", "points_required": required} for number, required in enumerate(points)]

    refusal = _refused(_set("merchants/demo/tiers", tiers), vendors)

    assert refusal.where == "config: merchants.demo.tiers"


def test_a_reference_of_two_customers_is_refused(vendors: dict[str, Vendor]) -> None:
    raw = _set("merchants/demo/customers/1/references/email", "JANE@example.com")

    refusal = _refused(raw, vendors)

    assert refusal.where == "config: merchants.demo.customers[1].references.email"
    assert refusal.what == "email:jane@example.com is already customers[0]"


def test_numbers_without_quotes_are_taken_as_references(vendors: dict[str, Vendor]) -> None:
    raw = _set("merchants/demo/customers/0/references", {"shopify": 6789012345, "salla": 748394059})

    (jane, _) = parse_config(raw, vendors, {}).merchants["demo"].customers

    assert list(map(str, jane.customer_references())) == ["shopify:6789012345", "salla:748394059"]


def test_variables_are_taken_from_the_environment_wherever_they_stand(vendors: dict[str, Vendor]) -> None:
    raw = _set("vendors/salla/credentials/0/bearer", "a-${TOKEN}-${TOKEN_2}")
    raw["ledger"] = "sqlite:///${FOLDER}/x.db"

    config = parse_config(raw, vendors, {"TOKEN": "b", "TOKEN_2": "${TOKEN}", "FOLDER": "/data"})

    assert config.vendors["salla"].credentials[0].fields == {"bearer": "a-b-${TOKEN}"}
    assert config.ledger == "sqlite:////data/x.db"


def test_a_variable_that_is_not_set_is_named_with_its_place(vendors: dict[str, Vendor]) -> None:
    refusal = _refused(_set("vendors/salla/credentials/1/bearer", "${SALLA_TOKEN}"), vendors)

    assert refusal.where == "config: vendors.salla.credentials[1].bearer"
    assert refusal.what == "the environment variable SALLA_TOKEN is not set"


def test_no_secret_stands_in_the_message_of_a_bad_credential(
    vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    raw = _set("vendors/salla/credentials/0", {"merchant": "demo", "bearrer": "hush-hush"})

    with pytest.raises(ConfigurationError) as refusal:
        create_app(parse_config(raw, vendors, {}), vendors, contracts=contracts)

    assert str(refusal.value) == "vendors.salla.credentials[0]: a credential of salla is bearer"


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://x.db", "x.db", "", "sqlite:///"])
def test_a_ledger_of_another_kind_is_refused(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], url: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        create_app(parse_config(_set("ledger", url), vendors, {}), vendors, contracts=contracts)

    assert refusal.value.where == "ledger"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server: {port: 1}\nledger: a\nserver: {port: 2}\n", "the key server stands twice"),
        ("merchants: {demo: {customers: [{references: {email: a, email: b}}]}}\n", "the key email stands twice"),
        ("server: {port: 1\n", "is not YAML"),
        ("server: !!python/object/apply:os.getcwd []\n", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_file_that_does_not_say_one_thing_is_refused(
    vendors: dict[str, Vendor], tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=told) as refusal:
        load_config(path, vendors, {})

    assert refusal.value.where == str(path)


def test_a_file_that_is_not_there_is_named(vendors: dict[str, Vendor], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as refusal:
        load_config(tmp_path / "absent.yaml", vendors, {})

    assert refusal.value.where == str(tmp_path / "absent.yaml")


def test_a_file_that_is_not_utf_8_is_refused(vendors: dict[str, Vendor], tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"ledger: \xff\n")

    with pytest.raises(ConfigurationError, match="is not YAML"):
        load_config(tmp_path / "x.yaml", vendors, {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n"])
def test_an_empty_file_is_a_configuration_without_vendors(
    vendors: dict[str, Vendor], tmp_path: Path, text: str
) -> None:
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")

    config = load_config(tmp_path / "x.yaml", vendors, {})

    assert (config.vendors, config.merchants, config.server.port) == ({}, {}, 8000)


@pytest.fixture
def shipped(vendors: dict[str, Vendor]) -> Config:
    return load_config(ROOT / "config.yaml", vendors, {})


def test_the_shipped_file_serves_every_vendor_with_no_environment(
    shipped: Config, vendors: dict[str, Vendor]
) -> None:
    assert set(shipped.vendors) == set(vendors)
    assert {chosen["backend"] for chosen in DEMO["vendors"].values()} == {"engine"}
    assert (shipped.server.host, shipped.server.port) == ("127.0.0.1", 8000)
    assert shipped.server.rate_limits
    assert shipped.ledger == "sqlite:///loyalty.db"


def test_the_shipped_file_has_the_credentials_of_the_demo(shipped: Config) -> None:
    credentials = {
        name: [(credential.merchant, credential.fields, credential.scopes) for credential in vendor.credentials]
        for name, vendor in shipped.vendors.items()
    }

    assert credentials == {
        "bitbybit": [("demo", {"api_key": "bbb_test_demo"}, None)],
        "mage": [
            ("demo", {"api_key": "mage_demo_key"}, None),
            ("demo", {"api_key": "mage_demo_readonly"}, ("read",)),
        ],
        "yotpo": [
            ("demo", {"guid": "demo-guid", "api_key": "demo-api-key"}, None),
            ("demo", {"app_key": "demo-app-key", "access_token": "demo-access-token"}, None),
        ],
        "salla": [
            ("demo", {"bearer": "demo-salla-token"}, ("customers.read", "customers.read_write")),
            ("demo", {"bearer": "demo-salla-readonly"}, ("customers.read",)),
        ],
        "loyaltylion": [
            ("demo", {"bearer": "pat_demo"}, ("read_customers", "write_customers")),
            ("demo", {"bearer": "pat_demo_readonly"}, ("read_customers",)),
            ("demo", {"token": "demo-site-token", "secret": "demo-site-secret"}, None),
        ],
    }


def test_the_shipped_file_has_the_customers_of_the_demo(shipped: Config) -> None:
    (demo,) = shipped.merchants.values()

    assert demo.unknown_customers == "refuse"
    assert [list(map(str, customer.customer_references())) for customer in demo.customers] == [
        ["shopify:6789012345", "email:jane@example.com", "bitbybit:cust_abc123", "salla:748394059"],
        ["shopify:6789012346", "email:omar@example.com", "bitbybit:cust_def456", "salla:873874834"],
    ]


def test_the_shipped_limits_are_those_that_hold_without_a_configuration(
    shipped: Config, vendors: dict[str, Vendor]
) -> None:
    built_in = {
        name: {
            limit.name: (limit.requests, limit.seconds) for each in vendor.operations for limit in each.rate_limits
        }
        for name, vendor in vendors.items()
    }

    assert {name: vendor.rate_limits for name, vendor in shipped.vendors.items()} == built_in


_KEYS = {
    field.encode_name
    for kind in vars(config_module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == config_module.__name__
    for field in msgspec.structs.fields(kind)
    # A credential's fields stand under the vendor's own names.
    if field.name != "fields"
}


@pytest.mark.parametrize("key", sorted(_KEYS | {"name", "points_required"}))
def test_every_key_stands_in_the_shipped_file(key: str) -> None:
    assert re.search(rf"\b{key}:|`{key}`", _SHIPPED)


def test_every_option_of_a_vendor_stands_in_the_shipped_file(vendors: dict[str, Vendor]) -> None:
    options = {
        name: {field.name for field in msgspec.structs.fields(vendor.options)} for name, vendor in vendors.items()
    }

    assert {name: set(DEMO["vendors"][name].get("options", {})) for name in vendors} == options


@pytest.mark.parametrize("key", ["largest_body", "ledger", "everyone_at_most", "keep_hours", "tiers"])
def test_a_key_of_the_shipped_file_says_what_it_is_for(key: str) -> None:
    (line,) = re.findall(rf"^ *{key}: .+$", _SHIPPED, re.MULTILINE)

    assert len(line.partition("#")[2]) > 20
