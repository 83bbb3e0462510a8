"""The same vendor's real server behind the gateway: nothing is changed on the way, and all is checked."""

import gzip
import http.client
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from raw_server import HANGS_UP, RawServer, closed_port, raw_answer, raw_server

from conftest import Gateway, Served, StartGateway, demo_config, serving
from dialects import DIALECTS
from loyalty_gateway.config import parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Vendor

_VENDORS = ("bitbybit", "mage", "yotpo", "salla", "loyaltylion")
_BITBYBIT = {"x-api-key": "bbb_test_demo"}
_MAGE = {"authorization": "mage_demo_key"}
_YOTPO = {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}
_SALLA = {"authorization": "Bearer demo-salla-token"}
_LION = {"authorization": "Bearer pat_demo"}
_POINTS = "/mage/v1/customers/6789012345/points"

# What differs from one answer to the next, without anybody changing it.
_COUNTED = re.compile(r"(?i)(x-)?ratelimit-.*|retry-after")
_GOOD = json.dumps(
    {
        "data": {
            "type": "points_adjustment",
            "id": "6789012345",
            "attributes": {
                "shopify_customer_id": "6789012345",
                "adjustment": 5,
                "points_before": 0,
                "points_after": 5,
                "current_points": 5,
                "note": None,
            },
        }
    }
).encode()


@dataclass(frozen=True)
class Ask:
    """A request as bytes on the wire; ``path`` begins with the vendor's mount."""

    name: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Told:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def like(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """All of it, the values of what is counted and the time aside."""
        told = [(name.lower(), "" if _COUNTED.fullmatch(name) else value) for name, value in self.headers]
        return self.status, sorted(one for one in told if one[0] != "date"), self.body

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


def _ask(url: str, ask: Ask) -> Told:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.putrequest(ask.method, ask.path, skip_accept_encoding=True)
        for name, value in ask.headers.items():
            connection.putheader(name, value)
        if ask.body is not None:
            connection.putheader("content-length", str(len(ask.body)))
        connection.endheaders(ask.body)
        answer = connection.getresponse()
        return Told(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def _post(name: str, path: str, headers: dict[str, str], body: Any, **more: str) -> Ask:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Ask(name, path, {"content-type": "application/json", **headers, **more}, "POST", content)


_KEYED = [
    _post(
        f"adjusting: {dialect}",
        dialect.path,
        dialect.headers,
        dialect.body(5, "gift") | ({dialect.key_in_body: f"key {dialect}"} if dialect.key_in_body else {}),
        **({} if dialect.key_in_body else {"idempotency-key": f"key {dialect}"}),
    )
    for dialect in DIALECTS
]
_OTHERS = [
    Ask("bitbybit wallet", "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/wallet", _BITBYBIT),
    Ask(
        "bitbybit wallet, other prefix",
        "/bitbybit/customer/open/v1/loyalty/customers/cust_abc123/wallet",
        _BITBYBIT,
    ),
    Ask(
        "bitbybit wallet, escaped",
        "/bitbybit/customer/api/open/v1/loyalty/customers/cust%5Fabc123/wallet",
        _BITBYBIT,
    ),
    Ask("bitbybit list", "/bitbybit/customer/api/open/v1/customers?limit=1&search=%6Aane%40", _BITBYBIT),
    Ask("bitbybit nobody", "/bitbybit/customer/api/open/v1/customers/%C3%A9%2Fx", _BITBYBIT),
    Ask("mage customer", "/mage/v1/customers/jane%40example.com", _MAGE),
    Ask("mage history", "/mage/v1/customers/6789012345/earning-history?page=1", _MAGE),
    Ask("yotpo look-up", "/yotpo/api/v2/customers?customer_email=jane%40example.com", _YOTPO),
    Ask(
        "yotpo credentials in the query",
        "/yotpo/api/v2/customers?guid=demo-guid&api_key=demo-api-key&customer_email=a",
        {},
    ),
    Ask("salla list", "/salla/admin/v2/customers?keyword=jane", _SALLA),
    Ask("salla points", "/salla/admin/v2/customers/loyalty/points?customer_id=748394059", _SALLA),
    Ask("loyaltylion list", "/loyaltylion/v2/customers?limit=1", _LION),
    Ask("loyaltylion transactions", "/loyaltylion/v2/customers/6789012345/transactions?limit=2", _LION),
    # Bodies that the contract forbids: the vendor says so itself.
    _post(
        "bitbybit zero",
        "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust",
        _BITBYBIT,
        {},
    ),
    _post("mage words", _POINTS, _MAGE, {"adjustment": "many"}),
    _post("mage no JSON", _POINTS, _MAGE, b"{"),
    _post("mage form", _POINTS, _MAGE, b"adjustment=5", **{"content-type": "application/x-www-form-urlencoded"}),
    _post("yotpo empty", "/yotpo/api/v2/points/adjust", _YOTPO, {}),
    _post("salla in Arabic", "/salla/admin/v2/customers/loyalty/points", _SALLA, {}, **{"accept-language": "ar"}),
    _post("salla in English", "/salla/admin/v2/customers/loyalty/points", _SALLA, {}, **{"accept-language": "en"}),
    _post(
        "loyaltylion unknown field", "/loyaltylion/v2/customers/6789012345/points", _LION, {"points": 1, "x": 1}
    ),
    # What the gateway answers itself, in the vendor's voice.
    Ask("mage wrong key", "/mage/v1/customers", {"authorization": "nobodys"}),
    Ask("yotpo half of the credentials", "/yotpo/api/v2/customers", {"x-guid": "demo-guid"}),
    Ask(
        "salla wrong token in Arabic",
        "/salla/admin/v2/customers",
        {"authorization": "Bearer x", "accept-language": "ar"},
    ),
    *(Ask(f"{vendor} unknown path", f"/{vendor}/no/such/path") for vendor in _VENDORS),
    *(Ask(f"{ask.name}, no credentials", ask.path.partition("?")[0], {}, "POST", b"{}") for ask in _KEYED),
    *(Ask(f"{ask.name}, other method", ask.path, ask.headers, "DELETE") for ask in _KEYED),
    *(Ask(f"{ask.name}, HEAD", ask.path, ask.headers, "HEAD") for ask in _KEYED),
]
_EVERY = pytest.mark.parametrize("ask", [*_KEYED, *_OTHERS], ids=str)


def _passing(url_of: Callable[[str], str], **overrides: Any) -> dict[str, Any]:
    """The demo configuration with all vendors elsewhere."""
    config = demo_config(**overrides)
    for name, vendor in config["vendors"].items():
        vendor["backend"] = {"passthrough": {"url": url_of(name)}}
    return config


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that plays all five vendors, rate limits and all."""
    config = demo_config()
    config["server"]["rate_limits"] = True
    for chosen in config["vendors"].values():
        chosen["rate_limits"] = dict.fromkeys(chosen["rate_limits"], "100000/60s")
    with serving(tmp_path_factory.mktemp("vendor"), config) as served:
        yield served


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.fixture(scope="module")
def between(vendor: Served, server: RawServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway before it; the requests of one merchant, ``raw``, go to a server of bytes instead."""

    def url_of(name: str) -> str:
        return f"{vendor.url}/{name}" + ("/admin/v2" if name == "salla" else "")

    config = _passing(url_of)
    config["server"]["rate_limits"] = True
    config["merchants"]["raw"] = {
        "backends": {name: {"passthrough": {"url": f"{server.url}/below"}} for name in _VENDORS}
    }
    config["vendors"]["mage"]["credentials"] += [
        {"merchant": "raw", "api_key": "raw_key"},
        {"merchant": "demo", "api_key": "unknown_there"},
    ]
    config["vendors"]["salla"]["credentials"] += [{"merchant": "raw", "bearer": "raw_key"}]
    config["vendors"]["bitbybit"]["credentials"] += [{"merchant": "raw", "api_key": "raw_key"}]
    with serving(tmp_path_factory.mktemp("between"), config) as served:
        yield served


# Through a second gateway that plays the vendor


@_EVERY
def test_an_answer_is_that_of_the_vendor_byte_for_byte(vendor: Served, between: Served, ask: Ask) -> None:
    _ask(vendor.url, ask)

    direct, passed = _ask(vendor.url, ask), _ask(between.url, ask)

    assert passed.like() == direct.like()


@pytest.mark.parametrize(
    "ask", [one for one in _KEYED if re.search("bitbybit|yotpo loy|salla", str(one))], ids=str
)
def test_the_vendor_counts_and_tells_what_is_left_and_the_gateway_does_not(
    vendor: Served, between: Served, ask: Ask
) -> None:
    direct, passed = _ask(vendor.url, ask), _ask(between.url, ask)

    left = [name for name, _ in passed.headers if re.fullmatch(r"(?i)(x-)?ratelimit-remaining.*", name)]
    assert left
    for name in left:
        assert int(passed.header(name.lower()) or "") < int(direct.header(name.lower()) or "")


def test_an_adjustment_through_the_gateway_moves_the_points_at_the_vendor_only(
    vendor: Served, between: Served
) -> None:
    customer = Ask("customer", "/mage/v1/customers/6789012346", _MAGE)
    before = _ask(vendor.url, customer)

    answer = _ask(between.url, _post("", "/mage/v1/customers/6789012346/points", _MAGE, {"adjustment": 7}))

    assert answer.status == 200
    assert _ask(vendor.url, customer).body != before.body
    assert _ask(between.url, customer).body == _ask(vendor.url, customer).body


def test_credentials_that_the_gateway_knows_and_the_vendor_does_not_are_refused_by_the_vendor(
    vendor: Served, between: Served
) -> None:
    ask = Ask("customer", "/mage/v1/customers/6789012345", {"authorization": "unknown_there"})

    direct, passed = _ask(vendor.url, ask), _ask(between.url, ask)

    assert passed.status == 401
    assert passed.like() == direct.like()
    assert not any("code" in line for line in _lines_of(between, status=401, operation="getCustomer"))


def test_a_body_too_large_for_the_gateway_is_refused_by_it_in_the_vendors_voice(
    vendor: Served, between: Served
) -> None:
    ask = _post("large", _POINTS, _MAGE, b" " * 1_048_577)

    direct, passed = _ask(vendor.url, ask), _ask(between.url, ask)

    assert (passed.status, passed.body) == (413, direct.body) == (direct.status, direct.body)


def test_a_request_off_the_contract_is_refused_by_the_vendor_and_recorded(between: Served) -> None:
    _ask(between.url, _post("words", _POINTS, _MAGE, {"adjustment": [], "sesame": 1, "note": 5}))
    _ask(between.url, _post("no JSON", _POINTS, _MAGE, b"{"))

    lines = _lines_of(between, operation="adjustPoints", vendor="mage", status=400)

    told = [sorted(line["request_defects"]) for line in lines if "request_defects" in line]
    assert ["/body/adjustment type", "/body/note type"] in told
    assert ["/body unreadable"] in told


def _lines_of(served: Served, **wanted: Any) -> list[dict[str, Any]]:
    """The lines so far that say so, once there is one; they are written within a tenth of a second."""
    for _ in range(100):
        lines = [json.loads(line) for line in served.log.read_text(encoding="utf-8").splitlines()]
        found = [line for line in lines if wanted.items() <= line.items()]
        if found:
            time.sleep(0.2)
            lines = [json.loads(line) for line in served.log.read_text(encoding="utf-8").splitlines()]
            return [line for line in lines if wanted.items() <= line.items()]
        time.sleep(0.05)
    raise AssertionError(f"no line says {wanted}")


# To a server of bytes


def _head(request: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)], body


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/mage/v1/customers/a%2Fb%41%c3%a9/points", b"/below/v1/customers/a%2Fb%41%c3%a9/points"),
        ("/mage/v1/customers/%2e%2E/points?", b"/below/v1/customers/%2e%2E/points"),
        ("/mage/v1/customers/a+b/points?x=%61+b&x=%20&&=;c", b"/below/v1/customers/a+b/points?x=%61+b&x=%20&&=;c"),
        ("/mage/v1/customers/1/points?q='[]|\"{}^`~%zz", b"/below/v1/customers/1/points?q='[]|\"{}^`~%zz"),
        ("/salla/admin/v2/customers/loyalty/points?a=/../b", b"/below/customers/loyalty/points?a=/../b"),
        (
            "/bitbybit/customer/open/v1/loyalty/customers/x/points/adjust",
            b"/below/customer/open/v1/loyalty/customers/x/points/adjust",
        ),
    ],
)
def test_path_query_and_body_go_on_byte_for_byte(
    between: Served, server: RawServer, path: str, arrives: bytes
) -> None:
    server.says(200, b"{}")
    name = "x-api-key" if path.startswith("/bitbybit") else "authorization"
    word = "Bearer raw_key" if path.startswith("/salla") else "raw_key"
    body = b'{"a": 1,\t"a":2, "\\u00e9": "\xc3\xa9"}\n'

    _ask(between.url, _post("", path, {name: word}, body))

    first, headers, arrived = _head(server.requests[-1])
    assert first == b"POST " + arrives + b" HTTP/1.1"
    assert arrived == body
    assert (name.encode(), word.encode()) in headers


def test_headers_go_on_as_they_are_except_those_of_the_connection(between: Served, server: RawServer) -> None:
    server.says(200, _GOOD, b"Content-Type: application/json")
    sent = {
        "authorization": "raw_key",
        "content-type": 'application/json; charset="utf-8"',
        "x-twice": "one, two",
        "x-caf": "caf\xc3\xa9",
        "cookie": "a=b; c=d",
        "accept-encoding": "br;q=0.1, gzip",
        "idempotency-key": "k",
        "connection": "close, X-Private",
        "x-private": "hop",
        "te": "trailers",
        "keep-alive": "timeout=5",
        "proxy-authorization": "Basic x",
        "expect": "100-continue",
    }

    _ask(between.url, _post("", _POINTS, sent, b'{"adjustment":5}'))

    _, headers, _ = _head(server.requests[-1])
    ends = {"connection", "x-private", "te", "keep-alive", "proxy-authorization", "expect"}
    goes_on = sorted((name.encode(), value.encode("latin-1")) for name, value in sent.items() if name not in ends)
    added = [(b"content-length", b"16"), (b"host", server.url.removeprefix("http://").encode())]
    assert sorted(headers) == sorted([*goes_on, *added])


def test_a_header_that_is_neither_ascii_nor_utf_8_goes_on_in_utf_8(between: Served, server: RawServer) -> None:
    server.says(200, b"{}")

    _ask(between.url, Ask("", "/mage/v1/customers", {"authorization": "raw_key", "x-caf": "caf\xe9"}))

    _, headers, _ = _head(server.requests[-1])
    assert (b"x-caf", b"caf\xc3\xa9") in headers


def test_nothing_is_added_to_a_request_without_headers(between: Served, server: RawServer) -> None:
    server.says(200, b"{}")

    _ask(between.url, Ask("", "/mage/v1/customers", {"authorization": "raw_key"}))

    _, headers, body = _head(server.requests[-1])
    assert sorted(headers) == [
        (b"authorization", b"raw_key"),
        (b"host", server.url.removeprefix("http://").encode()),
    ]
    assert body == b""


def test_an_answer_comes_back_byte_for_byte(between: Served, server: RawServer) -> None:
    told = [
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2"),
        ("server", "theirs"),
        ("x-ratelimit-remaining", "7"),
        ("content-type", "text/html"),
        ("link", '<https://api.mageloyalty.com/v1/x>; rel="next"'),
        ("x-caf", "caf\xe9"),
        ("location", "/elsewhere"),
    ]
    lines = [f"{name}: {value}".encode("latin-1") for name, value in told]
    server.says(302, b"<p>caf\xe9\x00</p>", *lines, b"Connection: X-Hop", b"X-Hop: 1", b"Date: never")

    answer = _ask(between.url, Ask("", "/mage/v1/customers", {"authorization": "raw_key"}))

    assert (answer.status, answer.body) == (302, b"<p>caf\xe9\x00</p>")
    ours = [(name.lower(), value) for name, value in answer.headers if name.lower() != "date"]
    assert sorted(ours) == sorted([*told, ("content-length", str(len(answer.body)))])
    assert sum(name.lower() == "date" for name, _ in answer.headers) == 1
    assert answer.header("date") != "never"


def test_a_cookie_that_one_client_was_given_does_not_go_along_with_the_next_request(
    between: Served, server: RawServer
) -> None:
    ask = Ask("", "/mage/v1/customers", {"authorization": "raw_key"})
    server.says(200, b"{}", b"Set-Cookie: session=of-somebody")

    _ask(between.url, ask)
    _ask(between.url, ask)

    assert b"of-somebody" not in server.requests[-1]


def test_a_chunked_answer_is_passed_on_whole(between: Served, server: RawServer) -> None:
    chunks = b'5\r\n{"dat\r\n6\r\na":[]}\r\n0\r\n\r\n'
    server.answer = lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks

    answer = _ask(between.url, Ask("", "/mage/v1/customers", {"authorization": "raw_key"}))

    assert answer.body == b'{"data":[]}'
    assert answer.header("content-length") == "11"
    assert answer.header("transfer-encoding") is None


# In this process


@pytest.fixture
def passing(server: RawServer, start_gateway: StartGateway) -> Gateway:
    """A gateway before the server of bytes."""
    server.requests.clear()
    return start_gateway(_passing(lambda _: server.url))


def _adjust(gateway: Gateway, body: Any = None, **headers: str) -> Any:
    return gateway.post(_POINTS, body or {"adjustment": 5}, {**_MAGE, **headers})


def _lines(gateway: Gateway) -> list[dict[str, Any]]:
    gateway.client.__exit__()
    return [line for line in gateway.lines() if line.get("vendor") is not None]


def test_an_answer_off_the_contract_is_passed_on_counted_and_told(passing: Gateway, server: RawServer) -> None:
    spoilt = _GOOD.replace(b'"points_after": 5', b'"points_after": "hush"').replace(b'"6789012345"', b"5", 1)
    server.says(200, spoilt, b"Content-Type: application/json")

    answer = _adjust(passing)
    metrics = passing.metrics()

    assert (answer.status_code, answer.content) == (200, spoilt)
    (line, *_) = _lines(passing)
    assert line["status"] == 200
    assert "code" not in line
    assert sorted(line["defects"]) == ["/data/attributes/points_after type", "/data/id type"]
    assert 'loyalty_gateway_answer_defects_total{operation="adjustPoints",vendor="mage"} 1.0' in metrics
    assert (
        'loyalty_gateway_requests_total{code="none",operation="adjustPoints",status="200",vendor="mage"} 1.0'
        in metrics
    )


def test_what_keeps_the_contract_in_both_directions_counts_no_defect(passing: Gateway, server: RawServer) -> None:
    server.says(200, _GOOD, b"Content-Type: application/json")

    _adjust(passing)

    assert "_defects_total{" not in passing.metrics()
    (line, *_) = _lines(passing)
    assert not {"defects", "request_defects", "ambiguous", "error"} & set(line)


def test_a_request_that_the_contract_forbids_is_passed_on_counted_and_told(
    passing: Gateway, server: RawServer
) -> None:
    server.says(200, _GOOD, b"Content-Type: application/json")

    answer = _adjust(passing, {"adjustment": "hush"})

    assert (answer.status_code, answer.content) == (200, _GOOD)
    assert b'"hush"' in server.requests[-1]
    assert 'loyalty_gateway_request_defects_total{operation="adjustPoints",vendor="mage"} 1.0' in passing.metrics()
    (line, *_) = _lines(passing)
    assert line["request_defects"] == ["/body/adjustment type"]


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_a_compressed_answer_stays_compressed_and_is_checked_all_the_same(
    passing: Gateway, server: RawServer, coding: bytes
) -> None:
    spoilt = _GOOD.replace(b'"points_after": 5', b'"points_after": "hush"')
    packed = gzip.compress(spoilt) if coding == b"gzip" else zlib.compress(spoilt)
    server.says(200, packed, b"Content-Type: application/json", b"Content-Encoding: " + coding)

    with passing.client.stream("POST", _POINTS, json={"adjustment": 5}, headers=_MAGE) as answer:
        raw = b"".join(answer.iter_raw())

    assert raw == packed
    assert answer.headers["content-encoding"] == coding.decode()
    (line, *_) = _lines(passing)
    assert line["defects"] == ["/data/attributes/points_after type"]


@pytest.mark.parametrize(
    ("coding", "content"),
    [("br", b"whatever"), ("gzip", b"no gzip"), ("gzip", gzip.compress(_GOOD)[:-12]), ("deflate", b"\xff\xff")],
)
def test_an_answer_that_cannot_be_decoded_is_passed_on_and_told(
    passing: Gateway, server: RawServer, coding: str, content: bytes
) -> None:
    server.says(200, content, b"Content-Type: application/json", b"Content-Encoding: " + coding.encode())

    with passing.client.stream("POST", _POINTS, json={"adjustment": 5}, headers=_MAGE) as answer:
        raw = b"".join(answer.iter_raw())

    assert (answer.status_code, raw) == (200, content)
    (line, *_) = _lines(passing)
    assert line["defects"] == ["/ its content-encoding cannot be read"]


def test_a_few_bytes_that_claim_to_be_a_thousand_million_are_not_unpacked(
    passing: Gateway, server: RawServer
) -> None:
    bomb = gzip.compress(b" " * 40_000_000)
    server.says(200, bomb, b"Content-Type: application/json", b"Content-Encoding: gzip")

    with passing.client.stream("POST", _POINTS, json={"adjustment": 5}, headers=_MAGE) as answer:
        raw = b"".join(answer.iter_raw())

    assert raw == bomb
    (line, *_) = _lines(passing)
    assert line["defects"] == ["/ its content-encoding cannot be read"]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 520])
def test_a_refusal_of_the_vendor_is_its_own_answer(passing: Gateway, server: RawServer, status: int) -> None:
    server.says(status, b"<html>theirs</html>", b"Content-Type: text/html", b"Retry-After: 77")

    answer = _adjust(passing)

    assert (answer.status_code, answer.content) == (status, b"<html>theirs</html>")
    assert answer.headers["retry-after"] == "77"
    (line,) = _lines(passing)
    assert (line["status"], line.get("code")) == (status, None)
    declared = status != 520
    assert line["defects"] == (["/ DataValidationError"] if declared else ["/ status 520 is not declared"])


def _hangs_up_half_way(_: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 500\r\n\r\n{"


def _no_http(_: bytes) -> bytes:
    return b"SSH-2.0-OpenSSH_9.6\r\nConnection: close\r\n\r\n"


def _too_slow(_: bytes) -> None:
    time.sleep(1)


def _too_large(_: bytes) -> bytes:
    return raw_answer(200, b" " * 16_000_001)


_FAULTS: dict[str, Callable[[bytes], bytes | None]] = {
    "hangs up": lambda _: HANGS_UP,
    "hangs up half way": _hangs_up_half_way,
    "speaks no HTTP": _no_http,
    "is too slow": _too_slow,
    "says too much": _too_large,
}


@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("name", _VENDORS)
def test_a_request_without_an_answer_is_unavailable_in_the_vendors_voice_ambiguous_and_not_sent_again(
    server: RawServer, start_gateway: StartGateway, name: str, fault: str
) -> None:
    ask = next(one for one in _KEYED if one.path.startswith(f"/{name}/"))
    config = _passing(lambda _: server.url)
    config["vendors"][name]["backend"]["passthrough"]["timeout_seconds"] = 0.3
    gateway = start_gateway(config)
    server.requests.clear()
    server.answer = _FAULTS[fault]

    answer = gateway.client.post(ask.path, content=ask.body, headers=ask.headers)

    assert answer.status_code == 503
    assert len(server.requests) == 1
    (line,) = _lines(gateway)
    assert (line["status"], line["code"], line["ambiguous"], line["error"]) == (
        503,
        "unavailable",
        True,
        "Unclear",
    )
    assert "defects" not in line


@pytest.mark.parametrize("name", _VENDORS)
def test_a_request_that_cannot_have_arrived_is_unavailable_and_not_ambiguous(
    start_gateway: StartGateway, name: str
) -> None:
    ask = next(one for one in _KEYED if one.path.startswith(f"/{name}/"))
    port = closed_port()
    gateway = start_gateway(_passing(lambda _: f"http://127.0.0.1:{port}"))

    answer = gateway.client.post(ask.path, content=ask.body, headers=ask.headers)

    assert answer.status_code == 503
    (line,) = _lines(gateway)
    assert (line["status"], line["code"], line["error"]) == (503, "unavailable", "NotSent")
    assert "ambiguous" not in line
    assert "defects" not in line


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_nothing_is_sent_again_on_a_kept_connection_that_breaks(
    passing: Gateway, server: RawServer, method: str
) -> None:
    def ask() -> int:
        answer = passing.client.request(method, "/mage/v1/customers/6789012345", headers=_MAGE)
        return int(answer.status_code)

    server.says(200, b"{}")
    ask()
    server.answer = lambda _: HANGS_UP

    status = ask()

    assert status == 503
    assert len(server.requests) == 2


def test_a_server_that_fails_too_often_is_left_alone_for_a_while(passing: Gateway, server: RawServer) -> None:
    server.answer = lambda _: HANGS_UP

    statuses = [_adjust(passing).status_code for _ in range(8)]

    assert statuses == [503] * 8
    assert len(server.requests) == 5
    assert [line.get("ambiguous", False) for line in _lines(passing)] == [True] * 5 + [False] * 3


def test_an_answer_that_no_client_could_read_is_not_passed_on(passing: Gateway, server: RawServer) -> None:
    server.answer = lambda _: b"HTTP/1.1 200 OK\r\nX-Bad: a\x01b\r\nContent-Length: 2\r\n\r\n{}"

    answer = _adjust(passing)

    assert answer.status_code == 503
    (line,) = _lines(passing)
    assert line["ambiguous"] is True


def test_no_secret_reaches_the_journal_or_the_metrics(passing: Gateway, server: RawServer) -> None:
    server.says(
        200,
        json.dumps({"data": {"hush-name": "hush-value"}, "hush-key": [{"hush": "hush"}]}).encode(),
        b"Content-Type: application/json",
        b"Set-Cookie: hush=hush",
    )
    body = {
        "adjustment": "hush",
        "hush-name": "hush-value",
        "metadata": {"hush": {"hush": 1}},
        "note": {"hush": 1},
    }
    headers = {"x-hush": "hush", "cookie": "hush", "idempotency-key": "hush"}

    for answer in (server.answer, lambda _: HANGS_UP):
        server.answer = answer
        for path in (f"{_POINTS}?hush=hush", "/mage/v1/customers/hush%40hush/points?api_key=hush"):
            passing.post(path, body, {**_MAGE, **headers})
            passing.post(path, None, {**_MAGE, **headers}, content=b"hush")
    metrics = passing.metrics()

    lines = _lines(passing)
    assert len(lines) == 8
    assert any("request_defects" in line for line in lines)
    assert any("defects" in line for line in lines)
    assert b"hush" not in passing.log.getvalue()
    assert "hush" not in metrics


def test_the_answer_is_out_before_it_is_checked(
    passing: Gateway, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("the check itself failed")

    monkeypatch.setattr("loyalty_gateway.relay.answer_of", fails)
    server.says(200, _GOOD, b"Content-Type: application/json")

    answer = _adjust(passing)

    assert (answer.status_code, answer.content) == (200, _GOOD)
    (line,) = _lines(passing)
    assert (line["status"], line["error"]) == (200, "RuntimeError")


def test_one_merchant_is_passed_on_while_the_others_have_the_engine(
    server: RawServer, start_gateway: StartGateway
) -> None:
    config = demo_config()
    config["merchants"]["observed"] = {"backends": {"mage": {"passthrough": {"url": server.url}}}}
    config["vendors"]["mage"]["credentials"] += [{"merchant": "observed", "api_key": "observed_key"}]
    gateway = start_gateway(config)
    server.requests.clear()
    server.says(200, _GOOD, b"Content-Type: application/json")

    engine, passed = _adjust(gateway), _adjust(gateway, authorization="observed_key")

    assert (engine.status_code, passed.content) == (200, _GOOD)
    assert len(server.requests) == 1
    assert gateway.wallet("shopify:6789012345")["available"] == 5


def test_rate_limits_of_ours_are_neither_counted_nor_told(server: RawServer, start_gateway: StartGateway) -> None:
    config = _passing(lambda _: server.url)
    config["server"]["rate_limits"] = True
    config["vendors"]["bitbybit"]["rate_limits"] = {"requests": "1/60s"}
    gateway = start_gateway(config)
    server.says(404, b"{}", b"Content-Type: application/json")

    answers = [
        gateway.client.get(f"/bitbybit/customer/api/open/v1/customers/{n}", headers=_BITBYBIT) for n in "abc"
    ]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]


def test_scopes_of_the_configuration_hold_here_too(passing: Gateway, server: RawServer) -> None:
    answer = _adjust(passing, authorization="mage_demo_readonly")

    assert answer.status_code == 403
    assert server.requests == []


# Configuration


@pytest.mark.parametrize("raw", ["passthrough", {"passthrough": {}}])
def test_by_default_requests_go_to_the_servers_of_the_spec(start_gateway: StartGateway, raw: Any) -> None:
    asked: list[tuple[str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((str(request.url), request.extensions["target"]))
        return httpx.Response(200, json={})

    config = demo_config()
    for chosen in config["vendors"].values():
        chosen["backend"] = raw
    gateway = start_gateway(config, transport=httpx.MockTransport(answer))

    for ask in _KEYED:
        gateway.client.post(ask.path, content=ask.body, headers=ask.headers)

    assert {(url.rstrip("/"), target.decode().partition("?")[0]) for url, target in asked} == {
        ("https://api.bitbybit.studio", "/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust"),
        ("https://api.mageloyalty.com", "/v1/customers/jane@example.com/points"),
        ("https://loyalty.yotpo.com", "/api/v2/points/adjust"),
        ("https://developers.yotpo.com", "/loyalty/v3/stores/demo-app-key/points/adjust"),
        ("https://api.salla.dev", "/admin/v2/customers/loyalty/points"),
        ("https://api.loyaltylion.com", "/v2/customers/6789012345/points"),
    }


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("pass", "backend: must be engine, passthrough"),
        ({"passthrough": {}, "upstream": {}}, "backend: must be engine, passthrough"),
        ({"passthrough": None}, "backend.passthrough: "),
        ({"passthrough": {"url": 5}}, "backend.passthrough.url: "),
        ({"passthrough": {"url": "api.example.com"}}, "backend.passthrough.url: must read like"),
        ({"passthrough": {"url": "https://u:p@example.com"}}, "backend.passthrough.url: must read like"),
        ({"passthrough": {"url": "https://example.com:x"}}, "backend.passthrough.url: must read like"),
        ({"passthrough": {"url": "https://[::1"}}, "backend.passthrough.url: must read like"),
        ({"passthrough": {"url": "https://example.com?a=b"}}, "backend.passthrough.url: must read like"),
        ({"passthrough": {"timeout_seconds": 0}}, "backend.passthrough.timeout_seconds: "),
        ({"passthrough": {"connections": 0}}, "backend.passthrough.connections: "),
        ({"passthrough": {"credentials": {}}}, "backend.passthrough: "),
    ],
)
def test_a_mistake_in_it_is_told_with_its_path(vendors: dict[str, Vendor], raw: Any, told: str) -> None:
    everywhere, for_one = demo_config(), demo_config()
    everywhere["vendors"]["mage"]["backend"] = raw
    for_one["merchants"]["demo"]["backends"] = {"mage": raw}

    with pytest.raises(ConfigurationError) as first:
        parse_config(everywhere, vendors, {})
    with pytest.raises(ConfigurationError) as second:
        parse_config(for_one, vendors, {})

    assert f"vendors.mage.{told}" in str(first.value)
    assert f"merchants.demo.{told.replace('backend', 'backends.mage', 1)}" in str(second.value)
