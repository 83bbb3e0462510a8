"""Adjustments of more wallets than are moved before an answer: accepted durably, then carried out in chunks.

A job is accepted at a place in every wallet's history. A wallet remembers the last job that has reached it, and
whoever reads or writes a wallet has the job reach it first, so that nobody sees it lag behind. A merchant has one
unfinished job at a time; the next adjustment of everyone waits for it.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

import msgspec

from loyalty_gateway import engine
from loyalty_gateway.adjustment import Entry, Instruction, Merchant, Wallet
from loyalty_gateway.ledger.everyone import Change, Weighed
from loyalty_gateway.ledger.orders import Behind, Job, Overtaken, Weighing
from loyalty_gateway.ledger.statements import Dialect, Insert, NewIds, Statement, Update, Work, only
from loyalty_gateway.ledger.tables import (
    ENTRIES,
    JOB_REFUSALS,
    WALLET_COLUMNS,
    WALLETS,
    row_of_entry,
    row_of_wallet,
    wallet_of,
)
from loyalty_gateway.problem import Code, Problem

_UNFINISHED: Final = "finished_at IS NULL"
_LONGEST_TRANSACTION: Final = 35_000_000
"""Microseconds; a server ends one that waits longer for a lock or stands still."""

_NEVER: Final = 2**63 - 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Instruction).decode


class Chunk(NamedTuple):
    """How far a job has come with a chunk: ``passed`` of about so many ``wallets``."""

    merchant_id: int
    number: int
    passed: int
    wallets: int
    is_finished: bool


class Report(NamedTuple):
    """A merchant's job: what was asked, how far it is, and how many wallets were left alone.

    Times are microseconds since the epoch.
    """

    merchant: str
    number: int
    instruction: Instruction
    wallets: int
    passed: int
    left_alone: int
    accepted_at: int
    finished_at: int | None


class LeftAlone(NamedTuple):
    """A wallet that a job could not adjust when it got there, and why."""

    wallet_id: int
    code: Code


class _Accepted(NamedTuple):
    number: int
    instruction: Instruction
    accepted_at: int


def weigh(dialect: Dialect, instruction: Instruction, merchant_id: int, *, now: int) -> Work[Weighing]:
    """Looks through all of a merchant's wallets; raises Behind, and Problem where one could not be adjusted."""
    yield from check_reached(merchant_id)
    # Where ids do not rise with commits, those asked for a while ago may belong to a transaction under way.
    before = _NEVER if dialect.ids_rise else now - _LONGEST_TRANSACTION
    rows = yield Statement(
        "SELECT coalesce((SELECT id FROM wallets WHERE merchant_id = :merchant_id AND created_at < :before "
        "ORDER BY id DESC LIMIT 1), 0), coalesce((SELECT id FROM entries WHERE merchant_id = :merchant_id "
        "AND occurred_at < :before ORDER BY id DESC LIMIT 1), 0)",
        {"merchant_id": merchant_id, "before": before},
    )
    weighed = yield from Change(dialect, instruction, merchant_id, now=0).weigh(locking=False)
    weighed.check()
    return Weighing(weighed.wallets, *only(rows))


def weigh_since(dialect: Dialect, instruction: Instruction, merchant_id: int, weighing: Weighing) -> Work[Weighed]:
    """Looks through the wallets that were made or moved since all of them were weighed.

    Who is no longer excluded since is not seen, nor, where a database gives ids to each of its nodes in advance,
    who moves through another gateway meanwhile; a job leaves such a customer alone, and says so, where there is
    too little when it gets there.
    """
    change = Change(
        dialect,
        instruction,
        merchant_id,
        now=0,
        among="w.id IN ("
        "SELECT e.wallet_id FROM entries e WHERE e.merchant_id = :merchant_id AND e.id > :last_entry "
        "UNION SELECT n.id FROM wallets n WHERE n.merchant_id = :merchant_id AND n.id > :last_wallet)",
        parameters={"last_entry": weighing.last_entry_id, "last_wallet": weighing.last_wallet_id},
    )
    return (yield from change.weigh(locking=False))


def accept(dialect: Dialect, job: Job, merchant_id: int, *, now: int) -> Work[int]:
    """Makes a job of an instruction for everyone; gives how many wallets it is of.

    Raises Problem where somebody who moved since the weighing could not be adjusted, Overtaken where somebody else
    made a job meanwhile.
    """
    # Whoever enrols a customer holds the merchant's row too, so that a new wallet is behind a job or before it;
    # and so does what is carried out for everyone at once.
    number = 1 + (yield from last_job(dialect, merchant_id, accepting=True))
    if (yield from _unfinished(merchant_id)) is not None:
        raise Overtaken
    (yield from weigh_since(dialect, job.instruction, merchant_id, job.weighing)).check()
    named = {"merchant_id": merchant_id, "number": number}
    yield Statement("UPDATE merchants SET last_job = :number WHERE id = :merchant_id", named)
    yield Statement(
        "INSERT INTO jobs (merchant_id, number, instruction, wallets, reached, passed, accepted_at) "
        "VALUES (:merchant_id, :number, :instruction, :wallets, 0, 0, :now)",
        named | {"instruction": _encode(job.instruction).decode(), "wallets": job.weighing.wallets, "now": now},
    )
    return job.weighing.wallets


def _unfinished(merchant_id: int) -> Work[_Accepted | None]:
    """The merchant's job that has not reached everybody, if there is one."""
    rows = yield Statement(
        f"SELECT number, instruction, accepted_at FROM jobs WHERE merchant_id = :merchant_id AND {_UNFINISHED}",
        {"merchant_id": merchant_id},
    )
    if not rows:
        return None
    number, instruction, accepted_at = rows[0]
    return _Accepted(number, _decode(instruction), accepted_at)


def is_any_unfinished(_dialect: Dialect) -> Work[bool]:
    """Whether any merchant has a job that has not reached everybody."""
    return bool((yield Statement(f"SELECT 1 FROM jobs WHERE {_UNFINISHED} LIMIT 1")))


def last_job(dialect: Dialect, merchant_id: int, *, accepting: bool = False) -> Work[int]:
    """The merchant's last job; nobody accepts another one until the transaction ends.

    It counts as having reached the wallets made in this transaction. Who is ``accepting`` the next one keeps
    others from making wallets too.
    """
    hold = dialect.holding if accepting else dialect.sharing
    rows = yield Statement(
        f"SELECT last_job FROM merchants WHERE id = :merchant_id {hold}", {"merchant_id": merchant_id}
    )
    return int(only(rows)[0])


def check_reached(merchant_id: int, wallets: Iterable[Wallet] | None = None) -> Work[None]:
    """Raises Behind where an unfinished job has not reached one of the wallets, or of all the merchant's."""
    job = yield from _unfinished(merchant_id)
    if job is None:
        return
    if wallets is None:
        raise Behind
    behind = tuple(wallet.id for wallet in wallets if wallet.job < job.number)
    if behind:
        raise Behind(behind)


def hold_and_catch_up(dialect: Dialect, merchant_id: int, wallet_ids: tuple[int, ...]) -> Work[None]:
    """Keeps everybody else from these wallets until the transaction ends, and has the job reach them."""
    rows = yield Statement(
        f"SELECT {WALLET_COLUMNS} FROM wallets w WHERE w.merchant_id = :merchant_id "
        f"AND w.id IN {dialect.numbers(':wallet_ids')} {dialect.locking_wallets}",
        {"merchant_id": merchant_id, "wallet_ids": wallet_ids},
    )
    yield from catch_up(dialect, merchant_id, [wallet_of(row) for row in rows])


def catch_up(dialect: Dialect, merchant_id: int, wallets: Iterable[Wallet]) -> Work[dict[int, Wallet]]:
    """Has the merchant's unfinished job reach wallets that the transaction holds.

    Gives those it had not reached, as they are afterwards.
    """
    job = yield from _unfinished(merchant_id)
    behind = [] if job is None else [wallet for wallet in wallets if wallet.job < job.number]
    if job is None or not behind:
        return {}
    caught_up: dict[int, Wallet] = {}
    entries: list[Entry] = []
    refusals: list[tuple[int, int, int, str]] = []
    ids = yield from entry_ids(dialect, len(behind), behind=behind)
    for wallet, entry_id in zip(behind, ids, strict=True):
        try:
            after, entry = _decided(wallet, job, entry_id)
        except Problem as problem:
            caught_up[wallet.id] = msgspec.structs.replace(wallet, job=job.number)
            if problem.code is not Code.CUSTOMER_EXCLUDED:
                refusals.append((merchant_id, job.number, wallet.id, problem.code.value))
        else:
            caught_up[wallet.id] = after
            entries.append(entry)
    yield Update(WALLETS, [row_of_wallet(wallet) for wallet in caught_up.values()])
    yield Insert(ENTRIES, [row_of_entry(merchant_id, entry) for entry in entries])
    yield Insert(JOB_REFUSALS, refusals)
    return caught_up


def _decided(wallet: Wallet, job: _Accepted, entry_id: int) -> tuple[Wallet, Entry]:
    instruction = job.instruction
    after, entry = engine.decide(
        wallet,
        instruction.adjustment,
        vendor=instruction.vendor,
        tiers=instruction.merchant.tiers,
        entry_id=entry_id,
        now=job.accepted_at,
        idempotency_key=None if instruction.idempotency is None else instruction.idempotency.key,
    )
    return msgspec.structs.replace(after, job=job.number), entry


def entry_ids(dialect: Dialect, how_many: int, *, behind: Collection[Wallet]) -> Work[list[int]]:
    """Ids for new entries, larger than those of all entries of the wallets ``behind`` which they come."""
    if not how_many:
        return []
    largest = 0 if dialect.ids_rise else max((wallet.last_entry_id for wallet in behind), default=0)
    while True:
        ids = [number for (number,) in (yield NewIds(ENTRIES, how_many))]
        if ids[0] > largest:
            return ids


def advance(dialect: Dialect, *, at_most: int, now: int) -> Work[Chunk | None]:
    """Carries out a chunk of a job that nobody else is carrying out; ``None`` where there is none."""
    rows = yield Statement(
        "SELECT merchant_id, number, instruction, accepted_at, reached, passed, wallets FROM jobs "
        f"WHERE {_UNFINISHED} ORDER BY passed, merchant_id LIMIT 1 {dialect.locking_job}"
    )
    if not rows:
        return None
    merchant_id, number, instruction, accepted_at, reached, passed, wallets = rows[0]
    rows = yield Statement(
        "SELECT max(id), count(*) FROM (SELECT id FROM wallets WHERE merchant_id = :merchant_id AND id > :reached "
        "ORDER BY id LIMIT :at_most) AS chunk",
        {"merchant_id": merchant_id, "reached": reached, "at_most": at_most},
    )
    last, count = only(rows)
    named = {"merchant_id": merchant_id, "job": number}
    if not count:
        yield Statement(
            "UPDATE jobs SET finished_at = :now WHERE merchant_id = :merchant_id AND number = :job",
            named | {"now": now},
        )
        return Chunk(merchant_id, number, passed, wallets, is_finished=True)
    change = Change(
        dialect,
        _decode(instruction),
        merchant_id,
        now=accepted_at,
        among="w.id > :reached AND w.id <= :last AND w.job < :job",
        parameters={"reached": reached, "last": last, "job": number},
    )
    if dialect.locking_wallets:
        # All of the chunk in the order of ids, also those whom the change passes over.
        yield Statement(
            "SELECT count(*) FROM (SELECT w.id FROM wallets w WHERE w.merchant_id = :merchant_id "
            f"AND w.id > :reached AND w.id <= :last {dialect.locking_wallets}) AS held",
            {"merchant_id": merchant_id, "reached": reached, "last": last},
        )
    weighed = yield from change.weigh(locking=False)
    if weighed.short or weighed.over:
        yield change.refused(
            "INSERT INTO job_refusals (merchant_id, job, wallet_id, code) "
            "SELECT merchant_id, :job, id, "
            f"CASE WHEN {{short}} THEN '{Code.TOO_FEW_POINTS.value}' ELSE '{Code.BALANCE_OVERFLOW.value}' END "
            "FROM {refused} AS r"
        )
    yield from change.write(passing_over=bool(weighed.short or weighed.over), also=", job = :job")
    if weighed.wallets - weighed.short - weighed.over < count:
        yield Statement(
            "UPDATE wallets SET job = :job WHERE merchant_id = :merchant_id AND id > :reached AND id <= :last "
            "AND job < :job",
            named | {"reached": reached, "last": last},
        )
    yield Statement(
        "UPDATE jobs SET reached = :last, passed = :passed WHERE merchant_id = :merchant_id AND number = :job",
        named | {"last": last, "passed": passed + count},
    )
    return Chunk(merchant_id, number, passed + count, wallets, is_finished=False)


def reports(_dialect: Dialect, merchant: Merchant) -> Work[list[Report]]:
    """The merchant's jobs, the last one first."""
    rows = yield Statement(
        "SELECT j.number, j.instruction, j.wallets, j.passed, j.accepted_at, j.finished_at, "
        "(SELECT count(*) FROM job_refusals r WHERE r.merchant_id = j.merchant_id AND r.job = j.number) "
        "FROM jobs j JOIN merchants m ON m.id = j.merchant_id WHERE m.name = :merchant ORDER BY j.number DESC",
        {"merchant": merchant.name},
    )
    return [
        Report(
            merchant=merchant.name,
            number=number,
            instruction=_decode(instruction),
            wallets=wallets,
            passed=passed,
            left_alone=left_alone,
            accepted_at=accepted_at,
            finished_at=finished_at,
        )
        for number, instruction, wallets, passed, accepted_at, finished_at, left_alone in rows
    ]


def left_alone(
    _dialect: Dialect, merchant: Merchant, number: int, *, after: int, at_most: int
) -> Work[list[LeftAlone]]:
    """A page of the wallets that the merchant's job could not adjust, behind the number of a wallet."""
    rows = yield Statement(
        "SELECT r.wallet_id, r.code FROM job_refusals r JOIN merchants m ON m.id = r.merchant_id "
        "WHERE m.name = :merchant AND r.job = :job AND r.wallet_id > :after ORDER BY r.wallet_id LIMIT :at_most",
        {"merchant": merchant.name, "job": number, "after": after, "at_most": at_most},
    )
    return [LeftAlone(wallet_id, Code(code)) for wallet_id, code in rows]
