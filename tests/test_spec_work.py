"""Work on the vendors' documents: defects with their lines, and what a new version changes here."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from conftest import ROOT, command
from loyalty_gateway.check import LocatedDefect, check_vendors, located_defects
from loyalty_gateway.spec import specs_folder
from loyalty_gateway.spec.positions import Positions
from loyalty_gateway.vendor import Vendor, discover

_VENDORS = sorted(discover())


def _located(vendor: Vendor, specs: Path) -> list[LocatedDefect]:
    return located_defects([vendor.name], {}, specs)


def replaced_in(path: Path, old: str, new: str) -> Path:
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
    path = replaced_in(specs / "mage.yaml", "adjustment: ", "colour: blue\n              adjustment: ")

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
    path = replaced_in(specs / "mage.yaml", note, f"{note}          {line}\n")

    located = _located(vendors["mage"], specs)

    told = [(defect.line, defect.rule, defect.answered_by) for defect in located if defect.rule != "openapi"]
    assert told == [(_line_of(path, line), rule, None)]


_TEXT = {"schema": {"type": "string"}, "example": 5}
_BODY = {"content": {"application/json": _TEXT}}
_HEADERS = {"description": "", "headers": {"X-A": _TEXT}}
_GET = "/paths/~1v1~1customers/get"


@pytest.mark.parametrize(
    ("above", "planted", "place"),
    [
        ("/components/schemas", {"A": {"type": "string", "example": 5}}, "A/example"),
        ("/components/parameters", {"A": {"name": "a", "in": "query", **_TEXT}}, "A/example"),
        (
            "/components/parameters",
            {"A": {"name": "a", "in": "query", **_BODY}},
            "A/content/application~1json/example",
        ),
        ("/components/headers", {"A": _TEXT}, "A/example"),
        ("/components/requestBodies", {"A": _BODY}, "A/content/application~1json/example"),
        ("/components/responses", {"A": {"description": "", **_BODY}}, "A/content/application~1json/example"),
        ("/components/responses", {"A": _HEADERS}, "A/headers/X-A/example"),
        (f"{_GET}/responses", {"418": _HEADERS}, "418/headers/X-A/example"),
        (
            "/paths/~1v1~1customers",
            {"parameters": [{"name": "a", "in": "query", **_TEXT}]},
            "parameters/0/example",
        ),
    ],
)
def test_a_wrong_example_is_found_wherever_it_stands(
    vendors: dict[str, Vendor], specs: Path, above: str, planted: dict[str, Any], place: str
) -> None:
    path = specs / "mage.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    node = document
    for step in above.split("/")[1:]:
        node = node.setdefault(step.replace("~1", "/"), {})
    node.update(planted)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    located = _located(vendors["mage"], specs)

    assert [(defect.place, defect.rule) for defect in located] == [(f"{above}/{place}", "example-type")]


def test_what_is_referred_to_from_many_places_is_one_defect(vendors: dict[str, Vendor], specs: Path) -> None:
    path = replaced_in(specs / "mage.yaml", "              - status: '404'\n", "              - status: 404\n")

    located = _located(vendors["mage"], specs)

    assert [(defect.line, defect.rule) for defect in located] == [
        (_line_of(path, "- status: 404"), "example-type")
    ]


def test_a_defect_has_the_same_fingerprint_on_another_line(vendors: dict[str, Vendor], specs: Path) -> None:
    before = _located(vendors["salla"], specs)
    path = specs / "salla.yaml"
    path.write_text("# a line more\n" + path.read_text(encoding="utf-8"), encoding="utf-8")

    after = _located(vendors["salla"], specs)

    assert [defect.fingerprint for defect in after] == [defect.fingerprint for defect in before]
    assert [defect.line for defect in after] == [defect.line + 1 for defect in before]


def test_a_defect_keeps_the_fingerprint_by_which_it_is_known(vendors: dict[str, Vendor]) -> None:
    located = _located(vendors["loyaltylion"], specs_folder())

    assert [defect.fingerprint for defect in located] == [
        "679cc2b06eaf497d",
        "a9a83a93bb5d76ce",
        "b1c796deda4d5ffe",
        "5f1d04cc1c7b500d",
        "0519a24fba6a7f2d",
        "4b057a2769ec1a1e",
    ]


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
    new = replaced_in(specs / "mage.yaml", "        note:\n", "        remark:\n")
    other, as_json = _check("--against", new), _check("--against", new, "--vendor", "mage", "--json")

    assert (same.exit_code, other.exit_code, as_json.exit_code) == (0, 1, 1)
    assert "field: removed" in other.stdout
    assert {change["where"] for change in json.loads(as_json.stdout)["changes"]} >= {"request/body/note"}


def test_the_command_tells_what_the_overlay_hides(specs: Path) -> None:
    path = specs / "salla.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    content = document["paths"]["/customers/loyalty/points"]["post"]["requestBody"]["content"]
    content["application/json"]["schema"]["properties"]["currency"] = {"type": "string"}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    told = _check("--against", path)

    assert told.exit_code == 1
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.stdout.splitlines()]
    assert ["updateCustomerLoyaltyPoints", "request/body/currency", "field: added", "server"] in rows
    assert [
        "demo",
        "vendors.salla.credentials[0]",
        "their clients speak it",
        "updateCustomerLoyaltyPoints",
    ] in rows
    hiding = next(row for row in rows if row[:1] == ["salla.overlay.yaml actions[4]"])
    assert hiding[2] == "hides what is new:"
    assert "1 more that the overlay hides; 1 overlay actions to be looked at" in told.stdout


@pytest.mark.parametrize("arguments", [("--against", "nowhere.yaml"), ("--defects", "--vendor", "nobody")])
def test_the_command_ends_with_2_for_what_it_cannot_use(arguments: tuple[str, ...]) -> None:
    told = _check(*arguments)

    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
