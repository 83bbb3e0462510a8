"""Writes the generated parts of README.md: ``python tools/readme.py``. A test holds the file against them."""

import re
from collections.abc import Mapping
from pathlib import Path

from loyalty_gateway.app import load_contract
from loyalty_gateway.loss_commands import all_pairs, told_of
from loyalty_gateway.spec import specs_folder
from loyalty_gateway.vendor import Evidence, Vendor, discover

README = Path(__file__).parents[1] / "README.md"


def operations(vendors: Mapping[str, Vendor]) -> str:
    """Each operation with its method and path below the vendor's mount."""
    lines = ["| vendor | operation | method | path |", "|---|---|---|---|"]
    for name, vendor in vendors.items():
        contract = load_contract(vendor, (), specs_folder())
        lines += [
            f"| {vendor.title} | `{operation.id}` | {operation.method} | `/{name}{operation.path}` |"
            for operation in contract.operations.values()
        ]
    return "\n".join(lines)


def parity(vendors: Mapping[str, Vendor]) -> str:
    """Each vendor's behaviours, with how each is known."""
    counted = ["| vendor | " + " | ".join(Evidence) + " |", "|---|" + "---|" * len(Evidence)]
    told = ["| vendor | behaviour | evidence | source |", "|---|---|---|---|"]
    for vendor in vendors.values():
        tags = [behaviour.evidence for behaviour in vendor.behaviours]
        counted.append(f"| {vendor.title} | " + " | ".join(str(tags.count(tag)) for tag in Evidence) + " |")
        told += [
            f"| {vendor.title} | {behaviour.does} | {behaviour.evidence} | {behaviour.source} |"
            for behaviour in vendor.behaviours
        ]
    return "\n".join([*counted, "", *told])


def ignored(vendors: Mapping[str, Vendor]) -> str:
    """What a client may ask for that is not carried out, and why."""
    lines = ["| vendor | field | why |", "|---|---|---|"]
    for vendor in vendors.values():
        reasons = {field: why for operation in vendor.operations for field, why in operation.ignored.items()}
        lines += [f"| {vendor.title} | `{field}` | {why} |" for field, why in reasons.items()]
    return "\n".join(lines)


def losses(vendors: Mapping[str, Vendor]) -> str:
    """What becomes of each part of an adjustment, for each client's dialect at each upstream."""
    lines = ["| client → upstream | survives | emulated | lost |", "|---|---|---|---|"]
    lines += [
        f"| {pair.client} → {pair.upstream} | " + " | ".join(told_of(pair)) + " |" for pair in all_pairs(vendors)
    ]
    return "\n".join(lines)


def generated(text: str, vendors: Mapping[str, Vendor]) -> str:
    """The text with everything between its ``generated`` markers written anew."""
    parts = {"operations": operations, "parity": parity, "ignored": ignored, "losses": losses}

    def write(match: re.Match[str]) -> str:
        return f"{match[1]}\n{parts[match[2]](vendors)}\n{match[3]}"

    return re.sub(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", write, text, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8"), discover()), encoding="utf-8")
