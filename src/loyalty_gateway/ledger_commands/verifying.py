"""``ledger verify``: every wallet held against its entries."""

from functools import partial

from rich.console import Console

from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.verify import Finding, check_keys, check_strays, check_wallets, size
from loyalty_gateway.ledger_commands.progress import progress_bar

_WALLETS_AT_ONCE = 1_000
_KEYS_AT_ONCE = 1_000


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
    with progress_bar() as bar:
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
