"""``matrix`` and ``translate``, as a user runs them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from conftest import ROOT, demo_config
from loyalty_gateway import cli

_ADDED = {"points": 5, "reason": "Thanks"}
_FLOORED = {"adjustment": -25, "note": "Goods returned"}
_LISTED = {
    "points": 5,
    "type": "plus",
    "reason": "Thanks",
    "channel_send": ["email", "sms"],
    "customers": [748394059, 873874834],
}
_RESET = {
    "reset_points": True,
    "type": "minus",
    "reason": "Year's end",
    "channel_send": [],
    "customers": [748394059],
}
_JANE = ("--customer", "6789012345")
_JANE_BY_EMAIL = ("--customer", "jane@example.com")


@pytest.fixture
def config(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The demo configuration, or one with changes, as a file."""
    changed = demo_config(ledger=f"sqlite:///{tmp_path}/never.db")
    getattr(request, "param", lambda _: None)(changed)
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    return str(path)


def _run(*arguments: str, body: bytes | None = None) -> tuple[int, str, str]:
    """The command's status, and what it wrote to both of its streams."""
    ended = CliRunner().invoke(cli.commands, list(arguments), input=body)
    return ended.exit_code, ended.stdout, ended.stderr


def _translate(config: str, client: str, upstream: str, body: Any, *more: str) -> tuple[int, str, str]:
    sent = None if body is None else json.dumps(body).encode()
    dash = () if body is None else ("-",)
    return _run("translate", "--from", client, "--to", upstream, "--config", config, *more, *dash, body=sent)


def _translated(config: str, client: str, upstream: str, body: Any, *more: str) -> dict[str, Any]:
    status, told, complaint = _translate(config, client, upstream, body, "--json", *more)
    assert (status, complaint) == (0, "")
    found: dict[str, Any] = json.loads(told)
    return found


# The matrix


def test_the_matrix_has_a_line_for_each_pair_and_is_never_cut() -> None:
    status, told, _ = _run("matrix")

    assert status == 0
    assert len(re.findall(r"^│ \w+ +│ \w+ +│ [^│]*additions, deductions,", told, re.MULTILINE)) == 25
    assert "data.wallet.version" in told
    assert "…" not in told


def test_the_matrix_as_json_tells_each_part_and_what_answers_lack() -> None:
    status, told, _ = _run("matrix", "--json")

    pairs = {(pair["client"], pair["upstream"]): pair for pair in json.loads(told)}
    metadata = next(row for row in pairs["bitbybit", "mage"]["rows"] if row["field"] == "metadata")
    assert status == 0
    assert len(pairs) == 25
    assert (metadata["outcomes"], metadata["understood"]) == (["lost"], None)
    assert pairs["mage", "yotpo"]["answer"]["read_back"] == ["balance"]


# One request


def test_a_request_is_told_as_it_would_be_sent(config: str) -> None:
    found = _translated(config, "loyaltylion", "bitbybit", _ADDED, *_JANE)

    (sent,) = found["sent"]
    assert found["operation"] == "customers.addPointsToCustomer"
    assert found["read"] == []
    assert (sent["method"], sent["path"]) == (
        "POST",
        "/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust",
    )
    assert sent["body"] == {"direction": "add", "points": 5, "reason": "Thanks", "idempotencyKey": "lg-…"}
    assert sent["headers"] == {"accept": "application/json", "content-type": "application/json"}
    assert found["lost"] == {}


def test_the_example_of_the_readme_is_what_is_told() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(
        r"echo '(.*)' \| loyalty-gateway (translate .*) -\n```\n\n```text\n([^`]*)\n```", readme
    )
    body, arguments, shown = example

    status, told, _ = _run(*arguments.split(), "--config", str(ROOT / "config.yaml"), "-", body=body.encode())

    assert (status, told.rstrip()) == (0, shown)


def test_a_body_may_stand_in_a_file(config: str, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps(_ADDED), encoding="utf-8")

    status, told, _ = _run(
        "translate", "--from", "loyaltylion", "--to", "mage", "--config", config, *_JANE, str(body)
    )

    assert status == 0
    assert "POST /v1/customers/6789012345/points" in told


def test_what_is_lost_is_told_and_ends_with_success(config: str) -> None:
    body = {"direction": "add", "points": 5, "reason": "Thanks", "metadata": {"order": "1"}}

    status, told, _ = _translate(config, "bitbybit", "mage", body, "--customer", "cust_abc123")

    assert status == 0
    assert 'lost:\n  metadata: {"order":"1"} is understood as null' in told


def test_a_floored_deduction_reads_first_at_a_vendor_that_refuses(config: str) -> None:
    found = _translated(config, "mage", "bitbybit", _FLOORED, *_JANE_BY_EMAIL)

    assert [one["operation"] for one in found["read"]] == ["getLoyaltyWallet"]
    assert "overdrafts floored" in found["emulated"]


def test_a_list_becomes_a_request_for_each_customer(config: str) -> None:
    found = _translated(config, "salla", "yotpo", _LISTED)

    assert [one["body"]["customer_id"] for one in found["sent"]] == ["6789012345", "6789012346"]
    assert [one["body"]["history_title"] for one in found["sent"]] == ["Thanks [lg-…]"] * 2
    assert found["lost"] == {"notify": {"asked": ["email", "sms"], "understood": []}}
    assert "lists" in found["emulated"]


def test_everyone_becomes_a_request_for_each_customer_of_the_configuration(config: str) -> None:
    found = _translated(config, "salla", "mage", _LISTED | {"customers": [], "select_all": True})

    assert [one["path"] for one in found["sent"]] == [
        f"/v1/customers/{number}/points" for number in (6789012345, 6789012346)
    ]
    assert "everyone" in found["emulated"]


def test_a_list_stays_one_request_where_the_upstream_has_lists(config: str) -> None:
    found = _translated(config, "salla", "salla", _LISTED)

    (sent,) = found["sent"]
    assert sent["body"] == _LISTED | {"reason": "Thanks [lg-…]"}
    assert sent["path"] == "/admin/v2/customers/loyalty/points"
    assert found["emulated"] == found["lost"] == {}


def test_a_reset_reads_the_balance_and_deducts_what_there_is(config: str) -> None:
    found = _translated(config, "salla", "bitbybit", _RESET)

    (read,), (sent,) = found["read"], found["sent"]
    assert read["operation"] == "getLoyaltyWallet"
    assert (sent["body"]["direction"], sent["body"]["points"]) == ("deduct", "(the balance)")
    assert found["lost"] == {"lifetime": {"asked": "untouched", "understood": "earn_and_burn"}}


def test_an_operation_can_be_chosen(config: str) -> None:
    chosen = ("--operation", "customers.removePointsFromCustomer")

    found = _translated(config, "loyaltylion", "mage", _ADDED, *_JANE, *chosen)

    assert found["sent"][0]["body"]["adjustment"] == -5


def test_without_a_choice_it_is_the_first_operation_that_takes_the_request(config: str) -> None:
    wrapped = {"points": {"customer_id": "6789012345", "point_adjustment_amount": 5, "history_title": "x"}}

    found = _translated(config, "yotpo", "mage", wrapped)

    assert found["operation"] == "adjustStorePoints"


@pytest.mark.parametrize(
    ("client", "operation", "more", "upstream", "path"),
    [
        ("mage", "getCustomer", _JANE_BY_EMAIL, "bitbybit", "loyalty/customers/cust_abc123/wallet"),
        ("mage", "listEarningHistory", _JANE_BY_EMAIL, "loyaltylion", "/v2/customers/6789012345/transactions"),
        ("mage", "listCustomers", (), "bitbybit", "/customer/api/open/v1/customers?page=1"),
        (
            "yotpo",
            "fetchCustomerDetails",
            ("--query", "customer_email=jane@example.com"),
            "salla",
            "/admin/v2/customers/748394059?fields",
        ),
    ],
)
def test_what_would_be_read_is_told_too(
    *, config: str, client: str, operation: str, more: tuple[str, ...], upstream: str, path: str
) -> None:
    found = _translated(config, client, upstream, None, "--operation", operation, *more)

    assert {sent["method"] for sent in found["sent"]} == {"GET"}
    assert any(path in sent["path"] for sent in found["sent"])


def test_an_update_of_a_customer_is_told_where_nothing_of_it_is_lost(config: str) -> None:
    body = {"customer": {"blocked": True}}

    found = _translated(config, "loyaltylion", "mage", body, *_JANE, "--operation", "customers.updateCustomer")

    (sent,) = found["sent"]
    assert (sent["operation"], sent["path"]) == ("updateCustomer", "/v1/customers/6789012345")


def test_of_a_read_no_loss_is_told(config: str) -> None:
    status, told, _ = _translate(config, "mage", "salla", None, "--operation", "getCustomer", *_JANE)

    assert status == 0
    assert "lost" not in told


def test_a_customer_may_be_named_as_the_upstream_has_them(config: str) -> None:
    in_path = _translated(config, "loyaltylion", "bitbybit", _ADDED, "--customer", "bitbybit:cust_x y")
    in_body = _translated(config, "salla", "mage", _LISTED | {"customers": [5]}, "--customer", "email:a@b.example")
    by_another = _translated(config, "mage", "salla", _FLOORED, "--customer", "email:jane@example.com")

    assert "/customers/cust_x%20y/points" in in_path["sent"][0]["path"]
    assert in_body["sent"][0]["path"] == "/v1/customers/a%40b.example/points"
    assert by_another["sent"][0]["body"]["customers"] == [748394059]


def _with_upstream(config: dict[str, Any]) -> None:
    chosen = {
        "vendor": "yotpo",
        "url": "https://shop.example.com/api/",
        "credentials": {"app_key": "PLANTED-KEY", "access_token": "PLANTED-TOKEN"},
        "options": {"customer_id_namespace": "bitbybit"},
        "marks": False,
    }
    config["vendors"]["mage"]["backend"] = {"upstream": chosen}


@pytest.mark.parametrize("config", [_with_upstream], indirect=True)
def test_an_upstream_of_the_configuration_is_asked_as_configured_without_its_credentials(config: str) -> None:
    status, told, _ = _translate(config, "mage", "yotpo", _FLOORED, *_JANE_BY_EMAIL)

    assert status == 0
    assert "POST https://shop.example.com/api/loyalty/v3/stores/{app_key}/points/adjust\n" in told
    assert '"customer_id": "cust_abc123"' in told
    assert '"history_title": "Goods returned"' in told
    assert "PLANTED" not in told


def test_nothing_is_opened(config: str, tmp_path: Path) -> None:
    _translated(config, "loyaltylion", "bitbybit", _ADDED, *_JANE)

    assert not list(tmp_path.glob("*.db*"))


@pytest.mark.parametrize(
    ("client", "upstream", "body", "more", "told"),
    [
        ("nobody", "mage", _ADDED, (), "--from nobody: no such vendor; there are bitbybit, "),
        ("mage", "nobody", _ADDED, (), "--to nobody: no such vendor; there are bitbybit, "),
        ("mage", "yotpo", _FLOORED, (), "--customer: is needed: adjustPoints names the customer in its path, "),
        (
            "salla",
            "mage",
            _LISTED,
            _JANE,
            "--customer 6789012345: the path of updateCustomerLoyaltyPoints names no",
        ),
        ("salla", "mage", _LISTED, ("--customer", "shopify:5"), "--customer: the request is for 2 customers"),
        (
            "mage",
            "salla",
            _FLOORED,
            ("--customer", "phone:5"),
            "--customer phone:5: salla names customers by salla",
        ),
        (
            "mage",
            "salla",
            _FLOORED,
            ("--customer", "5"),
            "customer shopify:5: nobody in the configuration has this name; add them with one in salla, or say it",
        ),
        (
            "mage",
            "salla",
            _FLOORED,
            ("--operation", "x"),
            "--operation x: no such operation of mage: adjustPoints, ",
        ),
        ("mage", "salla", _FLOORED | {"adjustment": "5"}, _JANE, "adjustment must be of type integer"),
        (
            "mage",
            "salla",
            None,
            _JANE,
            "adjustPoints: its contract refuses the request: body: the request body is",
        ),
        ("mage", "salla", _FLOORED, (*_JANE, "--query", "x"), "--query x: must read like name=value"),
        (
            "salla",
            "mage",
            None,
            ("--operation", "Customer-Loyalty-Points"),
            "query: customer_id is required (--query NAME=VALUE says it)",
        ),
        (
            "mage",
            "salla",
            _FLOORED | {"adjustment": 5_000_000},
            _JANE,
            "adjustPoints: cannot be carried out at salla: its contract forbids it",
        ),
        (
            "yotpo",
            "mage",
            {"email": "a@b.example"},
            ("--operation", "createOrUpdateCustomer"),
            "createOrUpdateCustomer: cannot be carried out at mage: mage has no words for it",
        ),
        (
            "loyaltylion",
            "salla",
            None,
            ("--operation", "customers.listCustomers", "--query", "since_id=5"),
            "has no words for it",
        ),
    ],
)
def test_what_cannot_be_said_ends_in_one_sentence_with_2(
    *, config: str, client: str, upstream: str, body: Any, more: tuple[str, ...], told: str
) -> None:
    status, shown, complaint = _translate(config, client, upstream, body, *more)

    assert (status, shown) == (2, "")
    assert told in complaint
    assert len(complaint.splitlines()) == 1


def test_a_body_that_cannot_be_read_is_told(config: str, tmp_path: Path) -> None:
    arguments = ("translate", "--from", "mage", "--to", "salla", "--config", config, *_JANE)

    absent = _run(*arguments, str(tmp_path / "absent.json"))
    garbled = _run(*arguments, "-", body=b"{adjustment")

    assert (absent[0], garbled[0]) == (2, 2)
    assert "absent.json: cannot be read: No such file" in absent[2]
    assert "the body: cannot be read as JSON in UTF-8" in garbled[2]
