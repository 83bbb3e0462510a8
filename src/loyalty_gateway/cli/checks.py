"""The commands that hold something against the vendors' specs: the configuration, recorded traffic, a server."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from loyalty_gateway.against import compare, vendor_of
from loyalty_gateway.app import create_app, load_contract
from loyalty_gateway.check import (
    check_vendors,
    located_defects,
    render_comparison,
    render_defects,
    render_report,
)
from loyalty_gateway.cli.options import ConfigOption, require_vendor
from loyalty_gateway.cli.telling import tell, told_to_people
from loyalty_gateway.config import Config, load_config, parse_config
from loyalty_gateway.contract_run.commands import Asked
from loyalty_gateway.contract_run.commands import contract as hold_contract
from loyalty_gateway.contract_run.setup import Wish
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract, load_document, specs_folder
from loyalty_gateway.traffic.asking import asked_report
from loyalty_gateway.traffic.commands import judge_files, write_archive
from loyalty_gateway.traffic.commands import tell as tell_findings
from loyalty_gateway.traffic.recordings import kept_findings
from loyalty_gateway.traffic.telling import counted
from loyalty_gateway.traffic.traffic import Traffic, whose_exchanges
from loyalty_gateway.vendor import Vendor, discover

commands = typer.Typer()


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
    breaks something, or if an overlay action is to be looked at.
    """
    with told_to_people():
        vendors = discover()
        chosen = load_config(config, vendors)
        overlays = {name: one.overlays for name, one in chosen.vendors.items()}
        if vendor is not None:
            require_vendor(vendor, vendors)
        if against is not None:
            named = vendor or vendor_of(against, vendors)
            document = load_document(named, specs_folder(), overlays.get(named, ()))
            comparison = compare(document, against, vendors[named], chosen)
            tell(comparison, render_comparison, as_json=as_json)
            raise typer.Exit(1 if comparison.breaks else 0)
        if as_defects:
            located = located_defects([vendor] if vendor else vendors, overlays, specs_folder())
            tell(located, render_defects, as_json=as_json)
            raise typer.Exit(1 if any(defect.answered_by is None for defect in located) else 0)
        reports = check_vendors(vendors, overlays)
        create_app(chosen, vendors, contracts={report.vendor.name: report.contract for report in reports})
        render_report(reports, sys.stdout)


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
    """Hold recorded traffic against the vendors' documents, in both directions.

    Ends with 1 on any finding, or if an entry could not be read.
    """
    with told_to_people():
        vendors = discover()
        chosen = load_config(config, vendors) if config is not None else None
        if vendor:
            require_vendor(vendor, vendors)
        judged = {name: one for name, one in vendors.items() if vendor in {"", name}}
        whole = Traffic(whose_exchanges(vendors, _contracts(judged, chosen), chosen), only=vendor)
        if not tell_findings(judge_files(files, whole), sys.stdout, as_json=as_json):
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
    with told_to_people():
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
            report = kept_findings(kept).report(_contracts(vendors, chosen))
        if not tell_findings(report, sys.stdout, as_json=as_json):
            raise typer.Exit(1)


def _contracts(vendors: Mapping[str, Vendor], config: Config | None) -> dict[str, Contract]:
    """The vendors' contracts, with the overlays of the configuration, if any."""
    served = config.vendors if config is not None else {}
    return {
        name: load_contract(vendor, served[name].overlays if name in served else (), checks=False)
        for name, vendor in vendors.items()
    }


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
    with told_to_people():
        vendors = discover()
        wish = Wish(credentials=credentials or (), customers=customer or (), operations=operation or ())
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


def _known(config: Path, vendors: Mapping[str, Vendor], wish: Wish) -> Config:
    """The configuration; an empty one where there is no file, and nothing that it could tell is needed."""
    if wish.credentials and wish.customers and not config.exists():
        return parse_config({}, vendors, {})
    return load_config(config, vendors)
