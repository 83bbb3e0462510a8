"""The yardstick: a bare Starlette route that parses JSON and returns JSON, and does nothing else."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def adjust(request: Request) -> JSONResponse:
    """The vendor's answer with the points that were asked for, and no balance behind it."""
    body = await request.json()
    identifier, points = request.path_params["identifier"], body["adjustment"]
    return JSONResponse(
        {
            "data": {
                "type": "points_adjustment",
                "id": identifier,
                "attributes": {
                    "shopify_customer_id": identifier,
                    "adjustment": points,
                    "points_before": 0,
                    "points_after": points,
                    "current_points": points,
                    "note": body.get("note"),
                },
            }
        }
    )


app = Starlette(routes=[Route("/v1/customers/{identifier}/points", adjust, methods=["POST"])])
