"""What a page of a history costs at its beginning and at its end: ``python benchmarks/page_cost.py``.

One customer with 100,000 entries, asked through a served gateway by each vendor's own paging. The ratio of the two
medians is what counts.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import yaml

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Lifetime, Merchant
from loyalty_gateway.customer import CustomerQuery, Enrolment, History, HistoryQuery
from loyalty_gateway.ledger.sqlite import SqliteLedger

_ROOT = Path(__file__).parents[1]
_ENTRIES = 100_000
_ROUNDS = 300
_LION = {"authorization": "Bearer pat_demo"}
_JANE = (
    CustomerReference("shopify", "6789012345"),
    CustomerReference("email", "jane@example.com"),
    CustomerReference("bitbybit", "cust_abc123"),
    CustomerReference("salla", "748394059"),
)


def main() -> None:
    """Prints a table of milliseconds for the first and the last page, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = asyncio.run(_written(folder / "ledger.db"))
        config = yaml.safe_load((_ROOT / "config.yaml").read_text(encoding="utf-8"))
        config["ledger"] = f"sqlite:///{folder / 'ledger.db'}"
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [sys.executable, "-m", "loyalty_gateway", "serve", "--config", str(folder / "config.yaml")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*command, "--port", "0", "--no-rate-limits"], stdout=log, stderr=subprocess.PIPE, text=True
            )
            try:
                assert server.stderr is not None
                _compare(server.stderr.readline().split()[-1], history)
            finally:
                server.terminate()
                server.wait()


async def _written(path: Path) -> History:
    """The oldest entries of a history of 100,000, every fifth of them a deduction."""
    ledger = SqliteLedger(str(path))
    await ledger.open()
    merchant = Merchant(name="demo")
    await ledger.enrol(merchant, Enrolment(references=_JANE))
    for start in range(0, _ENTRIES, 5_000):
        await asyncio.gather(
            *(
                ledger.adjust(
                    Instruction(
                        merchant=merchant,
                        vendor="mage",
                        adjustment=Adjustment(
                            customers=_JANE[:1],
                            points_delta=-3 if number % 5 == 4 else 5,
                            lifetime=Lifetime.EARN_AND_BURN,
                        ),
                    )
                )
                for number in range(start, start + 5_000)
            )
        )
    oldest = await ledger.history(merchant, HistoryQuery(customer=_JANE[0], limit=30, newest_first=False))
    assert (await ledger.customer(merchant, CustomerQuery(references=_JANE))).wallet.version == _ENTRIES
    await ledger.close()
    return oldest


def _compare(url: str, oldest: History) -> None:
    wallet = oldest.customers[1].wallet
    last = oldest.entries[-1]
    before = f"{datetime.fromtimestamp(last.occurred_at / 1e6, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    bitbybit = "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/history?limit=20"
    mage = "/mage/v1/customers/6789012345/earning-history?page[size]=20&page[number]="
    salla = "/salla/admin/v2/customers/loyalty/points?customer_id=748394059&page="
    lion = "/loyaltylion/v2/customers/6789012345/transactions?limit=20"
    everyone = "/loyaltylion/v2/transactions?limit=20"
    rows: list[tuple[str, Mapping[str, str], str, str]] = [
        ("bitbybit, before", {"x-api-key": "bbb_test_demo"}, bitbybit, f"{bitbybit}&before={before}"),
        ("Mage, page number", {"authorization": "mage_demo_key"}, f"{mage}1", f"{mage}{_ENTRIES // 20}"),
        (
            "Salla, page number",
            {"authorization": "Bearer demo-salla-token"},
            f"{salla}1",
            f"{salla}{wallet.grants // 30}",
        ),
    ]
    with httpx2.Client(base_url=url) as client:
        for name, first in (("LoyaltyLion, cursor", lion), ("LoyaltyLion, everyone", everyone)):
            rows.append((name, _LION, first, f"{first}&cursor={_last_cursor(client, first)}"))
        print(f"{'paging':<24}{'first ms':>10}{'last ms':>10}{'ratio':>8}")
        for name, headers, first, end in rows:
            times = {path: _median(client, headers, path) for path in (first, end)}
            print(f"{name:<24}{times[first]:>10.3f}{times[end]:>10.3f}{times[end] / times[first]:>8.2f}")


def _last_cursor(client: httpx2.Client, first: str) -> str:
    """The cursor behind which the last entries stand, walked to in the largest pages there are."""
    path, cursor = first.partition("?")[0] + "?limit=500", None
    for _ in range(_ENTRIES // 500 - 1):
        query = path if cursor is None else f"{path}&cursor={cursor}"
        cursor = client.get(query, headers=_LION).raise_for_status().json()["cursor"]["next"]
    assert isinstance(cursor, str)
    return cursor


def _median(client: httpx2.Client, headers: Mapping[str, str], path: str) -> float:
    """Milliseconds."""
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        answer = client.get(path, headers=headers)
        times.append((time.perf_counter() - started) * 1_000)
        assert answer.status_code == 200, answer.text
    return statistics.median(times)


if __name__ == "__main__":
    main()
