"""What is no vendor's: the gateway's own paths below ``/-/``, and 404 for requests to nobody."""

import asyncio
from collections.abc import Iterable
from time import perf_counter

import msgspec
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from loyalty_gateway.admin_token import AdminToken
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.problem import Code
from loyalty_gateway.traffic.recorder import Recorder
from loyalty_gateway.witness import Witness

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """``/-/admin/…`` for whoever has the token; without one there is no such path."""

    def __init__(self, token: AdminToken, recorder: Recorder | None) -> None:
        self._token = token
        self._recorder = recorder

    async def answer(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
        """The answer to a reading; ``None`` where nothing is there."""
        if not self._token.is_set or self._recorder is None or path != "/-/admin/defects":
            return None
        if not self._token.is_in(headers):
            return self._token.refusal()
        report = await asyncio.to_thread(self._recorder.report)
        return Response(msgspec.json.encode(report), media_type="application/json")


class OwnPaths:
    """``/-/live``, ``/-/ready``, ``/-/metrics``, ``/-/admin/…``, and 404 for everything that is nobody's."""

    def __init__(self, ledger: Ledger, metrics: Metrics, witness: Witness, admin: Admin) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._witness = witness
        self._admin = admin

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = perf_counter()
        method, path = scope["method"], scope["path"]
        response = await self._answer(path, scope["headers"]) if method in {"GET", "HEAD"} else None
        known = response is not None
        if response is None:
            response = PlainTextResponse("not found; a vendor's API is below /<vendor>/\n", status_code=404)
        await response(scope, receive, send)
        self._witness.answered(
            response.status_code,
            perf_counter() - started,
            method=method if known else None,
            path=path if known else None,
            code=_CODES.get(response.status_code),
        )

    async def _answer(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
        match path:
            case "/-/live":
                return JSONResponse({"live": True})
            case "/-/ready":
                ready = await self._ledger.ready()
                return JSONResponse({"ready": ready}, status_code=200 if ready else 503)
            case "/-/metrics":
                return Response(self._metrics.exposition(), media_type=_METRICS_TYPE)
            case _:
                return await self._admin.answer(path, headers)


_CODES = {401: Code.INVALID_CREDENTIALS, 404: Code.UNKNOWN_PATH, 503: Code.UNAVAILABLE}
