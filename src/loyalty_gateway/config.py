"""``config.yaml`` as frozen values; whatever is wrong in it is named by its path, at start."""

import os
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    OWN_NAMESPACE,
    CustomerReference,
    customer_reference,
)
from loyalty_gateway.backend_config import (
    BackendConfig,
    EngineConfig,
    MigrationConfig,
    parse_backend,
    parse_own_backend,
    parse_rate,
)
from loyalty_gateway.given import Given, read_yaml_file
from loyalty_gateway.vendor import Vendor

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+")
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
LARGEST_PORT: Final = 65_535
_SHORTEST_TOKEN: Final = 16
_SMALLEST_RECORDING: Final = 1_000_000
_LONGEST_KEEP_HOURS: Final = 24 * 366


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how to listen. ``largest_body`` is in bytes.

    ``trusted_proxies`` are the addresses and networks whose X-Forwarded-For is believed.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_PORT)] = 8000
    largest_body: AtLeastOne = 1_048_576
    rate_limits: bool = True
    trusted_proxies: tuple[str, ...] = ()


class IdempotencyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an idempotency key is remembered: up to a year."""

    keep_hours: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_KEEP_HOURS)] = 24


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose bearer token may ask below ``/-/admin/``; without one nobody may."""

    token: Annotated[str, msgspec.Meta(min_length=_SHORTEST_TOKEN)] | None = None


class RecordingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of the traffic: ``findings`` in memory, and on disk where there is a ``folder``.

    ``exchanges`` keeps redacted exchanges in the folder too; all its files together have ``largest_bytes``.
    """

    findings: bool = True
    folder: str | None = None
    exchanges: bool = False
    largest_bytes: Annotated[int, msgspec.Meta(ge=_SMALLEST_RECORDING)] = 100_000_000


class TestingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For a gateway against which clients are tested: whether whoever has ``admin.token`` may order ``faults``."""

    __test__ = False  # pytest takes whatever is called so for tests

    faults: bool = False


class CustomerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer that is enrolled at start when absent."""

    references: dict[str, str | int]

    def customer_references(self) -> tuple[CustomerReference, ...]:
        """The references in their canonical form."""
        return tuple(customer_reference(name, str(value)) for name, value in self.references.items())


class TierConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VIP tier: reached with ``points_required`` lifetime points."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    points_required: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_POINTS)]


class MerchantConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shop: what happens to customers nobody enrolled, its tiers, its customers at start.

    ``backends`` has those of vendors whose backend is another one for this merchant.
    """

    unknown_customers: Literal["refuse", "enrol"] = "refuse"
    tiers: tuple[TierConfig, ...] = ()
    customers: tuple[CustomerConfig, ...] = ()
    backends: dict[str, Any] = {}


class CredentialConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A credential: the merchant it acts for, its secret fields, what it may do and from where."""

    merchant: str
    fields: Mapping[str, str]
    scopes: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()


class VendorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one vendor is served; ``rate_limits`` give (requests, seconds) by the limit's name.

    ``backends`` are those of merchants who have another one than ``backend``.
    """

    credentials: tuple[CredentialConfig, ...]
    backend: BackendConfig
    backends: Mapping[str, BackendConfig]
    options: Any
    rate_limits: dict[str, tuple[int, int]]
    hosts: tuple[str, ...]
    path_aliases: Mapping[str, str]
    cors_origins: tuple[str, ...]
    overlays: tuple[str, ...]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration, checked. ``everyone_at_once`` is how many wallets are adjusted before an answer.

    With ``testing.faults``, faults can be ordered.
    """

    server: ServerConfig
    ledger: str
    everyone_at_once: int
    idempotency: IdempotencyConfig
    admin: AdminConfig
    recording: RecordingConfig
    merchants: dict[str, MerchantConfig]
    vendors: dict[str, VendorConfig]
    testing: TestingConfig = TestingConfig()


class _VendorKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    credentials: tuple[dict[str, Any], ...] = ()
    backend: Any = "engine"
    options: dict[str, Any] = {}
    rate_limits: dict[str, str] = {}
    hosts: tuple[str, ...] | None = None
    path_aliases: dict[str, str] = {}
    cors_origins: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()


class _CredentialKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    merchant: str
    scopes: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()


class _Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: ServerConfig = ServerConfig()
    ledger: str = "sqlite:///loyalty.db"
    everyone_at_once: AtLeastOne = 10_000
    idempotency: IdempotencyConfig = IdempotencyConfig()
    admin: AdminConfig = AdminConfig()
    recording: RecordingConfig = RecordingConfig()
    merchants: dict[str, Any] = {}
    vendors: dict[str, Any] = {}
    testing: TestingConfig = TestingConfig()


def load_config(path: Path, vendors: Mapping[str, Vendor], environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration of the file, with ``${VARIABLE}`` replaced from the environment.

    Args:
        path: a YAML file.
        vendors: the vendors there are; each reads its own options.
        environment: where variables are looked up.

    Raises:
        ConfigurationError: told with the path of the bad key, or the variable that is not set.
    """
    return parse_config(read_yaml_file(path), vendors, environment, where=path.name)


def parse_config(
    raw: Any, vendors: Mapping[str, Vendor], environment: Mapping[str, str], *, where: str = "config"
) -> Config:
    """The configuration given as plain values; see ``load_config``."""
    given = Given(where, environment)
    keys = given.convert(given.expanded(raw if raw is not None else {}), _Keys, "")
    for name in keys.vendors:
        if name not in vendors:
            raise given.error(f"vendors.{name}", f"no such vendor; there are {_listed(vendors)}")
    _check_networks(keys.server.trusted_proxies, given, "server.trusted_proxies")
    if keys.recording.exchanges and not (keys.recording.findings and keys.recording.folder):
        raise given.error("recording.exchanges", "needs a recording.folder, and recording.findings")
    if keys.testing.faults and keys.admin.token is None:
        raise given.error("testing.faults", "needs an admin.token, without which nobody could order any")
    merchants = {
        name: given.convert(chosen, MerchantConfig, f"merchants.{name}") for name, chosen in keys.merchants.items()
    }
    for name, merchant in merchants.items():
        check_tiers(merchant.tiers, given, f"merchants.{name}.tiers")
        check_customers(merchant.customers, given, f"merchants.{name}.customers")
        for served in merchant.backends:
            if served not in keys.vendors:
                what = f"no such vendor is served; there are {_listed(keys.vendors) or 'none'}"
                raise given.error(f"merchants.{name}.backends.{served}", what)
    config = Config(
        server=keys.server,
        ledger=keys.ledger,
        everyone_at_once=keys.everyone_at_once,
        idempotency=keys.idempotency,
        admin=keys.admin,
        recording=keys.recording,
        merchants=merchants,
        vendors={
            name: _vendor_config(
                vendors[name],
                given.convert(chosen, _VendorKeys, f"vendors.{name}"),
                keys,
                given,
                vendors=vendors,
                merchants=merchants,
            )
            for name, chosen in keys.vendors.items()
        },
        testing=keys.testing,
    )
    for name in merchants:
        _check_moves(name, config, given)
    return config


def _check_moves(merchant: str, config: Config, given: Given) -> None:
    """Two old servers have two balances, which one wallet here cannot both be."""
    moving = [
        vendor
        for vendor, chosen in config.vendors.items()
        if isinstance(backend := chosen.backends.get(merchant), MigrationConfig)
        and isinstance(backend.new, EngineConfig)
    ]
    if len(moving) > 1:
        what = f"{merchant} moves from {moving[0]} to engine already; finish that first"
        raise given.error(f"merchants.{merchant}.backends.{moving[1]}.migration.new", what)


def _vendor_config(  # noqa: PLR0913 - all that is chosen somewhere
    vendor: Vendor,
    chosen: _VendorKeys,
    keys: _Keys,
    given: Given,
    *,
    vendors: Mapping[str, Vendor],
    merchants: Mapping[str, MerchantConfig],
) -> VendorConfig:
    path = f"vendors.{vendor.name}"
    limits = {limit.name for operation in vendor.operations for limit in operation.rate_limits}
    for name in chosen.rate_limits:
        if name not in limits:
            raise given.error(f"{path}.rate_limits.{name}", f"no such limit; there are {_listed(limits)}")
    origins = tuple(origin.lower() for origin in chosen.cors_origins)
    for index, origin in enumerate(origins):
        if _ORIGIN.fullmatch(origin) is None:
            what = "must read like https://shop.example.com, without a path, or be *"
            raise given.error(f"{path}.cors_origins[{index}]", what)
    return VendorConfig(
        credentials=tuple(
            _credential(vendor, raw, keys, given, f"{path}.credentials[{index}]")
            for index, raw in enumerate(chosen.credentials)
        ),
        backend=parse_backend(chosen.backend, vendors, given, f"{path}.backend"),
        backends={
            whose: parse_own_backend(
                merchant.backends[vendor.name],
                vendor.name,
                vendors,
                given,
                f"merchants.{whose}.backends.{vendor.name}",
            )
            for whose, merchant in merchants.items()
            if vendor.name in merchant.backends
        },
        options=given.convert(chosen.options, vendor.options, f"{path}.options"),
        rate_limits={
            name: parse_rate(rate, given, f"{path}.rate_limits.{name}")
            for name, rate in chosen.rate_limits.items()
        },
        hosts=vendor.hosts if chosen.hosts is None else tuple(host.lower() for host in chosen.hosts),
        path_aliases={**vendor.path_aliases, **chosen.path_aliases},
        cors_origins=origins,
        overlays=chosen.overlays,
    )


def _credential(vendor: Vendor, raw: dict[str, Any], keys: _Keys, given: Given, path: str) -> CredentialConfig:
    ours = _CredentialKeys.__struct_fields__
    theirs = {name for form in vendor.credential_forms for name in form}
    for name in raw:
        if name not in theirs and name not in ours:
            forms = " or ".join(" + ".join(form) for form in vendor.credential_forms)
            what = f"no such key; a credential of {vendor.name} is {forms}, with {', '.join(ours)} beside it"
            raise given.error(f"{path}.{name}", what)
    chosen = given.convert({name: raw[name] for name in ours if name in raw}, _CredentialKeys, path)
    if chosen.merchant not in keys.merchants:
        known = _listed(keys.merchants) or "none"
        raise given.error(f"{path}.merchant", f"names no merchant; there are {known}")
    for index, scope in enumerate(chosen.scopes or ()):
        if scope not in vendor.scopes:
            raise given.error(f"{path}.scopes[{index}]", f"no such scope; there are {_listed(vendor.scopes)}")
    _check_networks(chosen.networks, given, f"{path}.networks")
    fields = {name: value for name, value in raw.items() if name in theirs}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise given.error(f"{path}.{name}", "must be a string; put it in quotes")
        if not value.strip():
            raise given.error(f"{path}.{name}", "must not be empty")
    return CredentialConfig(
        merchant=chosen.merchant,
        fields=fields,
        scopes=chosen.scopes,
        networks=chosen.networks,
    )


def check_tiers(tiers: Iterable[TierConfig], given: Given, path: str) -> None:
    """Raises ConfigurationError for tiers that do not ascend."""
    thresholds = [tier.points_required for tier in tiers]
    if thresholds != sorted(set(thresholds)):
        raise given.error(path, "must ascend by points_required")


def check_customers(customers: Iterable[CustomerConfig], given: Given, path: str) -> None:
    """Raises ConfigurationError for references that are none, or another customer's."""
    seen: dict[CustomerReference, int] = {}
    for index, customer in enumerate(customers):
        place = f"{path}[{index}].references"
        if not customer.references:
            raise given.error(place, "a customer needs at least one reference")
        for reference in customer.customer_references():
            where = f"{place}.{reference.namespace}"
            if reference.namespace == OWN_NAMESPACE:
                raise given.error(where, f"{OWN_NAMESPACE} is the ledger's own namespace")
            if not reference.value.strip():
                raise given.error(where, "must not be empty")
            if reference in seen:
                raise given.error(where, f"{reference} is already customers[{seen[reference]}]")
            seen[reference] = index


def _check_networks(networks: Iterable[str], given: Given, path: str) -> None:
    for index, network in enumerate(networks):
        try:
            ip_network(network)
        except ValueError as error:
            raise given.error(f"{path}[{index}]", str(error)) from error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
