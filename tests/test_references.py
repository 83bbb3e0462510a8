"""References that lead to nothing are told with their place, by whatever reads the document, and nothing fails."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import NOT_TRACED
from loyalty_gateway.app import load_contract
from loyalty_gateway.check import located_defects
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec.references import broken_references, resolved
from loyalty_gateway.vendor import Vendor, discover
from test_against import compared

_VENDORS = sorted(discover())
_BROKEN = [
    ("#/components/schemas/Lost", "refers to #/components/schemas/Lost, which is not in the document"),
    ("#Lost", "refers to #Lost, which is not in the document"),
    ("#/components/schemas/Self", "refers by way of #/components/schemas/Self to itself"),
    ("#/components/schemas/One", "refers by way of #/components/schemas/One to itself"),
    ("all.yaml#/Lost", "refers to all.yaml#/Lost, and other documents are not read; bundle them into one"),
]


def _document(reference: str) -> dict[str, Any]:
    return {
        "paths": {"/a/{id}": {"get": {"parameters": [{"name": "id", "schema": {"type": "string"}}]}}},
        "components": {
            "schemas": {
                "First": {"properties": {"x": {"$ref": reference}}},
                "Self": {"$ref": "#/components/schemas/Self"},
                "One": {"$ref": "#/components/schemas/Other"},
                "Other": {"$ref": "#/components/schemas/One"},
            }
        },
    }


@pytest.mark.parametrize(("reference", "what"), _BROKEN)
def test_a_reference_to_nothing_is_told_with_its_place_and_says_nothing(reference: str, what: str) -> None:
    document = _document(reference)

    assert broken_references(document)["/components/schemas/First/properties/x"] == what
    assert resolved(document, {"$ref": reference}) == {} or "are not read" in what


@pytest.mark.parametrize(
    "reference",
    ["#", "#/paths/~1a~1{id}/get/parameters/0/schema", "#/paths/~1a~1%7Bid%7D/get", "#/components/schemas/First"],
)
def test_a_reference_to_something_is_not_broken(reference: str) -> None:
    document = _document(reference)

    assert "/components/schemas/First/properties/x" not in broken_references(document)
    assert resolved(document, {"$ref": reference})


@pytest.mark.parametrize("word", ["example", "default", "const", "x-note"])
def test_what_only_looks_like_a_reference_is_none(word: str) -> None:
    assert broken_references({"schema": {word: {"$ref": "#/Lost"}}}) == {}


def test_a_field_may_have_the_name_of_a_reference_or_of_a_value() -> None:
    document = {"schema": {"properties": {"$ref": {"type": "string"}, "example": {"$ref": "#/Lost"}}}}

    assert list(broken_references(document)) == ["/schema/properties/example"]


def _with_reference(path: Path, reference: str) -> None:
    """Has the first body of an answer refer to it, and writes statuses as numbers, as some documents do."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    operations = [
        operation
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict) and "responses" in operation
    ]
    for operation in operations:
        operation["responses"] = {
            int(status) if status.isdecimal() else status: response
            for status, response in operation["responses"].items()
        }
    first = next(iter(operations[0]["responses"].values()))
    first["content"] = {"application/json": {"schema": {"$ref": reference}}}
    document["components"].setdefault("schemas", {}).update(_document(reference)["components"]["schemas"])
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


@NOT_TRACED
@pytest.mark.parametrize(("name", "reference"), [*zip(_VENDORS, dict(_BROKEN), strict=True)])
def test_a_document_that_refers_to_nothing_is_a_defect_a_new_version_not_to_be_used_and_not_served(
    vendors: dict[str, Vendor], specs: Path, name: str, reference: str
) -> None:
    path = specs / f"{name}.yaml"
    _with_reference(path, reference)

    defects = [defect for defect in located_defects([name], {}, specs) if defect.rule == "reference"]
    comparison = compared(name, path, vendors)
    with pytest.raises(ConfigurationError) as refused:
        load_contract(vendors[name], (), specs)

    places = [defect.place for defect in defects]
    assert any(place.endswith("/content/application~1json/schema") for place in places)
    assert comparison.invalid is not None
    assert "refers" in comparison.invalid
    # Where an action of the overlay answers the first one, the next is told.
    assert any(f" {place}: refers" in str(refused.value) for place in places)
