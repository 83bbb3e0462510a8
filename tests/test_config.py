"""The configuration: what is wrong in it is named by its path, and the shipped file is the demo."""

import gc
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from conftest import DEMO, ROOT, demo_config
from loyalty_gateway import config as config_module
from loyalty_gateway.app import create_app
from loyalty_gateway.authentication import Credential
from loyalty_gateway.config import Config, CredentialConfig, TierConfig, load_config, parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.routing import Paths
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
        ("everyone_at_once", "many", "everyone_at_once"),
        ("idempotency/keep_hours", "long", "idempotency.keep_hours"),
        ("idempotency/keep_days", 1, "keep_days"),
        ("merchants/demo/customers/1/references", [], "references"),
        ("merchants/demo/customers/1/references", {}, "merchants.demo.customers[1].references"),
        ("merchants/demo/customers/1/references/email", " ", "references.email: must not be empty"),
        ("merchants/demo/customers/1/references/shopify", "", "references.shopify: must not be empty"),
        ("merchants/demo/customers/1/references/wallet", "5", "references.wallet: wallet is the ledger's own"),
        ("merchants/demo/tiers", [{"name": "Gold"}], "points_required"),
        ("merchants/demo/tiers", [{"name": "Gold", "points_required": -1}], "tiers[0].points_required"),
        ("merchants/demo/tiers", [{"name": "Gold", "points_required": 2**63}], "tiers[0].points_required"),
        ("merchants/demo/tiers", [{"name": "", "points_required": 1}], "tiers[0].name"),
        ("merchants/demo/tiers", [{"name": "G", "points_required": 1, "points": 1}], "unknown field `points`"),
        ("vendors/salla/backend", "upstream", "vendors.salla.backend"),
        (
            "vendors/salla/backend",
            {
                "upstream": {
                    "vendor": "salla",
                    "url": "https://api.example.com",
                    "credentials": {"bearer": "x"},
                    "timeout_seconds": 40,
                }
            },
            "vendors.salla.backend.upstream.deadline_seconds: must be more than timeout_seconds",
        ),
        ("vendors/salla/backends", "engine", "backends"),
        ("vendors/salla/options", {"language": "en"}, "language"),
        (
            "vendors/yotpo/options/applies_to_points_earned",
            "yes",
            "vendors.yotpo.options.applies_to_points_earned",
        ),
        ("vendors/salla/hosts", "api.salla.dev", "vendors.salla.hosts"),
        ("vendors/salla/cors_origins", [5], "vendors.salla.cors_origins[0]"),
        ("vendors/salla/cors_origins", ["*", "shop.example.com"], "vendors.salla.cors_origins[1]: must read like"),
        ("vendors/salla/cors_origins", ["https://shop.example.com/"], "vendors.salla.cors_origins[0]"),
        ("vendors/salla/credentials/1/merchant", "nobody", "vendors.salla.credentials[1].merchant"),
        ("vendors/salla/credentials/1/bearer", 12345, "vendors.salla.credentials[1].bearer"),
        ("vendors/salla/credentials/0/scopes", "all", "vendors.salla.credentials[0].scopes"),
        ("vendors/salla/credentials/0/networks", ["10.0.0.1/8"], "vendors.salla.credentials[0].networks"),
        ("vendors/salla/credentials/0/networks", ["here"], "vendors.salla.credentials[0].networks"),
        ("vendors/salla/credentials/0/networks", "10.0.0.0/8", "vendors.salla.credentials[0].networks"),
        ("vendors/salla/credentials/0/networks", ["10.0.0.0/8", 5], "vendors.salla.credentials[0].networks[1]"),
        ("vendors/salla/credentials/0/networks", {}, "vendors.salla.credentials[0].networks"),
        ("vendors/salla/credentials/0/netwroks", [], "vendors.salla.credentials[0].netwroks: no such key"),
        ("vendors/salla/credentials/0/scopes", ["customers.read", "x"], "vendors.salla.credentials[0].scopes[1]"),
        ("vendors/salla/credentials/0/scopes", [[]], "vendors.salla.credentials[0].scopes[0]"),
        ("vendors/salla/credentials/0/scopes", 5, "vendors.salla.credentials[0].scopes"),
        ("vendors/salla/credentials/0/merchant", ["demo"], "vendors.salla.credentials[0].merchant"),
        ("vendors/salla/credentials/0/merchant", {}, "vendors.salla.credentials[0].merchant"),
        ("vendors/salla/credentials/0/bearer", None, "vendors.salla.credentials[0].bearer"),
        ("vendors/salla/credentials/0/bearer", ["x"], "vendors.salla.credentials[0].bearer"),
        ("vendors/salla/credentials/0/bearer", " ", "vendors.salla.credentials[0].bearer: must not be empty"),
        ("vendors/salla/credentials/0", {"bearer": "x"}, "vendors.salla.credentials[0]: Object missing"),
        ("vendors/salla/credentials/0", "demo-salla-token", "vendors.salla.credentials[0]"),
        ("vendors/salla/credentials/0", {5: "x"}, "vendors.salla.credentials[0]: the key 5 must be a string"),
        ("vendors/salla/credentials", {}, "vendors.salla.credentials"),
        ("vendors/salla/hosts", [{5: "x"}], "vendors.salla.hosts[0]: the key 5 must be a string"),
        ("merchants/demo/customers/1/references", {True: "x"}, "references: the key True must be a string"),
        ("server/trusted_proxies", ["10.0.0.0/8", "proxy"], "server.trusted_proxies[1]"),
        ("server/trusted_proxies", "10.0.0.0/8", "server.trusted_proxies"),
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
        ("everyone_at_once", -1),
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


def test_a_variable_serves_a_key_that_is_no_text(vendors: dict[str, Vendor]) -> None:
    raw = demo_config(everyone_at_once="${MOST}")
    raw["server"] = {"port": "80${PORT}", "rate_limits": "${LIMITS}", "trusted_proxies": "${PROXIES}"}
    raw["idempotency"]["keep_hours"] = "${HOURS}"
    raw["merchants"]["demo"]["tiers"] = "${TIERS}"
    raw["vendors"]["yotpo"]["options"]["applies_to_points_earned"] = "${EARNED}"
    raw["vendors"]["mage"]["hosts"] = ["${HOST}", "b.example.com"]
    raw["vendors"]["salla"]["hosts"] = "${HOSTS}"
    raw["vendors"]["salla"]["credentials"][0] |= {"networks": "${PROXIES}", "scopes": "${SCOPES}"}
    environment = {
        "MOST": "5",
        "PORT": "81",
        "LIMITS": "false",
        "PROXIES": "[10.0.0.1, 10.1.0.0/16]",
        "HOURS": "1.5",
        "TIERS": "[{name: Gold, points_required: 10}]",
        "EARNED": "no",
        "HOST": "a.example.com",
        "HOSTS": "null",
        "SCOPES": "[customers.read]",
    }

    config = parse_config(raw, vendors, environment)

    server, mage, salla = config.server, config.vendors["mage"], config.vendors["salla"]
    assert (config.everyone_at_once, server.port, server.rate_limits) == (5, 8081, False)
    assert (server.trusted_proxies, config.idempotency.keep_hours) == (("10.0.0.1", "10.1.0.0/16"), 1.5)
    assert config.merchants["demo"].tiers == (TierConfig(name="Gold", points_required=10),)
    assert config.vendors["yotpo"].options.applies_to_points_earned is False
    assert (mage.hosts, salla.hosts) == (("a.example.com", "b.example.com"), vendors["salla"].hosts)
    assert salla.credentials[0].networks == server.trusted_proxies
    assert salla.credentials[0].scopes == ("customers.read",)


@pytest.mark.parametrize("text", ["12345", "true", "null", "1.50", "[a]", "2026-01-15"])
def test_a_variable_stays_text_where_the_key_is_text(vendors: dict[str, Vendor], text: str) -> None:
    raw = _set("vendors/salla/credentials/0/bearer", "${TEXT}")
    raw["merchants"]["demo"]["customers"][0]["references"]["shopify"] = "${TEXT}"

    config = parse_config(raw, vendors, {"TEXT": text})

    (jane, _) = config.merchants["demo"].customers
    assert config.vendors["salla"].credentials[0].fields == {"bearer": text}
    assert str(jane.customer_references()[0]) == f"shopify:{text}"


@pytest.mark.parametrize("text", ["eighty", "", "80.5", "true", "70000", "[", "*x", "!!int x"])
def test_a_variable_that_a_key_cannot_take_is_refused(vendors: dict[str, Vendor], text: str) -> None:
    refusal = _refused(_set("server/port", "${PORT}"), vendors, {"PORT": text})

    assert refusal.where == "config: server.port"


def test_quotes_still_make_a_number_of_the_file_a_text(vendors: dict[str, Vendor]) -> None:
    assert _refused(_set("server/port", "8000"), vendors).where == "config: server.port"


def test_an_unknown_key_of_a_credential_is_told_with_the_forms_there_are(vendors: dict[str, Vendor]) -> None:
    raw = _set("vendors/yotpo/credentials/0", {"merchant": "demo", "guid": "hush", "api-key": "hush"})

    refusal = _refused(raw, vendors)

    assert refusal.where == "config: vendors.yotpo.credentials[0].api-key"
    assert refusal.what == (
        "no such key; a credential of yotpo is guid + api_key or app_key + access_token, "
        "with merchant, scopes, networks beside it"
    )


def test_an_unknown_scope_is_told_with_those_there_are(vendors: dict[str, Vendor]) -> None:
    refusal = _refused(_set("vendors/mage/credentials/1/scopes", ["reed"]), vendors)

    assert refusal.what == "no such scope; there are read, write"


@pytest.mark.parametrize("origin", ["*", "HTTPS://Shop.example.com", "http://localhost:3000", "capacitor://x"])
def test_an_origin_is_taken_as_browsers_send_it(vendors: dict[str, Vendor], origin: str) -> None:
    config = parse_config(_set("vendors/yotpo/cors_origins", [origin]), vendors, {})

    assert config.vendors["yotpo"].cors_origins == (origin.lower(),)


def test_a_further_overlay_that_cannot_be_read_is_told_with_its_key(
    vendors: dict[str, Vendor], tmp_path: Path
) -> None:
    (tmp_path / "spoilt.yaml").write_text("actions: [", encoding="utf-8")
    overlays = ["drop-unknown-keys", str(tmp_path / "absent.yaml"), str(tmp_path / "spoilt.yaml")]

    def refused(*chosen: str) -> ConfigurationError:
        raw = _set("vendors/loyaltylion/overlays", list(chosen))
        raw["vendors"] = {"loyaltylion": raw["vendors"]["loyaltylion"]}
        with pytest.raises(ConfigurationError) as refusal:
            create_app(parse_config(raw, vendors, {}), vendors)
        return refusal.value

    absent, spoilt = refused(*overlays), refused(*overlays[::2])
    assert (absent.where, spoilt.where) == ("vendors.loyaltylion.overlays[1]",) * 2
    assert absent.what == f"{overlays[1]}: cannot be read: No such file or directory"
    assert spoilt.what.startswith(f"{overlays[2]}: is not YAML")


def test_no_secret_stands_in_the_message_of_a_bad_credential(
    vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    raw = _set("vendors/yotpo/credentials/0", {"merchant": "demo", "guid": "hush", "access_token": "hush-hush"})

    with pytest.raises(ConfigurationError) as refusal:
        create_app(parse_config(raw, vendors, {}), vendors, contracts=contracts)

    told = "a credential of yotpo is guid + api_key or app_key + access_token"
    assert str(refusal.value) == f"vendors.yotpo.credentials[0]: {told}"


def held_by(*roots: Any) -> Iterator[Any]:
    """Everything that these things keep in memory, apart from modules and types, which hold all there is."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, ModuleType | type):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, FunctionType):
            waiting += [thing.__closure__, thing.__defaults__, thing.__kwdefaults__]
        else:
            waiting += gc.get_referents(thing)


def test_no_credential_is_kept_in_plain_text(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Path
) -> None:
    secret = "-".join(["hush"] * 3)
    raw = _set("vendors/salla/credentials/0/bearer", secret) | {"ledger": f"sqlite:///{tmp_path / 'x.db'}"}

    app = create_app(parse_config(raw, vendors, {}), vendors, contracts=contracts)
    with TestClient(app):
        kept = list(held_by(app))

    assert [thing for thing in kept if isinstance(thing, CredentialConfig | Credential | Config)] == []
    assert [thing for thing in kept if isinstance(thing, Paths)]
    assert secret not in [thing for thing in kept if isinstance(thing, str)]


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://x.db", "x.db", "", "sqlite:///"])
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
        ("\x00", r"is not YAML: special characters are not allowed \(character 1\)"),
        ("server: [}", r"expected the node content, but found '}' \(line 1, column 10\)"),
        ("\n\nserver: {a: b, - c", r"is not YAML: .+ \(line 3, column \d+\)"),
        ("ledger: @x", r"found character '@' that cannot start any token \(line 1, column 9\)"),
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


@pytest.mark.parametrize(
    "value",
    [
        "hush: hush",
        "*hush",
        "!hush x",
        "!hush!hush x",
        "&hush a\n  x: &hush b",
        '"hush\\h',
        "'hush",
        "{hush: [hush}",
        "%hush\n%hush",
        "!!int hush",
        "!!float hush",
        "!!bool hush",
        "!!timestamp hush",
        "!!binary hush-é",
        "2026-99-99hush: [",
        "2026-99-99",
        "@hush",
        "`hush",
        "!<hush",
        "|hush",
        "- hush",
        "[" * 10_000,
    ],
)
def test_no_value_stands_in_the_message_of_a_malformed_file(
    vendors: dict[str, Vendor], tmp_path: Path, value: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"ledger: hush-before\nvendors:\n  api_key: {value}\nserver: hush-after\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="is not YAML: ") as refusal:
        load_config(path, vendors, {})

    told = "".join(traceback.format_exception(refusal.value))
    assert "hush" not in str(refusal.value)
    assert "hush" not in re.sub(r"(?m)^    .*$", "", told)


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


@pytest.mark.parametrize("key", ["largest_body", "ledger", "everyone_at_once", "keep_hours", "tiers"])
def test_a_key_of_the_shipped_file_says_what_it_is_for(key: str) -> None:
    (line,) = re.findall(rf"^ *{key}: .+$", _SHIPPED, re.MULTILINE)

    assert len(line.partition("#")[2]) > 20
