"""What two sides of a move say of the same task: money first, then field by field, but for noise."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from loyalty_gateway.adjustment import Adjustment, Receipt
from loyalty_gateway.customer import Customer
from loyalty_gateway.upstream.partial import Partial

NOISE: Final = frozenset(
    {
        "id",
        "merchant_id",
        "wallet_id",
        "version",
        "vendor",
        "created_at",
        "updated_at",
        "occurred_at",
        "last_entry_at",
        "last_entry_id",
        "granted",
        "grants",
        "granted_after",
        "grants_after",
        "job",
        "references",
        "replayed",
    }
)
"""Numbers and times that each side gives by itself."""

_MONEY: Final = {"points_delta": "points moved", "available": "balance", "points_after": "balance"}
_UNKNOWN: Final = object()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one side says: fields by name, or the code of its refusal."""

    fields: dict[str, Any] = {}
    code: str | None = None


def told_of(result: Any) -> Told:
    """The fields of a result; of one that is known in part, those that are."""
    if not isinstance(result, Partial):
        return Told(fields=_fields(result))
    one, other = _fields(result.one), _fields(result.other)
    return Told(fields={name: value for name, value in one.items() if other.get(name, _UNKNOWN) == value})


def _fields(result: Any) -> dict[str, Any]:
    match result:
        case Receipt(entries=(entry,), wallets=(wallet,)):
            return {**_plain("entry", entry), **_plain("wallet", wallet)}
        case Receipt():
            return {}
        case Customer():
            return {
                **_plain("wallet", result.wallet),
                **_plain("profile", result.profile),
                "tier": None if result.tier is None else result.tier.name,
            }
        case _:
            return {}


def _plain(what: str, value: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.to_builtins(value)
    return {f"{what}.{name}": field for name, field in fields.items() if name not in NOISE}


def differences(old: Told, new: Told) -> list[dict[str, Any]]:
    """What the sides say differently: ``money``, or ``missing``, ``different`` or ``extra`` at the new one.

    Money has no tolerance: how many points were moved, and the balance.
    """
    if old.code != new.code:
        return [{"type": "money", "field": "refusal", "old": old.code, "new": new.code}]
    found = list(_each(old.fields, new.fields))
    return sorted(found, key=lambda one: one["type"] != "money")


def _each(old: dict[str, Any], new: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys((*old, *new)):
        if name not in new:
            yield {"type": "missing", "field": name, "old": old[name]}
        elif name not in old:
            yield {"type": "extra", "field": name, "new": new[name]}
        elif old[name] != new[name]:
            kind = "money" if name.rpartition(".")[2] in _MONEY else "different"
            yield {"type": kind, "field": name, "old": old[name], "new": new[name]}


def summary(adjustment: Adjustment, delta: int, after: int) -> Told:
    """What an upstream would say by the rules, as far as that follows from its balance."""
    return Told(
        fields={
            "entry.points_delta": delta,
            "entry.points_asked": adjustment.points_delta,
            "entry.points_before": after - delta,
            "entry.points_after": after,
            "entry.reason": adjustment.reason,
            "wallet.available": after,
        }
    )
