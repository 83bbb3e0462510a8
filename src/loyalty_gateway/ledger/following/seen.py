"""Whether anything was asked for a customer between two looks."""

from typing import NamedTuple

from loyalty_gateway.ledger.statements import Dialect, Statement, Work, only


class Seen(NamedTuple):
    """By what one sees whether anything was asked for at an upstream for a customer, or moved here, in between.

    ``numbers`` is the sum of the ``intents``' own, so that an old one that is forgotten hides no new one.
    """

    intents: int
    numbers: int
    unnamed: int
    unsettled: int
    version: int


def seen(_dialect: Dialect, merchant_id: int, wallet_id: int) -> Work[Seen]:
    """How it stands with what was asked for at upstreams for a customer, and with their wallet here.

    What was asked for before the ledger had met somebody counts for everybody.
    """
    named = {"merchant_id": merchant_id, "wallet_id": wallet_id}
    rows = yield Statement(
        "SELECT count(*), coalesce(sum(id), 0) FROM intents "
        "WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id",
        named,
    )
    intents, numbers = only(rows)
    unnamed = 0
    for is_unnamed in ("wallet_id = 0", "wallet_id IS NULL"):
        rows = yield Statement(
            f"SELECT coalesce(max(id), 0) FROM intents WHERE merchant_id = :merchant_id AND {is_unnamed}",
            {"merchant_id": merchant_id},
        )
        unnamed = max(unnamed, int(only(rows)[0]))
    rows = yield Statement(
        "SELECT count(*) FROM intents WHERE settled_at IS NULL AND merchant_id = :merchant_id "
        "AND (wallet_id = :wallet_id OR wallet_id = 0 OR wallet_id IS NULL)",
        named,
    )
    unsettled = int(only(rows)[0])
    rows = yield Statement(
        "SELECT version FROM wallets WHERE merchant_id = :merchant_id AND id = :wallet_id", named
    )
    version = int(rows[0][0]) if rows else 0
    return Seen(int(intents), int(numbers), unnamed, unsettled, version)
