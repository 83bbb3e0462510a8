"""Seeds: tiers and customers from YAML."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.testing import mock
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.testing.seeds import load_seeds

SEEDS = """
tiers:
  - {name: Silver, points_required: 100}
  - {name: Gold, points_required: 1000}
customers:
  - references: {shopify: 1001, email: Ada@example.com}
    points: 120
    tier: Gold
    first_name: Ada
  - references: {shopify: "1002"}
    points: 7
    lifetime_earned: 150
    lifetime_burned: 143
  - references: {shopify: "1003"}
    excluded: true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "seeds.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_gateway_begins_with_its_seeds(tmp_path: Path) -> None:
    with mock("mage", seeds=written(tmp_path, SEEDS)) as vendor:
        ada, bob = vendor.wallet(email="ada@example.com"), vendor.wallet(shopify="1002")

        assert (ada.available, ada.lifetime_earned, ada.tier) == (120, 1000, "Gold")
        assert (bob.available, bob.lifetime_earned, bob.lifetime_burned, bob.tier) == (7, 150, 143, "Silver")
        assert vendor.wallet(shopify="1003").excluded
        answer = httpx.get(f"{vendor.url()}/v1/customers/1001", headers=vendor.headers())
        assert "Gold" in answer.text


def test_customers_can_be_sown_later_and_tiers_cannot(tmp_path: Path, loyalty_gateway: Gateway) -> None:
    loyalty_gateway.seed(written(tmp_path, 'customers: [{references: {shopify: "1"}, points: 3}]'))

    assert loyalty_gateway.wallet(shopify="1").available == 3
    with pytest.raises(ConfigurationError, match="at start"):
        loyalty_gateway.seed(written(tmp_path, SEEDS))


def test_a_file_without_anything_sows_nobody(tmp_path: Path) -> None:
    assert load_seeds(written(tmp_path, "")).customers == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("customers: [{references: {shopify: x}, points: -1}]", r"points"),
        ("customers: [{references: {shopify: x}, pints: 1}]", r"pints"),
        ("customers: [", "not YAML"),
        ("tiers: [{name: Gold}]", "points_required"),
        ("tiers: [{name: B, points_required: 9}, {name: A, points_required: 1}]", "tiers: must ascend"),
        ("customers: []\ncustomers: []", "customers stands twice"),
        ("customers: [{references: {shopify: '${NOBODY_SET_IT}'}}]", "NOBODY_SET_IT is not set"),
        ("customers: [{references: {shopify: x}}, {references: {shopify: x}}]", r"already customers\[0\]"),
        ("customers: [{references: {}}]", r"customers\[0\]\.references"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigurationError, match=told) as caught:
        mock("mage", seeds=path)

    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        mock("mage", seeds=tmp_path / "none.yaml")


def test_a_variable_is_read_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTS_OF_ADA", "12")

    seeds = load_seeds(written(tmp_path, "customers: [{references: {shopify: x}, points: '${POINTS_OF_ADA}'}]"))

    assert seeds.customers[0].points == 12


@pytest.mark.parametrize(
    ("customer", "has"),
    [
        ("points: 1000, tier: Silver", "Gold"),
        ("points: 5, lifetime_earned: 99, tier: Silver", "none"),
        ("points: 5, lifetime_earned: 1000, tier: Silver", "Gold"),
    ],
)
def test_a_tier_that_the_customer_would_not_have_is_refused(tmp_path: Path, customer: str, has: str) -> None:
    tiers = SEEDS.partition("customers:")[0]
    path = written(tmp_path, f'{tiers}customers: [{{references: {{shopify: "1"}}, {customer}}}]')

    with pytest.raises(ConfigurationError, match=f"tier: with .* they have {has}"), mock("mage", seeds=path):
        pass


def test_a_tier_may_be_lower_than_the_points_where_fewer_were_earned(tmp_path: Path) -> None:
    tiers = SEEDS.partition("customers:")[0]
    customer = 'references: {shopify: "1"}, points: 1000, lifetime_earned: 100, tier: Silver'

    with mock("mage", seeds=written(tmp_path, f"{tiers}customers: [{{{customer}}}]")) as vendor:
        assert (vendor.wallet(shopify="1").tier, vendor.wallet(shopify="1").available) == ("Silver", 1000)


def test_whoever_had_no_points_is_in_no_tier_not_even_one_for_nothing(tmp_path: Path) -> None:
    text = 'tiers: [{name: Bronze, points_required: 0}]\ncustomers: [{references: {shopify: "1"}, tier: Bronze}]'

    with pytest.raises(ConfigurationError, match="they have none"), mock("mage", seeds=written(tmp_path, text)):
        pass


def test_a_tier_that_there_is_not_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "customers: [{references: {shopify: x}, tier: Gold}]")

    with pytest.raises(ConfigurationError, match="no such tier"), mock("mage", seeds=path):
        pass
