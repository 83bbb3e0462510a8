"""``loyalty-gateway serve``: the gateway in uvicorn, until it is interrupted."""

import contextlib
import gc
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvicorn
import uvloop
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loyalty_gateway.app import create_app
from loyalty_gateway.cli.listening import listening_sockets
from loyalty_gateway.cli.options import ConfigOption, LedgerOption, chosen_config
from loyalty_gateway.cli.telling import told_to_people
from loyalty_gateway.config import LARGEST_PORT, Config, ServerConfig
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.testing.connections import ResettableConnection
from loyalty_gateway.vendor import Vendor, discover

commands = typer.Typer()


@commands.command()
def serve(
    config: ConfigOption = Path("config.yaml"),
    host: Annotated[str | None, typer.Option(help="Listen here, instead of the file's host.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port; 0 takes a free one.")] = None,
    ledger: LedgerOption = None,
    no_rate_limits: Annotated[bool, typer.Option("--no-rate-limits", help="Count no rate limits.")] = False,  # noqa: FBT002
) -> None:
    """Serve the vendors of the configuration until interrupted."""
    with told_to_people():
        vendors = discover()
        app, server, protocol = _composed(
            _override(chosen_config(config, vendors, ledger), host, port, no_rate_limits=no_rate_limits), vendors
        )
        with listening_sockets(server) as sockets:
            uvloop.run(_serve(app, server, sockets, protocol))


def _override(config: Config, host: str | None, port: int | None, *, no_rate_limits: bool) -> Config:
    server = config.server
    if port is not None and not 0 <= port <= LARGEST_PORT:
        raise ConfigurationError("--port", f"must be between 0 and {LARGEST_PORT}")
    return msgspec.structs.replace(
        config,
        server=msgspec.structs.replace(
            server,
            host=server.host if host is None else host,
            port=server.port if port is None else port,
            rate_limits=server.rate_limits and not no_rate_limits,
        ),
    )


def _composed(
    config: Config, vendors: Mapping[str, Vendor]
) -> tuple[Starlette, ServerConfig, type[HttpToolsProtocol]]:
    # Whoever serves holds only these: the credentials in the configuration are plain text.
    protocol = HttpToolsProtocol if not config.testing.faults else ResettableConnection
    return create_app(config, vendors), config.server, protocol


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
