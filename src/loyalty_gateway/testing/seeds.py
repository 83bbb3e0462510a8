"""Tiers and customers to begin with, in the words of the configuration, with the points that they have."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from loyalty_gateway.adjustment import LARGEST_POINTS, Tier
from loyalty_gateway.config import CustomerConfig, TierConfig, check_customers, check_tiers
from loyalty_gateway.engine import tier_for
from loyalty_gateway.given import Given, read_yaml_file
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
    """The seeds of a YAML file, checked as a configuration is; raises ConfigurationError with file and bad key."""
    given = Given(str(path), os.environ)
    content = read_yaml_file(path)
    seeds = given.convert(given.expanded({} if content is None else content), Seeds, "")
    check_tiers(seeds.tiers, given, "tiers")
    check_customers(seeds.customers, given, "customers")
    return seeds


def earned(customer: SeedCustomer, tiers: Sequence[Tier]) -> int:
    """What the customer has earned so far; raises ConfigurationError for a tier that they would not have."""
    thresholds = {tier.name: tier.points_required for tier in tiers}
    if customer.tier is not None and customer.tier not in thresholds:
        known = ", ".join(thresholds) or "none"
        raise ConfigurationError(f"customer {customer.references}: tier", f"no such tier; there are {known}")
    points = customer.lifetime_earned
    if points is None:
        points = max(customer.points, 0 if customer.tier is None else thresholds[customer.tier])
    reached = tier_for(points, tiers)
    # Whoever has had no points at all is in no tier yet.
    name = reached.name if reached is not None and (points or customer.lifetime_burned) else None
    if customer.tier is not None and customer.tier != name:
        what = f"with {points} points in their lifetime they have {name or 'none'}; lifetime_earned may say less"
        raise ConfigurationError(f"customer {customer.references}: tier", what)
    return points
