"""A gateway of a test: its own ledger, clock and faults, in a thread beside whoever asks it."""

import io
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from anyio.from_thread import BlockingPortal
from starlette.types import ASGIApp, Receive, Scope, Send

from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    CustomerReference,
    Entry,
    Everyone,
    Merchant,
    Wallet,
    customer_reference,
)
from loyalty_gateway.app import configured_merchant, create_app, load_contract, open_ledger
from loyalty_gateway.config import Config
from loyalty_gateway.customer import CustomerQuery, CustomerUpdate, HistoryQuery
from loyalty_gateway.journal import Journal
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.importing import Batch, Newcomer, Reject, take
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.spec import Contract
from loyalty_gateway.testing.clock import Clock
from loyalty_gateway.testing.configuration import known_vendors
from loyalty_gateway.testing.faults import Faults
from loyalty_gateway.testing.received import ReceivedRequest
from loyalty_gateway.testing.seeds import SeedCustomer, Seeds, earned, load_seeds
from loyalty_gateway.upstream.credentials import presented
from loyalty_gateway.vendor import Vendor

_SQLITE = "sqlite:///"
_BATCH = Batch("seeds", "")


class Gateway:
    """A gateway that is open from ``start`` to ``stop``, itself an ASGI application.

    Its methods are called from any thread but the portal's, in which everything runs. Customers are named by
    their references: ``wallet(shopify="1001")``.

    Args:
        portal: the event loop, in a thread of its own.
        config: as ``read_config`` gives it.
        folder: an empty one, for the ledger.
        seeds: who is there at start.
    """

    def __init__(self, portal: BlockingPortal, config: Config, folder: Path, seeds: Seeds = Seeds()) -> None:  # noqa: B008 - frozen
        self._portal = portal
        self._vendors = known_vendors()
        self._file = folder / "ledger.db"
        self._seeds = seeds
        self._config = msgspec.structs.replace(config, ledger=f"{_SQLITE}{self._file}")
        self._rate_limits: dict[str, RateLimits] = {}
        self._stack = AsyncExitStack()
        self._ledger: Ledger | None = None
        self._app: ASGIApp | None = None
        self.clock = Clock()
        self.requests: list[ReceivedRequest] = []
        self.faults = Faults([self._vendors[name] for name in config.vendors], self.clock.now)
        self.faults.on_request = self.requests.append
        self.base_url = ""

    @property
    def vendors(self) -> tuple[str, ...]:
        """The vendors that are served, by name."""
        return tuple(self._config.vendors)

    def start(self) -> None:
        """Opens the gateway; raises ConfigurationError."""
        self._portal.call(self._open)
        for customer in self._seeds.customers:
            self._seed(customer)

    def stop(self) -> None:
        """Closes it; requests from here on are an error."""
        self._portal.call(self._close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if self._app is None:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"the gateway of this test is closed\n"})
            return
        await self._app(scope, receive, send)

    def url(self, vendor: str | None = None) -> str:
        """What stands before the paths of the vendor's document; the vendor is needed where there are several."""
        name = self._named(vendor)
        return f"{self.base_url}/{name}{urlsplit(self._server_url(name)).path}"

    def credentials(self, vendor: str | None = None, *fields: str) -> dict[str, str]:
        """The fields of the vendor's first credential, or of the first one that has these fields."""
        name = self._named(vendor)
        for credential in self._config.vendors[name].credentials:
            if set(fields) <= set(credential.fields):
                return dict(credential.fields)
        raise ConfigurationError(f"vendors.{name}.credentials", f"none has {', '.join(fields) or 'any field'}")

    def headers(self, vendor: str | None = None) -> dict[str, str]:
        """The vendor's first credential as the headers that a client sends."""
        name = self._named(vendor)
        known, contract = self._vendors[name], _contract(name)
        fields = self.credentials(name)
        for operation in known.operations:
            sent = presented(known, operation, contract.operations[operation.id], fields)
            if sent is not None and sent.headers:
                return dict(sent.headers)
        raise ConfigurationError(f"vendors.{name}.credentials", "the first one travels in no header")

    def enrol(self, *, points: int = 0, merchant: str | None = None, **references: str) -> Wallet:
        """A new customer with these references and points, who has earned as many so far."""
        self._seed(SeedCustomer(references=dict(references), points=points), merchant)
        return self.wallet(merchant=merchant, **references)

    def seed(self, path: Path | str) -> None:
        """The customers of a file, beside those there are; its tiers only count where it is given at start."""
        seeds = load_seeds(Path(path))
        if seeds.tiers:
            raise ConfigurationError(f"{path}: tiers", "can only be given at start, as seeds=…")
        for customer in seeds.customers:
            self._seed(customer)

    def wallet(self, *, merchant: str | None = None, **references: str) -> Wallet:
        """The wallet of the customer with one of these references; raises Problem UNKNOWN_CUSTOMER."""
        query = CustomerQuery(references=_references(references))
        return self._portal.call(self._open_ledger.customer, self._merchant(merchant), query).wallet

    def entries(self, *, merchant: str | None = None, **references: str) -> tuple[Entry, ...]:
        """All entries of the customer with one of these references, or of everyone, oldest first.

        Raises Problem UNKNOWN_CUSTOMER.
        """
        whose: CustomerReference | Everyone = Everyone.EVERYONE
        if references:
            whose = CustomerReference(OWN_NAMESPACE, str(self.wallet(merchant=merchant, **references).id))
        query = HistoryQuery(customer=whose, limit=None, newest_first=False)
        return self._portal.call(self._open_ledger.history, self._merchant(merchant), query).entries

    def snapshot(self) -> bytes:
        """The ledger as it stands."""
        with closing(sqlite3.connect(self._file)) as db:
            return db.serialize()

    def restore(self, snapshot: bytes) -> None:
        """Takes the ledger back to a snapshot; clock, faults and the counts of rate limits stay as they are.

        Raises ValueError for what is no snapshot, and leaves everything as it is then.
        """
        with tempfile.TemporaryDirectory(dir=self._file.parent) as folder:
            file = Path(folder) / self._file.name
            file.write_bytes(snapshot)
            self._check_snapshot(file)
            self.stop()
            # What was written ahead belongs to the ledger that goes.
            for beside in ("-wal", "-shm"):
                self._file.with_name(f"{self._file.name}{beside}").unlink(missing_ok=True)
            file.replace(self._file)
        self._portal.call(self._open)

    def _check_snapshot(self, file: Path) -> None:
        """Opens it as a ledger, once all of it is known to be there; raises ValueError."""
        try:
            with closing(sqlite3.connect(file)) as db:
                faults = db.execute("PRAGMA quick_check(1)").fetchall()
                db.execute("SELECT 1 FROM wallets LIMIT 1")
            if faults != [("ok",)]:
                raise ValueError(f"no snapshot of a ledger: {faults[0][0]}")
            copy = msgspec.structs.replace(self._config, ledger=f"{_SQLITE}{file}")
            self._portal.call(_try, open_ledger(copy))
        except (sqlite3.Error, ConfigurationError) as error:
            raise ValueError(f"no snapshot of a ledger: {error}") from error

    async def _open(self) -> None:
        ledger = open_ledger(self._config, alone=True, runs_jobs=True, clock=self.clock.microseconds)
        app = create_app(
            self._config,
            self._vendors,
            journal=Journal(io.BytesIO()),
            ledger=ledger,
            contracts={
                name: _contract(name) for name, chosen in self._config.vendors.items() if not chosen.overlays
            },
            faults=self.faults,
            new_rate_limits=self._new_rate_limits,
        )
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        self._ledger, self._app = ledger, app

    async def _close(self) -> None:
        self._ledger, self._app = None, None
        await self._stack.aclose()

    def _new_rate_limits(self, vendor: Vendor, overrides: Mapping[str, tuple[int, int]]) -> RateLimits:
        """Those that there are already, for what was counted before the ledger was restored."""
        return self._rate_limits.setdefault(vendor.name, RateLimits(vendor, overrides, self.clock.now))

    @property
    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            raise RuntimeError("the gateway of this test is closed")
        return self._ledger

    def _seed(self, customer: SeedCustomer, merchant: str | None = None) -> None:
        references = customer.customer_references()
        if not references:
            raise ConfigurationError("customer", "needs at least one reference, such as email='jane@example.com'")
        whose = self._merchant(merchant)
        newcomer = Newcomer(
            line=1,
            references=references,
            available=customer.points,
            earned=earned(customer, whose.tiers),
            burned=customer.lifetime_burned,
            first_name=customer.first_name,
            last_name=customer.last_name,
        )
        rejects: tuple[Reject, ...] = self._portal.call(self._open_ledger.change, whose, _taken(whose, newcomer))
        for reject in rejects:
            raise ConfigurationError(f"customer {references[0]}", reject.reason)
        if customer.excluded:
            update = CustomerUpdate(customer=references[0], changes={}, excluded=True)
            self._portal.call(self._open_ledger.update, whose, update)

    def _merchant(self, name: str | None) -> Merchant:
        return configured_merchant(self._config, next(iter(self._config.merchants)) if name is None else name)

    def _named(self, vendor: str | None) -> str:
        if vendor is None and len(self.vendors) == 1:
            return self.vendors[0]
        if vendor not in self.vendors:
            raise ConfigurationError("vendor", f"must be one of: {', '.join(self.vendors)}")
        return vendor

    def _server_url(self, vendor: str) -> str:
        return next(iter(_contract(vendor).operations.values())).server_url


def _references(named: Mapping[str, str]) -> tuple[CustomerReference, ...]:
    return tuple(customer_reference(namespace, str(value)) for namespace, value in named.items())


async def _try(ledger: Ledger) -> None:
    try:
        await ledger.open()
    finally:
        await ledger.close()


def _taken(merchant: Merchant, newcomer: Newcomer) -> Any:
    def work(dialect: Any, merchant_id: int, now: int) -> Any:
        return take(dialect, merchant, merchant_id, _BATCH, [newcomer], lines=1, now=now)

    return work


@cache
def _contract(name: str) -> Contract:
    return load_contract(known_vendors()[name], checks=False)
