"""Our credentials at an upstream are told nowhere: no line, metric, answer, record or report, whatever it does."""

import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import respx

from conftest import ROOT, Gateway, StartGateway, demo_config
from dialects import DIALECTS, Dialect
from loyalty_gateway import cli
from loyalty_gateway.vendor import Vendor, discover

_VENDORS = discover()
_FORMS = [(vendor, form) for vendor in _VENDORS.values() for form in vendor.credential_forms]
_CLIENT = next(dialect for dialect in DIALECTS if dialect.name == "mage")

Upstream = Callable[[httpx.Request], httpx.Response]


def _echo(status: int, media_type: str) -> Upstream:
    """Tells everything back that it was sent."""

    def answer(request: httpx.Request) -> httpx.Response:
        told = f"{request.url} {dict(request.headers)} {request.content.decode()}"
        content = f'{{"error": "{told.encode().hex()}", "message": {told!r}}}' if "json" in media_type else told
        return httpx.Response(status, headers={"content-type": media_type, "x-echo": told}, content=content)

    return answer


def _failing(error: type[httpx.TransportError]) -> Upstream:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error(f"{request.method} {request.url} {dict(request.headers)}", request=request)

    return fail


_UPSTREAMS: dict[str, Upstream] = {
    "success that is none": _echo(200, "application/json"),
    "a page": _echo(200, "text/html"),
    "unauthorized": _echo(401, "application/json"),
    "invalid": _echo(422, "application/json"),
    "limited": _echo(429, "application/json"),
    "broken": _echo(500, "text/html"),
    "away": _echo(503, "application/json"),
    "no connection": _failing(httpx.ConnectError),
    "silent": _failing(httpx.ReadTimeout),
    "hanging up": _failing(httpx.RemoteProtocolError),
}


@pytest.fixture(params=_FORMS, ids=[f"{vendor.name}-{'-'.join(form)}" for vendor, form in _FORMS])
def upstream(request: pytest.FixtureRequest) -> tuple[Vendor, dict[str, str]]:
    """A vendor with a credential that stands nowhere else."""
    vendor, form = request.param
    return vendor, {field: f"planted{secrets.token_hex(12)}" for field in form}


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Whatever any library writes into its log, at its most talkative level that operators use."""
    with caplog.at_level(logging.INFO):
        yield caplog


def _config(vendor: Vendor, credentials: dict[str, str]) -> dict[str, Any]:
    config = demo_config()
    config["vendors"]["mage"]["backend"] = {
        "upstream": {
            "vendor": vendor.name,
            "url": "https://upstream.example",
            "credentials": credentials,
            "patience_seconds": 0.01,
        }
    }
    return config


def _asked(gateway: Gateway, dialect: Dialect) -> list[str]:
    """What is answered to an addition, a deduction and a look-up."""
    answers = [
        gateway.post(dialect.path, dialect.body(points, "Thanks"), dialect.headers | {"idempotency-key": key})
        for points, key in ((5, "one"), (-5, "two"))
    ]
    answers.append(gateway.client.get("/mage/v1/customers/jane@example.com", headers=dialect.headers))
    return [f"{answer.text} {dict(answer.headers)}" for answer in answers]


@pytest.mark.parametrize("behaving", _UPSTREAMS)
def test_a_planted_credential_is_told_nowhere(
    start_gateway: StartGateway,
    upstream: tuple[Vendor, dict[str, str]],
    behaving: str,
    everything_logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vendor, credentials = upstream
    monkeypatch.setattr("loyalty_gateway.upstream.calls._BETWEEN_SECONDS", 0.001)
    monkeypatch.setattr("loyalty_gateway.upstream.server._LONGEST_WAIT_SECONDS", 0.0)
    with respx.mock(base_url="https://upstream.example", assert_all_called=False) as server:
        route = server.route().mock(side_effect=_UPSTREAMS[behaving])
        gateway = start_gateway(_config(vendor, credentials), transport=httpx.MockTransport(server.async_handler))
        told = _asked(gateway, _CLIENT)
        told.append(gateway.metrics())
    sent = "".join(f"{call.request.url} {dict(call.request.headers)}" for call in route.calls)

    told.append(everything_logged.text)
    told.append(repr(gateway.lines()))
    told.append("".join(sqlite3.connect(gateway.ledger).iterdump()))
    assert route.calls, "it was never called, so nothing could be told"
    assert any(value in sent for value in credentials.values()) or "Basic" in sent
    for value in credentials.values():
        assert not any(value in one for one in told)
        assert not any(value.encode().hex() in one for one in told)


def test_a_credential_that_does_not_fit_is_told_by_its_name_only(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    value = f"planted{secrets.token_hex(12)}"
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    chosen = f"{{upstream: {{vendor: salla, url: 'https://x.example', credentials: {{api_key: {value}}}}}}}"
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("backend: engine", f"backend: {chosen}", 1), encoding="utf-8")

    with pytest.raises(SystemExit):
        cli.commands(["check", "--config", str(path)], standalone_mode=True)

    told = capsys.readouterr()
    assert "credentials" in told.err
    assert value not in told.err + told.out
