"""The one request of a comparison, asked once or by ``wrk`` as often as a server answers it."""

import json
import re
import subprocess
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from machine import GENERATOR_CORE, pinned

FIRST_CUSTOMER: Final = 6_000_000_000
"""The Shopify id of the first wallet; the others follow it."""

HEADERS: Final[Mapping[str, str]] = {"authorization": "mage_demo_key", "content-type": "application/json"}
BODY: Final = '{"adjustment":5,"note":"Goodwill gesture","send_email":false}'

_CUSTOMER: Final = "{customer}"


class Asked(NamedTuple):
    """A request; ``{customer}`` in its path or body stands for the number of the customer whose turn it is."""

    path: str
    headers: Mapping[str, str]
    body: str


MAGE: Final = Asked(f"/v1/customers/{_CUSTOMER}/points", HEADERS, BODY)

# Wallets are visited in steps of a prime, so that neighbours in time are no neighbours in the file.
_LUA = """
local n = 0
request = function()
  n = n + 1
  local customer = FIRST + (n * 7919) % COUNT * STEP
  return wrk.format("POST", "PREFIX" .. [[PATH]], {HEADERS}, [[BODY]])
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format("RESULT %d %f %f %f %d\\n", summary.requests, summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
"""


class Sample(NamedTuple):
    """What one run of the generator saw; latencies in milliseconds."""

    answered: int
    rate: float
    p50: float
    p99: float


class Target(NamedTuple):
    """Where the request goes: a base URL, and the numbers of the customers whose turn it is."""

    url: str
    customers: range
    asked: Asked = MAGE


def ask(target: Target) -> tuple[int, Any]:
    """Status and body of one request; raises OSError while nobody listens."""
    parts = urlsplit(target.url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        customer = str(target.customers[0])
        path, body = (text.replace(_CUSTOMER, customer) for text in (target.asked.path, target.asked.body))
        connection.request("POST", parts.path + path, body, dict(target.asked.headers))
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(content) if content else None


def path_of(prefix: str, customer: int) -> str:
    """The path of the adjustment of one customer."""
    return prefix + MAGE.path.replace(_CUSTOMER, str(customer))


def load(target: Target, folder: Path, *, connections: int, seconds: int) -> Sample:
    """Asks for so many seconds; raises RuntimeError where a single request failed."""
    script = folder / "load.lua"
    script.write_text(_lua(target), encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    with pinned(GENERATOR_CORE):
        process = subprocess.Popen([*command, target.url], stdout=subprocess.PIPE, text=True)
    told, _ = process.communicate()
    found = re.search(r"RESULT (\d+) (\S+) (\S+) (\S+) (\d+)", told)
    if found is None or found[5] != "0":
        raise RuntimeError(f"{target.url}: requests failed\n{told}")
    return Sample(int(found[1]), *map(float, found.groups()[1:4]))


def _lua(target: Target) -> str:
    words = {
        "FIRST": target.customers.start,
        "COUNT": len(target.customers),
        "STEP": target.customers.step,
        "PREFIX": urlsplit(target.url).path,
        "PATH": target.asked.path.replace(_CUSTOMER, "]] .. customer .. [["),
        "HEADERS": ", ".join(f'["{name}"]="{value}"' for name, value in target.asked.headers.items()),
        "BODY": target.asked.body.replace(_CUSTOMER, "]] .. customer .. [["),
    }
    return re.sub("|".join(words), lambda word: str(words[word[0]]), _LUA)
