"""Where a vendor's tasks are carried out, as ``config.yaml`` says it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from loyalty_gateway.given import Given
from loyalty_gateway.upstream.loss import FIELDS, LossPolicy, Policy
from loyalty_gateway.vendor import Vendor

_RATE = re.compile(r"(\d+)\s*/\s*(\d+)\s*s")
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3_600)]
Connections = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class UpstreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vendor's server at which tasks are carried out; ``url`` is what stands before the paths of its spec.

    ``credentials`` and ``options`` are as those of a vendor that is served. ``when_limited`` is what happens to a
    request beyond the vendor's rate limits, which ``rate_limits`` may override. ``loss`` is what is done with a
    request of which something would be lost: ``record`` it, or ``refuse`` it, whatever it is or in certain fields
    only, ``{refuse: [metadata, lifetime]}``. See ``Settings`` for the others.
    """

    vendor: str
    url: str
    credentials: dict[str, str]
    options: dict[str, Any] = {}
    timeout_seconds: Seconds = 10.0
    deadline_seconds: Seconds = 30.0
    connections: Connections = 100
    when_limited: Literal["wait", "refuse"] = "wait"
    rate_limits: dict[str, str] = {}
    loss: Policy = "record"
    marks: bool = True
    list_at_once: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 50
    patience_seconds: Seconds = 5.0
    settle_seconds: Seconds = 90.0


class EngineConfig(msgspec.Struct, frozen=True):
    """The ledger here."""


class PassthroughConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same vendor's real server, to which requests go on unchanged; by default the one of its spec."""

    url: str = ""
    timeout_seconds: Seconds = 10.0
    connections: Connections = 100


class MigrationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Two backends between which a merchant's points move: ``old`` speaks as the clients do."""

    old: UpstreamConfig
    new: EngineConfig | UpstreamConfig


BackendConfig = EngineConfig | UpstreamConfig | PassthroughConfig | MigrationConfig


def parse_own_backend(
    raw: Any, client: str, vendors: Mapping[str, Vendor], given: Given, path: str
) -> BackendConfig:
    """What a merchant's own backend for a vendor is, which may be a migration; raises ConfigurationError."""
    if not isinstance(raw, dict) or set(raw) != {"migration"}:
        return parse_backend(raw, vendors, given, path)
    path = f"{path}.migration"
    sides = raw["migration"]
    if not isinstance(sides, dict) or set(sides) != {"old", "new"}:
        raise given.error(path, "must be {old: BACKEND, new: BACKEND}")
    old = parse_backend(sides["old"], vendors, given, f"{path}.old")
    new = parse_backend(sides["new"], vendors, given, f"{path}.new")
    if not isinstance(old, UpstreamConfig) or old.vendor != client:
        raise given.error(f"{path}.old", f"must be {{upstream: {{vendor: {client}, ...}}}}: its own real server")
    if isinstance(new, UpstreamConfig) and (new.vendor, new.url.rstrip("/")) == (old.vendor, old.url.rstrip("/")):
        raise given.error(f"{path}.new", "is where the old one is; there is nothing to move")
    if isinstance(new, PassthroughConfig):
        raise given.error(f"{path}.new", "must be engine or an upstream: where the points are to be")
    return MigrationConfig(old=old, new=new)


def parse_backend(
    raw: Any, vendors: Mapping[str, Vendor], given: Given, path: str
) -> EngineConfig | UpstreamConfig | PassthroughConfig:
    """What ``backend:`` says; raises ConfigurationError with the path of what is wrong."""
    if raw == "engine":
        return EngineConfig()
    if raw == "passthrough":
        return PassthroughConfig()
    match raw:
        case {"upstream": settings, **others} if not others:
            return _upstream(settings, vendors, given, f"{path}.upstream")
        case {"passthrough": settings, **others} if not others:
            chosen = given.convert(settings, PassthroughConfig, f"{path}.passthrough")
            if chosen.url:
                _check_url(chosen.url, given, f"{path}.passthrough.url")
            return chosen
        case _:
            upstream = "{upstream: {vendor: ..., url: ..., credentials: ...}}"
            what = f"must be engine, passthrough, {{passthrough: {{url: ...}}}}, or {upstream}"
            more = "a migration is one merchant's, at merchants.<name>.backends.<vendor>"
            raise given.error(path, f"{what}; {more}")


def is_server_url(url: str) -> bool:
    """Whether it is what stands before the paths of a spec: no credentials, no query."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_good and not (parts.query or parts.fragment or parts.username or parts.password)


def _check_url(url: str, given: Given, path: str) -> None:
    if not is_server_url(url):
        raise given.error(path, "must read like https://api.example.com, without credentials or a query")


def _upstream(raw: Any, vendors: Mapping[str, Vendor], given: Given, path: str) -> UpstreamConfig:
    chosen = given.convert(raw, UpstreamConfig, path)
    vendor = vendors.get(chosen.vendor)
    if vendor is None:
        raise given.error(f"{path}.vendor", f"no such vendor; there are {', '.join(sorted(vendors))}")
    _check_url(chosen.url, given, f"{path}.url")
    forms = {frozenset(form) for form in vendor.credential_forms}
    if frozenset(chosen.credentials) not in forms:
        told = " or ".join(" + ".join(form) for form in vendor.credential_forms)
        raise given.error(f"{path}.credentials", f"a credential of {vendor.name} is {told}")
    for name, value in chosen.credentials.items():
        if not value.strip():
            raise given.error(f"{path}.credentials.{name}", "must not be empty")
    given.convert(chosen.options, vendor.options, f"{path}.options")
    _check_loss(chosen.loss, given, f"{path}.loss")
    if chosen.deadline_seconds <= chosen.timeout_seconds:
        raise given.error(f"{path}.deadline_seconds", "must be more than timeout_seconds")
    limits = {limit.name for operation in vendor.operations for limit in operation.rate_limits}
    for name in chosen.rate_limits:
        if name not in limits:
            raise given.error(
                f"{path}.rate_limits.{name}", f"no such limit; there are {', '.join(sorted(limits))}"
            )
        parse_rate(chosen.rate_limits[name], given, f"{path}.rate_limits.{name}")
    return chosen


def _check_loss(policy: Policy, given: Given, path: str) -> None:
    for index, field in enumerate(policy.refuse if isinstance(policy, LossPolicy) else ()):
        if field not in FIELDS:
            raise given.error(f"{path}.refuse[{index}]", f"no such field; there are {', '.join(FIELDS)}")


def parse_rate(text: str, given: Given, path: str) -> tuple[int, int]:
    """Requests and seconds; raises ConfigurationError."""
    rate = rate_of(text)
    if rate is None:
        raise given.error(path, "must read like 100/60s: requests per seconds")
    return rate


def rate_of(text: str) -> tuple[int, int] | None:
    """Requests and seconds; ``None`` for what reads otherwise than ``100/60s``."""
    match = _RATE.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match is not None and int(match[1]) and int(match[2]) else None
