"""Faults in a vendor's own functions: answered, recorded, and never the end of the process."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from conftest import demo_config
from loyalty_gateway.app import create_app
from loyalty_gateway.config import parse_config
from loyalty_gateway.journal import Journal
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Answer, Vendor

_PATH = "/mage/v1/customers/6789012345/points"
_KEY = {"authorization": "mage_demo_key"}


def _fails(*_: Any) -> Any:
    raise RuntimeError("secret-detail")


def _cannot_be_encoded(*_: Any) -> Answer:
    return Answer(200, {"at": object(), "secret-detail": 1})


def _of_operation(vendor: Vendor, **changes: Any) -> Vendor:
    operations = tuple(
        msgspec.structs.replace(operation, **changes) if operation.id == "adjustPoints" else operation
        for operation in vendor.operations
    )
    return msgspec.structs.replace(vendor, operations=operations)


_BROKEN: dict[str, tuple[Callable[[Vendor], Vendor], dict[str, Any], str]] = {
    "parsing": (lambda vendor: _of_operation(vendor, parse_request=_fails), {"adjustment": 5}, "RuntimeError"),
    "rendering": (lambda vendor: _of_operation(vendor, render_response=_fails), {"adjustment": 5}, "RuntimeError"),
    "encoding": (
        lambda vendor: _of_operation(vendor, render_response=_cannot_be_encoded),
        {"adjustment": 5},
        "TypeError",
    ),
    "telling a problem": (
        lambda vendor: msgspec.structs.replace(vendor, render_problem=_fails),
        {"adjustment": 0},
        "RuntimeError",
    ),
}


@pytest.mark.parametrize("fault", _BROKEN)
def test_a_fault_of_a_vendors_function_is_500_and_recorded_and_the_next_request_is_answered(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Path, fault: str
) -> None:
    spoil, body, error = _BROKEN[fault]
    config = demo_config(ledger=f"sqlite:///{tmp_path / 'ledger.db'}")
    config["vendors"] = {"mage": config["vendors"]["mage"]}
    spoilt = vendors | {"mage": spoil(vendors["mage"])}
    log = io.BytesIO()
    app = create_app(
        parse_config(config, vendors, {}), spoilt, journal=Journal(log), contracts={"mage": contracts["mage"]}
    )

    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        answers = [client.post(_PATH, json=body, headers=_KEY) for _ in range(2)]
        metrics = client.get("/-/metrics").text

    assert [answer.status_code for answer in answers] == [500, 500]
    assert not any("secret-detail" in answer.text for answer in answers)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    told = [line for line in lines if line.get("vendor") == "mage"]
    assert [(line["status"], line["error"]) for line in told] == [(500, error)] * 2
    assert b"secret-detail" not in log.getvalue()
    assert 'status="500"' in metrics


def test_the_line_of_a_request_whose_outcome_is_unclear_says_so_with_the_intents_number(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Path
) -> None:
    def is_unclear(*_: Any) -> Any:
        raise Problem(Code.RECORD_BUSY, intent=7)

    config = demo_config(ledger=f"sqlite:///{tmp_path / 'ledger.db'}")
    config["vendors"] = {"mage": config["vendors"]["mage"]}
    unclear = vendors | {"mage": _of_operation(vendors["mage"], parse_request=is_unclear)}
    log = io.BytesIO()
    app = create_app(
        parse_config(config, vendors, {}), unclear, journal=Journal(log), contracts={"mage": contracts["mage"]}
    )

    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        client.post(_PATH, json={"adjustment": 5}, headers=_KEY)
        client.post(_PATH, json={"adjustment": 0}, headers=_KEY)

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line.get("ambiguous"), line.get("intent"), line["code"]) for line in lines] == [
        (True, 7, "record_busy"),
        (None, None, "invalid"),
    ]
