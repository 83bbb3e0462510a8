"""Browsers whose scripts call a vendor's API from a shop's own pages (CORS)."""

from time import perf_counter
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from loyalty_gateway.witness import Witness

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What a script may read of an answer beside its body: the vendors' rate limits, and what a retry needs.
_READABLE_HEADERS: Final = (
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Limit-Minute",
    "X-RateLimit-Remaining-Minute",
    "Retry-After",
    "Link",
    "Idempotency-Replayed",
)


class Browsers(CORSMiddleware):
    """Lets browsers of these origins call; a preflight is answered here, and told of as a request like any."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], witness: Witness) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=("*",),
            expose_headers=_READABLE_HEADERS,
        )
        self._witness = witness

    def preflight_response(self, request_headers: Headers) -> Response:
        """Starlette's answer."""
        started = perf_counter()
        response = super().preflight_response(request_headers)
        self._witness.answered(response.status_code, perf_counter() - started, method="OPTIONS")
        return response
