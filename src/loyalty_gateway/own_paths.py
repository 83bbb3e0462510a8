"""The gateway's own paths below ``/-/``, for those who run it; never a vendor's."""

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from loyalty_gateway.ledger import Ledger
from loyalty_gateway.metrics import Metrics

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class OwnPaths:
    """``/-/live``, ``/-/ready``, ``/-/metrics``, and 404 for everything that is nobody's."""

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        response = await self._answer(scope)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("not found\n", status_code=404)
        match scope["path"]:
            case "/-/live":
                return JSONResponse({"live": True})
            case "/-/ready":
                ready = await self._ledger.ready()
                return JSONResponse({"ready": ready}, status_code=200 if ready else 503)
            case "/-/metrics":
                return Response(self._metrics.exposition(), media_type=_METRICS_TYPE)
            case _:
                return PlainTextResponse("not found; a vendor's API is below /<vendor>/\n", status_code=404)
