"""What differs between two versions of a document, and whom that breaks."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loyalty_gateway.against import Comparison
from loyalty_gateway.spec import load_document, specs_folder
from loyalty_gateway.spec.changes import changes
from loyalty_gateway.vendor import Vendor
from test_against import ADJUST, compared


def _told(comparison: Comparison) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    return [(one.kind, one.operation, one.where, one.what, one.breaks) for one in comparison.changes]


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
    (
        "body",
        lambda body: body["properties"]["metadata"].update(additionalProperties=False),
        ("constraint", "/metadata", "additionalProperties none → false", ("client",)),
    ),
    (
        "body",
        lambda body: body["properties"]["points"].update(default=5),
        ("constraint", "/points", "default none → 5", ()),
    ),
    (
        "body",
        lambda body: body["properties"]["points"].update(deprecated=True),
        ("constraint", "/points", "deprecated none → true", ()),
    ),
    (
        "body",
        lambda body: body["properties"]["reason"].update({"not": {"const": "x", "description": "prose"}}),
        ("constraint", "/reason", 'not none → {"const":"x"}', ("client",)),
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
    operation = document["paths"][ADJUST[0]][ADJUST[1]]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    change(body if part == "body" else document["components"]["schemas"]["LedgerEntry"])
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    comparison = compared("bitbybit", path, vendors)

    kind, place, what, breaks = expected
    where = f"{'request' if part == 'body' else 'answer 200'}/body{place}"
    assert (kind, "adjustCustomerPoints", where, what, breaks) in _told(comparison)
    assert {change.where.rpartition("/")[2] for change in comparison.changes} == {place.rpartition("/")[2]}
    assert comparison.breaks is bool(breaks)


def _schema(holder: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = holder["content"]["application/json"]["schema"]
    return schema


def _other_type(holder: dict[str, Any], *, beside: bool = False) -> None:
    content = holder["content"]
    content["text/csv"] = content["application/json"] if beside else content.pop("application/json")


def _with_header(operation: dict[str, Any], *, required: bool) -> None:
    operation["responses"]["200"]["headers"] = {"X-Left": {"required": required, "schema": {"type": "integer"}}}


_KEY = '{"type":"apiKey","in":"header","name":"x-api-key"}'
_OF_OPERATIONS: list[tuple[Any, list[tuple[str, str, str, tuple[str, ...]]]]] = [
    (
        lambda operation: _other_type(operation["responses"]["200"]),
        [
            ("media type", "answer 200/body", "application/json removed", ("server", "client")),
            ("media type", "answer 200/body text~1csv", "text/csv added", ("client",)),
        ],
    ),
    (
        lambda operation: _other_type(operation["requestBody"]),
        [
            ("media type", "request/body", "application/json removed", ("client",)),
            ("media type", "request/body text~1csv", "text/csv added", ("server",)),
        ],
    ),
    (
        lambda operation: _other_type(operation["requestBody"], beside=True),
        [("media type", "request/body text~1csv", "text/csv added", ("server",))],
    ),
    (
        lambda operation: _with_header(operation, required=True),
        [("header", "answer 200/header/x-left", "added, and required", ("server",))],
    ),
    (
        lambda operation: _with_header(operation, required=False),
        [("header", "answer 200/header/x-left", "added", ())],
    ),
    (
        lambda operation: operation["responses"].update({"202": {"description": "later"}}),
        [("status", "answer 202", "added", ("client",))],
    ),
    (
        lambda operation: operation["parameters"][0].update(style="matrix"),
        [("constraint", "request/path/customerId", "style simple → matrix", ("server", "client"))],
    ),
    (
        lambda operation: operation["parameters"][0].update(explode=True),
        [("constraint", "request/path/customerId", "explode false → true", ("server", "client"))],
    ),
    (lambda operation: operation["parameters"][0].update(style="simple", explode=False), []),
    (
        lambda operation: _schema(operation["responses"]["200"]).update(additionalProperties=False),
        [("constraint", "answer 200/body", "additionalProperties none → false", ("server",))],
    ),
    (
        lambda operation: _schema(operation["requestBody"]).update(additionalProperties={"type": "string"}),
        [
            ("constraint", "request/body", "additionalProperties none → as a schema says", ("client",)),
            ("field", "request/body/**", "added", ("server",)),
        ],
    ),
    (
        lambda operation: operation["parameters"][0]["schema"].update(default="x"),
        [("constraint", "request/path/customerId", "default none → x", ())],
    ),
    (
        lambda operation: operation["parameters"][0].update(deprecated=True),
        [("constraint", "request/path/customerId", "deprecated none → true", ())],
    ),
    (
        lambda operation: operation.update(security=[{"ApiKeyAuth": ["write"]}]),
        [("security", "", f"ApiKeyAuth {_KEY} → ApiKeyAuth {_KEY} write", ("server", "client"))],
    ),
    (lambda operation: operation.update(deprecated=True), [("operation", "", "deprecated now", ())]),
]


def test_a_default_that_is_another_breaks_whoever_leaves_it_out() -> None:
    old, new = _document(), _document()
    for document, default in ((old, "x"), (new, "y")):
        document["paths"][ADJUST[0]][ADJUST[1]]["parameters"][0]["schema"]["default"] = default

    (found,) = changes(old, new)

    assert (found.what, set(found.breaks)) == ("default x → y", {"server", "client"})


@pytest.mark.parametrize(("change", "expected"), _OF_OPERATIONS)
def test_a_change_of_an_operation_is_told_with_whom_it_breaks(
    change: Any, expected: list[tuple[str, str, str, tuple[str, ...]]]
) -> None:
    old, new = _document(), _document()
    change(new["paths"][ADJUST[0]][ADJUST[1]])

    found = changes(old, new)

    assert {(one.kind, one.where, one.what, frozenset(one.breaks)) for one in found} == {
        (kind, where, what, frozenset(breaks)) for kind, where, what, breaks in expected
    }


def test_a_schema_within_itself_is_compared_as_any_other() -> None:
    old, new = _document(), _document()
    itself = {"$ref": "#/components/schemas/Anything"}
    anything = {"type": "object", "items": itself, "additionalProperties": itself, "not": {"items": itself}}
    new["components"]["schemas"]["Anything"] = anything
    _schema(new["paths"][ADJUST[0]][ADJUST[1]]["requestBody"])["properties"]["metadata"] = itself

    found = changes(old, new)

    assert ("field", "request/body/metadata/**") in {(one.kind, one.where) for one in found}


def _document() -> dict[str, Any]:
    return load_document("bitbybit", specs_folder()).published


def test_operations_statuses_servers_and_credentials_are_told(vendors: dict[str, Vendor], specs: Path) -> None:
    path = specs / "bitbybit.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    paths = document["paths"]
    paths["/customer/api/open/v1/wishes"] = {"get": {"operationId": "listWishes", "responses": {200: {}}}}
    del paths["/customer/api/open/v1/customers/{id}"]
    paths[ADJUST[0]]["post"]["responses"][202] = {"description": "later"}
    document["servers"][0]["url"] = "https://new.example.com"
    document["components"]["securitySchemes"]["ApiKeyAuth"]["name"] = "x-new-key"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    comparison = compared("bitbybit", path, vendors)

    told = {(one.kind, one.operation, one.where): one for one in comparison.changes}
    assert told["operation", "listWishes", ""].what == "added"
    assert told["operation", "getCustomer", ""].breaks == ("server", "client")
    assert told["status", "adjustCustomerPoints", "answer 202"].breaks == ("client",)
    assert "new.example.com" in told["server", "adjustCustomerPoints", ""].what
    assert "x-new-key" in told["security", "adjustCustomerPoints", ""].what
    assert comparison.untranslated == ["getCustomer"]
