"""The command line: ``loyalty-gateway`` with all its commands, a module for each group of them."""

import typer

from loyalty_gateway.cli import checks, ledger, losses, migration, serving

commands = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
# In the order in which `--help` tells them.
commands.add_typer(serving.commands)
commands.add_typer(checks.commands)
commands.add_typer(losses.commands)
commands.add_typer(ledger.commands, name="ledger")
commands.add_typer(migration.commands, name="migration")


@commands.callback()
def _main() -> None:
    """Five loyalty vendors' APIs, each exactly as its contract says, over one points ledger."""


def main() -> None:
    """Runs the command line."""
    commands()
