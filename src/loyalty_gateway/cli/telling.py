"""How a command tells people and programs what it found, and people what was wrong."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TextIO, TypeVar

import msgspec
import typer

from loyalty_gateway.problem import ConfigurationError

T = TypeVar("T")


@contextlib.contextmanager
def told_to_people() -> Iterator[None]:
    """A mistake in the configuration ends the command with one sentence and status 2, without a traceback."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(f"loyalty-gateway: {error}", err=True)
        raise typer.Exit(2) from error


def tell(found: T, render: Callable[[T, TextIO], None], *, as_json: bool) -> None:
    """Prints what was found, as JSON or as ``render`` has it."""
    if as_json:
        plain = msgspec.to_builtins(found, str_keys=True, enc_hook=str)
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")
    else:
        render(found, sys.stdout)
