"""What a check finds, and how it is printed."""

import io
from pathlib import Path

import pytest
import yaml

from loyalty_gateway.check import check_vendors, render_report
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Vendor


def _spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_each_vendor_is_reported_with_its_defects_answered(vendors: dict[str, Vendor]) -> None:
    some = {name: vendors[name] for name in ("bitbybit", "loyaltylion")}

    reports = check_vendors(some, {})

    assert [(report.vendor.name, len(report.defects)) for report in reports] == [
        ("bitbybit", 6),
        ("loyaltylion", 6),
    ]
    assert not [defect for report in reports for defect in report.defects if defect.answered_by is None]


def test_further_overlays_are_reported_too(vendors: dict[str, Vendor]) -> None:
    lion = {"loyaltylion": vendors["loyaltylion"]}

    (report,) = check_vendors(lion, {"loyaltylion": ("drop-unknown-keys",)})

    assert report.contract.document.actions[-1].where == "loyaltylion.drop-unknown-keys.overlay.yaml actions[3]"


def test_a_defect_that_nothing_answers_says_so(vendors: dict[str, Vendor], specs: Path) -> None:
    _spoil(
        specs / "bitbybit.yaml",
        "- url: https://api.bitbybit.studio",
        "- url: https://api.bitbybit.studio\n  - url: ''",
    )
    stream = io.StringIO()

    render_report(check_vendors({"bitbybit": vendors["bitbybit"]}, {}, specs), stream)

    assert "the server has no address" in stream.getvalue()
    assert "no action" in stream.getvalue()


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("mage.yaml", ("type: integer", "type: whole"), ("mage", "/components/schemas/Adjustment")),
        ("mage.yaml", ("openapi: 3.1.0", "openapi: 3.1.0\n  x: ["), ("mage.yaml", "is not YAML")),
        (
            "mage.yaml",
            ("operationId: adjustPoints", "operationId: other"),
            ("specs/mage.yaml", "adjustPoints, other"),
        ),
        (
            "mage.yaml",
            ("operationId: adjustPoints", "deprecated: false"),
            ("POST /v1/customers", "no operationId"),
        ),
        ("mage.yaml", ("ApiKey:", "Key:"), ("specs/mage.yaml", "Key")),
        ("mage.overlay.yaml", ("$.components.schemas\n", "$.nowhere\n"), ("actions[0]", "$.nowhere")),
        (
            "mage.overlay.yaml",
            ("tag: inferred", "tug: inferred"),
            ("mage.overlay.yaml actions[0]", "says not why"),
        ),
    ],
)
def test_a_spec_or_overlay_that_cannot_be_used_is_named_with_the_place(
    vendors: dict[str, Vendor], specs: Path, file: str, change: tuple[str, str], told: tuple[str, str]
) -> None:
    _spoil(specs / file, *change)

    with pytest.raises(ConfigurationError) as refusal:
        check_vendors({"mage": vendors["mage"]}, {}, specs)

    where, what = told
    assert where in refusal.value.where
    assert what in refusal.value.what


def test_a_spec_that_is_missing_is_named(vendors: dict[str, Vendor], specs: Path) -> None:
    (specs / "mage.yaml").unlink()

    with pytest.raises(ConfigurationError, match=r"mage\.yaml: cannot be read"):
        check_vendors({"mage": vendors["mage"]}, {}, specs)


def test_the_tables_are_never_cut_where_they_are_piped(vendors: dict[str, Vendor], specs: Path) -> None:
    reason = "because " * 80
    overlay = yaml.safe_load((specs / "mage.overlay.yaml").read_text(encoding="utf-8"))
    overlay["actions"][0]["description"] = reason.strip()
    (specs / "mage.overlay.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    stream = io.StringIO()

    render_report(check_vendors({"mage": vendors["mage"]}, {}, specs), stream)

    assert reason.strip() in stream.getvalue()
