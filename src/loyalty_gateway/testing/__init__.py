"""For those who write clients: vendors to test against, with faults on demand and a clock of their own.

Nothing is imported here before it is used, since pytest loads this package in every project of an environment.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loyalty_gateway.testing.hosts import Mock


def mock(
    *vendors: str,
    config: "Path | str | dict[str, Any] | None" = None,
    seeds: "Path | str | None" = None,
    rate_limits: bool = False,
    pass_through: bool = False,
) -> "Mock":
    """Answers what httpx sends to these vendors' real hosts, without a socket; a context manager and a decorator.

    Args:
        vendors: which vendors, by name; without any, all of the configuration.
        config: a configuration, as a file or as plain values; by default one with every vendor.
        seeds: a file of tiers and customers to begin with.
        rate_limits: whether the vendors' rate limits are counted.
        pass_through: whether calls to other hosts go out; otherwise they are an error, as in respx.

    Raises:
        ImportError: respx is missing, which the extra ``testing`` brings.
        ConfigurationError: the configuration or the seeds are wrong, or a vendor is unknown.
    """
    try:
        from loyalty_gateway.testing.hosts import Mock  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        if error.name != "respx":
            raise
        raise ImportError("respx is missing: python3 -m pip install 'loyalty-gateway[testing]'") from error
    return Mock(vendors, config=config, seeds=seeds, rate_limits=rate_limits, pass_through=pass_through)
