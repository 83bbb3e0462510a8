"""``ledger import`` and ``export``: a merchant's customers with their balances, from and to CSV."""

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self, TextIO

from rich.console import Console

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.customer import Customer
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.exporting import namespaces, page
from loyalty_gateway.ledger.importing import Batch, Newcomer, Reject, lines_taken, take
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.ledger_commands.customer_files import BETWEEN, COLUMNS, REFERENCE, CustomerFile
from loyalty_gateway.ledger_commands.progress import progress_bar
from loyalty_gateway.problem import ConfigurationError

_LINES_AT_ONCE = 1_000
_WALLETS_AT_ONCE = 1_000


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
    with _Rejects(rejects, behind=taken) as refused, progress_bar() as bar:
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
