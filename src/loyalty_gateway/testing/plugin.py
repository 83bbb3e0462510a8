"""What pytest loads: the fixture ``loyalty_gateway``, and nothing else before a test asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loyalty_gateway.testing.gateway import Gateway
    from loyalty_gateway.testing.served import Serving

_ARGUMENTS = frozenset({"config", "seeds", "rate_limits"})
_MARKER = (
    "loyalty_gateway(config=None, seeds=None, rate_limits=False): how the gateway of the fixture is configured; "
    "config and seeds are files, beside pytest's own configuration file if relative"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Lets a project name its files once."""
    parser.addini("loyalty_gateway_config", "the configuration of the gateway of the fixture", default="")
    parser.addini("loyalty_gateway_seeds", "tiers and customers with which each test begins", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(scope="session")
def _loyalty_gateway_serving() -> Iterator[Serving]:
    from loyalty_gateway.testing.served import serving  # noqa: PLC0415 - costs a second, where it is used

    with serving() as served:
        yield served


@pytest.fixture
def loyalty_gateway(request: pytest.FixtureRequest, _loyalty_gateway_serving: Serving) -> Iterator[Gateway]:
    """A running gateway on a free port, with a fresh ledger: every vendor, with credentials for each."""
    marker = request.node.get_closest_marker("loyalty_gateway")
    chosen = {} if marker is None else dict(marker.kwargs)
    unknown = [] if marker is None else [*map(repr, marker.args), *(chosen.keys() - _ARGUMENTS)]
    if unknown:
        raise pytest.UsageError(f"{request.node.nodeid}: {', '.join(unknown)} is no argument of {_MARKER}")
    for name in ("config", "seeds"):
        if chosen.get(name) is None:
            chosen[name] = request.config.getini(f"loyalty_gateway_{name}") or None
        if isinstance(chosen[name], str | Path):
            chosen[name] = request.config.rootpath / chosen[name]
    with _loyalty_gateway_serving.gateway(**chosen) as gateway:
        yield gateway
