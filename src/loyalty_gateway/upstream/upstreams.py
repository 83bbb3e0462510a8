"""The upstreams that a configuration chooses: made of it, started and closed with the gateway."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.backend_config import (
    EngineConfig,
    MigrationConfig,
    PassthroughConfig,
    UpstreamConfig,
    rate_of,
)
from loyalty_gateway.config import Config
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.migration.backend import MigratingBackend
from loyalty_gateway.migration.follower import Follower
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.migration.stages import Stages
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream.answers import tells_balance
from loyalty_gateway.upstream.backend import UpstreamBackend
from loyalty_gateway.upstream.passthrough import Passthrough
from loyalty_gateway.upstream.server import Limits, Server
from loyalty_gateway.upstream.settings import Settings
from loyalty_gateway.upstream.settling import Settling
from loyalty_gateway.upstream.transport import Transport
from loyalty_gateway.upstream.upkeep import Upkeep
from loyalty_gateway.vendor import Vendor


class Upstreams:
    """Every upstream with what looks after its intents; started and closed with the gateway.

    ``backends`` has that of each vendor and merchant: the ledger, an upstream, or a passthrough. Of the
    configuration nothing is kept, since credentials stand in it.
    """

    def __init__(
        self, backends: Mapping[tuple[str, str], Any], settling: Sequence[Settling], upkeep: Upkeep
    ) -> None:
        self.backends = backends
        self._settling = settling
        self._upkeep = upkeep
        self._moving = [one for one in backends.values() if isinstance(one, MigratingBackend)]
        sides = [side for moving in self._moving for side in (moving.parts.old, moving.parts.new)]
        elsewhere = [one for one in (*backends.values(), *sides) if isinstance(one, UpstreamBackend | Passthrough)]
        self._upstreams = {id(one): one for one in elsewhere}.values()

    def parts(self, vendor: str, merchant: str) -> Parts:
        """The two sides between which the merchant's points move."""
        backend = self.backends[vendor, merchant]
        assert isinstance(backend, MigratingBackend)
        return backend.parts

    def start(self) -> None:
        """Begins to settle what nobody is at, and to bring over what waits; the ledger is open."""
        for settling in self._settling:
            settling.start()
        for moving in self._moving:
            moving.start()
        self._upkeep.start()

    async def close(self) -> None:
        """Lets what is under way come to its end."""
        await self._upkeep.close()
        for moving in self._moving:
            await moving.close()
        for settling in self._settling:
            await settling.close()
        for upstream in self._upstreams:
            await upstream.close()


def make_upstreams(  # noqa: PLR0913 - composing is naming every part
    config: Config,
    vendors: Mapping[str, Vendor],
    *,
    contract_of: Callable[[str], Contract],
    ledger: Ledger,
    merchants: Mapping[str, Merchant],
    metrics: Metrics,
    transport: Transport | None = None,
    rate_share: float = 1.0,
) -> Upstreams:
    """The backends that a configuration chooses.

    Args:
        config: the configuration.
        vendors: all vendors, by name.
        contract_of: the contract of a vendor, by name.
        ledger: where points are kept that no upstream keeps, and intents.
        merchants: by name.
        metrics: is told what is lost.
        transport: by which servers are called, instead of the one over sockets.
        rate_share: our part of the vendors' rate limits, of which somebody else has the others.

    Raises:
        ConfigurationError: an upstream cannot be called with the credentials given.
    """
    _check_walls(config)
    made: dict[tuple[str, str], UpstreamBackend | Passthrough] = {}
    settling: list[Settling] = []
    backends: dict[tuple[str, str], Any] = {}
    stages = Stages(ledger)

    def upstream(client: str, whose: str, chosen: UpstreamConfig, where: str) -> UpstreamBackend:
        server = _server(chosen, config, vendors, contract_of, transport, where, rate_share)
        backend = UpstreamBackend(
            _name(client, whose, chosen),
            server,
            msgspec.convert(chosen.options, vendors[chosen.vendor].options),
            ledger,
            _settings(chosen, config),
            tells_balance=tells_balance(vendors[client], config.vendors[client].options),
            on_loss=partial(metrics.lost, client, chosen.vendor),
        )
        settling.append(Settling(backend, server, ledger, merchants, chosen.settle_seconds))
        return backend

    def migrating(client: str, merchant: str, chosen: MigrationConfig) -> MigratingBackend:
        where = f"merchants.{merchant}.backends.{client}.migration"
        old = upstream(client, merchant, chosen.old, f"{where}.old")
        new = chosen.new
        other = upstream(client, merchant, new, f"{where}.new") if isinstance(new, UpstreamConfig) else None
        parts = Parts(merchants[merchant], client, old, other, ledger)
        return MigratingBackend(
            parts,
            stages,
            Follower(parts, stages, metrics),
            metrics,
            keep_keys_seconds=config.idempotency.keep_hours * 3_600,
            patience_seconds=chosen.old.patience_seconds,
        )

    for client, served in config.vendors.items():
        for merchant in merchants:
            own = served.backends.get(merchant)
            chosen = served.backend if own is None else own
            if isinstance(chosen, EngineConfig):
                backends[client, merchant] = ledger
                continue
            if isinstance(chosen, MigrationConfig):
                backends[client, merchant] = migrating(client, merchant, chosen)
                continue
            whose = "" if own is None else merchant
            where = f"merchants.{whose}.backends.{client}" if whose else f"vendors.{client}.backend"
            key = (client, whose)
            if key not in made and isinstance(chosen, PassthroughConfig):
                made[key] = _passthrough(chosen, contract_of(client), transport, where)
            elif key not in made and isinstance(chosen, UpstreamConfig):
                made[key] = upstream(client, whose, chosen, where)
            backends[client, merchant] = made[key]
    upkeep = Upkeep(ledger, merchants, upstream_names(config), metrics, config.idempotency.keep_hours * 3_600)
    return Upstreams(backends, settling, upkeep)


def upstream_names(config: Config) -> frozenset[str]:
    """By which names the ledger knows the upstreams of a configuration."""
    found: set[str] = set()
    for client, served in config.vendors.items():
        for whose, chosen in (("", served.backend), *served.backends.items()):
            sides = (chosen.old, chosen.new) if isinstance(chosen, MigrationConfig) else (chosen,)
            found |= {_name(client, whose, side) for side in sides if isinstance(side, UpstreamConfig)}
    return frozenset(found)


def _passthrough(
    chosen: PassthroughConfig, contract: Contract, transport: Transport | None, where: str
) -> Passthrough:
    try:
        return Passthrough(contract, chosen.url, chosen.timeout_seconds, chosen.connections, transport)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}.passthrough.{error.where}", error.what) from error


def _check_walls(config: Config) -> None:
    """Raises ConfigurationError where several merchants would share one account at an upstream."""
    for name, served in config.vendors.items():
        whose = {credential.merchant for credential in served.credentials} - served.backends.keys()
        if isinstance(served.backend, UpstreamConfig) and len(whose) > 1:
            what = f"is one account for {', '.join(sorted(whose))}; give each its own: merchants.<name>.backends"
            raise ConfigurationError(f"vendors.{name}.backend", what)


def _server(  # noqa: PLR0913, PLR0917 - composing is naming every part
    chosen: UpstreamConfig,
    config: Config,
    vendors: Mapping[str, Vendor],
    contract_of: Callable[[str], Contract],
    transport: Transport | None,
    where: str,
    rate_share: float,
) -> Server:
    limits = Limits(
        timeout_seconds=chosen.timeout_seconds,
        deadline_seconds=chosen.deadline_seconds,
        connections=chosen.connections,
        waits=chosen.when_limited == "wait",
        rate_limits=_rates(vendors[chosen.vendor], chosen.rate_limits, rate_share)
        if config.server.rate_limits
        else None,
    )
    vendor, contract = vendors[chosen.vendor], contract_of(chosen.vendor)
    try:
        return Server(vendor, contract, chosen.url, chosen.credentials, limits, transport)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}.upstream.{error.where}", error.what) from error


def _settings(chosen: UpstreamConfig, config: Config) -> Settings:
    return Settings(
        loss=chosen.loss,
        marks=chosen.marks,
        list_at_once=chosen.list_at_once,
        patience_seconds=chosen.patience_seconds,
        settle_seconds=chosen.settle_seconds,
        keep_keys_seconds=config.idempotency.keep_hours * 3_600,
    )


def _name(client: str, whose: str, chosen: UpstreamConfig) -> str:
    name = f"{client} to {chosen.vendor} at {urlsplit(chosen.url).netloc}"
    return f"{name} for {whose}" if whose else name


def _rates(vendor: Vendor, chosen: Mapping[str, str], share: float) -> dict[str, tuple[int, int]]:
    """Our share of the vendor's limits, or of those chosen instead: requests and seconds by the limit's name."""
    limits = {limit.name: limit for operation in vendor.operations for limit in operation.rate_limits}
    rates = {name: (limit.requests, limit.seconds) for name, limit in limits.items()}
    rates |= {name: rate for name, text in chosen.items() if (rate := rate_of(text)) is not None}
    return {name: (max(1, int(requests * share)), seconds) for name, (requests, seconds) in rates.items()}
