"""A running gateway asked for what it found."""

import httpx
import msgspec

from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.traffic.findings import Report

_TIMEOUT_SECONDS = 10


def asked_report(url: str, token: str) -> Report:
    """What the gateway at the URL found; raises ConfigurationError where it does not tell.

    Args:
        url: of the gateway, without a path.
        token: its ``admin.token``.
    """
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/-/admin/defects",
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
        )
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=Report)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        why = {401: "the token is another", 404: "it has no admin.token, or records nothing"}.get(status, "")
        raise ConfigurationError(url, f"answers {status}: {why}" if why else f"answers {status}") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ConfigurationError(url, f"cannot be asked: {type(error).__name__}") from error
    except msgspec.MsgspecError as error:
        raise ConfigurationError(url, "tells no findings") from error
