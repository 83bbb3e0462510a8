"""References that lead to nothing are told with their place, by whatever reads the document, and nothing fails."""

from copy import deepcopy
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import NOT_TRACED
from loyalty_gateway.app import load_contract
from loyalty_gateway.check import located_defects
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import specs_folder
from loyalty_gateway.spec.document import read_yaml
from loyalty_gateway.spec.references import broken_references, resolved, without_broken_references
from loyalty_gateway.vendor import Vendor, discover
from test_against import compared

_VENDORS = sorted(discover())
_BROKEN = {
    "#/components/schemas/Lost": 'refers to "#/components/schemas/Lost", which is not in the document',
    "#/components/schemas/First/required/2": 'refers to "#/components/schemas/First/required/2", '
    "which is not in the document",
    "#/info/title": 'refers to "#/info/title", which is no object',
    "#/components/schemas/Self": 'refers to "#/components/schemas/Self", '
    "which is nothing but a reference back to itself",
    "#/components/schemas/One": 'refers to "#/components/schemas/One", '
    "which is nothing but a reference back to itself",
    "#/components/schemas/Odd": 'refers to "#/components/schemas/Odd", '
    "which is nothing but a reference back to itself",
    "": 'refers to "", which is not followed; give a place in here, "#/components/…"',
    "#anchor": 'refers to "#anchor", which is not followed; give a place in here, "#/components/…"',
    "a.yaml#/A": 'refers to "a.yaml#/A", which is not followed; give a place in here, "#/components/…"',
}
_SCHEMAS = {
    "First": {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}}},
    "Self": {"$ref": "#/components/schemas/Self"},
    "One": {"$ref": "#/components/schemas/Two"},
    "Two": {"$ref": "#/components/schemas/One"},
    "Odd": {"allOf": [{"$ref": "#/components/schemas/Odd"}, {"$ref": "#/components/schemas/Odd"}]},
    "Tree": {"properties": {"up": {"$ref": "#/components/schemas/Tree"}}},
}


def _document(reference: Any) -> dict[str, Any]:
    return {
        "info": {"title": "Points"},
        "paths": {"/a/{id}": {"get": {"parameters": [{"name": "id", "schema": {"type": "string"}}]}}},
        "components": {"schemas": {**deepcopy(_SCHEMAS), "Here": {"$ref": reference, "maxLength": 5}}},
    }


@pytest.mark.parametrize(("reference", "what"), _BROKEN.items())
def test_a_reference_to_nothing_is_told_with_its_place(reference: str, what: str) -> None:
    assert broken_references(_document(reference))["/components/schemas/Here"] == what


@pytest.mark.parametrize(
    ("reference", "what"), [(5, "has a $ref that is no text"), ([], "has a $ref that is no text")]
)
def test_a_reference_that_is_no_text_is_told_too(reference: Any, what: str) -> None:
    assert broken_references(_document(reference))["/components/schemas/Here"] == what


@pytest.mark.parametrize("reference", _BROKEN)
def test_of_what_refers_to_nothing_that_which_stands_beside_it_stays(reference: str) -> None:
    document = _document(reference)

    left = without_broken_references(document)

    assert left["components"]["schemas"]["Here"] == {"maxLength": 5}
    assert left["components"]["schemas"]["First"] == _SCHEMAS["First"]
    assert document == _document(reference)


def test_an_item_of_a_list_that_is_nothing_but_a_reference_to_nothing_is_none() -> None:
    document = {"parameters": [{"$ref": "#/Lost"}, {"name": "id"}, {}, {"$ref": "#/Lost", "name": "of"}]}

    assert without_broken_references(document) == {"parameters": [{"name": "id"}, {}, {"name": "of"}]}


@pytest.mark.parametrize("reference", ["#/Lost", "#/components/schemas/Self", "#/info/title", 5, "a.yaml#/A"])
def test_what_refers_to_nothing_says_nothing(reference: Any) -> None:
    told = resolved(_document(reference), {"$ref": reference})

    # What is no reference at all stands for itself.
    assert told == ({"$ref": 5} if reference == 5 else {})


@pytest.mark.parametrize(
    "reference",
    [
        "#",
        "#/paths/~1a~1{id}/get/parameters/0/schema",
        "#/paths/~1a~1%7Bid%7D/get",
        "#/components/schemas/First",
        "#/components/schemas/Tree",
        "#/components/schemas/Tree/properties/up",
    ],
)
def test_a_reference_to_something_is_not_broken(reference: str) -> None:
    document = _document(reference)

    assert "/components/schemas/Here" not in broken_references(document)
    assert resolved(document, {"$ref": reference})


@pytest.mark.parametrize(
    "holder",
    [
        {"example": {"$ref": "#/Lost"}},
        {"default": {"$ref": "#/Lost"}},
        {"const": {"$ref": "#/Lost"}},
        {"enum": [{"$ref": "#/Lost"}]},
        {"examples": [{"$ref": "#/Lost"}]},
        {"x-note": {"$ref": "#/Lost"}},
        {"properties": {"$ref": {"type": "string"}}},
    ],
    ids=lambda holder: next(iter(holder)),
)
def test_what_only_looks_like_a_reference_is_none(holder: dict[str, Any]) -> None:
    document = {"components": {"schemas": {"A": holder}}}

    assert broken_references(document) == {}
    assert without_broken_references(document) is document


@pytest.mark.parametrize(
    "place",
    [
        "/components/schemas/A/properties/example",
        "/components/schemas/value",
        "/components/schemas/A/$defs/default",
        "/components/requestBodies/default",
        "/components/examples/x-one",
        "/components/responses/x-one/headers/value",
        "/components/links/default",
        "/paths/~1a/get/callbacks/default",
        "/paths/~1a/get/responses/default",
        "/paths/~1a/get/responses/200/content/x-world~1x-3dmf/schema",
    ],
)
def test_a_name_that_somebody_chose_hides_no_reference(place: str) -> None:
    node: dict[str, Any] = {"$ref": "#/Lost"}
    for step in reversed(place.split("/")[1:]):
        node = {step.replace("~1", "/"): node}

    assert list(broken_references(node)) == [place]


@pytest.mark.parametrize("name", _VENDORS)
def test_no_document_as_shipped_refers_to_nothing(name: str) -> None:
    assert broken_references(read_yaml(specs_folder() / f"{name}.yaml")) == {}


# Names are texts, however they come to stand there


@pytest.mark.parametrize(
    "written",
    [
        "responses: {200: {a: 1}}",
        "responses: {<<: {200: {a: 1}}}",
        "base: &base {200: {a: 1}}\nresponses: {<<: *base}",
        "status: &status 200\nresponses: {*status : {a: 1}}",
    ],
)
def test_a_status_that_is_written_as_a_number_is_a_text(tmp_path: Path, written: str) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(written, encoding="utf-8")

    assert read_yaml(path)["responses"] == {"200": {"a": 1}}


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("{a: {[1]: 2}}", "a name is no text"),
        ("a: &whole {b: *whole}", "contains itself by way of a YAML alias"),
    ],
)
def test_what_json_cannot_say_is_refused(tmp_path: Path, written: str, what: str) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(written, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=what):
        read_yaml(path)


# What is done with a document that refers to nothing


def _first(document: dict[str, Any], reference: str) -> str:
    """Has the first answer's body refer to it; gives the place."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                status, response = next(iter(operation["responses"].items()))
                response["content"] = {"application/json": {"schema": {"$ref": reference}}}
                document["components"].setdefault("schemas", {}).update(deepcopy(_SCHEMAS))
                at = path.replace("/", "~1")
                return f"/paths/{at}/{method}/responses/{status}/content/application~1json/schema"
    raise AssertionError("no answers")


@NOT_TRACED
@pytest.mark.parametrize(("name", "reference"), [*zip(_VENDORS, cycle(_BROKEN), strict=False)])
def test_a_document_that_refers_to_nothing_is_a_defect_and_as_a_new_version_not_to_be_used(
    vendors: dict[str, Vendor], specs: Path, name: str, reference: str
) -> None:
    path = specs / f"{name}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    place = _first(document, reference)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    defects = {defect.place: defect for defect in located_defects([name], {}, specs)}
    comparison = compared(name, path, vendors)
    with pytest.raises(ConfigurationError, match="refers to"):
        load_contract(vendors[name], (), specs)

    assert (defects[place].rule, defects[place].what) == ("reference", _BROKEN[reference])
    assert comparison.invalid is not None
    assert "refers to" in comparison.invalid


_HOLDERS: dict[str, tuple[str, Any]] = {
    "a parameter": ("parameters", [{"$ref": "#/components/parameters/Lost"}]),
    "a body": ("requestBody", {"$ref": "#/components/requestBodies/Lost"}),
    "an answer": ("responses", {"418": {"$ref": "#/components/responses/Lost"}}),
    "a callback": ("callbacks", {"default": {"$ref": "#/components/callbacks/Lost"}}),
    "a header": (
        "responses",
        {"418": {"description": "Done", "headers": {"x-one": {"$ref": "#/components/headers/Lost"}}}},
    ),
}


@pytest.mark.parametrize("kind", _HOLDERS)
def test_whatever_refers_to_nothing_is_told_alone_and_the_rest_is_compared(
    vendors: dict[str, Vendor], specs: Path, kind: str
) -> None:
    path = specs / "loyaltylion.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    before = {defect.fingerprint for defect in located_defects(["loyaltylion"], {}, specs)}
    item = document["paths"]["/v2/customers/{merchant_id}/points"]
    word, told = _HOLDERS[kind]
    item["post"][word] = told if isinstance(told, list) else item["post"].get(word, {}) | told
    if word == "requestBody":
        item["post"][word] = told
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    defects = [one for one in located_defects(["loyaltylion"], {}, specs) if one.fingerprint not in before]
    comparison = compared("loyaltylion", path, vendors)

    assert [defect.rule for defect in defects] == ["reference"]
    assert all(change.what not in {"removed", "added"} for change in comparison.changes if not change.where)


def test_a_document_that_is_not_built_as_openapi_is_has_that_defect_and_no_failure(specs: Path) -> None:
    path = specs / "mage.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["paths"] = {"$ref": "paths.yaml"}
    del document["openapi"]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    (specs / "mage.overlay.yaml").unlink()

    assert {defect.rule for defect in located_defects(["mage"], {}, specs)} == {"openapi"}
