"""Exchanges of several vendors: whose each is, and what all of them show."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from loyalty_gateway.config import Config
from loyalty_gateway.spec import Contract
from loyalty_gateway.traffic.exchange import Exchange
from loyalty_gateway.traffic.findings import Findings, Report
from loyalty_gateway.traffic.judging import Judge, Judged
from loyalty_gateway.traffic.redaction import Redactor
from loyalty_gateway.vendor import Vendor


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's judge, with the hosts by which its exchanges are known, and what redacts them."""

    judge: Judge
    redactor: Redactor
    hosts: tuple[str, ...]

    @classmethod
    def of(cls, judge: Judge, hosts: tuple[str, ...]) -> "Whose":
        """With the redactor that goes with the judge."""
        return cls(judge=judge, redactor=Redactor(judge), hosts=hosts)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange that was judged, and by whom."""

    whose: Whose
    path: str
    judged: Judged


class Traffic:
    """Judges exchanges and collects what they show.

    Args:
        vendors: the vendors by name.
        only: the vendor whose all exchanges are, where it is known.
    """

    def __init__(self, vendors: Mapping[str, Whose], only: str = "") -> None:
        self.findings = Findings()
        self._vendors = vendors
        self._only = only
        self._by_host = {host: name for name, whose in vendors.items() for host in whose.hosts}

    @property
    def contracts(self) -> dict[str, Contract]:
        """The contracts that exchanges are held against."""
        return {name: whose.judge.contract for name, whose in self._vendors.items()}

    def add(self, exchange: Exchange, path: str | None = None) -> Seen | None:
        """Judges one exchange; ``None`` for one that is no vendor's, or only a browser's question.

        Args:
            exchange: the request with its answer.
            path: the raw path below the mount of ``exchange.vendor``, where the gateway itself saw it.
        """
        found = self._whose(exchange) if path is None else (exchange.vendor, path)
        if found is None or exchange.method == "OPTIONS":
            self.findings.others += 1
            return None
        name, path = found
        whose = self._vendors[name]
        judged = whose.judge.judge(exchange, path)
        self.findings.add(exchange, path, judged, whose.redactor, name)
        return Seen(whose=whose, path=path, judged=judged)

    def report(self) -> Report:
        """What was found, and what was covered."""
        return self.findings.report(self.contracts)

    def _whose(self, exchange: Exchange) -> tuple[str, str] | None:
        """The vendor's name, and the raw path below its mount."""
        try:
            parts = urlsplit(exchange.url)
            host = (parts.hostname or "").lower()
        except ValueError:  # no address at all
            return None
        first, _, rest = parts.path.removeprefix("/").partition("/")
        name = exchange.vendor or self._only or self._by_host.get(host, "")
        if not name and first in self._vendors:
            return first, f"/{rest}"
        if name not in self._vendors:
            return None
        below = self._vendors[name].judge.match(exchange.method, parts.path) is None and first == name
        return name, f"/{rest}" if below else parts.path


def whose_exchanges(
    vendors: Mapping[str, Vendor], contracts: Mapping[str, Contract], config: Config | None
) -> dict[str, Whose]:
    """What judges each vendor's exchanges; hosts, further paths and options are the configuration's, if any."""
    told = {}
    for name, contract in contracts.items():
        vendor = vendors[name]
        chosen = config.vendors.get(name) if config is not None else None
        aliases = vendor.path_aliases if chosen is None else chosen.path_aliases
        options = vendor.options() if chosen is None else chosen.options
        hosts = vendor.hosts if chosen is None else (*vendor.hosts, *chosen.hosts)
        told[name] = Whose.of(Judge(vendor, contract, aliases, options), hosts)
    return told
