"""The commands for a ledger as a whole: ``loyalty-gateway ledger …``."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from loyalty_gateway.adjustment import LARGEST_POINTS
from loyalty_gateway.app import configured_merchant, open_ledger
from loyalty_gateway.cli.opened_ledger import done_on
from loyalty_gateway.cli.options import ConfigOption, LedgerOption, MerchantOption, chosen_config
from loyalty_gateway.cli.telling import told_to_people
from loyalty_gateway.ledger_commands import customers
from loyalty_gateway.ledger_commands.customer_files import CustomerFile
from loyalty_gateway.ledger_commands.everyone import adjust_everyone, for_everyone, tell_jobs, try_everyone
from loyalty_gateway.ledger_commands.intents import settle_by_hand, tell_intents
from loyalty_gateway.ledger_commands.verifying import verify
from loyalty_gateway.upstream.upstreams import upstream_names
from loyalty_gateway.vendor import discover

_POINTS_HELP = "Signed points; without them everybody is reset to 0."

commands = typer.Typer(no_args_is_help=True, help="Look at a ledger as a whole.")


@commands.command("verify")
def verify_ledger(
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Hold every wallet against its entries; the gateway may serve meanwhile. Ends with 1 if anything is wrong."""
    with told_to_people():
        chosen = chosen_config(config, discover(), ledger)
        if not done_on(open_ledger(chosen), verify):
            raise typer.Exit(1)


@commands.command("import")
def import_customers(  # noqa: PLR0913, PLR0917 - options
    file: Annotated[Path, typer.Argument(help="CSV: reference.<namespace>, points, lifetime_earned, …")],
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
    merchant: MerchantOption = "demo",
    batch: Annotated[str | None, typer.Option(help="The batch's name, by default the file's.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where lines that are not taken go.")] = None,
) -> None:
    """Take customers into the ledger with opening balances, each once. Ends with 1 if a line was not taken."""
    with told_to_people():
        chosen = chosen_config(config, discover(), ledger)
        work = partial(
            customers.import_customers,
            merchant=configured_merchant(chosen, merchant),
            file=CustomerFile(file),
            name=batch or file.name,
            rejects=rejects or file.with_suffix(".rejects.csv"),
        )
        if not done_on(open_ledger(chosen), work):
            raise typer.Exit(1)


@commands.command("export")
def export_customers(
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
    merchant: MerchantOption = "demo",
) -> None:
    """Write a merchant's customers to standard output, as CSV that `ledger import` reads."""
    with told_to_people():
        chosen = chosen_config(config, discover(), ledger)
        whose = configured_merchant(chosen, merchant)
        work = partial(customers.export_customers, merchant=whose, out=sys.stdout)
        done_on(open_ledger(chosen), work)


@commands.command()
def everyone(  # noqa: PLR0913, PLR0917 - options
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
    merchant: MerchantOption = "demo",
    points: Annotated[int | None, typer.Option(help=_POINTS_HELP, min=-LARGEST_POINTS, max=LARGEST_POINTS)] = None,
    floor: Annotated[bool, typer.Option("--floor", help="Who has less gives what there is.")] = False,  # noqa: FBT002
    reason: Annotated[str | None, typer.Option(help="What customers are told.")] = None,
    key: Annotated[str | None, typer.Option(help="Carries it out once, however often it is asked for.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,  # noqa: FBT002
) -> None:
    """Adjust all of a merchant's customers who are not excluded. Ends with 1 if it is refused."""
    with told_to_people():
        chosen = chosen_config(config, discover(), ledger)
        whose = configured_merchant(chosen, merchant)
        asked = for_everyone(whose, points, floors=floor, reason=reason, key=key)
        work = partial(try_everyone if dry_run else adjust_everyone, asked=asked)
        if not done_on(open_ledger(chosen, runs_jobs=not dry_run), work):
            raise typer.Exit(1)


@commands.command()
def jobs(
    number: Annotated[int | None, typer.Argument(help="Tell whom this job left alone, as CSV.")] = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
    merchant: MerchantOption = "demo",
) -> None:
    """Tell how far a merchant's adjustments of everyone are that were answered before they were carried out."""
    with told_to_people():
        chosen = chosen_config(config, discover(), ledger)
        whose = configured_merchant(chosen, merchant)
        work = partial(tell_jobs, merchant=whose, number=number, out=sys.stdout)
        done_on(open_ledger(chosen), work)


@commands.command()
def intents(
    number: Annotated[int | None, typer.Argument(help="Tell what came of each customer of it, as CSV.")] = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """List what was asked for at upstreams and is not settled; the parked ones wait for a person."""
    with told_to_people():
        chosen = chosen_config(config, discover(), ledger)
        work = partial(tell_intents, number=number, upstreams=upstream_names(chosen), out=sys.stdout)
        done_on(open_ledger(chosen), work)


@commands.command("settle")
def settle_intent(
    number: Annotated[int, typer.Argument(help="The intent's, as `ledger intents` tells it.")],
    done: Annotated[bool, typer.Option("--done/--refused", help="Whether it was carried out at the upstream.")],
    points: Annotated[
        int | None, typer.Option(help="The signed points that took effect, if not those asked for.")
    ] = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Write down what you found out at the upstream about a parked intent; retries get that outcome."""
    with told_to_people():
        chosen = chosen_config(config, discover(), ledger)
        configured = upstream_names(chosen)
        work = partial(
            settle_by_hand, number=number, done=done, points=points, upstreams=configured, out=sys.stdout
        )
        done_on(open_ledger(chosen), work)
