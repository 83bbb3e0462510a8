"""What goes wrong at a vendor's server: what the client is told, and that points move once or not at all."""

import asyncio
import io
import json
import random
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from faulty import CREDENTIALS, HTML, MOUNTS, UPSTREAMS, Fault, FaultyServer, Shim, refusal_of, shim, told_by

from conftest import Served, demo_config, serving
from dialects import DIALECTS, Dialect
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Lifetime
from loyalty_gateway.customer import HistoryQuery
from loyalty_gateway.ledger import sqlite
from loyalty_gateway.problem import Code
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream import calls, connections, intents, server, settling
from loyalty_gateway.upstream.calls import Calls
from loyalty_gateway.upstream.connections import NotSent, Unclear
from loyalty_gateway.upstream.server import Limits, Server
from loyalty_gateway.vendor import Vendor
from stores import SqliteFile

_CLIENTS = [dialect for dialect in DIALECTS if dialect.name in {"yotpo loyalty", "loyaltylion"}]
_BY_VENDOR = {dialect.name.split()[0]: dialect for dialect in DIALECTS if dialect.name != "salla everyone"}
_TELLS = {("bitbybit", 1), ("bitbybit", -1), ("loyaltylion", 1), ("loyaltylion", -1), ("salla", 1)} | {
    ("yotpo", 1),
    ("yotpo", -1),
}
"""Vendors whose history tells an addition (1) or a deduction (-1) so that it is known again."""

_NO_EFFECT = {
    "never answers, and did nothing": Fault("silence"),
    "hangs up before it did anything": Fault("hangs up"),
    "500 without effect": Fault("answers", status=500, body='{"error": "oops"}'),
    "503 as an nginx page": Fault("answers", status=503, body=HTML, media_type="text/html"),
    "a page with 200, without effect": Fault("answers", body=HTML, media_type="text/html"),
}
_EFFECT = {
    "never answers, but did it": Fault("silence", forwards=True),
    "hangs up after it did it": Fault("hangs up", forwards=True),
    "breaks off in the middle of the answer": Fault("half", forwards=True),
    "500 with effect": Fault("answers", forwards=True, status=500, body='{"error": "oops"}'),
    "502 as an nginx page": Fault("answers", forwards=True, status=502, body=HTML, media_type="text/html"),
    "a page with 200": Fault("answers", forwards=True, body=HTML, media_type="text/html"),
    "JSON off the contract": Fault("answers", forwards=True, body='{"greeting": ["hello"]}'),
    "JSON off the contract with 201": Fault("answers", forwards=True, status=201, body='{"data": {}}'),
    "JSON that is a list": Fault("answers", forwards=True, body="[1, null]"),
}


_REFUSALS: Mapping[str, Callable[[Vendor], tuple[Fault, Code]]] = {
    "401": lambda vendor: (told_by(vendor, Code.INVALID_CREDENTIALS, 401), Code.UNAVAILABLE),
    "403": lambda vendor: (told_by(vendor, Code.INSUFFICIENT_SCOPE, 403), Code.UNAVAILABLE),
    "404": lambda vendor: (told_by(vendor, Code.UNKNOWN_PATH, 404), Code.UNAVAILABLE),
    "404 as an nginx page": lambda _: (_page(404), Code.UNAVAILABLE),
    "422": lambda vendor: (told_by(vendor, Code.INVALID, 422), Code.UNAVAILABLE),
    "422 as an nginx page": lambda _: (_page(422), Code.UNAVAILABLE),
    "429 with Retry-After": lambda vendor: (
        told_by(vendor, Code.RATE_LIMITED, 429, ("retry-after", "0")),
        Code.RATE_LIMITED,
    ),
    "429 without Retry-After": lambda vendor: (told_by(vendor, Code.RATE_LIMITED, 429), Code.RATE_LIMITED),
    "429 as an nginx page": lambda _: (_page(429), Code.RATE_LIMITED),
    "503 in its own words": lambda vendor: (told_by(vendor, Code.UNAVAILABLE, 503), Code.UNAVAILABLE),
}
"""Answers that say that nothing was done, and what the client is told then."""


def _page(status: int) -> Fault:
    return Fault("answers", status=status, body=HTML, media_type="text/html")


@dataclass(frozen=True)
class _Before:
    """A gateway that plays the vendors, with a ledger to look into."""

    port: int
    store: SqliteFile

    def entries(self, reason: str) -> list[dict[str, Any]]:
        """Those with the reason, with whatever was put behind it."""
        return self.store.rows("SELECT * FROM entries WHERE reason LIKE ? ORDER BY id", (f"{reason}%",))


@pytest.fixture(scope="module")
def vendor_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Before]:
    with serving(tmp_path_factory.mktemp("vendor"), demo_config(), "--no-rate-limits") as served:
        _give_funds(served)
        yield _Before(httpx.URL(served.url).port or 0, SqliteFile(served.ledger))


def _give_funds(served: Served) -> None:
    salla = _BY_VENDOR["salla"]
    answer = httpx.post(served.url + salla.path, json=salla.body(100_000, "funds"), headers=salla.headers)
    assert answer.status_code == 201


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_BETWEEN_SECONDS", 0.01)
    monkeypatch.setattr(server, "_UNTOLD_SECONDS", 0.05)
    monkeypatch.setattr(settling, "_EVERY_SECONDS", 0.02)


Story = Callable[[Shim, FaultyServer], Awaitable[None]]


@dataclass(frozen=True)
class _Stage:
    """A shim to a vendor's server, with a faulty one between them."""

    folder: Path
    before: _Before
    vendors: Mapping[str, Vendor]
    contracts: Mapping[str, Contract]

    def play(self, vendor: str, story: Story, **settings: Any) -> list[dict[str, Any]]:
        """Plays the story; gives the request lines of the shim."""

        async def played() -> Shim:
            faulty = FaultyServer(self.before.port)
            await faulty.listen()
            url = f"http://127.0.0.1:{faulty.port}"
            clients = ("yotpo", "loyaltylion", "salla")
            async with shim(self.folder, vendor, url, self.vendors, self.contracts, clients, **settings) as shown:
                await story(shown, faulty)
                faulty.fault = None
            await faulty.refuse()
            return shown

        return asyncio.run(played()).lines()


@pytest.fixture
def stage(
    tmp_path: Path, vendor_server: _Before, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> _Stage:
    return _Stage(tmp_path, vendor_server, vendors, contracts)


def _new_reason() -> str:
    return "visit " + "".join(random.choices(string.ascii_lowercase, k=16))


@dataclass
class _Asking:
    """A client that asks for one adjustment, and what it was answered, with the lines that tell of that."""

    dialect: Dialect
    points: int
    answers: list[httpx.Response]
    reason: str

    async def ask(self, shown: Shim) -> httpx.Response:
        answer = await self.dialect.adjust(shown.client, self.points, self.reason, self.reason)
        self.answers.append(answer)
        return answer

    def told(self, lines: list[dict[str, Any]]) -> list[tuple[Code | None, bool]]:
        """The codes of the answers, and whether each was told before.

        Every answer has a status that is declared, and not one that tells of our dealings with the vendor.
        """
        mine = [line for line in lines if line["vendor"] == self.dialect.name.split()[0]]
        assert [line["status"] for line in mine] == [answer.status_code for answer in self.answers]
        assert [line.get("defects") for line in mine] == [None for _ in mine]
        assert not {401, 403, 500} & {line["status"] for line in mine}
        codes = [line.get("code") for line in mine]
        return [
            (None if code is None else Code(code), line.get("replayed", False))
            for code, line in zip(codes, mine, strict=True)
        ]


def _clients(points: int) -> list[_Asking]:
    return [_Asking(dialect, points, [], _new_reason()) for dialect in _CLIENTS]


async def _all(shown: Shim, asking: list[_Asking]) -> None:
    await asyncio.gather(*(one.ask(shown) for one in asking))


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - what another task does, without a word to us
            await asyncio.sleep(0.01)


def _signs(vendor: str) -> tuple[int, ...]:
    return (1, -1) if vendor == "salla" else (1,)


_UNCLEAR = [
    (vendor, sign, name) for vendor in UPSTREAMS for sign in _signs(vendor) for name in (*_NO_EFFECT, *_EFFECT)
]


@pytest.mark.parametrize(("vendor", "sign", "name"), _UNCLEAR)
def test_what_is_unclear_is_busy_until_it_is_known_and_is_carried_out_once(
    stage: _Stage, vendor: str, sign: int, name: str
) -> None:
    fault, is_told = (_NO_EFFECT | _EFFECT)[name], (vendor, sign) in _TELLS
    asking, has_effect = _clients(7 * sign), fault.forwards

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = fault
        await _all(shown, asking)
        states = [intent["state"] for one in asking for intent in shown.intents(one.reason)]
        assert set(states) <= ({"unclear", "done" if has_effect else "refused"} if is_told else {"parked"})
        assert len(states) == len(asking)
        assert [len(stage.before.entries(one.reason)) for one in asking] == [has_effect, has_effect]
        faulty.fault = None
        settled = ("done" if has_effect else "refused") if is_told else "parked"
        assert [await shown.settled(one.reason) for one in asking] == [[settled], [settled]]
        await _all(shown, asking)

    lines = stage.play(vendor, story)

    for one in asking:
        (first, again) = one.told(lines)
        # What is settled at once needs no other try.
        assert first in ({(Code.RECORD_BUSY, False), (None, False)} if is_told else {(Code.RECORD_BUSY, False)})
        assert again == ((None, has_effect) if is_told else (Code.RECORD_BUSY, False))
        assert len(stage.before.entries(one.reason)) == (1 if is_told else has_effect)


_REFUSED = [(vendor, name) for vendor in UPSTREAMS for name in _REFUSALS]


@pytest.mark.parametrize(("vendor", "name"), _REFUSED)
def test_what_the_vendor_refuses_is_refused_in_the_clients_voice_and_a_retry_is_carried_out(
    stage: _Stage, vendor: str, name: str
) -> None:
    fault, code = _REFUSALS[name](stage.vendors[vendor])
    asking = _clients(7)

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = fault
        await _all(shown, asking)
        assert [await shown.settled(one.reason, seconds=0.1) for one in asking] == [["refused"], ["refused"]]
        assert [stage.before.entries(one.reason) for one in asking] == [[], []]
        faulty.fault = None
        await _all(shown, asking)

    lines = stage.play(vendor, story)

    for one in asking:
        assert one.told(lines) == [(code, False), (None, False)]
        assert len(stage.before.entries(one.reason)) == 1


@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_a_server_that_cannot_be_reached_is_unavailable_and_a_retry_is_carried_out(
    stage: _Stage, vendor: str
) -> None:
    asking = _clients(7)

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        await faulty.refuse()
        await _all(shown, asking)
        assert [await shown.settled(one.reason, seconds=0.1) for one in asking] == [["refused"], ["refused"]]
        await faulty.listen()
        await _all(shown, asking)

    lines = stage.play(vendor, story)

    for one in asking:
        assert one.told(lines) == [(Code.UNAVAILABLE, False), (None, False)]
        assert len(stage.before.entries(one.reason)) == 1


@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_a_connection_that_broke_while_it_was_idle_does_no_harm(stage: _Stage, vendor: str) -> None:
    asking = _clients(7)

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        await shown.client.get("/loyaltylion/v2/customers/6789012345", headers=_CLIENTS[1].headers)
        await faulty.refuse()
        await faulty.listen()
        await _all(shown, asking)

    stage.play(vendor, story)

    for one in asking:
        assert [answer.is_success for answer in one.answers] == [True]
        assert len(stage.before.entries(one.reason)) == 1


@pytest.mark.parametrize(("vendor", "sign"), [(one, sign) for one in UPSTREAMS for sign in _signs(one)])
@pytest.mark.parametrize("name", ["never answers, and did nothing", "never answers, but did it"])
def test_an_identical_request_without_a_key_joins_the_one_that_is_not_settled(
    stage: _Stage, vendor: str, sign: int, name: str
) -> None:
    fault, dialect, reason = (_NO_EFFECT | _EFFECT)[name], _CLIENTS[0], _new_reason()
    is_told, answers = (vendor, sign) in _TELLS, []

    async def ask(shown: Shim) -> None:
        body = dialect.body(7 * sign, reason)
        answers.append(await shown.client.post(dialect.path, json=body, headers=dialect.headers))

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = fault
        await asyncio.gather(ask(shown), ask(shown), ask(shown))
        assert len(shown.intents(reason)) == 1
        faulty.fault = None
        await shown.settled(reason)
        if not is_told:
            await ask(shown)

    stage.play(vendor, story)

    assert len(stage.before.entries(reason)) == fault.forwards
    assert len(answers) == (3 if is_told else 4)
    # Whoever waits until it is settled is told what came of it, and nobody is told that twice as much did.
    assert {answer.status_code for answer in answers} <= ({200, 423} if is_told and fault.forwards else {423, 503})


@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_a_request_that_says_something_else_to_the_same_effect_does_not_join(stage: _Stage, vendor: str) -> None:
    fault, dialect, reason = _NO_EFFECT["never answers, and did nothing"], _CLIENTS[0], _new_reason()

    async def ask(shown: Shim, currency: str) -> None:
        body = dialect.body(7, reason) | {"currency": currency}
        await shown.client.post(dialect.path, json=body, headers=dialect.headers)

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = fault
        await asyncio.gather(ask(shown, "EUR"), ask(shown, "USD"))
        assert len(shown.intents(reason)) == 2

    stage.play(vendor, story)


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "refusing"])
def test_a_limit_of_the_vendors_is_waited_for_or_told(stage: _Stage, waits: bool) -> None:  # noqa: FBT001 - a case
    (asking, _), vendor = _clients(7), "yotpo"
    fault = told_by(stage.vendors[vendor], Code.RATE_LIMITED, 429, ("retry-after", "1"))

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = fault
        first = asyncio.create_task(asking.ask(shown))
        await _until(lambda: faulty.adjusted > 0)
        faulty.fault = None
        await first
        assert faulty.adjusted == (2 if waits else 1)

    lines = stage.play(vendor, story, when_limited="wait" if waits else "refuse")

    assert asking.told(lines) == [(None if waits else Code.RATE_LIMITED, False)]
    assert len(stage.before.entries(asking.reason)) == waits


def test_a_vendor_that_is_to_be_left_alone_for_long_is_not_asked_meanwhile(
    stage: _Stage,
) -> None:
    asking, vendor = _clients(7), "yotpo"
    (first, _), asked = asking, []

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = told_by(stage.vendors[vendor], Code.RATE_LIMITED, 429, ("retry-after", "600"))
        await first.ask(shown)
        await first.ask(shown)
        asked.append(faulty.adjusted)

    lines = stage.play(vendor, story)

    assert asked == [1]
    assert first.told(lines) == [(Code.RATE_LIMITED, False), (Code.RATE_LIMITED, False)]
    assert stage.before.entries(first.reason) == []


def test_a_server_that_fails_five_times_in_a_row_is_left_alone_for_a_while(
    stage: _Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_PAUSE_SECONDS", 0.5)
    (dialect, _) = _CLIENTS
    states: list[tuple[object, ...]] = []

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = _NO_EFFECT["500 without effect"]
        for _ in range(5):
            one = _Asking(dialect, 7, [], _new_reason())
            await one.ask(shown)
        before = faulty.adjusted
        alone = _Asking(dialect, 7, [], _new_reason())
        await alone.ask(shown)
        states.append(
            (faulty.adjusted - before, alone.answers[-1].status_code, shown.intents(alone.reason)[0]["state"])
        )
        faulty.fault = None
        await asyncio.sleep(0.6)
        states.append(((await alone.ask(shown)).status_code, len(stage.before.entries(alone.reason))))

    stage.play("mage", story)

    assert states == [(0, 503, "refused"), (200, 1)]


@pytest.mark.parametrize("vendor", [vendor for vendor in UPSTREAMS if (vendor, 1) in _TELLS])
def test_a_history_off_the_contract_does_not_show_that_nothing_was_done(stage: _Stage, vendor: str) -> None:
    (asking, _), states = _clients(7), []

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.first = [_EFFECT["never answers, but did it"]] * 3
        faulty.read = Fault("answers", body='{"greeting": ["hello"]}')
        await asking.ask(shown)
        await asyncio.sleep(0.3)
        states.append(shown.intents(asking.reason)[0]["state"])
        faulty.read = None
        states.append(*await shown.settled(asking.reason))

    stage.play(vendor, story)

    assert states == ["unclear", "done"]
    assert len(stage.before.entries(asking.reason)) == 1


def _nobody_there(vendor: Vendor, text: str | None) -> Fault:
    """The vendor's refusal to tell the history of a customer whom it does not know, perhaps with another text."""
    asked = next(one for one in vendor.operations if one.asks is HistoryQuery)
    answer = refusal_of(vendor, Code.UNKNOWN_CUSTOMER, asked)
    body = answer.body if text is None else _reworded(answer.body, text)
    return Fault("answers", status=answer.status, body=json.dumps(body))


def _reworded(value: Any, text: str) -> Any:
    """The same error with another message."""
    if not isinstance(value, dict):
        return value
    return {
        name: text if name in {"error", "message"} and isinstance(one, str) else _reworded(one, text)
        for name, one in value.items()
    }


@pytest.mark.parametrize("vendor", [vendor for vendor in UPSTREAMS if (vendor, 1) in _TELLS])
@pytest.mark.parametrize("text", [None, "Nothing to see here"])
def test_a_history_that_is_not_found_shows_that_nothing_was_done_only_where_it_knows_no_such_customer(
    stage: _Stage, vendor: str, text: str | None
) -> None:
    (asking, _), states = _clients(7), []

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.first = [_EFFECT["never answers, but did it"]] * 3
        faulty.read = _nobody_there(stage.vendors[vendor], text)
        await asking.ask(shown)
        for _ in range(10):
            shown.store.execute("UPDATE intents SET due_at = 0 WHERE state = 'unclear'")
            await asyncio.sleep(0.1)
        states.append(shown.intents(asking.reason)[0]["state"])
        faulty.read = None
        states.append(*await shown.settled(asking.reason))

    stage.play(vendor, story)

    assert states == (["refused", "refused"] if text is None else ["unclear", "done"])
    assert len(stage.before.entries(asking.reason)) == 1


def test_a_refusal_says_nothing_of_what_was_sent_before_it_and_may_still_arrive(stage: _Stage) -> None:
    (asking, _), states = _clients(7), []

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.first = [Fault("silence"), told_by(stage.vendors["bitbybit"], Code.INVALID, 422)]
        faulty.fault = faulty.first[1]
        await asking.ask(shown)
        states.append(shown.intents(asking.reason)[0]["state"])
        faulty.fault = None
        await faulty.deliver()
        states.append(*await shown.settled(asking.reason))
        await asking.ask(shown)

    lines = stage.play("bitbybit", story, settle_seconds=3_600)

    assert states == ["unclear", "done"]
    assert asking.told(lines) == [(Code.RECORD_BUSY, False), (None, True)]
    assert len(stage.before.entries(asking.reason)) == 1


def test_what_arrives_late_is_waited_for_from_when_it_was_last_sent(stage: _Stage) -> None:
    (asking, _), states = _clients(7), []

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = Fault("silence")
        first = asyncio.create_task(asking.ask(shown))
        await _until(lambda: bool(faulty.late))
        # It was written down long ago: it waited for its turn, or for the vendor's limits.
        long_ago = "UPDATE intents SET created_at = created_at - 7200000000, sent_at = sent_at - 7200000000"
        shown.store.execute(long_ago)
        await first
        await asyncio.sleep(0.2)
        states.append(shown.intents(asking.reason)[0]["state"])
        faulty.fault = None
        await faulty.deliver()
        states.append(*await shown.settled(asking.reason))

    stage.play("yotpo", story, settle_seconds=3_600)

    assert states == ["unclear", "done"]
    assert len(stage.before.entries(asking.reason)) == 1


@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_everyone_may_be_one_customer(stage: _Stage, vendor: str) -> None:
    reason, statuses = _new_reason(), []
    salla = _BY_VENDOR["salla"]

    async def story(shown: Shim, faulty: FaultyServer) -> None:
        faulty.fault = Fault("silence", forwards=True)
        body = salla.body(7, reason) | {"customers": [], "select_all": True}
        for _ in range(2):
            answer = await shown.client.post(
                salla.path, json=body, headers=salla.headers | {"idempotency-key": reason}
            )
            statuses.append(answer.status_code)
            faulty.fault = None
            await shown.settled(reason)

    stage.play(vendor, story, people=1)

    # Salla is asked for everyone whom it has, which no history shows.
    assert statuses == [503, 503 if vendor in {"mage", "salla"} else 201]
    assert len(stage.before.entries(reason)) == (2 if vendor == "salla" else 1)


_NAMES = {
    "shopify": "6789012345",
    "email": "jane@example.com",
    "bitbybit": "cust_abc123",
    "salla": "748394059",
}


@pytest.mark.parametrize("vendor", UPSTREAMS)
@pytest.mark.parametrize(
    ("fault", "raises"),
    [
        (Fault("hangs up"), Unclear),
        (Fault("hangs up", forwards=True), Unclear),
        (Fault("silence"), Unclear),
        (Fault("half", forwards=True), Unclear),
        (None, NotSent),
    ],
    ids=["hangs up", "hangs up after it did it", "silence", "breaks off", "no connection"],
)
def test_only_a_request_that_found_no_connection_counts_as_not_sent(  # noqa: PLR0917 - fixtures
    vendor: str,
    fault: Fault | None,
    raises: type[Exception],
    vendor_server: _Before,
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
) -> None:
    spoken = vendors[vendor]
    options = msgspec.convert({}, spoken.options)
    namespace = spoken.namespaces(options)[0]
    adjustment = Adjustment(
        customers=(CustomerReference(namespace, _NAMES[namespace]),),
        points_delta=7,
        lifetime=Lifetime.EARN_AND_BURN,
        reason=_new_reason(),
    )

    async def sent() -> None:
        faulty = FaultyServer(vendor_server.port)
        await faulty.listen()
        url = f"http://127.0.0.1:{faulty.port}" + MOUNTS.get(vendor, f"/{vendor}")
        limits = Limits(timeout_seconds=0.3, rate_limits=None)
        asked = Server(spoken, contracts[vendor], url, CREDENTIALS[vendor], limits)
        said = Calls(asked, options).say(adjustment)
        assert said is not None
        faulty.fault = fault
        if fault is None:
            await faulty.refuse()
        try:
            await asked.send(said.operation, said.request)
        finally:
            await asked.close()
            await faulty.refuse()

    with pytest.raises(raises):
        asyncio.run(sent())


# Leases.


@asynccontextmanager
async def _asked_to_wait(
    stage: _Stage, asking: _Asking, *shims: str, seconds: int = 2
) -> AsyncIterator[tuple[FaultyServer, list[Shim], "asyncio.Task[httpx.Response]"]]:
    """A request that the first of several gateways is at, whose vendor asks to be left alone for so long."""
    faulty = FaultyServer(stage.before.port)
    await faulty.listen()
    told = told_by(stage.vendors["loyaltylion"], Code.RATE_LIMITED, 429, ("retry-after", str(seconds)))
    url, clients, patient = f"http://127.0.0.1:{faulty.port}", ("yotpo",), {"timeout_seconds": 5}
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(
                shim(stage.folder, "loyaltylion", url, stage.vendors, stage.contracts, clients, **patient)
            )
            for _ in shims
        ]
        faulty.first = [told]
        first = asyncio.create_task(asking.ask(opened[0]))
        await _until(lambda: faulty.adjusted == 1)
        yield faulty, opened, first
    await faulty.refuse()


def test_what_somebody_else_took_up_meanwhile_is_not_asked_for_any_more(
    stage: _Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the ledger was away so long that nobody could hold anything."""
    monkeypatch.setattr(sqlite, "_locked", lambda _: io.StringIO())
    monkeypatch.setattr(settling, "_HELD_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(intents, "HELD_SECONDS", 0.5)
    monkeypatch.setattr(settling, "HELD_SECONDS", 0)
    asking = _clients(7)[0]

    async def played() -> list[int]:
        async with _asked_to_wait(stage, asking, "one", "another") as (faulty, (one, another), first):
            while one.intents(asking.reason)[0]["state"] == "open":
                one.store.execute("UPDATE intents SET due_at = 0, owner = 'nobody' WHERE state = 'open'")
                await asyncio.sleep(0.01)
            assert await another.settled(asking.reason) == ["refused"]
            faulty.fault = None
            retry = await asking.dialect.adjust(another.client, 7, asking.reason, asking.reason)
            return [(await first).status_code, retry.status_code]

    first, retry = asyncio.run(played())

    assert len(stage.before.entries(asking.reason)) == 1
    assert first >= 400
    assert retry == 200


def test_a_gateway_that_closes_holds_what_it_is_at_until_that_has_ended(
    stage: _Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_HELD_EVERY_SECONDS", 0.05)
    asking = _clients(7)[0]
    due: list[int] = []

    async def played() -> int:
        async with _asked_to_wait(stage, asking, "one") as (_, (one,), first):

            async def look() -> None:
                while not first.done():
                    due.extend(row["due_at"] for row in one.intents(asking.reason) if row["state"] == "open")
                    await asyncio.sleep(0.2)

            looking = asyncio.create_task(look())
            due.clear()
        # The gateway has closed, behind what it was at.
        await looking
        return (await first).status_code

    status = asyncio.run(played())

    assert status == 200
    assert len(stage.before.entries(asking.reason)) == 1
    assert len(set(due)) > 3
