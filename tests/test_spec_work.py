"""Work on the vendors' documents: defects with their lines, and what a new version changes here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from conftest import ROOT, command, demo_config
from loyalty_gateway.against import Comparison, compare, vendor_of
from loyalty_gateway.check import LocatedDefect, check_vendors, located_defects
from loyalty_gateway.config import parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import load_document, specs_folder
from loyalty_gateway.spec.positions import Positions
from loyalty_gateway.vendor import Vendor, discover

_VENDORS = sorted(discover())


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A copy of the shipped specs, to be changed."""
    return Path(shutil.copytree(specs_folder(), tmp_path / "specs"))


def _located(vendor: Vendor, specs: Path) -> list[LocatedDefect]:
    return located_defects([vendor.name], {}, specs)


def _changed(path: Path, old: str, new: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def _line_of(path: Path, text: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


# Defects


@pytest.mark.parametrize("name", ["bitbybit", "loyaltylion", "salla", "yotpo"])
def test_each_defect_stands_where_it_is_said_to(vendors: dict[str, Vendor], name: str) -> None:
    lines = (specs_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()

    located = _located(vendors[name], specs_folder())

    assert located
    for defect in located:
        shown = lines[defect.line - 1][defect.column - 1 :]
        step = defect.place.rpartition("/")[2].replace("~1", "/")
        assert shown.startswith((step, f"'{step}'")) or step.isdecimal(), (defect, shown)


def test_a_field_that_an_example_shows_and_the_schema_does_not_know_is_found(
    vendors: dict[str, Vendor], specs: Path
) -> None:
    path = _changed(specs / "mage.yaml", "adjustment: ", "colour: blue\n              adjustment: ")

    located = _located(vendors["mage"], specs)

    assert [(defect.line, defect.rule) for defect in located] == [
        (_line_of(path, "colour: blue"), "example-field")
    ]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("example: 5", "example-type"),
        ("default: 5", "example-type"),
        ("examples: [fine, 5]", "example-type"),
    ],
)
def test_an_example_within_a_schema_that_breaks_it_is_found_with_its_line(
    vendors: dict[str, Vendor], specs: Path, line: str, rule: str
) -> None:
    note = "        note:\n          type: string\n"
    path = _changed(specs / "mage.yaml", note, f"{note}          {line}\n")

    located = _located(vendors["mage"], specs)

    told = [(defect.line, defect.rule, defect.answered_by) for defect in located if defect.rule != "openapi"]
    assert told == [(_line_of(path, line), rule, None)]


def test_a_defect_has_the_same_fingerprint_on_another_line(vendors: dict[str, Vendor], specs: Path) -> None:
    before = _located(vendors["salla"], specs)
    path = specs / "salla.yaml"
    path.write_text("# a line more\n" + path.read_text(encoding="utf-8"), encoding="utf-8")

    after = _located(vendors["salla"], specs)

    assert [defect.fingerprint for defect in after] == [defect.fingerprint for defect in before]
    assert [defect.line for defect in after] == [defect.line + 1 for defect in before]


def test_no_two_defects_have_one_fingerprint(vendors: dict[str, Vendor]) -> None:
    reports = check_vendors(vendors, {})

    fingerprints = [defect.fingerprint for report in reports for defect in report.defects]

    assert len(set(fingerprints)) == len(fingerprints)


def test_a_place_that_is_not_there_is_that_of_what_should_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a:\n  b:\n    - c: 1\n", encoding="utf-8")
    positions = Positions(path)

    found = [positions.at(pointer) for pointer in ("/", "/a/b/0/c", "/a/b/7/c", "/a/x", "/a/b/0/c/d")]

    assert found == [(1, 1), (3, 7), (2, 3), (1, 1), (3, 7)]


# A new version


def _compared(
    name: str, new: Path, vendors: dict[str, Vendor], config: dict[str, Any] | None = None
) -> Comparison:
    chosen = parse_config(config or demo_config(), vendors, {})
    return compare(load_document(name, specs_folder()), new, vendors[name], chosen)


def _told(comparison: Comparison) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    return [(one.kind, one.operation, one.where, one.what, one.breaks) for one in comparison.changes]


@pytest.mark.parametrize("name", _VENDORS)
def test_the_document_itself_changes_nothing(vendors: dict[str, Vendor], name: str) -> None:
    comparison = _compared(name, specs_folder() / f"{name}.yaml", vendors)

    assert not comparison.breaks
    assert (comparison.changes, comparison.actions, comparison.merchants) == ([], [], [])


_ADJUST = ("/customer/api/open/v1/loyalty/customers/{customerId}/points/adjust", "post")
_CHANGES: list[tuple[str, Any, tuple[str, str, str, tuple[str, ...]]]] = [
    ("body", lambda body: body["properties"].update(colour={}), ("field", "/colour", "added", ("server",))),
    (
        "body",
        lambda body: (body["properties"].update(colour={}), body["required"].append("colour")),
        ("field", "/colour", "added, and required", ("server", "client")),
    ),
    ("body", lambda body: body["properties"].pop("metadata"), ("field", "/metadata", "removed", ("client",))),
    (
        "body",
        lambda body: body["required"].remove("reason"),
        ("required", "/reason", "no longer required", ("server",)),
    ),
    (
        "body",
        lambda body: body["required"].append("metadata"),
        ("required", "/metadata", "required now", ("client",)),
    ),
    (
        "body",
        lambda body: body["properties"]["direction"]["enum"].append("set"),
        ("enum", "/direction", "also set", ("server",)),
    ),
    (
        "body",
        lambda body: body["properties"]["direction"]["enum"].remove("add"),
        ("enum", "/direction", "no longer add", ("client",)),
    ),
    (
        "body",
        lambda body: body["properties"]["direction"].pop("enum"),
        ("enum", "/direction", "no longer only add, deduct", ("server",)),
    ),
    (
        "body",
        lambda body: body["properties"]["points"].update(minimum=10),
        ("constraint", "/points", "minimum 1 → 10", ("client",)),
    ),
    (
        "body",
        lambda body: body["properties"]["points"].update(minimum=0),
        ("constraint", "/points", "minimum 1 → 0", ("server",)),
    ),
    (
        "answer",
        lambda entry: entry["properties"].update(colour={}),
        ("field", "/data/ledger/colour", "added", ()),
    ),
    (
        "answer",
        lambda entry: entry["properties"].pop("walletId"),
        ("field", "/data/ledger/walletId", "removed", ("server", "client")),
    ),
    (
        "answer",
        lambda entry: entry["properties"]["companyId"].update(type=["integer", "null"]),
        ("type", "/data/ledger/companyId", "also null", ("client",)),
    ),
]


@pytest.mark.parametrize(("part", "change", "expected"), _CHANGES, ids=[str(one[2][:3]) for one in _CHANGES])
def test_a_change_of_a_field_is_told_with_whom_it_breaks(
    vendors: dict[str, Vendor],
    specs: Path,
    part: str,
    change: Any,
    expected: tuple[str, str, str, tuple[str, ...]],
) -> None:
    path = specs / "bitbybit.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    operation = document["paths"][_ADJUST[0]][_ADJUST[1]]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    change(body if part == "body" else document["components"]["schemas"]["LedgerEntry"])
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    comparison = _compared("bitbybit", path, vendors)

    kind, place, what, breaks = expected
    where = f"{'request' if part == 'body' else 'answer 200'}/body{place}"
    assert (kind, "adjustCustomerPoints", where, what, breaks) in _told(comparison)
    assert {change.where.rpartition("/")[2] for change in comparison.changes} == {place.rpartition("/")[2]}
    assert comparison.breaks is bool(breaks)


def test_operations_statuses_servers_and_credentials_are_told(vendors: dict[str, Vendor], specs: Path) -> None:
    path = specs / "bitbybit.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    paths = document["paths"]
    paths["/customer/api/open/v1/wishes"] = {"get": {"operationId": "listWishes", "responses": {200: {}}}}
    del paths["/customer/api/open/v1/customers/{id}"]
    paths[_ADJUST[0]]["post"]["responses"][202] = {"description": "later"}
    document["servers"][0]["url"] = "https://new.example.com"
    document["components"]["securitySchemes"]["ApiKeyAuth"]["name"] = "x-new-key"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    comparison = _compared("bitbybit", path, vendors)

    told = {(one.kind, one.operation, one.where): one for one in comparison.changes}
    assert told["operation", "listWishes", ""].what == "added"
    assert told["operation", "getCustomer", ""].breaks == ("server", "client")
    assert told["status", "adjustCustomerPoints", "answer 202"].what == "added"
    assert "new.example.com" in told["server", "adjustCustomerPoints", ""].what
    assert "x-new-key" in told["security", "adjustCustomerPoints", ""].what
    assert comparison.untranslated == ["getCustomer"]


def test_an_overlay_action_that_finds_or_changes_nothing_is_told(vendors: dict[str, Vendor], specs: Path) -> None:
    path = specs / "loyaltylion.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    overlay = yaml.safe_load((specs / "loyaltylion.overlay.yaml").read_text(encoding="utf-8"))["actions"]
    # The vendor says itself what the first action says, and takes away what another one corrects.
    for item in document["paths"].values():
        for operation in item.values():
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
    del document["paths"]["/v2/customers/{merchant_id}/remove_points"]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    comparison = _compared("loyaltylion", path, vendors)

    why = {action.where: action.why for action in comparison.actions}
    gone = next(index for index, action in enumerate(overlay) if "responses['204']" in action["target"])
    assert why["loyaltylion.overlay.yaml actions[0]"] == "changes nothing"
    assert why[f"loyaltylion.overlay.yaml actions[{gone}]"] == "finds no target"
    assert comparison.breaks


def test_merchants_are_concerned_by_their_clients_and_by_where_their_points_are(
    vendors: dict[str, Vendor], specs: Path
) -> None:
    path = _changed(specs / "mage.yaml", "        note:\n", "        remark:\n")
    config = demo_config()
    upstream = {"vendor": "mage", "url": "https://x.example.com", "credentials": {"api_key": "k"}}
    config["vendors"]["salla"]["backend"] = {"upstream": upstream}
    config["vendors"]["mage"]["backend"] = "passthrough"
    config["merchants"]["other"] = {"backends": {"salla": "engine"}}
    config["vendors"]["salla"]["credentials"].append({"merchant": "other", "bearer": "other"})

    comparison = _compared("mage", path, vendors, config)

    assert [(one.merchant, one.where, one.how) for one in comparison.merchants] == [
        ("demo", "vendors.mage.credentials[0]", "their clients speak it"),
        ("demo", "vendors.mage.credentials[1]", "their clients speak it"),
        ("demo", "vendors.mage.backend", "their points are at its server"),
        ("demo", "vendors.salla.backend", "their points are at its server"),
    ]


@pytest.mark.parametrize("name", _VENDORS)
def test_whose_document_it_is_is_seen_by_its_servers_or_its_name(vendors: dict[str, Vendor], name: str) -> None:
    found = vendor_of(specs_folder() / f"{name}.yaml", vendors)

    assert found == name


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[", "is not YAML"),
        ("a: 1", "has no paths"),
        ("paths: {/x: 5}", "cannot be read as an OpenAPI document"),
    ],
)
def test_what_is_no_document_is_told_as_that(
    vendors: dict[str, Vendor], tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "mage.yaml"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=told):
        _compared("mage", path, vendors)


# The command


def _check(*arguments: str | Path) -> Result:
    return command("check", "--config", ROOT / "config.yaml", *arguments)


def test_the_command_lists_defects(vendors: dict[str, Vendor]) -> None:
    as_text, as_json = _check("--defects", "--vendor", "salla"), _check("--defects", "--vendor", "salla", "--json")

    assert (as_text.exit_code, as_json.exit_code) == (0, 0)
    located = json.loads(as_json.stdout)
    assert len(located) == len(_located(vendors["salla"], specs_folder()))
    for defect in located:
        assert f"salla.yaml:{defect['line']}:{defect['column']}: {defect['what']}" in as_text.stdout
        assert defect["fingerprint"] in as_text.stdout


def test_the_command_ends_with_1_where_a_new_version_breaks_something(specs: Path) -> None:
    same = _check("--against", specs / "mage.yaml")
    new = _changed(specs / "mage.yaml", "        note:\n", "        remark:\n")
    other, as_json = _check("--against", new), _check("--against", new, "--vendor", "mage", "--json")

    assert (same.exit_code, other.exit_code, as_json.exit_code) == (0, 1, 1)
    assert "field: removed" in other.stdout
    assert {change["where"] for change in json.loads(as_json.stdout)["changes"]} >= {"request/body/note"}


@pytest.mark.parametrize("arguments", [("--against", "nowhere.yaml"), ("--defects", "--vendor", "nobody")])
def test_the_command_ends_with_2_for_what_it_cannot_use(arguments: tuple[str, ...]) -> None:
    told = _check(*arguments)

    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
