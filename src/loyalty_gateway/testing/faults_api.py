"""``/-/admin/faults``: faults ordered, listed and taken back by whoever has the token of the configuration."""

from time import perf_counter
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loyalty_gateway.admin_token import AdminToken
from loyalty_gateway.own_paths import OwnPaths
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.testing.faults import Fault, Faults
from loyalty_gateway.witness import Witness

PATH: Final = "/-/admin/faults"
_LARGEST_ORDER: Final = 65_536
_LONGEST_NUMBER: Final = 18


class FaultsApi:
    """Answers below its path, and leaves everything else to the gateway's other paths.

    It exists only where the configuration has ``testing.faults``; elsewhere its path is 404 as any.
    """

    def __init__(self, others: OwnPaths, faults: Faults, token: AdminToken, witness: Witness) -> None:
        self._others = others
        self._faults = faults
        self._witness = witness
        self._token = token

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path: str = scope["path"]
        if path != PATH and not path.startswith(f"{PATH}/"):
            await self._others.handle(scope, receive, send)
            return
        started = perf_counter()
        response = await self._answer(Request(scope, receive), path.removeprefix(PATH).removeprefix("/"))
        await response(scope, receive, send)
        self._witness.answered(response.status_code, perf_counter() - started, path=PATH)

    async def _answer(self, request: Request, number: str) -> Response:
        if not self._token.is_in(request.headers.raw):
            return self._token.refusal()
        match request.method, number:
            case "GET", "":
                return _json({"faults": self._faults.ordered()})
            case "POST", "":
                return await self._order(request)
            case "DELETE", "":
                self._faults.clear()
                return Response(status_code=204)
            case "DELETE", _ if _is_number(number) and self._faults.clear(int(number)):
                return Response(status_code=204)
            case _:
                return _json({"error": f"POST, GET or DELETE {PATH}, or DELETE {PATH}/<number>"}, 404)

    async def _order(self, request: Request) -> Response:
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > _LARGEST_ORDER:
                return _json({"error": "the fault is too large"}, 413)
        try:
            number = self._faults.order(msgspec.json.decode(content, type=Fault))
        except (msgspec.MsgspecError, ConfigurationError) as error:
            return _json({"error": str(error)}, 400)
        return _json({"number": number}, 201)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _LONGEST_NUMBER


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
