"""The commands of ``loyalty-gateway``."""

import contextlib
import gc
import getpass
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import msgspec
import typer
import uvicorn
import uvloop
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loyalty_gateway import ledger_commands
from loyalty_gateway.adjustment import LARGEST_POINTS
from loyalty_gateway.against import compare, vendor_of
from loyalty_gateway.app import configured_merchant, create_app, load_contract, open_ledger, upstreams_beside
from loyalty_gateway.backend_config import MigrationConfig
from loyalty_gateway.check import (
    check_vendors,
    located_defects,
    render_comparison,
    render_defects,
    render_report,
)
from loyalty_gateway.config import LARGEST_PORT, Config, ServerConfig, load_config, parse_config
from loyalty_gateway.contract_run.commands import Asked
from loyalty_gateway.contract_run.commands import contract as hold_contract
from loyalty_gateway.contract_run.setup import Wish as Wishes
from loyalty_gateway.customer_files import CustomerFile
from loyalty_gateway.intent_commands import settle_by_hand, tell_intents
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.orders import Behind
from loyalty_gateway.loss_commands import (
    Wish,
    all_pairs,
    read_body,
    render_json,
    render_matrix,
    render_translation,
)
from loyalty_gateway.loss_commands import translate as translate_request
from loyalty_gateway.migration import commands as steps
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.problem import ConfigurationError, Problem
from loyalty_gateway.spec import load_document, specs_folder
from loyalty_gateway.testing.connections import ResettableConnection
from loyalty_gateway.traffic.asking import asked_report
from loyalty_gateway.traffic.commands import judge_files, tell, write_archive
from loyalty_gateway.traffic.recordings import kept_findings
from loyalty_gateway.traffic.telling import counted
from loyalty_gateway.traffic.traffic import Traffic, whose_exchanges
from loyalty_gateway.upstream.upstreams import upstream_names
from loyalty_gateway.vendor import Vendor, discover

R = TypeVar("R")
T = TypeVar("T")

_BACKLOG = 2_048
_POINTS_HELP = "Signed points; without them everybody is reset to 0."

commands = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
whole_ledger = typer.Typer(no_args_is_help=True, help="Look at a ledger as a whole.")
commands.add_typer(whole_ledger, name="ledger")
moving = typer.Typer(no_args_is_help=True, help="Move a merchant's points from one backend to another.")
commands.add_typer(moving, name="migration")

ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file.")]
MerchantOption = Annotated[str, typer.Option("--merchant", help="Whose customers, by the configuration's name.")]
VendorOption = Annotated[str, typer.Option("--vendor", help="Whose dialect the clients speak.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why; it is kept with your name and the time.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who says so, by default the user's name.")]
LedgerOption = Annotated[str | None, typer.Option("--ledger", help="The ledger's URL, instead of the file's.")]


@commands.callback()
def _main() -> None:
    """Five loyalty vendors' APIs, each exactly as its contract says, over one points ledger."""


@commands.command()
def serve(
    config: ConfigOption = Path("config.yaml"),
    host: Annotated[str | None, typer.Option(help="Listen here, instead of the file's host.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port; 0 takes a free one.")] = None,
    ledger: LedgerOption = None,
    no_rate_limits: Annotated[bool, typer.Option("--no-rate-limits", help="Count no rate limits.")] = False,  # noqa: FBT002
) -> None:
    """Serve the vendors of the configuration until interrupted."""
    with _told_to_people():
        vendors = discover()
        app, server, protocol = _composed(
            _override(load_config(config, vendors), host, port, ledger, no_rate_limits=no_rate_limits), vendors
        )
        with _listening(server) as sockets:
            uvloop.run(_serve(app, server, sockets, protocol))


@commands.command()
def check(
    config: ConfigOption = Path("config.yaml"),
    vendor: Annotated[str | None, typer.Option(help="With --defects or --against: only this vendor.")] = None,
    as_defects: Annotated[  # noqa: FBT002
        bool, typer.Option("--defects", help="Only the published defects, with line, column and fingerprint.")
    ] = False,
    against: Annotated[
        Path | None, typer.Option(help="A new version of a vendor's document: what it changes here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --defects or --against: as JSON.")] = False,  # noqa: FBT002
) -> None:
    """Check the configuration and the specs: operations, published defects, overlay actions.

    With --defects it ends with 1 if no overlay action answers one of them, with --against if the new version
    breaks something.
    """
    with _told_to_people():
        vendors = discover()
        chosen = load_config(config, vendors)
        overlays = {name: one.overlays for name, one in chosen.vendors.items()}
        if vendor is not None and vendor not in vendors:
            raise ConfigurationError(f"--vendor {vendor}", f"must be one of: {', '.join(sorted(vendors))}")
        if against is not None:
            named = vendor or vendor_of(against, vendors)
            document = load_document(named, specs_folder(), overlays.get(named, ()))
            comparison = compare(document, against, vendors[named], chosen)
            _print(comparison, render_comparison, as_json=as_json)
            raise typer.Exit(1 if comparison.breaks else 0)
        if as_defects:
            located = located_defects([vendor] if vendor else vendors, overlays, specs_folder())
            _print(located, render_defects, as_json=as_json)
            raise typer.Exit(1 if any(defect.answered_by is None for defect in located) else 0)
        reports = check_vendors(vendors, overlays)
        create_app(chosen, vendors, contracts={report.vendor.name: report.contract for report in reports})
        render_report(reports, sys.stdout)


def _print(told: T, render: Callable[[T, TextIO], None], *, as_json: bool) -> None:
    if as_json:
        render_json(told, sys.stdout)
    else:
        render(told, sys.stdout)


@commands.command()
def traffic(
    files: Annotated[list[Path], typer.Argument(help="HTTP Archives (.har), or one exchange a line (.ndjson).")],
    vendor: Annotated[
        str, typer.Option(help="Whose exchanges all are; by default told by host, or by the mount /<vendor>/.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="For hosts, path aliases and overlays of its own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,  # noqa: FBT002
) -> None:
    """Hold recorded traffic against the vendors' documents, in both directions. Ends with 1 on any finding."""
    with _told_to_people():
        vendors = discover()
        chosen = load_config(config, vendors) if config is not None else None
        if vendor and vendor not in vendors:
            raise ConfigurationError(f"--vendor {vendor}", f"must be one of: {', '.join(sorted(vendors))}")
        judged = {
            name: load_contract(one, served.overlays if served else (), checks=False)
            for name, one in vendors.items()
            for served in [chosen.vendors.get(name) if chosen is not None else None]
            if vendor in {"", name}
        }
        whole = Traffic(whose_exchanges(vendors, judged, chosen), only=vendor)
        if not tell(judge_files(files, whole), sys.stdout, as_json=as_json):
            raise typer.Exit(1)


@commands.command()
def defects(  # noqa: PLR0913, PLR0917 - options
    config: ConfigOption = Path("config.yaml"),
    folder: Annotated[Path | None, typer.Option(help="By default the file's recording.folder.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask the gateway that serves there, with admin.token.")] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="LOYALTY_GATEWAY_ADMIN_TOKEN", help="By default the file's admin.token."),
    ] = None,
    har: Annotated[Path | None, typer.Option(help="Write the exchanges of the folder there, redacted.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,  # noqa: FBT002
) -> None:
    """Tell what the gateway found in the traffic that passed through it. Ends with 1 if there is anything."""
    with _told_to_people():
        if url is not None and har is not None:
            raise ConfigurationError("--har", "writes what a folder has, so not together with --url")
        vendors = discover()
        # Whoever says where it is needs no configuration.
        named = folder is not None or (url is not None and token is not None)
        chosen = None if named else load_config(config, vendors)
        if url is not None:
            secret = token or (chosen.admin.token if chosen is not None else None)
            if secret is None:
                raise ConfigurationError("admin.token", "is not set; give it with --token")
            report = asked_report(url, secret)
        else:
            kept = folder or (Path(chosen.recording.folder) if chosen and chosen.recording.folder else None)
            if kept is None:
                raise ConfigurationError("recording.folder", "is not set; give --folder, or --url of a gateway")
            if har is not None:
                count, unreadable = write_archive(kept, har)
                left_out = f"; {counted(unreadable, 'line')} could not be read" if unreadable else ""
                typer.echo(f"{counted(count, 'exchange')} written to {har}{left_out}")
                return
            contracts = {name: load_contract(one, checks=False) for name, one in vendors.items()}
            report = kept_findings(kept).report(contracts)
        if not tell(report, sys.stdout, as_json=as_json):
            raise typer.Exit(1)


@commands.command()
def contract(  # noqa: PLR0913, PLR0917 - options
    vendor: Annotated[str, typer.Argument(help="Whose contract the server is held against.")],
    url: Annotated[str, typer.Option(help="The server: what stands before the paths of the vendor's spec.")],
    credentials: Annotated[
        list[str] | None, typer.Option(help="A field of the credential: key=value; once for each.")
    ] = None,
    customer: Annotated[
        list[str] | None, typer.Option(help="A known customer: namespace:value, commas between names; for each.")
    ] = None,
    operation: Annotated[list[str] | None, typer.Option(help="Only this operation, by its id; for each.")] = None,
    report: Annotated[str | None, typer.Option(help="Write a report: junit, sarif, json or html.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the report goes, by default standard output.")] = None,
    seconds: Annotated[float, typer.Option(help="How long it may take.", min=1, max=86_400)] = 60,
    seed: Annotated[int | None, typer.Option(help="Generates the same requests again.", min=0)] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="So many rounds of generated requests, by default while there is time.", min=0),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell all that was not covered.")] = False,  # noqa: FBT002
    config: ConfigOption = Path("config.yaml"),
) -> None:
    """Hold a server against a vendor's contract; moves points. Ends with 1 if it breaks it, 2 without verdict."""
    with _told_to_people():
        vendors = discover()
        wish = Wishes(credentials=credentials or (), customers=customer or (), operations=operation or ())
        asked = Asked(
            vendor=vendor,
            url=url,
            wish=wish,
            seconds=seconds,
            seed=seed,
            rounds=rounds,
            format=report,
            output=output,
            verbose=verbose,
        )
        status = hold_contract(_known(config, vendors, wish), vendors, asked, sys.stdout, sys.stderr)
    raise typer.Exit(status)


def _known(config: Path, vendors: Mapping[str, Vendor], wish: Wishes) -> Config:
    """The configuration; an empty one where there is no file, and nothing that it could tell is needed."""
    if wish.credentials and wish.customers and not config.exists():
        return parse_config({}, vendors, {})
    return load_config(config, vendors)


@commands.command()
def matrix(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with an example of each loss.")] = False,  # noqa: FBT002
) -> None:
    """Tell for every client's dialect and every upstream what survives, is emulated, or is lost."""
    with _told_to_people():
        pairs = all_pairs(discover())
        if as_json:
            render_json(pairs, sys.stdout)
        else:
            render_matrix(pairs, sys.stdout)


@commands.command()
def translate(  # noqa: PLR0913, PLR0917 - options
    client: Annotated[str, typer.Option("--from", help="The vendor whose dialect the request is in.")],
    upstream: Annotated[str, typer.Option("--to", help="The vendor who would be asked.")],
    body: Annotated[
        str | None, typer.Argument(help="The request's body, in a file; - reads standard input.")
    ] = None,
    operation: Annotated[str | None, typer.Option(help="Which of the client's operations, by its id.")] = None,
    customer: Annotated[
        str | None, typer.Option(help="The customer in the path; namespace:value names them for the upstream.")
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option(help="A field of the query: name=value; once for each.")
    ] = None,
    config: ConfigOption = Path("config.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,  # noqa: FBT002
) -> None:
    """Tell what an upstream would be asked for one request, and what is lost. Nothing is sent."""
    with _told_to_people():
        vendors = discover()
        wish = Wish(client=client, upstream=upstream, operation=operation, customer=customer, query=query or ())
        translation = translate_request(load_config(config, vendors), vendors, wish, read_body(body))
        if as_json:
            render_json(translation, sys.stdout)
        else:
            render_translation(translation, wish, sys.stdout)


@whole_ledger.command()
def verify(
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Hold every wallet against its entries; the gateway may serve meanwhile. Ends with 1 if anything is wrong."""
    with _told_to_people():
        chosen = _override(load_config(config, discover()), None, None, ledger, no_rate_limits=False)
        if not uvloop.run(_on(open_ledger(chosen), ledger_commands.verify)):
            raise typer.Exit(1)


@whole_ledger.command("import")
def import_customers(  # noqa: PLR0913, PLR0917 - options
    file: Annotated[Path, typer.Argument(help="CSV: reference.<namespace>, points, lifetime_earned, …")],
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
    merchant: MerchantOption = "demo",
    batch: Annotated[str | None, typer.Option(help="The batch's name, by default the file's.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where lines that are not taken go.")] = None,
) -> None:
    """Take customers into the ledger with opening balances, each once. Ends with 1 if a line was not taken."""
    with _told_to_people():
        chosen = _override(load_config(config, discover()), None, None, ledger, no_rate_limits=False)
        work = partial(
            ledger_commands.import_customers,
            merchant=configured_merchant(chosen, merchant),
            file=CustomerFile(file),
            name=batch or file.name,
            rejects=rejects or file.with_suffix(".rejects.csv"),
        )
        if not uvloop.run(_on(open_ledger(chosen), work)):
            raise typer.Exit(1)


@whole_ledger.command("export")
def export_customers(
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
    merchant: MerchantOption = "demo",
) -> None:
    """Write a merchant's customers to standard output, as CSV that `ledger import` reads."""
    with _told_to_people():
        chosen = _override(load_config(config, discover()), None, None, ledger, no_rate_limits=False)
        whose = configured_merchant(chosen, merchant)
        work = partial(ledger_commands.export_customers, merchant=whose, out=sys.stdout)
        uvloop.run(_on(open_ledger(chosen), work))


@whole_ledger.command()
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
    with _told_to_people():
        chosen = _override(load_config(config, discover()), None, None, ledger, no_rate_limits=False)
        whose = configured_merchant(chosen, merchant)
        asked = ledger_commands.for_everyone(whose, points, floors=floor, reason=reason, key=key)
        work = partial(ledger_commands.try_everyone if dry_run else ledger_commands.adjust_everyone, asked=asked)
        if not uvloop.run(_on(open_ledger(chosen, runs_jobs=not dry_run), work)):
            raise typer.Exit(1)


@whole_ledger.command()
def jobs(
    number: Annotated[int | None, typer.Argument(help="Tell whom this job left alone, as CSV.")] = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
    merchant: MerchantOption = "demo",
) -> None:
    """Tell how far a merchant's adjustments of everyone are that were answered before they were carried out."""
    with _told_to_people():
        chosen = _override(load_config(config, discover()), None, None, ledger, no_rate_limits=False)
        whose = configured_merchant(chosen, merchant)
        work = partial(ledger_commands.tell_jobs, merchant=whose, number=number, out=sys.stdout)
        uvloop.run(_on(open_ledger(chosen), work))


@whole_ledger.command()
def intents(
    number: Annotated[int | None, typer.Argument(help="Tell what came of each customer of it, as CSV.")] = None,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """List what was asked for at upstreams and is not settled; the parked ones wait for a person."""
    with _told_to_people():
        chosen = _override(load_config(config, discover()), None, None, ledger, no_rate_limits=False)
        work = partial(tell_intents, number=number, upstreams=upstream_names(chosen), out=sys.stdout)
        uvloop.run(_on(open_ledger(chosen), work))


@whole_ledger.command("settle")
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
    with _told_to_people():
        chosen = _override(load_config(config, discover()), None, None, ledger, no_rate_limits=False)
        configured = upstream_names(chosen)
        work = partial(
            settle_by_hand, number=number, done=done, points=points, upstreams=configured, out=sys.stdout
        )
        uvloop.run(_on(open_ledger(chosen), work))


@moving.command()
def status(
    merchant: MerchantOption,
    vendor: VendorOption,
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Tell how far a move is, who brought it there and why, and what could not follow."""
    _step(config, ledger, merchant, vendor, partial(steps.tell_status, out=sys.stdout))


@moving.command()
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


@moving.command()
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


@moving.command("end")
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


@moving.command("settle")
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


@moving.command("report")
def report_comparisons(
    merchant: MerchantOption,
    vendor: VendorOption,
    customers: Annotated[bool, typer.Option("--customers", help="A line for each customer too.")] = False,  # noqa: FBT002
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Tell what comparing the two sides came to: money first, then field by field."""
    _step(config, ledger, merchant, vendor, partial(steps.tell_report, customers=customers, out=sys.stdout))


@moving.command("import")
def import_balances(
    merchant: MerchantOption,
    vendor: VendorOption,
    batch: Annotated[str, typer.Option(help="By which a second run knows whom the first one took.")] = "first",
    config: ConfigOption = Path("config.yaml"),
    ledger: LedgerOption = None,
) -> None:
    """Set the new side's balances to the old side's, through its API. Ends with 1 if somebody is left."""
    _step_at_sides(config, ledger, merchant, vendor, partial(steps.run_import, batch=batch, out=sys.stdout))


@moving.command("reconcile")
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
    with _told_to_people():
        vendors = discover()
        chosen = _override(load_config(config, vendors), None, None, ledger, no_rate_limits=False)
        whose = configured_merchant(chosen, merchant)
        _check_move(chosen, vendors, merchant, vendor)
        uvloop.run(_on(open_ledger(chosen), lambda opened: work(steps.Chosen(opened, whose, vendor))))


def _step_at_sides(
    config: Path,
    ledger: str | None,
    merchant: str,
    vendor: str,
    work: Callable[[steps.Chosen, Parts], Awaitable[bool]],
) -> None:
    """The same, where both sides are asked; ends with 1 where that did not come to what was wanted."""
    with _told_to_people():
        vendors = discover()
        chosen = _override(load_config(config, vendors), None, None, ledger, no_rate_limits=False)
        whose = configured_merchant(chosen, merchant)
        _check_move(chosen, vendors, merchant, vendor)

        async def at_sides(opened: Ledger) -> bool:
            upstreams = upstreams_beside(chosen, vendors, opened)
            try:
                return await work(steps.Chosen(opened, whose, vendor), upstreams.parts(vendor, merchant))
            finally:
                await upstreams.close()

        if not uvloop.run(_on(open_ledger(chosen), at_sides)):
            raise typer.Exit(1)


def _check_move(config: Config, vendors: Mapping[str, Vendor], merchant: str, vendor: str) -> None:
    """Raises ConfigurationError where the merchant has no move in that vendor's dialect."""
    if vendor not in vendors:
        raise ConfigurationError(f"--vendor {vendor}", f"must be one of: {', '.join(sorted(vendors))}")
    served = config.vendors.get(vendor)
    if served is None or not isinstance(served.backends.get(merchant), MigrationConfig):
        what = "is no migration; it must be {migration: {old: BACKEND, new: BACKEND}}"
        raise ConfigurationError(f"merchants.{merchant}.backends.{vendor}", what)


async def _on(ledger: Ledger, work: Callable[[Ledger], Awaitable[R]]) -> R:
    """What the work gives on the ledger, which is open meanwhile."""
    try:
        await ledger.open()
        return await work(ledger)
    except Problem as problem:
        raise ConfigurationError("ledger", f"{problem.code.value}; is it in use elsewhere?") from problem
    except Behind as behind:
        what = "an adjustment of everyone is being carried out; see `ledger jobs`, and try again after it"
        raise ConfigurationError("ledger", what) from behind
    finally:
        await ledger.close()


def main() -> None:
    """Runs the command line."""
    commands()


def _composed(
    config: Config, vendors: Mapping[str, Vendor]
) -> tuple[Starlette, ServerConfig, type[HttpToolsProtocol]]:
    # Whoever serves holds only these: the credentials in the configuration are plain text.
    protocol = HttpToolsProtocol if not config.testing.faults else ResettableConnection
    return create_app(config, vendors), config.server, protocol


@contextlib.contextmanager
def _listening(server: ServerConfig) -> Iterator[list[socket.socket]]:
    """Sockets on every address of the host; raises ConfigurationError where one cannot be had."""
    with contextlib.ExitStack() as stack:
        try:
            addresses = socket.getaddrinfo(
                server.host or None, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            sockets = [
                stack.enter_context(_bound(family, address)) for family, *_, address in dict.fromkeys(addresses)
            ]
        except OSError as error:
            what = f"cannot listen there: {error.strerror}"
            raise ConfigurationError(f"{server.host}:{server.port}", what) from error
        yield sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Of a host with addresses of both kinds, each has a socket of its own.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        # Until somebody listens, a second socket may be bound to the same port.
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


async def _serve(
    app: Starlette, server: ServerConfig, sockets: list[socket.socket], protocol: type[HttpToolsProtocol]
) -> None:
    async with app.router.lifespan_context(app):
        # What is there now stays there: to look through it again and again would hold up requests.
        gc.collect()
        gc.freeze()
        await _Server(
            uvicorn.Config(
                app,
                http=protocol,
                lifespan="off",
                access_log=False,
                log_level="warning",
                # The colours are looked up on standard output, which may be closed.
                use_colors=False,
                server_header=False,
                proxy_headers=bool(server.trusted_proxies),
                forwarded_allow_ips=list(server.trusted_proxies),
                timeout_graceful_shutdown=10,
            )
        ).serve(sockets)


class _Server(uvicorn.Server):
    """uvicorn's server, which says where it listens, and leaves signals to end it and not the process.

    The ledger outlives the server: it closes after the last request, in the lifespan around it.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for server in self.servers if self.started else ():
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                shown = f"[{host}]" if ":" in host else host
                typer.echo(f"loyalty-gateway: serving on http://{shown}:{port}", err=True)
        if self.started and self.config.http is ResettableConnection:
            typer.echo("loyalty-gateway: for tests only: faults can be ordered here", err=True)


def _override(
    config: Config, host: str | None, port: int | None, ledger: str | None, *, no_rate_limits: bool
) -> Config:
    server = config.server
    if port is not None and not 0 <= port <= LARGEST_PORT:
        raise ConfigurationError("--port", f"must be between 0 and {LARGEST_PORT}")
    return msgspec.structs.replace(
        config,
        ledger=config.ledger if ledger is None else ledger,
        server=msgspec.structs.replace(
            server,
            host=server.host if host is None else host,
            port=server.port if port is None else port,
            rate_limits=server.rate_limits and not no_rate_limits,
        ),
    )


@contextlib.contextmanager
def _told_to_people() -> Iterator[None]:
    """A mistake in the configuration ends the command with one sentence and status 2, without a traceback."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(f"loyalty-gateway: {error}", err=True)
        raise typer.Exit(2) from error
