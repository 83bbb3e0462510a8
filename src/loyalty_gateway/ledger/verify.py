"""What must hold of every ledger, looked at wallet by wallet: in pages, so that its size is no matter."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from loyalty_gateway.adjustment import Entry, Receipt, Wallet
from loyalty_gateway.ledger.statements import Dialect, Each, Row, Statement, Work, only
from loyalty_gateway.ledger.tables import ENTRY_COLUMNS, NUMBER, WALLET_COLUMNS, entry_of, wallet_of

_ENTRIES_AT_ONCE = 5_000
_STRAYS_TOLD = 100

_decode_receipt = msgspec.json.Decoder(Receipt).decode


class Finding(NamedTuple):
    """Something that must not be, at a wallet of a merchant (their numbers)."""

    merchant_id: int
    wallet_id: int
    what: str


class Page(NamedTuple):
    """What a page of the ledger showed; ``last`` is where the next one begins, ``None`` at the end."""

    findings: tuple[Finding, ...]
    wallets: int
    entries: int
    last: tuple[int, int] | None


class Size(NamedTuple):
    """How much there is to look at."""

    wallets: int
    entries: int


def size(_dialect: Dialect) -> Work[Size]:
    """How many wallets and entries the ledger has."""
    wallets = only((yield Statement("SELECT count(*) FROM wallets")))[0]
    entries = only((yield Statement("SELECT count(*) FROM entries")))[0]
    return Size(int(wallets), int(entries))


def check_wallets(_dialect: Dialect, after: tuple[int, int], limit: int) -> Work[Page]:
    """Holds a page of wallets against their entries: every one is the fold of its own, which are a chain."""
    merchant_id, wallet_id = after
    rows = yield Statement(
        f"SELECT {WALLET_COLUMNS} FROM wallets w WHERE w.merchant_id = :merchant_id AND w.id > :wallet_id "
        "ORDER BY w.id LIMIT :limit",
        {"merchant_id": merchant_id, "wallet_id": wallet_id, "limit": limit},
    )
    reached = yield Statement(
        "SELECT m.last_job, (SELECT min(j.number) - 1 FROM jobs j WHERE j.merchant_id = m.id "
        "AND j.finished_at IS NULL) FROM merchants m WHERE m.id = :merchant_id",
        {"merchant_id": merchant_id},
    )
    last_job, last_finished = reached[0] if reached else (0, None)
    jobs = range(last_job if last_finished is None else last_finished, last_job + 1)
    folds = {wallet.id: _Fold(wallet, jobs) for wallet in map(wallet_of, rows)}
    entries = (yield from _fold_entries(merchant_id, folds)) if folds else 0
    findings = tuple(Finding(merchant_id, number, what) for number, fold in folds.items() for what in fold.ended())
    last: tuple[int, int] | None = (merchant_id, rows[-1][0]) if rows else None
    if len(rows) < limit:
        rows = yield Statement("SELECT min(id) FROM merchants WHERE id > :after", {"after": merchant_id})
        following = only(rows)[0]
        last = None if following is None else (following, 0)
    return Page(findings, len(folds), entries, last)


def _fold_entries(merchant_id: int, folds: dict[int, "_Fold"]) -> Work[int]:
    count = 0
    place = (min(folds), 0)
    while True:
        rows = yield Statement(
            f"SELECT {ENTRY_COLUMNS} FROM entries e WHERE e.merchant_id = :merchant_id AND e.wallet_id <= :last "
            "AND (e.wallet_id, e.version) > (:wallet_id, :version) ORDER BY e.wallet_id, e.version LIMIT :limit",
            {
                "merchant_id": merchant_id,
                "last": max(folds),
                "wallet_id": place[0],
                "version": place[1],
                "limit": _ENTRIES_AT_ONCE,
            },
        )
        for row in rows:
            entry = entry_of(row)
            if entry.wallet_id in folds:
                folds[entry.wallet_id].add(entry)
                count += 1
        if len(rows) < _ENTRIES_AT_ONCE:
            return count
        place = (rows[-1][1], rows[-1][2])


class _Fold:
    """One wallet, as its entries make it; the last job that has reached it is one of ``jobs``."""

    def __init__(self, wallet: Wallet, jobs: range) -> None:
        self._wallet = wallet
        self._jobs = jobs
        self._broken: list[str] = []
        self._available = self._earned = self._burned = self._granted = self._grants = self._version = 0
        self._last_id = self._last_at = 0

    def add(self, entry: Entry) -> None:
        """Takes the next entry."""
        self._version += 1
        added = max(entry.points_delta, 0)
        self._granted += added
        self._grants += added > 0
        self._earned += entry.earned_delta
        self._burned += entry.burned_delta
        for what, holds in (
            ("its versions have a gap", entry.version == self._version),
            ("it does not begin where the one before ended", entry.points_before == self._available),
            ("its points do not add up", entry.points_before + entry.points_delta == entry.points_after),
            ("it leaves less than nothing", entry.points_after >= 0),
            ("the lifetime counters fall below zero", self._earned >= 0 and self._burned >= 0),
            ("it counts other grants", (entry.granted_after, entry.grants_after) == (self._granted, self._grants)),
            ("it is not later than the one before", entry.occurred_at > self._last_at),
            ("its id is not larger than the one before", entry.id > self._last_id),
        ):
            if not holds:
                self._broken.append(f"entry {entry.id} (version {entry.version}): {what}")
        self._version = entry.version
        self._available = entry.points_after
        self._last_at, self._last_id = entry.occurred_at, entry.id

    def ended(self) -> Iterator[str]:
        """What is broken, all entries taken."""
        yield from self._broken
        wallet = self._wallet
        for name, told, folded in (
            ("available", wallet.available, self._available),
            ("lifetime_earned", wallet.lifetime_earned, self._earned),
            ("lifetime_burned", wallet.lifetime_burned, self._burned),
            ("granted", wallet.granted, self._granted),
            ("grants", wallet.grants, self._grants),
            ("version", wallet.version, self._version),
            ("last_entry_at", wallet.last_entry_at or 0, self._last_at),
            ("last_entry_id", wallet.last_entry_id, self._last_id),
        ):
            if told != folded:
                yield f"{name} is {told}, its entries make it {folded}"
        if wallet.job not in self._jobs:
            yield f"job {wallet.job} is the last to have reached it, which ought to be {self._jobs[0]}"
        if wallet.updated_at < self._last_at:
            yield "updated_at is before its last entry"


def check_strays(_dialect: Dialect) -> Work[tuple[Finding, ...]]:
    """Entries, references and profiles of wallets that are not there; at most 100 of each."""
    findings: list[Finding] = []
    for table, what in (
        ("entries", "an entry"),
        ("customer_references", "a reference"),
        ("profiles", "a profile"),
    ):
        rows = yield Statement(
            f"SELECT DISTINCT s.merchant_id, s.wallet_id FROM {table} s "
            "LEFT JOIN wallets w ON w.merchant_id = s.merchant_id AND w.id = s.wallet_id "
            "WHERE w.id IS NULL LIMIT :limit",
            {"limit": _STRAYS_TOLD},
        )
        findings += [
            Finding(merchant_id, wallet_id, f"{what} without its wallet") for merchant_id, wallet_id in rows
        ]
    return tuple(findings)


def check_keys(
    dialect: Dialect, after: tuple[int, str, str], limit: int
) -> Work[tuple[tuple[Finding, ...], tuple[int, str, str] | None]]:
    """Holds a page of idempotency keys against the entries that their receipts tell of.

    Gives the findings, and where the next page begins, ``None`` at the end.
    """
    rows = yield Statement(
        "SELECT k.merchant_id, k.vendor, k.key, k.receipt FROM idempotency_keys k "
        "WHERE (k.merchant_id, k.vendor, k.key) > (:merchant_id, :vendor, :key) "
        "ORDER BY k.merchant_id, k.vendor, k.key LIMIT :limit",
        {"merchant_id": after[0], "vendor": after[1], "key": after[2], "limit": limit},
    )
    told = [
        (merchant_id, entry.wallet_id, entry.version, entry.id)
        for merchant_id, _, _, receipt in rows
        for entry in _entries_of(receipt)
    ]
    columns = {"merchant_id": NUMBER, "wallet_id": NUMBER, "version": NUMBER, "id": NUMBER}
    found: list[Row] = []
    if told:
        found = yield Each(
            "SELECT e.merchant_id, e.wallet_id, e.version, e.id "
            f"FROM {dialect.relation(columns)} a JOIN entries e ON e.merchant_id = a.merchant_id "
            "AND e.wallet_id = a.wallet_id AND e.version = a.version AND e.id = a.id",
            columns,
            told,
        )
    lost = set(told) - {tuple(row) for row in found}
    findings = [
        Finding(one[0], one[1], f"an idempotency key tells of entry {one[3]}, which is not there") for one in lost
    ]
    return tuple(sorted(findings)), (rows[-1][0], rows[-1][1], rows[-1][2]) if len(rows) == limit else None


def _entries_of(receipt: bytes) -> Sequence[Entry]:
    try:
        return _decode_receipt(receipt).entries
    except msgspec.ValidationError:
        # What an enrolment was answered; it has no entries.
        return ()
