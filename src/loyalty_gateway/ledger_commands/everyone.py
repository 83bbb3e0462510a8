"""``ledger everyone`` and ``jobs``: adjustments of all of a merchant's customers."""

import asyncio
import csv
from functools import partial
from hashlib import sha256
from typing import TextIO

from rich.console import Console

from loyalty_gateway.adjustment import (
    Adjustment,
    Everyone,
    Idempotency,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    own_name,
)
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.everyone import Change, Weighed
from loyalty_gateway.ledger.jobs import Report, check_reached, reports
from loyalty_gateway.ledger.jobs import left_alone as left_alone_by
from loyalty_gateway.ledger.statements import Dialect, Statement, Work
from loyalty_gateway.ledger_commands.progress import progress_bar
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.problem import Code, Problem

_WALLETS_AT_ONCE = 1_000
_LOOK_AGAIN_SECONDS = 0.2
_VENDOR = "operator"
"""In whose dialect a person's instructions are."""


def for_everyone(
    merchant: Merchant, points: int | None, *, floors: bool, reason: str | None, key: str | None
) -> Instruction:
    """The instruction of a person for all of the merchant's customers; ``None`` resets their points to 0."""
    adjustment = Adjustment(
        customers=Everyone.EVERYONE,
        points_delta=points,
        lifetime=Lifetime.UNTOUCHED if points is None else Lifetime.EARN_AND_BURN,
        overdraft=Overdraft.FLOOR if floors else Overdraft.REFUSE,
        reason=reason,
    )
    idempotency = None if key is None else Idempotency(key, sha256(repr(adjustment).encode()).digest())
    return Instruction(merchant=merchant, vendor=_VENDOR, adjustment=adjustment, idempotency=idempotency)


async def try_everyone(ledger: Ledger, *, asked: Instruction, out: Console | None = None) -> bool:
    """Tells what an instruction for everyone would do; whether it would be carried out.

    Raises:
        Behind: an earlier one has not reached everybody, so it cannot be told.
    """

    def weigh(dialect: Dialect) -> Work[Weighed]:
        rows = yield Statement("SELECT id FROM merchants WHERE name = :name", {"name": asked.merchant.name})
        merchant_id = rows[0][0] if rows else 0
        yield from check_reached(merchant_id)
        return (yield from Change(dialect, asked, merchant_id, now=0).weigh(locking=False))

    weighed = await ledger.look(weigh)
    refused = [
        f"{count} of them {what}"
        for count, what in (
            (weighed.short, "have too few points"),
            (weighed.over, "would have more points than there can be"),
        )
        if count
    ]
    (out or Console(highlight=False)).print(
        f"{weighed.wallets} customers would be adjusted"
        + (f", but {' and '.join(refused)}: it would be refused, and nobody moved" if refused else ""),
        soft_wrap=True,
    )
    return not refused


async def adjust_everyone(ledger: Ledger, *, asked: Instruction, out: Console | None = None) -> bool:
    """Carries out an instruction for everyone, and tells how that goes; whether it was not refused."""
    out = out or Console(highlight=False)
    earlier = {job.number for job in await _jobs(ledger, asked.merchant)}
    try:
        receipt = await ledger.adjust(asked)
    except Problem as problem:
        if problem.code in {Code.UNAVAILABLE, Code.RECORD_BUSY}:
            raise
        out.print(f"refused ({problem.code.value}); nobody was moved")
        return False
    job = await _finished(ledger, asked, set() if receipt.replayed else earlier)
    left_alone = 0 if job is None else job.left_alone
    out.print(
        f"{receipt.count - left_alone} customers were adjusted"
        + (" before, with this key" if receipt.replayed else "")
        + (f"; {left_alone} were left alone: see `ledger jobs {job.number}`" if job and left_alone else ""),
        soft_wrap=True,
    )
    return True


async def _finished(ledger: Ledger, asked: Instruction, earlier: set[int]) -> Report | None:
    """The job that was made of the instruction, if one was, as it is when it has reached everybody."""
    with progress_bar() as bar:
        task = bar.add_task("customers", total=None)
        while True:
            told = await _jobs(ledger, asked.merchant)
            job = next((one for one in told if one.number not in earlier and one.instruction == asked), None)
            if job is None or job.finished_at is not None:
                return job
            bar.update(task, total=job.wallets, completed=job.passed)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _jobs(ledger: Ledger, merchant: Merchant) -> list[Report]:
    return await ledger.look(partial(reports, merchant=merchant))


async def tell_jobs(ledger: Ledger, *, merchant: Merchant, number: int | None, out: TextIO) -> None:
    """Writes a line for each of the merchant's jobs; of the one with the number, whom it left alone, as CSV."""
    if number is None:
        for job in await _jobs(ledger, merchant):
            print(_line(job), file=out)
        return
    writer = csv.writer(out)
    writer.writerow(["customer", "reason"])
    after = 0
    while page := await ledger.look(
        partial(left_alone_by, merchant=merchant, number=number, after=after, at_most=_WALLETS_AT_ONCE)
    ):
        writer.writerows((own_name(one.wallet_id), one.code.value) for one in page)
        after = page[-1].wallet_id


def _line(job: Report) -> str:
    points = job.instruction.adjustment.points_delta
    asked = "reset to 0" if points is None else f"{points:+d} points"
    state = "under way" if job.finished_at is None else f"finished {iso_milliseconds(job.finished_at)}"
    left_alone = f", {job.left_alone} left alone" if job.left_alone else ""
    reached = f"{min(job.passed, job.wallets)} of {job.wallets} customers"
    return (
        f"job {job.number}: {asked}, accepted {iso_milliseconds(job.accepted_at)}, {reached}{left_alone}, {state}"
    )
