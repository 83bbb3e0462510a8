"""The composition root: configuration in, ASGI application out; the only place that knows every part."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from loyalty_gateway.adjustment import CustomerReference, Merchant, Tier
from loyalty_gateway.admin_token import AdminToken
from loyalty_gateway.authentication import Authenticator, Credential
from loyalty_gateway.body import parse_json
from loyalty_gateway.browsers import Browsers
from loyalty_gateway.config import Config, MerchantConfig, VendorConfig
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.endpoint import Backend, Endpoint
from loyalty_gateway.journal import Journal
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.sqlite import SqliteLedger
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.mounts import Mount, Mounts
from loyalty_gateway.own_paths import Admin, OwnPaths
from loyalty_gateway.problem import Code, ConfigurationError, Problem
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.routing import Paths
from loyalty_gateway.spec import Contract, Document, load_document, specs_folder
from loyalty_gateway.testing.fault_layer import FaultLayer
from loyalty_gateway.testing.faults import Faults
from loyalty_gateway.testing.faults_api import FaultsApi
from loyalty_gateway.testing.received import Reading
from loyalty_gateway.traffic.recorder import Recorder
from loyalty_gateway.traffic.recordings import Recordings
from loyalty_gateway.traffic.traffic import Traffic, whose_exchanges
from loyalty_gateway.upstream.transport import Transport
from loyalty_gateway.upstream.upstreams import Upstreams, make_upstreams
from loyalty_gateway.vendor import Vendor
from loyalty_gateway.witness import Witness

_LOG = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


NewRateLimits = Callable[[Vendor, Mapping[str, tuple[int, int]]], RateLimits]


def create_app(  # noqa: PLR0913 - what may be given instead of the usual parts
    config: Config,
    vendors: Mapping[str, Vendor],
    *,
    specs: Path | None = None,
    journal: Journal | None = None,
    ledger: Ledger | None = None,
    contracts: Mapping[str, Contract] | None = None,
    transport: Transport | None = None,
    faults: Faults | None = None,
    new_rate_limits: NewRateLimits = RateLimits,
) -> Starlette:
    """The gateway as an ASGI application; its ledger opens and closes with the application's lifespan.

    Args:
        config: the checked configuration.
        vendors: the vendors by name; those that the configuration names are served.
        specs: the folder of the specs, by default the one shipped.
        journal: where request lines go, by default to standard output.
        ledger: a ledger to use instead of the configured one.
        contracts: contracts loaded before, by vendor; the others are loaded.
        transport: by which upstreams are called, instead of the one over sockets.
        faults: what is done wrong by order; by default nothing, unless the configuration is one for testing.
        new_rate_limits: makes the rate limits of a vendor, from it and its overrides.

    Raises:
        ConfigurationError: a spec, overlay, credential or path alias is wrong.
    """
    metrics = Metrics()
    journal = journal or Journal()
    journal.on_dropped = metrics.dropped
    ledger = ledger or open_ledger(config, metrics, alone=True, runs_jobs=True)
    merchants = {name: _merchant(name, chosen) for name, chosen in config.merchants.items()}
    known_contracts = dict(contracts or {})

    def contract_of(name: str) -> Contract:
        if name not in known_contracts:
            overlays = config.vendors[name].overlays if name in config.vendors else ()
            known_contracts[name] = _contract(vendors[name], overlays, specs)
        return known_contracts[name]

    upstreams = make_upstreams(
        config,
        vendors,
        contract_of=contract_of,
        ledger=ledger,
        merchants=merchants,
        metrics=metrics,
        transport=transport,
    )
    if faults is None and config.testing.faults:
        faults = Faults(vendors[name] for name in config.vendors)
    recorder = _recorder(config, vendors, contract_of, metrics)
    witness = Witness(metrics, journal, recorder)
    mounts = {
        name: _mount(
            _endpoint(
                vendors[name],
                chosen,
                contract=contract_of(name),
                config=config,
                merchants=merchants,
                backends={whose: upstreams.backends[name, whose] for whose in merchants},
                witness=witness,
                new_rate_limits=new_rate_limits,
            ),
            chosen,
            witness=witness,
            wrong=None if faults is None else _wrong(faults, vendors[name], chosen, contract_of(name), witness),
        )
        for name, chosen in config.vendors.items()
    }
    # The lifespan holds these and not the configuration, in which the credentials stand in plain text.
    customers = [
        (merchants[name], customer.customer_references())
        for name, chosen in config.merchants.items()
        for customer in chosen.customers
    ]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            await ledger.open()
            for merchant, references in customers:
                await _enrol(ledger, merchant, references)
            upstreams.start()
            if recorder is not None:
                recorder.start()
            yield
        finally:
            await upstreams.close()
            await ledger.close()
            if recorder is not None:
                recorder.close()
            journal.close()

    admin = AdminToken(config.admin.token)
    own: OwnPaths | FaultsApi = (paths := OwnPaths(ledger, metrics, witness, Admin(admin, recorder)))
    if faults is not None and config.testing.faults:
        own = FaultsApi(paths, faults, admin, witness)
    app = Starlette(lifespan=lifespan)
    # Starlette keeps lifespan and state; requests go straight to the vendors, past its router and middleware.
    app.build_middleware_stack = lambda: Mounts(mounts, own.handle, app.router)  # type: ignore[method-assign]
    return app


def upstreams_beside(config: Config, vendors: Mapping[str, Vendor], ledger: Ledger) -> Upstreams:
    """The upstreams for a command beside the gateway, which leaves it half of the vendors' rate limits."""

    def contract_of(name: str) -> Contract:
        overlays = config.vendors[name].overlays if name in config.vendors else ()
        return _contract(vendors[name], overlays, None)

    return make_upstreams(
        config,
        vendors,
        contract_of=lru_cache(contract_of),
        ledger=ledger,
        merchants={name: _merchant(name, chosen) for name, chosen in config.merchants.items()},
        metrics=Metrics(),
        rate_share=0.5,
    )


def open_ledger(
    config: Config,
    metrics: Metrics | None = None,
    *,
    alone: bool = False,
    runs_jobs: bool = False,
    clock: Callable[[], int] | None = None,
) -> Ledger:
    """The configured ledger, not yet opened; raises ConfigurationError for an unknown kind.

    ``alone`` is for whoever serves: of a ledger that one process can serve it is the only one to do so. ``clock``
    gives microseconds since the epoch, where they are others than the machine's.
    """
    kept: dict[str, Any] = {
        "keep_keys_seconds": config.idempotency.keep_hours * 3_600,
        "everyone_at_once": config.everyone_at_once,
        "runs_jobs": runs_jobs,
        "gauges": metrics,
    }
    if clock is not None:
        kept["clock"] = clock
    if config.ledger.startswith(_SQLITE) and config.ledger != _SQLITE:
        return SqliteLedger(config.ledger.removeprefix(_SQLITE), alone=alone, **kept)
    if config.ledger.startswith(_POSTGRES):
        return _postgres_ledger()(config.ledger, **kept)
    kind = config.ledger.partition(":")[0]
    raise ConfigurationError("ledger", f"must be {_SQLITE}FILE or postgresql://HOST/DATABASE, not {kind}:…")


def configured_merchant(config: Config, name: str) -> Merchant:
    """The merchant of that name; raises ConfigurationError where the configuration has none."""
    if name not in config.merchants:
        raise ConfigurationError(f"--merchant {name}", f"must be one of: {', '.join(config.merchants)}")
    return _merchant(name, config.merchants[name])


def _postgres_ledger() -> Callable[..., Ledger]:
    try:
        from loyalty_gateway.ledger.postgres import PostgresLedger  # noqa: PLC0415 - an extra, not always installed
    except ImportError as error:
        what = f"{error.name} is missing: python3 -m pip install 'loyalty-gateway[postgres]'"
        raise ConfigurationError("ledger: postgresql", what) from error
    return PostgresLedger


async def _enrol(ledger: Ledger, merchant: Merchant, references: tuple[CustomerReference, ...]) -> None:
    """Enrols a customer of the configuration; raises ConfigurationError where the ledger cannot be written."""
    try:
        await ledger.enrol(merchant, Enrolment(references=references))
    except Problem as problem:
        if problem.code is Code.CUSTOMER_CONFLICT:
            # A client may have given one of them to somebody else since; that is no reason to serve nobody.
            names = ", ".join(map(str, references))
            _LOG.warning("%s: %s belong to different customers already; left as they are", merchant.name, names)
            return
        what = f"cannot enrol {references[0]} of {merchant.name}: {problem.code.value}; is it in use elsewhere?"
        raise ConfigurationError("ledger", what) from problem


def _endpoint(  # noqa: PLR0913 - composing is naming every part
    vendor: Vendor,
    chosen: VendorConfig,
    *,
    contract: Contract,
    config: Config,
    merchants: Mapping[str, Merchant],
    backends: Mapping[str, Backend],
    witness: Witness,
    new_rate_limits: NewRateLimits,
) -> Endpoint:
    where = f"vendors.{vendor.name}"
    credentials = [
        Credential(
            where=f"{where}.credentials[{index}]",
            fields=credential.fields,
            merchant=merchants[credential.merchant],
            scopes=frozenset(vendor.scopes if credential.scopes is None else credential.scopes),
            networks=credential.networks,
        )
        for index, credential in enumerate(chosen.credentials)
    ]
    return Endpoint(
        vendor=vendor,
        options=chosen.options,
        contract=contract,
        paths=Paths(contract.operations.values(), chosen.path_aliases, where),
        authenticator=Authenticator(vendor, credentials),
        rate_limits=new_rate_limits(vendor, chosen.rate_limits) if config.server.rate_limits else None,
        backends=backends,
        witness=witness,
        largest_body=config.server.largest_body,
    )


def _mount(
    endpoint: Endpoint, chosen: VendorConfig, *, witness: Witness, wrong: Callable[[ASGIApp], ASGIApp] | None
) -> Mount:
    app: ASGIApp = endpoint.handle if wrong is None else wrong(endpoint.handle)
    return Mount(Browsers(app, chosen.cors_origins, witness) if chosen.cors_origins else app, chosen.hosts)


def _recorder(
    config: Config, vendors: Mapping[str, Vendor], contract_of: Callable[[str], Contract], metrics: Metrics
) -> Recorder | None:
    chosen = config.recording
    if not chosen.findings:
        return None
    recordings = Recordings(Path(chosen.folder), chosen.largest_bytes) if chosen.folder is not None else None
    contracts = {name: contract_of(name) for name in config.vendors}
    return Recorder(
        Traffic(whose_exchanges(vendors, contracts, config)),
        recordings,
        keeps_exchanges=chosen.exchanges,
        on_not_judged=metrics.not_judged,
    )


def _wrong(
    faults: Faults, vendor: Vendor, chosen: VendorConfig, contract: Contract, witness: Witness
) -> Callable[[ASGIApp], ASGIApp]:
    """What stands before the vendor's endpoint where faults can be ordered."""
    paths = Paths(contract.operations.values(), chosen.path_aliases, f"vendors.{vendor.name}")
    reading = Reading(vendor, chosen.options, paths)
    return partial(FaultLayer, reading=reading, contract=contract, faults=faults, witness=witness)


def _contract(vendor: Vendor, overlays: tuple[str, ...], specs: Path | None) -> Contract:
    # That the documents as shipped are valid is known before they are; `check` looks at them all the same.
    return load_contract(vendor, overlays, specs, checks=bool(overlays) or specs is not None)


def load_contract(
    vendor: Vendor, overlays: tuple[str, ...] = (), specs: Path | None = None, *, checks: bool = True
) -> Contract:
    """The vendor's compiled contract; raises ConfigurationError if spec and translator do not fit together.

    Args:
        vendor: whose contract it is.
        overlays: those of the configuration.
        specs: the folder of the specs, by default the one shipped.
        checks: whether the document is held against OpenAPI, as one must be that a configuration changes.
    """
    contract = Contract(_document(vendor, overlays, specs or specs_folder()), parse_json, checks=checks)
    described = set(contract.operations)
    translated = {operation.id for operation in vendor.operations}
    if described != translated:
        differing = ", ".join(sorted(described ^ translated))
        raise ConfigurationError(f"specs/{vendor.name}.yaml", f"spec and translator differ in: {differing}")
    for operation in contract.operations.values():
        for scheme in (scheme for needs in operation.requirements for scheme in needs.schemes):
            if scheme.name not in vendor.credential_fields:
                raise ConfigurationError(
                    f"specs/{vendor.name}.yaml", f"the translator knows no field for the scheme {scheme.name}"
                )
    return contract


def _document(vendor: Vendor, overlays: tuple[str, ...], specs: Path) -> Document:
    try:
        return load_document(vendor.name, specs, overlays)
    except ConfigurationError as error:
        for index, overlay in enumerate(overlays):
            if error.where == str(Path(overlay)):
                where = f"vendors.{vendor.name}.overlays[{index}]"
                raise ConfigurationError(where, f"{overlay}: {error.what}") from error
        raise


def _merchant(name: str, chosen: MerchantConfig) -> Merchant:
    return Merchant(
        name=name,
        enrols_unknown_customers=chosen.unknown_customers == "enrol",
        tiers=tuple(Tier(name=tier.name, points_required=tier.points_required) for tier in chosen.tiers),
    )
