"""The commands for a ledger as a whole: ``loyalty-gateway ledger …``."""

import asyncio
import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

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
from loyalty_gateway.customer import Customer
from loyalty_gateway.customer_files import BETWEEN, COLUMNS, REFERENCE, CustomerFile
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.everyone import Change, Weighed
from loyalty_gateway.ledger.exporting import namespaces, page
from loyalty_gateway.ledger.importing import Batch, Newcomer, Reject, lines_taken, take
from loyalty_gateway.ledger.jobs import Report, check_reached, reports
from loyalty_gateway.ledger.jobs import left_alone as left_alone_by
from loyalty_gateway.ledger.statements import Dialect, Statement, Work
from loyalty_gateway.ledger.verify import Finding, check_keys, check_strays, check_wallets, size
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.problem import Code, ConfigurationError, Problem

_WALLETS_AT_ONCE = 1_000
_KEYS_AT_ONCE = 1_000
_LINES_AT_ONCE = 1_000
_LOOK_AGAIN_SECONDS = 0.2
_VENDOR = "operator"
"""In whose dialect a person's instructions are."""


def _progress() -> Progress:
    """A bar on standard error, where that is a terminal."""
    terminal = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
    )


async def import_customers(  # noqa: PLR0913 - what, whence, whither
    ledger: Ledger,
    *,
    merchant: Merchant,
    file: CustomerFile,
    name: str,
    rejects: Path,
    out: Console | None = None,
) -> bool:
    """Takes the customers of a file into the ledger, each once; whether all were taken.

    What was broken off goes on where it stood. The good lines are kept, whatever is wrong with others.

    Args:
        ledger: an open one.
        merchant: whose customers they are.
        file: the file.
        name: of the batch, by which the ledger knows it again.
        rejects: where lines that were not taken are written, with the reason; it is made anew unless going on.
        out: where the summary goes, by default to standard output.

    Raises:
        ConfigurationError: the name is that of another batch.
        Problem: UNAVAILABLE; what was taken before stays so.
    """
    batch = Batch(name, file.digest)
    before = await ledger.change(merchant, lambda _, merchant_id, __: lines_taken(merchant_id, batch))
    if before is None:
        raise ConfigurationError(f"--batch {name}", "is the name of another file's batch; give this one its own")
    taken = before
    with _Rejects(rejects, behind=taken) as refused, _progress() as bar:
        task = bar.add_task("customers", total=file.lines, completed=taken)
        for part in _parts(file.rows(behind=taken)):
            taken = part[-1].line
            told = await ledger.change(merchant, _taking(merchant, batch, part))
            refused.write(sorted([*told, *(one for one in part if isinstance(one, Reject))]))
            bar.update(task, completed=taken)
    (out or Console(highlight=False)).print(
        f"{taken - refused.count} of {taken} customers are in the ledger"
        + (f", {taken - before} lines were read now" if before else "")
        + (f"; {refused.count} are in {rejects}" if refused.count else ""),
        soft_wrap=True,
    )
    return not refused.count


def _parts(rows: Iterator[Newcomer | Reject]) -> Iterator[list[Newcomer | Reject]]:
    while part := list(islice(rows, _LINES_AT_ONCE)):
        yield part


def _taking(
    merchant: Merchant, batch: Batch, part: list[Newcomer | Reject]
) -> Callable[[Dialect, int, int], Work[tuple[Reject, ...]]]:
    newcomers = [one for one in part if isinstance(one, Newcomer)]

    def work(dialect: Dialect, merchant_id: int, now: int) -> Work[tuple[Reject, ...]]:
        return take(dialect, merchant, merchant_id, batch, newcomers, lines=part[-1].line, now=now)

    return work


class _Rejects:
    """The file of lines that were not taken, in which those of the lines taken before stay."""

    def __init__(self, path: Path, *, behind: int) -> None:
        self._path = path
        self._earlier: list[list[str]] = []
        if behind and path.exists():
            with path.open(encoding="utf-8", newline="") as content:
                self._earlier = [row for row in csv.reader(content) if row[0].isdigit() and int(row[0]) <= behind]
        self.count = len(self._earlier)
        self._content: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, rejects: Iterable[Reject]) -> None:
        """Writes these, and has them out of this process."""
        for reject in rejects:
            if self._content is None:
                self._content = self._path.open("w", encoding="utf-8", newline="")
                csv.writer(self._content).writerows([["line", "reason"], *self._earlier])
            csv.writer(self._content).writerow(reject)
            self.count += 1
        if self._content is not None:
            self._content.flush()

    def __exit__(self, *_: object) -> None:
        if self._content is not None:
            self._content.close()
        elif not self._earlier:
            self._path.unlink(missing_ok=True)


async def export_customers(ledger: Ledger, *, merchant: Merchant, out: TextIO) -> int:
    """Writes the merchant's customers as CSV that ``import_customers`` reads; gives how many they are."""
    names = await ledger.look(partial(namespaces, merchant=merchant.name))
    writer = csv.writer(out)
    writer.writerow([*(REFERENCE + name for name in names), *COLUMNS])
    count, after = 0, 0
    while True:
        found = await ledger.look(
            partial(page, merchant=merchant.name, after=after, limit=_WALLETS_AT_ONCE), merchant=merchant
        )
        writer.writerows(_row(customer, names) for customer in found.customers)
        count += len(found.customers)
        if found.last is None:
            return count
        after = found.last


def _row(customer: Customer, names: list[str]) -> list[object]:
    wallet, profile = customer.wallet, customer.profile
    references = [
        BETWEEN.join(one.value for one in customer.references if one.namespace == name) for name in names
    ]
    told = (
        wallet.available,
        wallet.lifetime_earned,
        wallet.lifetime_burned,
        profile.first_name,
        profile.last_name,
    )
    return [*references, *told]


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
    with _progress() as bar:
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


async def verify(ledger: Ledger, out: Console | None = None) -> bool:
    """Holds every wallet against its entries, and tells each finding; whether there was none.

    Pages are read one after another, each from one snapshot, so that the gateway may go on serving meanwhile.

    Args:
        ledger: an open one.
        out: where findings and the summary go, by default to standard output.
    """
    out = out or Console(highlight=False)
    told = 0
    whole = await ledger.look(size)
    wallets = entries = 0
    with _progress() as bar:
        task = bar.add_task("wallets", total=whole.wallets)
        place: tuple[int, int] | None = (0, 0)
        while place is not None:
            page = await ledger.look(partial(check_wallets, after=place, limit=_WALLETS_AT_ONCE))
            told += _tell(out, page.findings)
            wallets, entries, place = wallets + page.wallets, entries + page.entries, page.last
            bar.update(task, completed=wallets)
        told += _tell(out, await ledger.look(check_strays))
        key: tuple[int, str, str] | None = (0, "", "")
        while key is not None:
            findings, key = await ledger.look(partial(check_keys, after=key, limit=_KEYS_AT_ONCE))
            told += _tell(out, findings)
    out.print(f"{wallets} wallets, {entries} entries: {'nothing is wrong' if not told else f'{told} findings'}")
    return not told


def _tell(out: Console, findings: tuple[Finding, ...]) -> int:
    for finding in findings:
        out.print(f"merchant {finding.merchant_id}, wallet {finding.wallet_id}: {finding.what}", soft_wrap=True)
    return len(findings)
