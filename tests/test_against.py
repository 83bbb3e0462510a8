"""What a new version of a vendor's document changes for the overlay, and for those who use the vendor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from conftest import demo_config
from loyalty_gateway.against import Comparison, compare, vendor_of
from loyalty_gateway.config import parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import load_document, specs_folder
from loyalty_gateway.vendor import Vendor, discover
from test_spec_work import replaced_in

ADJUST = ("/customer/api/open/v1/loyalty/customers/{customerId}/points/adjust", "post")
_VENDORS = sorted(discover())


def compared(name: str, new: Path, vendors: dict[str, Vendor], config: dict[str, Any] | None = None) -> Comparison:
    """What the new document changes for the vendor as shipped; the configuration is the demo's by default."""
    chosen = parse_config(config or demo_config(), vendors, {})
    return compare(load_document(name, specs_folder()), new, vendors[name], chosen)


@pytest.mark.parametrize("name", _VENDORS)
def test_the_document_itself_changes_nothing(vendors: dict[str, Vendor], name: str) -> None:
    comparison = compared(name, specs_folder() / f"{name}.yaml", vendors)

    assert not comparison.breaks
    told = (comparison.changes, comparison.hidden, comparison.actions, comparison.merchants)
    assert told == ([], [], [], [])


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

    comparison = compared("loyaltylion", path, vendors)

    why = {action.where: action.why for action in comparison.actions}
    gone = next(index for index, action in enumerate(overlay) if "responses['204']" in action["target"])
    assert why["loyaltylion.overlay.yaml actions[0]"] == "changes nothing"
    assert why[f"loyaltylion.overlay.yaml actions[{gone}]"] == "finds no target"
    assert comparison.breaks


def _inline_schema(document: dict[str, Any]) -> None:
    content = document["paths"]["/customers/loyalty/points"]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    schema["properties"]["currency"] = {"type": "string"}
    schema["required"].append("currency")
    schema["properties"]["type"]["enum"].append("set")


def _points_of_component(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["add_loyalty_points_request"]["properties"]["points"]["type"] = "string"


def _body_of_answer(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    schemas["CustomersAddPointsToCustomerResponseBody"] = {"type": "object", "properties": {"id": {}}}


def _own_refusal(document: dict[str, Any]) -> None:
    responses = document["paths"][ADJUST[0]][ADJUST[1]]["responses"]
    responses["429"] = {"description": "", "headers": {"Retry-After": {"schema": {"type": "integer"}}}}


class _Hidden(NamedTuple):
    """A change of a vendor's document, what of it is hidden by the overlay, and by which of its actions."""

    vendor: str
    change: Callable[[dict[str, Any]], None]
    told: set[tuple[str, str, str]]
    actions: set[tuple[int, str]]


_HIDDEN = [
    _Hidden(
        "salla",
        _inline_schema,
        {
            ("updateCustomerLoyaltyPoints", "request/body/currency", "added, and required"),
            ("updateCustomerLoyaltyPoints", "request/body/type", "also set"),
        },
        {(4, "is another now")},
    ),
    _Hidden("salla", _points_of_component, set(), {(6, "number → string")}),
    _Hidden(
        "loyaltylion",
        _body_of_answer,
        {
            ("customers.addPointsToCustomer", "answer 201/body", "no longer string"),
            ("customers.addPointsToCustomer", "answer 201/body", "also object"),
            ("customers.addPointsToCustomer", "answer 201/body", 'const "" → none'),
            ("customers.addPointsToCustomer", "answer 201/body/id", "added"),
        },
        {(2, "is another now")},
    ),
    _Hidden("bitbybit", _own_refusal, {("adjustCustomerPoints", "answer 429", "added")}, {(3, "is there now")}),
]


@pytest.mark.parametrize("hidden", _HIDDEN)
def test_what_the_overlay_hides_of_a_new_version_is_told_with_the_action_that_hides_it(
    vendors: dict[str, Vendor], specs: Path, hidden: _Hidden
) -> None:
    path = specs / f"{hidden.vendor}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    hidden.change(document)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    comparison = compared(hidden.vendor, path, vendors)

    assert not comparison.changes
    assert {(one.operation, one.where, one.what) for one in comparison.hidden} == hidden.told
    assert {(action.where, place.what) for action in comparison.actions for place in action.hidden} == {
        (f"{hidden.vendor}.overlay.yaml actions[{index}]", what) for index, what in hidden.actions
    }
    assert comparison.breaks


@pytest.mark.parametrize("name", _VENDORS)
def test_other_prose_and_another_order_change_nothing(vendors: dict[str, Vendor], specs: Path, name: str) -> None:
    def reworded(node: Any) -> Any:
        match node:
            case dict():
                return {
                    key: "other words"
                    if key in {"description", "summary"} and isinstance(child, str)
                    # The servers' order says which one is meant.
                    else child
                    if key == "servers"
                    else reworded(child)
                    for key, child in reversed(node.items())
                }
            case [{"name": _, "in": _}, *_]:
                return [reworded(child) for child in reversed(node)]
            case list():
                return [reworded(child) for child in node]
            case _:
                return node

    path = specs / f"{name}.yaml"
    document = reworded(yaml.safe_load(path.read_text(encoding="utf-8")))
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    comparison = compared(name, path, vendors)

    assert (comparison.changes, comparison.hidden, comparison.actions) == ([], [], [])


def test_what_the_vendor_says_now_as_the_overlay_did_is_not_hidden(
    vendors: dict[str, Vendor], specs: Path
) -> None:
    path = specs / "loyaltylion.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for item in document["paths"].values():
        for operation in item.values():
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    comparison = compared("loyaltylion", path, vendors)

    assert (comparison.changes, comparison.hidden) == ([], [])
    assert {action.why for action in comparison.actions} == {"changes nothing"}


def test_merchants_are_concerned_by_their_clients_and_by_where_their_points_are(
    vendors: dict[str, Vendor], specs: Path
) -> None:
    path = replaced_in(specs / "mage.yaml", "        note:\n", "        remark:\n")
    config = _config_with_upstream()

    comparison = compared("mage", path, vendors, config)

    assert [(one.merchant, one.where, one.how) for one in comparison.merchants] == [
        ("demo", "vendors.mage.credentials[0]", "their clients speak it"),
        ("demo", "vendors.mage.credentials[1]", "their clients speak it"),
        ("demo", "vendors.mage.backend", "their points are at its server"),
        ("demo", "vendors.salla.backend", "their points are at its server"),
    ]
    assert {tuple(one.operations) for one in comparison.merchants} == {("adjustPoints",)}


@pytest.mark.parametrize(
    ("old", "new", "concerned"),
    [
        # More may be sent: who is built to that is not served by a gateway that knows the earlier version.
        ("        note:\n", "        colour: {}\n        note:\n", {"their clients speak it"}),
        # Less may be sent: a gateway that knows the earlier version sends too much.
        ("              - points\n", "", {"their points are at its server"}),
        ("openapi: 3.1.0", "openapi: 3.0.3", {"their clients speak it", "their points are at its server"}),
        (
            "operationId: adjustPoints",
            "operationId: changePoints",
            {"their clients speak it", "their points are at its server"},
        ),
        (
            "    Errors:\n      type: object\n",
            "    Errors:\n      type: object\n      description: prose\n",
            set(),
        ),
    ],
)
def test_those_merchants_are_concerned_for_whom_something_breaks(
    vendors: dict[str, Vendor], specs: Path, old: str, new: str, concerned: set[str]
) -> None:
    path = replaced_in(specs / "mage.yaml", old, new)

    comparison = compared("mage", path, vendors, _config_with_upstream())

    assert {one.how for one in comparison.merchants} == concerned
    assert comparison.breaks is bool(concerned)


def _config_with_upstream() -> dict[str, Any]:
    """Clients speak mage and salla, and at mage's server are the points of both."""
    config = demo_config()
    upstream = {"vendor": "mage", "url": "https://x.example.com", "credentials": {"api_key": "k"}}
    config["vendors"]["salla"]["backend"] = {"upstream": upstream}
    config["vendors"]["mage"]["backend"] = "passthrough"
    config["merchants"]["other"] = {"backends": {"salla": "engine"}}
    config["vendors"]["salla"]["credentials"].append({"merchant": "other", "bearer": "other"})
    return config


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
        compared("mage", path, vendors)
