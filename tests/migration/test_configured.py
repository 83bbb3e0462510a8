"""What an operator may write of a move, and what the commands say of what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import LOYALTYLION, SALLA, SALLA_TO_ENGINE, YOTPO, YOTPO_TO_LOYALTYLION
from typer.testing import Result

from conftest import command, demo_config
from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.backend_config import EngineConfig, MigrationConfig
from loyalty_gateway.config import Config, parse_config
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream.upstreams import make_upstreams, upstream_names
from loyalty_gateway.vendor import Vendor
from stores import SqliteFile


def _parsed(vendors: dict[str, Vendor], backends: dict[str, Any]) -> Config:
    config = demo_config()
    config["merchants"]["demo"]["backends"] = backends
    return parse_config(config, vendors, {})


def test_a_move_has_two_sides(vendors: dict[str, Vendor]) -> None:
    backend = _parsed(vendors, SALLA_TO_ENGINE).vendors["salla"].backends["demo"]

    assert isinstance(backend, MigrationConfig)
    assert backend.old.vendor == "salla"
    assert backend.new == EngineConfig()


@pytest.mark.parametrize(
    ("migration", "where", "what"),
    [
        ({"old": {"upstream": SALLA}}, "migration", "must be {old: BACKEND, new: BACKEND}"),
        ({"old": "engine", "new": "engine"}, "migration.old", "its own real server"),
        ({"old": {"upstream": LOYALTYLION}, "new": "engine"}, "migration.old", "{vendor: salla, ...}"),
        ({"old": {"upstream": SALLA}, "new": {"upstream": SALLA}}, "migration.new", "nothing to move"),
        ({"old": {"upstream": SALLA}, "new": "passthrough"}, "migration.new", "must be engine or an upstream"),
        ({"old": {"upstream": SALLA}, "new": "there"}, "migration.new", "must be engine"),
    ],
)
def test_a_move_that_is_none_is_refused_where_it_stands(
    vendors: dict[str, Vendor], migration: dict[str, Any], where: str, what: str
) -> None:
    with pytest.raises(ConfigurationError) as found:
        _parsed(vendors, {"salla": {"migration": migration}})

    assert found.value.where == f"config: merchants.demo.backends.salla.{where}"
    assert what in found.value.what


def test_two_old_servers_cannot_both_become_the_ledger_here(vendors: dict[str, Vendor]) -> None:
    with pytest.raises(ConfigurationError, match="finish that first"):
        _parsed(
            vendors,
            SALLA_TO_ENGINE | {"yotpo": {"migration": {"old": {"upstream": YOTPO}, "new": "engine"}}},
        )


def test_a_move_is_one_merchants(vendors: dict[str, Vendor]) -> None:
    config = demo_config()
    config["vendors"]["yotpo"]["backend"] = YOTPO_TO_LOYALTYLION["yotpo"]

    with pytest.raises(ConfigurationError, match="a migration is one merchant's"):
        parse_config(config, vendors, {})


def _command(folder: Path, *arguments: str) -> Result:
    path = folder / "config.yaml"
    config = demo_config(ledger=f"sqlite:///{folder / 'front.db'}")
    config["merchants"]["demo"]["backends"] = SALLA_TO_ENGINE
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return command("migration", *arguments, "--config", path)


def test_the_commands_tell_where_a_move_is_and_refuse_what_is_not_shown(tmp_path: Path) -> None:
    named = ("--merchant", "demo", "--vendor", "salla")

    for _ in range(2):
        assert _command(tmp_path, "advance", *named, "--why", "a test", "--who", "Ann").exit_code == 0
    refused = _command(tmp_path, "advance", *named, "--why", "a test")
    told = _command(tmp_path, "status", *named)

    assert refused.exit_code == 2
    assert refused.stderr == (
        "loyalty-gateway: advance to lead: the sides were never held against each other; "
        "run `loyalty-gateway migration reconcile`\n"
    )
    assert told.stdout.startswith("demo, salla: mirror\n")
    assert "mirror 100 %, Ann: a test" in told.stdout


def test_a_reconciliation_that_cannot_read_a_side_ends_with_1(tmp_path: Path) -> None:
    named = ("--merchant", "demo", "--vendor", "salla")

    told = _command(tmp_path, "reconcile", *named)

    assert told.exit_code == 1
    assert "is NOT clean" in told.stdout


def test_a_vendor_that_does_not_move_is_told(tmp_path: Path) -> None:
    told = _command(tmp_path, "status", "--merchant", "demo", "--vendor", "yotpo")

    assert told.exit_code == 2
    assert "merchants.demo.backends.yotpo: is no migration" in told.stderr


def test_every_upstream_of_a_configuration_has_its_name_without_being_made(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    config = demo_config()
    (old, new) = (YOTPO_TO_LOYALTYLION["yotpo"]["migration"][side] for side in ("old", "new"))
    config["vendors"]["mage"]["backend"] = new
    config["merchants"]["demo"]["backends"] = YOTPO_TO_LOYALTYLION | {"salla": old}
    parsed = parse_config(config, vendors, {})

    made = make_upstreams(
        parsed,
        vendors,
        contract_of=lambda name: contracts[name],
        ledger=SqliteFile(tmp_path / "ledger.db").ledger(),
        merchants={"demo": Merchant(name="demo")},
        metrics=Metrics(),
    )

    parts = made.parts("yotpo", "demo")
    assert parts.new is not None
    names = {
        made.backends["mage", "demo"].name,
        made.backends["salla", "demo"].name,
        parts.old.name,
        parts.new.name,
    }
    assert upstream_names(parsed) == names
    assert len(names) == 4
