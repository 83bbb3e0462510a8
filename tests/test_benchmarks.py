"""The comparison compares like with like: every server of it answers the same request alike."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest
from starlette.testclient import TestClient

import bare
import fastapi_by_hand
import openapi_core_middleware
import servers
import shim
from conftest import StartGateway
from figures import Round
from filled_ledger import fill
from loyalty_gateway.ledger.sqlite import SqliteLedger
from peer_comparison import verdicts
from request_and_load import BODY, FIRST_CUSTOMER, HEADERS, Sample, path_of
from servers import BARE, gateway_config

_PEERS = {"bare": bare.app, "fastapi": fastapi_by_hand.app, "openapi-core": openapi_core_middleware.app}


@pytest.fixture
def ask(start_gateway: StartGateway, tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:

        def ask(name: str, body: str = BODY) -> tuple[int, Any]:
            if name == "gateway":
                ledger = tmp_path / "filled.db"
                fill(ledger, 1)
                config = gateway_config(f"sqlite:///{ledger}")
                client = start_gateway(config, ledger=SqliteLedger(str(ledger))).client
                path = path_of("/mage", FIRST_CUSTOMER)
            else:
                client = stack.enter_context(TestClient(_PEERS[name]))
                path = path_of("", FIRST_CUSTOMER)
            answer = client.post(path, content=body, headers=dict(HEADERS))
            return answer.status_code, answer.json()

        yield ask


@pytest.mark.parametrize("name", [*_PEERS, "gateway"])
def test_every_server_of_the_comparison_gives_the_same_answer(name: str, ask: Any) -> None:
    status, body = ask(name)

    assert status == 200
    assert body == {
        "data": {
            "type": "points_adjustment",
            "id": str(FIRST_CUSTOMER),
            "attributes": {
                "shopify_customer_id": str(FIRST_CUSTOMER),
                "adjustment": 5,
                "points_before": 0,
                "points_after": 5,
                "current_points": 5,
                "note": "Goodwill gesture",
            },
        }
    }


@pytest.mark.parametrize("name", ["fastapi", "openapi-core", "gateway"])
def test_every_server_that_claims_to_check_requests_does(name: str, ask: Any) -> None:
    status, _ = ask(name, json.dumps({"adjustment": "many"}))

    assert 400 <= status < 500


def test_a_filled_ledger_is_one_that_the_gateway_goes_on_with(start_gateway: StartGateway, tmp_path: Path) -> None:
    path = tmp_path / "filled.db"

    customers = fill(path, wallets=7, entries=17)

    with closing(connect(path)) as db:
        folded = db.execute(
            "SELECT w.id FROM wallets w LEFT JOIN (SELECT wallet_id, count(*) AS n, sum(points_delta) AS points, "
            "sum(earned_delta) AS earned, max(occurred_at) AS last FROM entries GROUP BY wallet_id) e "
            "ON e.wallet_id = w.id WHERE (w.version, w.available, w.lifetime_earned, w.granted, w.grants, "
            "w.last_entry_at) IS NOT (e.n, e.points, e.earned, e.points, e.n, e.last)"
        ).fetchall()
        assert db.execute("SELECT count(*), max(id) FROM entries").fetchone() == (17, 17)
    assert folded == []
    gateway = start_gateway(gateway_config(f"sqlite:///{path}"), ledger=SqliteLedger(str(path)))
    before = []
    for customer in customers:
        answer = gateway.post(path_of("/mage", customer), json.loads(BODY), HEADERS)
        before.append(answer.json()["data"]["attributes"]["points_before"])
    assert before == [30, 30, 30, 20, 20, 20, 20]


def test_targets_are_held_against_the_ratios_of_each_round() -> None:
    slow_machine = Round(samples={BARE: Sample(1, 100, 1, 2), "ours": Sample(1, 70, 2, 26)}, sync=0.5)
    fast_machine = Round(samples={BARE: Sample(1, 1000, 1, 2), "ours": Sample(1, 500, 2, 24)}, sync=0.5)

    many = list(verdicts("ours", 64, [slow_machine, fast_machine, slow_machine]))
    (alone,) = verdicts("ours", 1, [slow_machine, fast_machine])

    assert [(verdict.measured, verdict.met) for verdict in many] == [("0.70×", True), ("26.00 ms", False)]
    assert (alone.wanted, alone.measured, alone.met) == ("≤ 1.50 ms", "1.00 ms", True)


def test_the_upstream_of_the_shims_gives_an_answer_that_keeps_the_contract(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    with servers.stub(tmp_path, shim.ASKED) as stub:
        config = servers.shim_config(tmp_path / "x.db", shim.VENDOR, shim.CREDENTIALS, shim.passing_to(stub))
        gateway = start_gateway(config)

        answer = gateway.client.post(
            f"/{shim.VENDOR}{shim.ASKED.path}", content=shim.ASKED.body, headers=dict(shim.ASKED.headers)
        )
        gateway.client.__exit__()

    (line,) = gateway.lines()
    assert (answer.status_code, line["status"]) == (200, 200)
    assert not {"defects", "request_defects"} & set(line)


def test_a_shim_is_held_against_the_proxy_and_against_the_upstream_itself() -> None:
    one = Round(
        samples={
            servers.STUB: Sample(1, 9_000, 0.1, 2),
            servers.PRISM_PROXY: Sample(1, 100, 9, 9),
            "ours": Sample(1, 260, 2.2, 9),
        },
        sync=0.5,
    )

    (many,) = shim.verdicts("ours", 64, [one])
    (alone,) = shim.verdicts("ours", 1, [one])

    assert (many.measured, many.met) == ("2.60×", True)
    assert (alone.measured, alone.met) == ("2.10 ms", False)
