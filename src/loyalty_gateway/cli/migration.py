"""The commands that move a merchant's points from one backend to another: ``loyalty-gateway migration …``."""

import getpass
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.app import configured_merchant, open_ledger, upstreams_beside
from loyalty_gateway.backend_config import MigrationConfig
from loyalty_gateway.cli.opened_ledger import done_on
from loyalty_gateway.cli.options import ConfigOption, LedgerOption, MerchantOption, chosen_config, require_vendor
from loyalty_gateway.cli.telling import told_to_people
from loyalty_gateway.config import Config
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.migration import commands as steps
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Vendor, discover

VendorOption = Annotated[str, typer.Option("--vendor", help="Whose dialect the clients speak.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why; it is kept with your name and the time.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who says so, by default the user's name.")]

commands = typer.Typer(no_args_is_help=True, help="Move a merchant's points from one backend to another.")


@commands.command()
def status(
    merchant: MerchantOption,
    vendor: VendorOption,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Tell how far a move is, who brought it there and why, and what could not follow."""
    _step(config, ledger, merchant, vendor, partial(steps.tell_status, out=sys.stdout))


@commands.command()
def advance(  # noqa: PLR0913, PLR0917 - options
    merchant: MerchantOption,
    vendor: VendorOption,
    why: WhyOption,
    percent: Annotated[
        int | None, typer.Option(help="Only so many of the customers, by their numbers' digests.", min=1, max=100)
    ] = None,
    customers: Annotated[
        Path | None, typer.Option(help="Only these, and those there before: namespace:value, one a line.")
    ] = None,
    max_age_hours: Annotated[float, typer.Option(help="How old a reconciliation may be.", min=0)] = 24,
    who: WhoOption = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Take a move one stage on: observe, shadow, mirror, lead, done; to the last two only if all is reconciled."""
    work = partial(
        steps.advance,
        percent=percent,
        customers=customers,
        who=who or getpass.getuser(),
        why=why,
        largest_age_hours=max_age_hours,
        out=sys.stdout,
    )
    _step(config, ledger, merchant, vendor, work)


@commands.command()
def back(  # noqa: PLR0913, PLR0917 - options
    merchant: MerchantOption,
    vendor: VendorOption,
    why: WhyOption,
    percent: Annotated[
        int | None, typer.Option(help="Keep so many of the customers in the stage.", min=0, max=99)
    ] = None,
    who: WhoOption = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Take a move one stage back; nothing is lost by it."""
    work = partial(steps.take_back, percent=percent, who=who or getpass.getuser(), why=why, out=sys.stdout)
    _step(config, ledger, merchant, vendor, work)


@commands.command("end")
def end_move(  # noqa: PLR0913, PLR0917 - options
    merchant: MerchantOption,
    vendor: VendorOption,
    why: WhyOption,
    who: WhoOption = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """End a move that is done: there is no way back any more, and nothing is kept for it."""
    work = partial(steps.end, who=who or getpass.getuser(), why=why, out=sys.stdout)
    _step_at_sides(config, ledger, merchant, vendor, work)


@commands.command("settle")
def settle_follow_up(  # noqa: PLR0913, PLR0917 - options
    key: Annotated[str, typer.Argument(help="The follow-up's, as `migration status` tells it.")],
    retry: Annotated[bool, typer.Option("--retry/--forget", help="Try it again, or forget it.")],
    merchant: MerchantOption,
    vendor: VendorOption,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Have what could not follow tried again, or forget it since you mended it otherwise."""
    work = partial(steps.settle_follow_up, key=key, retries=retry, out=sys.stdout)
    _step(config, ledger, merchant, vendor, work)


@commands.command("report")
def report_comparisons(
    merchant: MerchantOption,
    vendor: VendorOption,
    customers: Annotated[bool, typer.Option("--customers", help="A line for each customer too.")] = False,  # noqa: FBT002
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Tell what comparing the two sides came to: money first, then field by field."""
    _step(config, ledger, merchant, vendor, partial(steps.tell_report, customers=customers, out=sys.stdout))


@commands.command("import")
def import_balances(
    merchant: MerchantOption,
    vendor: VendorOption,
    batch: Annotated[str, typer.Option(help="By which a second run knows whom the first one took.")] = "first",
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Set the new side's balances to the old side's, through its API. Ends with 1 if somebody is left."""
    _step_at_sides(config, ledger, merchant, vendor, partial(steps.run_import, batch=batch, out=sys.stdout))


@commands.command("reconcile")
def reconcile_sides(
    merchant: MerchantOption,
    vendor: VendorOption,
    file: Annotated[Path | None, typer.Option("--csv", help="Write every customer there.")] = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Hold every customer at both sides against each other. Ends with 1 unless it is safe to go on."""
    _step_at_sides(config, ledger, merchant, vendor, partial(steps.run_reconciliation, file=file, out=sys.stdout))


def _step(
    config: Path, ledger: str | None, merchant: str, vendor: str, work: Callable[[steps.Chosen], Awaitable[None]]
) -> None:
    """Does what a command is about with the move that it names."""
    with told_to_people():
        vendors = discover()
        chosen = chosen_config(config, vendors, ledger)
        whose = _moving_merchant(chosen, vendors, merchant, vendor)
        done_on(open_ledger(chosen), lambda opened: work(steps.Chosen(opened, whose, vendor)))


def _step_at_sides(
    config: Path,
    ledger: str | None,
    merchant: str,
    vendor: str,
    work: Callable[[steps.Chosen, Parts], Awaitable[bool]],
) -> None:
    """The same, where both sides are asked; ends with 1 where that did not come to what was wanted."""
    with told_to_people():
        vendors = discover()
        chosen = chosen_config(config, vendors, ledger)
        whose = _moving_merchant(chosen, vendors, merchant, vendor)

        async def at_sides(opened: Ledger) -> bool:
            upstreams = upstreams_beside(chosen, vendors, opened)
            try:
                return await work(steps.Chosen(opened, whose, vendor), upstreams.parts(vendor, merchant))
            finally:
                await upstreams.close()

        if not done_on(open_ledger(chosen), at_sides):
            raise typer.Exit(1)


def _moving_merchant(config: Config, vendors: Mapping[str, Vendor], merchant: str, vendor: str) -> Merchant:
    """The merchant who moves; raises ConfigurationError where they have no move in that vendor's dialect."""
    moving = configured_merchant(config, merchant)
    require_vendor(vendor, vendors)
    served = config.vendors.get(vendor)
    if served is None or not isinstance(served.backends.get(merchant), MigrationConfig):
        what = "is no migration; it must be {migration: {old: BACKEND, new: BACKEND}}"
        raise ConfigurationError(f"merchants.{merchant}.backends.{vendor}", what)
    return moving
