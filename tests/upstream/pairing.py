"""Every client dialect with every upstream, over sockets: one gateway plays the vendors, one shims to them."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec

from conftest import DEMO, Served, demo_config, serving
from dialects import Dialect
from loyalty_gateway.routing import Paths
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Answer, Request, Vendor
from stores import SqliteFile

JANE, OMAR = "bitbybit:cust_abc123", "bitbybit:cust_def456"
NADIA = {"shopify": "6789012347", "email": "nadia@example.com", "bitbybit": "cust_ghi789", "salla": "555555555"}
"""Whom the gateway behind alone knows, and only where Mage's clients ask."""


@dataclass(frozen=True)
class Upstream:
    """A vendor played by the gateway behind, by the fields of the credential that it is called with."""

    vendor: str
    fields: tuple[str, ...]
    base: str = ""

    def __str__(self) -> str:
        return f"{self.vendor} by {self.fields[0]}"

    @property
    def place(self) -> str:
        """The merchant of the gateway in front whose points are here."""
        return f"{self.vendor}-{self.fields[0]}".replace("_", "-")


UPSTREAMS = (
    Upstream("bitbybit", ("api_key",)),
    Upstream("mage", ("api_key",)),
    Upstream("yotpo", ("guid", "api_key")),
    Upstream("yotpo", ("app_key", "access_token")),
    Upstream("salla", ("bearer",), base="/admin/v2"),
    Upstream("loyaltylion", ("bearer",)),
)


def _full_credentials(vendor: str) -> list[dict[str, str]]:
    """The demo's credentials that may do everything."""
    return [
        {name: value for name, value in one.items() if name not in {"merchant", "scopes"}}
        for one in DEMO["vendors"][vendor]["credentials"]
        if not any("readonly" in str(value) for value in one.values())
    ]


_SECRETS = [value for vendor in DEMO["vendors"] for one in _full_credentials(vendor) for value in one.values()]


def _of_merchant(text: str, merchant: str) -> str:
    """The text with the demo's secrets made that merchant's."""
    for secret in _SECRETS:
        text = text.replace(secret, f"{secret}-{merchant}")
    return text


def _config(merchants: Mapping[str, Any]) -> dict[str, Any]:
    config = demo_config(merchants=merchants)
    for vendor, chosen in config["vendors"].items():
        chosen["credentials"] = [
            {"merchant": merchant} | {name: _of_merchant(value, merchant) for name, value in one.items()}
            for merchant in merchants
            for one in _full_credentials(vendor)
        ]
    return config


def behind(client: str, upstream: Upstream) -> str:
    """The merchant of the gateway behind whose points a pair moves, so that pairs do not meet."""
    return f"{client}-at-{upstream.place}"


def _known(*others: dict[str, str]) -> list[dict[str, Any]]:
    customers: list[dict[str, Any]] = json.loads(json.dumps(DEMO["merchants"]["demo"]["customers"]))
    return [*customers, *({"references": references} for references in others)]


@contextmanager
def both_served(folder: Path) -> Iterator[tuple[Served, Served]]:
    """The gateway in front and the one behind."""
    for name in ("behind", "front"):
        (folder / name).mkdir()
    clients = list(DEMO["vendors"])
    played = {
        behind(client, one): {"customers": _known(NADIA) if client == "mage" else _known()}
        for one in UPSTREAMS
        for client in clients
    }
    with ExitStack() as stack:
        back = stack.enter_context(serving(folder / "behind", _config(played)))
        shimmed = {
            one.place: {
                "customers": _known(),
                "backends": {client: {"upstream": _upstream(back.url, client, one)} for client in clients},
            }
            for one in UPSTREAMS
        }
        front = stack.enter_context(serving(folder / "front", _config(shimmed)))
        yield front, back


def _upstream(url: str, client: str, upstream: Upstream) -> dict[str, Any]:
    (credential,) = (one for one in _full_credentials(upstream.vendor) if set(one) == set(upstream.fields))
    merchant = behind(client, upstream)
    return {
        "vendor": upstream.vendor,
        "url": f"{url}/{upstream.vendor}{upstream.base}",
        "credentials": {name: _of_merchant(value, merchant) for name, value in credential.items()},
        "patience_seconds": 2,
    }


@dataclass(frozen=True)
class Pair:
    """A client of one vendor whose points are at an upstream."""

    client: str
    upstream: Upstream
    asking: httpx.Client
    arranging: httpx.Client
    ledger: SqliteFile
    conforms: Callable[[str, httpx.Response], list[str]]

    # What the client does.

    def adjust(self, dialect: Dialect, points: int, reason: str, key: str | None = None) -> httpx.Response:
        """One adjustment in the client's dialect."""
        body, headers = dialect.body(points, reason), dict(dialect.headers)
        if key is not None and dialect.key_in_body is None:
            headers["Idempotency-Key"] = key
        elif key is not None and dialect.key_in_body is not None:
            body[dialect.key_in_body] = key
        removing = getattr(dialect, "removing", dialect.path)
        return self.ask("POST", dialect.path if points > 0 else removing, headers, json=body)

    def ask(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> httpx.Response:
        """What the gateway in front answers to a request with the demo's credentials; it keeps the contract."""
        place = self.upstream.place
        answer = self.asking.request(
            method,
            _of_merchant(path, place),
            headers={name: _of_merchant(value, place) for name, value in headers.items()},
            **more,
        )
        assert self.conforms(self.client, answer) == [], answer.text
        return answer

    # What there is at the upstream.

    @property
    def merchant(self) -> str:
        return behind(self.client, self.upstream)

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows of the upstream's own ledger."""
        return self.ledger.rows(sql, parameters)

    def wallet(self, reference: str) -> dict[str, Any]:
        """The wallet of ``namespace:value`` there."""
        namespace, _, value = reference.partition(":")
        (wallet,) = self.rows(
            "SELECT w.* FROM wallets w JOIN customer_references r ON r.wallet_id = w.id "
            "JOIN merchants m ON m.id = r.merchant_id WHERE m.name = ? AND r.namespace = ? AND r.value = ?",
            self.merchant,
            namespace,
            value,
        )
        return wallet

    def points(self, reference: str = JANE) -> int:
        available: int = self.wallet(reference)["available"]
        return available

    def entries(self, reference: str = JANE) -> list[dict[str, Any]]:
        """The entries there, oldest first."""
        return self.rows("SELECT * FROM entries WHERE wallet_id = ? ORDER BY id", self.wallet(reference)["id"])

    def count(self) -> int:
        """How many entries the merchant has there."""
        (row,) = self.rows(
            "SELECT count(*) AS n FROM entries e JOIN merchants m ON m.id = e.merchant_id WHERE m.name = ?",
            self.merchant,
        )
        return int(row["n"])

    # What is arranged there, by another of the upstream's clients.

    def have(self, jane: int, omar: int = 0) -> None:
        """Makes these the points there."""
        for number, reference, points in ((748394059, JANE, jane), (873874834, OMAR, omar)):
            missing = points - self.points(reference)
            if missing:
                self.arrange(
                    "POST",
                    "/salla/admin/v2/customers/loyalty/points",
                    {"authorization": "Bearer demo-salla-token"},
                    json={
                        "points": abs(missing),
                        "type": "plus" if missing > 0 else "minus",
                        "reason": "arranged",
                        "channel_send": [],
                        "customers": [number],
                    },
                )

    def exclude(self, *, excluded: bool) -> None:
        """Has Jane excluded there, or not."""
        self.arrange(
            "PUT",
            "/mage/v1/customers/6789012345",
            {"authorization": "mage_demo_key"},
            json={"is_excluded": excluded},
        )

    def arrange(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> httpx.Response:
        """Asks the gateway behind for something, as another of its clients does."""
        answer = self.arranging.request(
            method,
            _of_merchant(path, self.merchant),
            headers={name: _of_merchant(value, self.merchant) for name, value in headers.items()},
            **more,
        )
        assert answer.is_success, answer.text
        return answer


def conforming(
    vendors: Mapping[str, Vendor], contracts: Mapping[str, Contract]
) -> Callable[[str, httpx.Response], list[str]]:
    """Gives what tells where an answer breaks the contract of a vendor."""
    paths = {
        name: Paths(contracts[name].operations.values(), vendor.path_aliases, name)
        for name, vendor in vendors.items()
    }

    def defects(client: str, answer: httpx.Response) -> list[str]:
        url = urlsplit(str(answer.request.url))
        match = paths[client].match(answer.request.method, url.path.removeprefix(f"/{client}"))
        request = Request(
            vendor=vendors[client],
            operation=None,
            method=answer.request.method,
            path_values=match.path_values,
            query=dict(parse_qsl(url.query)),
            headers=dict(answer.request.headers),
            options=None,
        )
        return [
            str(one) for one in contracts[client].operations[match.operation_id].defects(request, _told(answer))
        ]

    return defects


def _told(answer: httpx.Response) -> Answer:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    media_type = headers.get("content-type", "").partition(";")[0]
    if not answer.content:
        return Answer(answer.status_code, headers=headers)
    if media_type == "application/json":
        return Answer(answer.status_code, msgspec.json.decode(answer.content), headers)
    return Answer(answer.status_code, headers=headers, text=answer.text, media_type=media_type)


def lines(served: Served) -> list[dict[str, Any]]:
    """What the gateway's journal has, once it has ended."""
    return [json.loads(line) for line in served.log.read_text(encoding="utf-8").splitlines()]


def documented(dialect: Dialect, body: Mapping[str, Any]) -> Dialect:
    """The dialect with a body as the vendor documents it."""
    return replace(dialect, body=lambda _points, _reason: dict(body))
