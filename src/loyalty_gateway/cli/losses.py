"""The commands that tell what is lost between a client's dialect and an upstream."""

from pathlib import Path
from typing import Annotated

import typer

from loyalty_gateway.cli.options import ConfigOption
from loyalty_gateway.cli.telling import tell, told_to_people
from loyalty_gateway.config import load_config
from loyalty_gateway.loss_commands import Wish, all_pairs, read_body, render_matrix, render_translation
from loyalty_gateway.loss_commands import translate as translate_request
from loyalty_gateway.vendor import discover

commands = typer.Typer()


@commands.command()
def matrix(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with an example of each loss.")] = False,  # noqa: FBT002
) -> None:
    """Tell for every client's dialect and every upstream what survives, is emulated, or is lost."""
    with told_to_people():
        tell(all_pairs(discover()), render_matrix, as_json=as_json)


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
    with told_to_people():
        vendors = discover()
        wish = Wish(client=client, upstream=upstream, operation=operation, customer=customer, query=query or ())
        translation = translate_request(load_config(config, vendors), vendors, wish, read_body(body))
        tell(translation, lambda found, out: render_translation(found, wish, out), as_json=as_json)
