"""The configuration of a test's gateway, and what of a given one does not count there."""

import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from loyalty_gateway.backend_config import EngineConfig
from loyalty_gateway.config import Config, TestingConfig, VendorConfig, load_config, parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.testing.seeds import Seeds
from loyalty_gateway.vendor import Vendor, discover

Given = Path | str | dict[str, Any] | None

_MERCHANT: Final = "demo"


@cache
def known_vendors() -> dict[str, Vendor]:
    """All vendors by name."""
    return discover()


def read_config(
    config: Given = None,
    *,
    seeds: Seeds = Seeds(),  # noqa: B008 - frozen
    rate_limits: bool = False,
    only: tuple[str, ...] = (),
) -> Config:
    """The configuration for tests: a file's or values', by default every vendor on an empty ledger.

    Nothing is written where the configuration says, neither a ledger nor recordings, and no server is called.

    Args:
        config: a file, or what stands in one.
        seeds: whose tiers the first merchant has.
        rate_limits: whether they are counted.
        only: serves only these vendors.

    Raises:
        ConfigurationError: something is wrong in it, a vendor of ``only`` is not served by it, or one that is
            served has another backend than the engine.
    """
    vendors = known_vendors()
    if isinstance(config, Path | str):
        parsed = load_config(Path(config), vendors)
    else:
        parsed = parse_config(_values() if config is None else config, vendors, os.environ)
    for name in only:
        if name not in parsed.vendors:
            raise ConfigurationError(name, f"no such vendor; there are {', '.join(parsed.vendors)}")
    served = {name: chosen for name, chosen in parsed.vendors.items() if not only or name in only}
    for name, chosen in served.items():
        _check_backends(name, chosen)
    if not parsed.merchants:
        raise ConfigurationError("merchants", "there must be one")
    first = next(iter(parsed.merchants))
    tiers = seeds.tiers or parsed.merchants[first].tiers
    return msgspec.structs.replace(
        parsed,
        server=msgspec.structs.replace(parsed.server, rate_limits=rate_limits),
        merchants={
            **parsed.merchants,
            first: msgspec.structs.replace(parsed.merchants[first], tiers=tiers),
        },
        vendors=served,
        testing=TestingConfig(),
        recording=msgspec.structs.replace(parsed.recording, folder=None, exchanges=False),
    )


def _check_backends(name: str, chosen: VendorConfig) -> None:
    whose = {f"vendors.{name}.backend": chosen.backend}
    whose |= {f"merchants.{merchant}.backends.{name}": backend for merchant, backend in chosen.backends.items()}
    for where, backend in whose.items():
        if not isinstance(backend, EngineConfig):
            raise ConfigurationError(where, "must be engine in tests, which would call a real server otherwise")


def _values() -> dict[str, Any]:
    """Every vendor, each with one credential of every form that it has."""
    return {
        "merchants": {_MERCHANT: {}},
        "vendors": {
            name: {
                "credentials": [
                    {"merchant": _MERCHANT, **{key: f"test-{key.replace('_', '-')}" for key in form}}
                    for form in vendor.credential_forms
                ]
            }
            for name, vendor in known_vendors().items()
        },
    }
