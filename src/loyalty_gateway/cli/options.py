"""The options that several commands have, and the configuration that they choose."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from loyalty_gateway.config import Config, load_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Vendor

ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file.")]
LedgerOption = Annotated[str | None, typer.Option("--ledger", help="The ledger's URL, instead of the file's.")]
MerchantOption = Annotated[str, typer.Option("--merchant", help="Whose customers, by the configuration's name.")]


def chosen_config(file: Path, vendors: Mapping[str, Vendor], ledger: str | None) -> Config:
    """The file's configuration, with another ledger if one is given; raises ConfigurationError."""
    config = load_config(file, vendors)
    return config if ledger is None else msgspec.structs.replace(config, ledger=ledger)


def require_vendor(name: str, vendors: Mapping[str, Vendor]) -> None:
    """Raises ConfigurationError where ``--vendor`` names none."""
    if name not in vendors:
        raise ConfigurationError(f"--vendor {name}", f"must be one of: {', '.join(sorted(vendors))}")
