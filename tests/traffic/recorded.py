"""Real traffic to a gateway, as a HTTP Archive that a proxy would have made of it."""

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from conftest import Gateway
from dialects import DIALECTS

Archive = dict[str, Any]
Entry = dict[str, Any]

BITBYBIT = {"x-api-key": "bbb_test_demo"}
MAGE = {"authorization": "mage_demo_key"}
YOTPO = {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}
SALLA = {"authorization": "Bearer demo-salla-token"}
LION = {"authorization": "Bearer pat_demo"}

READS: tuple[tuple[str, dict[str, str]], ...] = (
    ("/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/wallet", BITBYBIT),
    ("/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/history", BITBYBIT),
    ("/bitbybit/customer/open/v1/customers?limit=1&search=%6Aane%40", BITBYBIT),
    ("/mage/v1/customers/jane%40example.com", MAGE),
    ("/mage/v1/customers/6789012345/earning-history", MAGE),
    ("/yotpo/api/v2/customers?customer_email=jane%40example.com&with_history=true", YOTPO),
    ("/yotpo/api/v2/customers?guid=demo-guid&api_key=demo-api-key&customer_email=jane@example.com", {}),
    ("/salla/admin/v2/customers?keyword=jane", SALLA),
    ("/salla/admin/v2/customers/748394059", SALLA),
    ("/salla/admin/v2/customers/loyalty/points?customer_id=748394059", SALLA),
    ("/loyaltylion/v2/customers?limit=1", LION),
    ("/loyaltylion/v2/customers/6789012345/transactions?limit=2", LION),
    ("/mage/v1/customers/nobody@example.com", MAGE),
    ("/salla/admin/v2/customers/1", SALLA),
)


def recorded(gateway: Gateway) -> Archive:
    """An archive of adjustments and readings in every vendor's dialect."""
    answers = [
        gateway.post(
            dialect.path,
            dialect.body(5, "a gift") | ({dialect.key_in_body: f"key {dialect}"} if dialect.key_in_body else {}),
            dialect.headers,
        )
        for dialect in DIALECTS
    ]
    answers += [gateway.client.get(path, headers=headers) for path, headers in READS]
    # Bodies of every second one in base64, as some tools write them.
    entries = [_entry(answer, index) for index, answer in enumerate(answers)]
    return {"log": {"version": "1.2", "creator": {"name": "a proxy", "version": "1"}, "entries": entries}}


def _entry(answer: httpx2.Response, index: int) -> Entry:
    request = answer.request
    body = request.read()
    content = (
        {"text": base64.b64encode(answer.content).decode(), "encoding": "base64"}
        if index % 2
        else {"text": answer.text}
    )
    entry: Entry = {
        "startedDateTime": f"2026-01-01T00:00:{index:02}.000Z",
        "time": 1.5,
        "request": {
            "method": request.method,
            "url": str(request.url),
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": name, "value": value} for name, value in request.headers.items()],
            "bodySize": len(body),
        },
        "response": {
            "status": answer.status_code,
            "headers": [{"name": name, "value": value} for name, value in answer.headers.items()],
            "content": {
                "size": len(answer.content),
                "mimeType": answer.headers.get("content-type", "x-unknown"),
                **content,
            },
        },
    }
    if body:
        entry["request"]["postData"] = {"mimeType": "application/json", "text": body.decode()}
    return entry


def spoilt(archive: Archive, index: int, spoil: Callable[[Entry], None]) -> Archive:
    """The archive with one of its entries spoilt, which is added as another."""
    copied = copy.deepcopy(archive)
    entry = copy.deepcopy(copied["log"]["entries"][index])
    spoil(entry)
    copied["log"]["entries"].append(entry)
    return copied


def change_request(entry: Entry, change: Callable[[Any], Any]) -> None:
    """Changes the JSON of a request's body in place."""
    posted = entry["request"]["postData"]
    body = json.loads(posted["text"])
    change(body)
    posted["text"] = json.dumps(body)


def change_answer(entry: Entry, change: Callable[[Any], Any]) -> None:
    """Changes the JSON of an answer's body in place."""
    content = entry["response"]["content"]
    encoded = content.pop("encoding", None) is not None
    body = json.loads(base64.b64decode(content["text"]) if encoded else content["text"])
    change(body)
    content["text"] = json.dumps(body)


def write(archive: Archive, path: Path) -> Path:
    path.write_text(json.dumps(archive), encoding="utf-8")
    return path
