"""Tiers and customers to begin with, in the words of the configuration, with the points that they have."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from loyalty_gateway.adjustment import LARGEST_POINTS
from loyalty_gateway.config import CustomerConfig, TierConfig
from loyalty_gateway.problem import ConfigurationError

Points = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_POINTS)]


class SeedCustomer(CustomerConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer of the configuration, with an opening balance.

    ``lifetime_earned`` is by default as much as the points, or as the ``tier`` wants.
    """

    points: Points = 0
    lifetime_earned: Points | None = None
    lifetime_burned: Points = 0
    tier: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    excluded: bool = False


class Seeds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merchant's tiers and customers."""

    tiers: tuple[TierConfig, ...] = ()
    customers: tuple[SeedCustomer, ...] = ()


def load_seeds(path: Path) -> Seeds:
    """The seeds of a YAML file; raises ConfigurationError with the file and the bad key."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert({} if content is None else content, Seeds)
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), f"is not YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(path), str(error)) from error


def earned(customer: SeedCustomer, tiers: Iterable[TierConfig]) -> int:
    """What the customer has earned so far; raises ConfigurationError for a tier that there is not."""
    if customer.lifetime_earned is not None:
        return customer.lifetime_earned
    thresholds = {tier.name: tier.points_required for tier in tiers}
    if customer.tier is not None and customer.tier not in thresholds:
        known = ", ".join(thresholds) or "none"
        raise ConfigurationError(f"customer {customer.references}: tier", f"no such tier; there are {known}")
    return max(customer.points, 0 if customer.tier is None else thresholds[customer.tier])
