"""What those who run a gateway are told of intents that are not settled, and what settling costs when idle."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from faulty import CREDENTIALS, Shim, shim
from prometheus_client.parser import text_string_to_metric_families
from raw_server import RawServer, closed_port, raw_server

from dialects import DIALECTS
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream import settling, upkeep
from loyalty_gateway.vendor import Vendor

_YOTPO = next(dialect for dialect in DIALECTS if dialect.name == "yotpo loyalty")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(upkeep, "_EVERY_SECONDS", 0.02)


async def _samples(shown: Shim, name: str) -> dict[tuple[str, ...], float]:
    text = (await shown.client.get("/-/metrics")).text
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == upkeep.__name__]


async def _parked(shown: Shim, reason: str = "Thanks") -> None:
    """An adjustment that nobody can tell the outcome of."""
    await _YOTPO.adjust(shown.client, 7, reason, reason)
    assert [row["state"] for row in shown.intents(reason)] == ["parked"]


def test_what_is_not_settled_is_a_gauge_by_upstream_and_state_with_the_oldest_ones_age(
    tmp_path: Path, vendors: Mapping[str, Vendor], contracts: Mapping[str, Contract]
) -> None:
    async def told(server: RawServer) -> None:
        name = f"yotpo to mage at 127.0.0.1:{server.port}"
        async with shim(tmp_path, "mage", server.url, vendors, contracts, ("yotpo",)) as shown:
            await asyncio.sleep(0.2)
            first = await _samples(shown, "loyalty_gateway_unsettled_intents")
            await _parked(shown)
            shown.store.execute("UPDATE intents SET created_at = created_at - 3600000000")
            await asyncio.sleep(0.2)
            counts = await _samples(shown, "loyalty_gateway_unsettled_intents")
            ages = await _samples(shown, "loyalty_gateway_oldest_unsettled_intent_seconds")
            shown.store.execute("UPDATE intents SET state = 'done', settled_at = 1")
            await asyncio.sleep(0.2)
            last = await _samples(shown, "loyalty_gateway_oldest_unsettled_intent_seconds")

        states = ("open", "parked", "unclear", "waiting")
        assert first == {(state, name): 0 for state in states}
        assert counts == {(state, name): float(state == "parked") for state in states}
        assert list(ages) == [(name,)]
        assert 3_600 <= ages[name,] < 3_700
        assert last == {(name,): 0}

    with raw_server() as server:
        asyncio.run(told(server))


def test_a_gateway_says_at_its_start_which_intents_it_has_nobody_for(
    tmp_path: Path,
    vendors: Mapping[str, Vendor],
    contracts: Mapping[str, Contract],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    ports: list[int] = []

    async def told() -> list[str]:
        with raw_server() as server:
            async with shim(tmp_path, "mage", server.url, vendors, contracts, ("yotpo",)) as shown:
                await _parked(shown)
            ports.append(server.port)
        async with shim(tmp_path, "mage", f"http://127.0.0.1:{server.port}", vendors, contracts, ("yotpo",)):
            await asyncio.sleep(0.1)
        before = _told(caplog)
        async with shim(
            tmp_path, "mage", f"http://127.0.0.1:{closed_port()}", vendors, contracts, ("yotpo",)
        ) as shown:
            await asyncio.sleep(0.2)
            counts = await _samples(shown, "loyalty_gateway_unsettled_intents")
            assert counts["parked", f"yotpo to mage at 127.0.0.1:{ports[0]}"] == 1
        return before

    before = asyncio.run(told())

    (warning,) = _told(caplog)
    assert before == []
    assert warning.startswith(f"1 intents at the upstream `yotpo to mage at 127.0.0.1:{ports[0]}`, which is not")
    assert "ledger intents" in warning
    assert "ledger settle" in warning
    assert not any(secret in warning for secret in CREDENTIALS["mage"].values())


def test_where_nothing_is_due_nothing_is_written(
    tmp_path: Path, vendors: Mapping[str, Vendor], contracts: Mapping[str, Contract]
) -> None:
    async def groups() -> list[float]:
        url = f"http://127.0.0.1:{closed_port()}"
        async with shim(tmp_path, "mage", url, vendors, contracts, ("yotpo",)) as shown:
            told: list[float] = []
            for _ in range(2):
                told += (await _samples(shown, "loyalty_gateway_group_size_count")).values()
                await asyncio.sleep(0.3)
            return told

    before, after = asyncio.run(groups())

    assert before == after
