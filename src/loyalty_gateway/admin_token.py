"""The token of those who may ask below ``/-/admin/``."""

import hashlib
import hmac
from collections.abc import Iterable

from starlette.responses import JSONResponse


class AdminToken:
    """The token of the configuration, kept as a digest only; without one nobody has it."""

    def __init__(self, token: str | None) -> None:
        self._digest = None if token is None else _digest(token.encode("utf-8", "surrogatepass"))

    @property
    def is_set(self) -> bool:
        """Whether there is anybody who may ask."""
        return self._digest is not None

    def is_in(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request with these headers has it, as a bearer token."""
        kind, _, token = dict(headers).get(b"authorization", b"").partition(b" ")
        is_told = kind.lower() == b"bearer" and self._digest is not None
        return is_told and hmac.compare_digest(_digest(token.strip()), self._digest or b"")

    def refusal(self) -> JSONResponse:
        """What is told to whoever has it not."""
        told = {"error": "the token of admin.token is wanted, as a bearer token"}
        return JSONResponse(told, status_code=401, headers={"WWW-Authenticate": "Bearer"})


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
