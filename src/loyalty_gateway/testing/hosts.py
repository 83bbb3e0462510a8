"""The vendors at their real hosts, in this process: what httpx sends there is answered without a socket."""

import asyncio
import inspect
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import ExitStack, suppress
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import httpx
import respx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from respx.models import AllMockedAssertionError, PassThrough

from loyalty_gateway.config import Config
from loyalty_gateway.testing.configuration import Given, read_config
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.testing.seeds import Seeds, load_seeds

R = TypeVar("R")

_PARAMETER = "vendor"


class MockedGateway(Gateway):
    """A gateway whose vendors are at their real hosts."""

    def url(self, vendor: str | None = None) -> str:
        """What stands before the paths of the vendor's document, real host and all."""
        return self._server_url(self._named(vendor))


class Mock:
    """Answers calls to vendors' hosts while it is entered, or while a function runs that it decorates.

    A decorated function gets the gateway as ``vendor`` if it has a parameter of that name. Each time is a new
    gateway with a fresh ledger. It may be entered with ``async with`` as well.
    """

    def __init__(
        self,
        vendors: tuple[str, ...],
        *,
        config: Given,
        seeds: Path | str | None,
        rate_limits: bool,
        pass_through: bool,
    ) -> None:
        self._seeds = Seeds() if seeds is None else load_seeds(Path(seeds))
        self._config = read_config(config, seeds=self._seeds, rate_limits=rate_limits, only=vendors)
        self._pass_through = pass_through
        self._entered: list[ExitStack] = []

    def __enter__(self) -> MockedGateway:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(name="loyalty-gateway"))
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="loyalty-gateway-"))
            gateway = MockedGateway(portal, self._config, Path(folder), self._seeds)
            stack.callback(gateway.stop)
            gateway.start()
            calls = _Calls(portal, gateway)
            stack.callback(calls.close)
            stack.enter_context(_Router(calls, _hosts(self._config), pass_through=self._pass_through))
            self._entered.append(stack.pop_all())
        return gateway

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().close()

    async def __aenter__(self) -> MockedGateway:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[..., R]) -> Callable[..., R]:
        """Decorates a function, or a coroutine function; raises TypeError for a class or a generator function."""
        if inspect.isclass(function):
            raise TypeError(f"{function.__name__} is a class: decorate its functions, or enter it in a fixture")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            # It would be over before the body begins.
            raise TypeError(f"{function.__name__} is a generator function: enter the mock in it, using with")
        signature = inspect.signature(function)
        wanted = _PARAMETER in signature.parameters

        def told(gateway: Gateway) -> dict[str, Any]:
            return {_PARAMETER: gateway} if wanted else {}

        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def decorated(*arguments: Any, **named: Any) -> Any:
                with self as gateway:
                    return await function(*arguments, **named, **told(gateway))
        else:

            @wraps(function)
            def decorated(*arguments: Any, **named: Any) -> Any:
                with self as gateway:
                    return function(*arguments, **named, **told(gateway))

        # Whoever calls it, pytest for one, is not asked for what it is given here.
        left = [one for one in signature.parameters.values() if one.name != _PARAMETER]
        decorated.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return decorated  # type: ignore[return-value]


class _Calls:
    """Takes requests to the gateway's event loop, and gives what a client over a socket would see."""

    def __init__(self, portal: BlockingPortal, gateway: Gateway) -> None:
        self._portal = portal
        self._transport = httpx.ASGITransport(app=gateway)
        self._open: set[Future[httpx.Response]] = set()

    def call(self, request: httpx.Request) -> httpx.Response:
        """Waits in this thread."""
        with _as_clients_see_it(request):
            return self._begun(request).result(_patience(request))

    async def acall(self, request: httpx.Request) -> httpx.Response:
        """Waits in the caller's event loop; who gives up takes nothing back, as at a server."""
        loop, answered = asyncio.get_running_loop(), asyncio.Event()

        def tell(_: Future[httpx.Response]) -> None:
            # Who gave up may have closed the loop meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(answered.set)

        with _as_clients_see_it(request):
            begun = self._begun(request)
            begun.add_done_callback(tell)
            async with asyncio.timeout(_patience(request)):
                await answered.wait()
            return begun.result()

    def close(self) -> None:
        """Ends what nobody waits for any more."""
        for call in list(self._open):
            call.cancel()

    def _begun(self, request: httpx.Request) -> Future[httpx.Response]:
        copy = httpx.Request(request.method, request.url, headers=request.headers.raw, content=request.content)
        begun = self._portal.start_task_soon(self._answered, copy)
        self._open.add(begun)
        begun.add_done_callback(self._open.discard)
        return begun

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers.raw, stream=httpx.ByteStream(content))


class _as_clients_see_it:  # noqa: N801 - reads as what it does
    """Tells what comes instead of an answer in httpx's own errors."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        match error:
            case TimeoutError() | TooLate():
                raise httpx.ReadTimeout("The read operation timed out", request=self._request) from error
            case ConnectionResetError():
                raise httpx.ReadError("Connection reset by peer", request=self._request) from error
            case _:
                return


class _Router(respx.MockRouter):
    """Hands requests for the vendors' hosts on; others go to whichever mock has them, or out where none has."""

    _entered: ClassVar[list["_Router"]] = []

    def __init__(self, calls: _Calls, hosts: frozenset[str], *, pass_through: bool) -> None:
        super().__init__(assert_all_called=False)
        self._vendor_calls = calls
        self._hosts = hosts
        self._others_go_out = pass_through

    def __enter__(self) -> Self:
        self._entered.append(self)
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._entered.remove(self)
        super().__exit__(kind, error, trace)

    def handler(self, request: httpx.Request) -> httpx.Response:
        self._check(request)
        return self._vendor_calls.call(request)

    async def async_handler(self, request: httpx.Request) -> httpx.Response:
        self._check(request)
        return await self._vendor_calls.acall(request)

    def _check(self, request: httpx.Request) -> None:
        if request.url.host in self._hosts:
            return
        is_anothers = any(request.url.host in other._hosts for other in self._entered)  # noqa: SLF001 - of this class
        if self._others_go_out and not is_anothers:
            raise PassThrough(f"not a vendor's: {request!r}", request=request, origin=self.route())
        raise AllMockedAssertionError(f"{request!r} is to no host of a vendor that is mocked")


def _hosts(config: Config) -> frozenset[str]:
    return frozenset(host for chosen in config.vendors.values() for host in chosen.hosts)


def _patience(request: httpx.Request) -> float | None:
    """Seconds."""
    timeout: float | None = request.extensions.get("timeout", {}).get("read")
    return timeout
