"""The yardstick: a bare Starlette route that parses JSON and returns JSON, and does nothing else."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def adjust(request: Request) -> JSONResponse:
    """Echoes the points."""
    body = await request.json()
    return JSONResponse({"data": {"id": request.path_params["identifier"], "points": body["adjustment"]}})


app = Starlette(routes=[Route("/mage/v1/customers/{identifier}/points", adjust, methods=["POST"])])
