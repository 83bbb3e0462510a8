"""``config.yaml`` as frozen values; whatever is wrong in it is named by its path, at start."""

import os
import re
from collections.abc import Hashable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import yaml

from loyalty_gateway.adjustment import CustomerReference, Tier, customer_reference
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Vendor

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_RATE = re.compile(r"(\d+)\s*/\s*(\d+)\s*s")
T = TypeVar("T")
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
_LONGEST_KEEP_HOURS: Final = 24 * 366
_NOT_FIELDS = ("merchant", "scopes", "networks")


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how to listen. ``largest_body`` is in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8000
    largest_body: AtLeastOne = 1_048_576
    rate_limits: bool = True


class IdempotencyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an idempotency key is remembered: up to a year."""

    keep_hours: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_KEEP_HOURS)] = 24


class CustomerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer that is enrolled at start when absent."""

    references: dict[str, str | int]

    def customer_references(self) -> tuple[CustomerReference, ...]:
        """The references in their canonical form."""
        return tuple(customer_reference(name, str(value)) for name, value in self.references.items())


class MerchantConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shop: what happens to customers nobody enrolled, its tiers, its customers at start."""

    unknown_customers: Literal["refuse", "enrol"] = "refuse"
    tiers: tuple[Tier, ...] = ()
    customers: tuple[CustomerConfig, ...] = ()


class CredentialConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A credential: the merchant it acts for, its secret fields, what it may do and from where."""

    merchant: str
    fields: Mapping[str, str]
    scopes: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()


class VendorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one vendor is served; ``rate_limits`` give (requests, seconds) by the limit's name."""

    credentials: tuple[CredentialConfig, ...]
    options: Any
    rate_limits: dict[str, tuple[int, int]]
    hosts: tuple[str, ...]
    path_aliases: Mapping[str, str]
    cors_origins: tuple[str, ...]
    overlays: tuple[str, ...]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration, checked. ``everyone_at_most`` is the most wallets adjusted by one request."""

    server: ServerConfig
    ledger: str
    everyone_at_most: int
    idempotency: IdempotencyConfig
    merchants: dict[str, MerchantConfig]
    vendors: dict[str, VendorConfig]


class _VendorKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    credentials: tuple[dict[str, Any], ...] = ()
    backend: Literal["engine"] = "engine"
    options: dict[str, Any] = {}
    rate_limits: dict[str, str] = {}
    hosts: tuple[str, ...] | None = None
    path_aliases: dict[str, str] = {}
    cors_origins: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()


class _Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: ServerConfig = ServerConfig()
    ledger: str = "sqlite:///loyalty.db"
    everyone_at_most: AtLeastOne = 100_000
    idempotency: IdempotencyConfig = IdempotencyConfig()
    merchants: dict[str, Any] = {}
    vendors: dict[str, Any] = {}


def load_config(path: Path, vendors: Mapping[str, Vendor], environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration of the file, with ``${VARIABLE}`` replaced from the environment.

    Args:
        path: a YAML file.
        vendors: the vendors there are; each reads its own options.
        environment: where variables are looked up.

    Raises:
        ConfigurationError: told with the path of the bad key, or the variable that is not set.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), f"is not YAML: {error}") from error
    return parse_config(raw, vendors, environment, where=path.name)


def parse_config(
    raw: Any, vendors: Mapping[str, Vendor], environment: Mapping[str, str], *, where: str = "config"
) -> Config:
    """The configuration given as plain values; see ``load_config``."""
    keys = _convert(_expand(raw if raw is not None else {}, environment, where, ""), _Keys, where, "")
    for name in keys.vendors:
        if name not in vendors:
            known = ", ".join(sorted(vendors))
            raise ConfigurationError(f"{where}: vendors.{name}", f"no such vendor; there are {known}")
    merchants = {
        name: _convert(given, MerchantConfig, where, f"merchants.{name}") for name, given in keys.merchants.items()
    }
    _check_merchants(merchants, where)
    return Config(
        server=keys.server,
        ledger=keys.ledger,
        everyone_at_most=keys.everyone_at_most,
        idempotency=keys.idempotency,
        merchants=merchants,
        vendors={name: _vendor_config(vendors[name], given, keys, where) for name, given in keys.vendors.items()},
    )


def _vendor_config(vendor: Vendor, given: Any, keys: _Keys, where: str) -> VendorConfig:
    path = f"vendors.{vendor.name}"
    chosen = _convert(given, _VendorKeys, where, path)
    limits = {limit.name for operation in vendor.operations for limit in operation.rate_limits}
    for name in chosen.rate_limits:
        if name not in limits:
            known = ", ".join(sorted(limits))
            raise ConfigurationError(f"{where}: {path}.rate_limits.{name}", f"no such limit; there are {known}")
    return VendorConfig(
        credentials=tuple(
            _credential(raw, keys, f"{where}: {path}.credentials[{index}]")
            for index, raw in enumerate(chosen.credentials)
        ),
        options=_convert(chosen.options, vendor.options, where, f"{path}.options"),
        rate_limits={
            name: _rate(rate, f"{where}: {path}.rate_limits.{name}") for name, rate in chosen.rate_limits.items()
        },
        hosts=vendor.hosts if chosen.hosts is None else tuple(host.lower() for host in chosen.hosts),
        path_aliases={**vendor.path_aliases, **chosen.path_aliases},
        cors_origins=chosen.cors_origins,
        overlays=chosen.overlays,
    )


def _credential(raw: dict[str, Any], keys: _Keys, where: str) -> CredentialConfig:
    merchant = raw.get("merchant")
    if merchant not in keys.merchants:
        known = ", ".join(sorted(keys.merchants)) or "none"
        raise ConfigurationError(f"{where}.merchant", f"names no merchant; there are {known}")
    scopes = raw.get("scopes")
    networks = raw.get("networks", [])
    for key, value in (("scopes", scopes or []), ("networks", networks)):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f"{where}.{key}", "must be a list of strings")
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            raise ConfigurationError(f"{where}.networks", str(error)) from error
    fields = {name: value for name, value in raw.items() if name not in _NOT_FIELDS}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{where}.{name}", "must be a string; put it in quotes")
    return CredentialConfig(
        merchant=merchant,
        fields=fields,
        scopes=None if scopes is None else tuple(scopes),
        networks=tuple(networks),
    )


def _check_merchants(merchants: dict[str, MerchantConfig], where: str) -> None:
    for name, merchant in merchants.items():
        thresholds = [tier.points_required for tier in merchant.tiers]
        if thresholds != sorted(set(thresholds)):
            raise ConfigurationError(f"{where}: merchants.{name}.tiers", "must ascend by points_required")
        seen: dict[CustomerReference, int] = {}
        for index, customer in enumerate(merchant.customers):
            place = f"{where}: merchants.{name}.customers[{index}].references"
            if not customer.references:
                raise ConfigurationError(place, "a customer needs at least one reference")
            for reference in customer.customer_references():
                if reference in seen:
                    raise ConfigurationError(
                        f"{place}.{reference.namespace}",
                        f"{reference} is already customers[{seen[reference]}]",
                    )
                seen[reference] = index


def _rate(text: str, where: str) -> tuple[int, int]:
    match = _RATE.fullmatch(text.strip())
    if match is None or not int(match[1]) or not int(match[2]):
        raise ConfigurationError(where, "must read like 100/60s: requests per seconds")
    return int(match[1]), int(match[2])


def _convert(raw: Any, kind: type[T], where: str, path: str) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        key = f"{path}{place.rstrip('`')}".lstrip(".")
        raise ConfigurationError(f"{where}: {key}" if key else where, what) from error


def _expand(node: Any, environment: Mapping[str, str], where: str, path: str) -> Any:
    match node:
        case dict():
            return {key: _expand(value, environment, where, f"{path}.{key}") for key, value in node.items()}
        case list():
            return [_expand(value, environment, where, f"{path}[{index}]") for index, value in enumerate(node)]
        case str():
            return _VARIABLE.sub(lambda match: _variable(match[1], environment, f"{where}: {path[1:]}"), node)
        case _:
            return node


def _variable(name: str, environment: Mapping[str, str], where: str) -> str:
    if name not in environment:
        raise ConfigurationError(where, f"the environment variable {name} is not set")
    return environment[name]


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)
