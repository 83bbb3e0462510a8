"""The gateway of the fixture: what a test finds there, and that it is the test's own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import ROOT, demo_config
from dialects import DIALECTS, Dialect
from loyalty_gateway.problem import ConfigurationError, Problem
from loyalty_gateway.testing.configuration import read_config
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.testing.served import serving
from loyalty_gateway.vendor import Vendor, discover

WITH_DEMO = pytest.mark.loyalty_gateway(config=ROOT / "config.yaml")
VENDORS = sorted(discover())


def adjust(gateway: Gateway, points: int, **more: object) -> httpx.Response:
    """By one vendor's API, for whoever has the Shopify id 1."""
    url = f"{gateway.url('mage')}/v1/customers/1/points"
    headers = gateway.headers("mage")
    return httpx.post(url, headers=headers, json={"adjustment": points}, timeout=more.get("timeout", 5))  # type: ignore[arg-type]


@WITH_DEMO
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_every_vendor_is_served_over_one_ledger(loyalty_gateway: Gateway, dialect: Dialect) -> None:
    answer = httpx.post(
        f"{loyalty_gateway.base_url}{dialect.path}", headers=dialect.headers, json=dialect.body(40, "Welcome")
    )

    assert answer.is_success, answer.text
    assert loyalty_gateway.wallet(shopify="6789012345").available == 40


@pytest.mark.parametrize("vendor", VENDORS)
def test_url_and_headers_are_what_a_client_of_the_vendor_needs(
    loyalty_gateway: Gateway, vendors: dict[str, Vendor], vendor: str
) -> None:
    dialect = next(one for one in DIALECTS if one.name.startswith(vendor))
    loyalty_gateway.enrol(
        shopify="6789012345", email="jane@example.com", bitbybit="cust_abc123", salla="748394059", points=1
    )
    loyalty_gateway.enrol(shopify="6789012346", salla="873874834")
    path = dialect.path.removeprefix(f"/{vendor}").removeprefix("/admin/v2")

    answer = httpx.post(
        loyalty_gateway.url(vendor) + path,
        headers=loyalty_gateway.headers(vendor),
        json=dialect.body(40, "Welcome"),
    )

    assert answer.is_success, answer.text
    assert tuple(loyalty_gateway.credentials(vendor)) in vendors[vendor].credential_forms


@pytest.mark.parametrize("vendor", VENDORS)
def test_there_is_a_credential_of_every_form(
    loyalty_gateway: Gateway, vendors: dict[str, Vendor], vendor: str
) -> None:
    forms = [set(loyalty_gateway.credentials(vendor, *form)) for form in vendors[vendor].credential_forms]

    assert forms == [set(form) for form in vendors[vendor].credential_forms]


@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_begins_with_an_empty_ledger(loyalty_gateway: Gateway, turn: int) -> None:
    assert loyalty_gateway.entries() == ()
    assert loyalty_gateway.requests == []

    loyalty_gateway.enrol(shopify=str(turn), points=10)

    assert len(loyalty_gateway.entries()) == 1


def test_the_points_of_an_enrolled_customer_are_an_opening_balance(loyalty_gateway: Gateway) -> None:
    wallet = loyalty_gateway.enrol(shopify="1", email="Jane@example.com", points=50)

    (entry,) = loyalty_gateway.entries(email="jane@example.com")

    assert (wallet.available, wallet.lifetime_earned) == (50, 50)
    assert (entry.points_delta, entry.points_after, entry.reason) == (50, 50, "Opening balance")


def test_whom_nobody_enrolled_has_no_wallet(loyalty_gateway: Gateway) -> None:
    with pytest.raises(Problem, match="unknown_customer"):
        loyalty_gateway.wallet(shopify="1")


def test_entries_are_those_of_whoever_has_one_of_the_references_as_the_wallet_is(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(shopify="1", points=50)
    named = {"email": "nobody@example.com", "shopify": "1"}

    (entry,) = loyalty_gateway.entries(**named)

    assert entry.points_delta == 50
    assert entry.wallet_id == loyalty_gateway.wallet(**named).id
    with pytest.raises(Problem, match="unknown_customer"):
        loyalty_gateway.entries(email="nobody@example.com", shopify="2")


def test_nothing_is_recorded_where_the_configuration_says(tmp_path: Path) -> None:
    kept = tmp_path / "recordings"
    config = demo_config(recording={"folder": str(kept), "exchanges": True})

    with serving() as served, served.gateway(config) as gateway:
        gateway.enrol(shopify="1")
        assert adjust(gateway, 10).status_code == 200

    assert not kept.exists()


_UPSTREAM = {"upstream": {"vendor": "salla", "url": "https://api.example.com", "credentials": {"bearer": "a"}}}


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        (("vendors", "salla", "backend", "passthrough"), "vendors.salla.backend"),
        (("vendors", "salla", "backend", _UPSTREAM), "vendors.salla.backend"),
        (("merchants", "demo", "backends", {"salla": "passthrough"}), "merchants.demo.backends.salla"),
        (
            ("merchants", "demo", "backends", {"salla": {"migration": {"old": _UPSTREAM, "new": "engine"}}}),
            "merchants.demo.backends.salla",
        ),
    ],
)
def test_a_configuration_by_which_tests_would_call_a_real_server_is_refused(
    changed: tuple[str, str, str, Any], where: str
) -> None:
    config = demo_config()
    section, name, key, value = changed
    config[section][name][key] = value

    with pytest.raises(ConfigurationError, match=f"{where}: must be engine"):
        read_config(config)

    assert read_config(config, only=("mage",)).vendors.keys() == {"mage"}


def test_what_cannot_be_enrolled_is_told(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(shopify="1", points=50)

    with pytest.raises(ConfigurationError, match="no opening balance"):
        loyalty_gateway.enrol(shopify="1", points=50)
    with pytest.raises(ConfigurationError, match="at least one reference"):
        loyalty_gateway.enrol(points=50)


def test_requests_are_told_as_they_arrived(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(shopify="1")

    adjust(loyalty_gateway, 10)
    httpx.get(f"{loyalty_gateway.url('mage')}/v1/nowhere?a=b")

    first, second = loyalty_gateway.requests
    assert (first.vendor, first.operation, first.method) == ("mage", "adjustPoints", "POST")
    assert (first.body, first.status, first.fault) == ({"adjustment": 10}, 200, None)
    assert [str(one) for one in first.customers] == ["shopify:1"]
    assert (second.operation, second.query, second.body, second.status) == (None, {"a": "b"}, None, 404)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_request_that_is_shown_shows_no_credential(
    loyalty_gateway: Gateway, vendors: dict[str, Vendor], vendor: str
) -> None:
    for form in vendors[vendor].credential_forms:
        credentials = loyalty_gateway.credentials(vendor, *form)
        secret = "".join(credentials.values())
        url = f"{loyalty_gateway.url(vendor)}/{secret}"
        httpx.post(url, params=credentials, headers=loyalty_gateway.headers(vendor), json=credentials)

    shown = repr(loyalty_gateway.requests)

    assert shown.count("ReceivedRequest") == len(vendors[vendor].credential_forms)
    assert vendor in shown
    assert [value for value in credentials.values() if value in shown] == []


def test_a_ledger_is_taken_back_to_its_snapshot(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(shopify="1", points=50)
    snapshot = loyalty_gateway.snapshot()
    adjust(loyalty_gateway, 10)
    loyalty_gateway.enrol(shopify="2")

    loyalty_gateway.restore(snapshot)

    assert loyalty_gateway.wallet(shopify="1").available == 50
    with pytest.raises(Problem):
        loyalty_gateway.wallet(shopify="2")
    assert adjust(loyalty_gateway, 5).status_code == 200
    assert loyalty_gateway.wallet(shopify="1").available == 55


def not_a_ledger(folder: Path) -> bytes:
    with closing(sqlite3.connect(folder / "other.db")) as db:
        db.execute("CREATE TABLE wallets_of_others (id INTEGER)")
        return db.serialize()


def of_a_later_version(snapshot: bytes, folder: Path) -> bytes:
    file = folder / "later.db"
    file.write_bytes(snapshot)
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 9999")
        return db.serialize()


def test_what_is_no_snapshot_is_refused_and_changes_nothing(loyalty_gateway: Gateway, tmp_path: Path) -> None:
    loyalty_gateway.enrol(shopify="1", points=50)
    snapshot = loyalty_gateway.snapshot()
    damaged = bytearray(snapshot)
    damaged[4096 * 2 : 4096 * 4] = bytes(4096 * 2)
    adjust(loyalty_gateway, 10)

    for rubbish in (
        b"",
        b"no database",
        snapshot[:100],
        snapshot[:5000],
        snapshot[: len(snapshot) // 2],
        bytes(damaged),
        not_a_ledger(tmp_path),
        of_a_later_version(snapshot, tmp_path),
    ):
        with pytest.raises(ValueError, match="no snapshot"):
            loyalty_gateway.restore(rubbish)

        assert loyalty_gateway.wallet(shopify="1").available == 60

    assert adjust(loyalty_gateway, 5).status_code == 200
    loyalty_gateway.restore(snapshot)
    assert loyalty_gateway.wallet(shopify="1").available == 50
    assert sorted(loyalty_gateway._file.parent.glob("*/")) == []  # noqa: SLF001 - nothing is left there


def test_what_was_written_ahead_before_does_not_touch_a_restored_ledger(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(shopify="1", points=50)
    snapshot = loyalty_gateway.snapshot()
    adjust(loyalty_gateway, 10)
    file = loyalty_gateway._file  # noqa: SLF001 - as whoever reads it meanwhile would leave it
    ahead = file.with_name(f"{file.name}-wal")
    written_ahead = ahead.read_bytes()
    loyalty_gateway.stop()
    ahead.write_bytes(written_ahead)

    loyalty_gateway.restore(snapshot)

    assert written_ahead
    assert loyalty_gateway.wallet(shopify="1").available == 50


def test_a_client_with_an_open_connection_notices_nothing_of_a_restored_ledger(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.enrol(shopify="1", points=50)
    path = f"{loyalty_gateway.url('mage')}/v1/customers/1/points"

    with httpx.Client(headers=loyalty_gateway.headers("mage")) as client:
        statuses = []
        for _ in range(3):
            statuses.append(client.post(path, json={"adjustment": 1}).status_code)
            loyalty_gateway.restore(loyalty_gateway.snapshot())

    assert statuses == [200, 200, 200]
    assert loyalty_gateway.wallet(shopify="1").available == 53


def test_a_gateway_that_is_stopped_answers_nobody(loyalty_gateway: Gateway) -> None:
    loyalty_gateway.stop()

    assert httpx.get(f"{loyalty_gateway.url('mage')}/v1/customers").status_code == 503
    with pytest.raises(RuntimeError, match="closed"):
        loyalty_gateway.entries()


def test_a_vendor_that_is_not_served_is_named_with_those_that_are(loyalty_gateway: Gateway) -> None:
    with pytest.raises(ConfigurationError, match=", ".join(loyalty_gateway.vendors)):
        loyalty_gateway.url("mages")
