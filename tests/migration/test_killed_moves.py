"""Whole moves between served gateways, each of which is killed meanwhile, with clients at work throughout.

What clients may see, and why:

- **A broken connection**, or one that cannot be made, while the gateway in front is away: they would see the same
  of the old vendor when it is away. They ask again with the same key, and that must be carried out once.
- **503, nothing was carried out**, while the side that leads is away: without a gateway in front they would see a
  broken connection of the old vendor itself. It is the better answer, if it is true: clients that take it at its
  word, and let the request be, must find no trace of it at either side.
- **"Busy, ask again"** while it is not known what came of a request that was on its way when something was killed,
  and for what may not go past that request. Of the old vendor they would have seen a connection that broke, and
  would not know either. Asked again with the same key, it says what came of it.
- Both end soon behind the outage. There is nothing else that they may see: no other status, and nothing at all of
  the new side's outages before it has led.

The old vendor whose history shows no reasons cannot be asked what came of a request, so a person looks there and
says so (``ledger settle``); whoever asks again meanwhile is told to ask again.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from bench import LOYALTYLION, SALLA, YOTPO
from clients import CUSTOMERS, Change, Refusal, Traffic, say_salla, say_yotpo
from places import Outage, Place
from typer.testing import CliRunner

from conftest import demo_config
from load import SEED, assert_clean
from loyalty_gateway.cli import commands
from loyalty_gateway.upstream import connections
from loyalty_gateway.upstream.marks import unmarked
from stores import PostgresServer, Store

_FUNDS: Final = 500
_ANSWERS_BETWEEN: Final = 25
_BOUND_SECONDS: Final = 60.0
_MOVES: Final = {"sqlite": 10, "postgres": 5}
_SOON_SECONDS: Final = 8.0
"""So long behind an outage something may be seen of it: a lease of 3 s, 3 s to be sure, and the looks between."""
_LOOKED_AT_SECONDS: Final = 1.0

Kills = dict[str, list[tuple[str, ...]]]
"""Who is killed in which part of a move, one after another, or several at once."""

FEW: Final[Kills] = {
    "shadow": [("front",)],
    "mirror": [("old",), ("new", "front")],
    "lead": [("new",), ("front",)],
}
_PARTS: Final = ("observe", "shadow", "mirror", "half lead", "lead", "back", "lead again")


@dataclass(frozen=True)
class Kind:
    """Whose clients move, and where to."""

    vendor: str
    say: Any
    old: dict[str, Any]
    new: dict[str, Any] | None
    busy: frozenset[int]
    says_undone: frozenset[int]
    shows_history: bool

    def __str__(self) -> str:
        return self.vendor


KINDS: Final = (
    Kind("yotpo", say_yotpo, YOTPO, LOYALTYLION, frozenset({423}), frozenset({503}), shows_history=True),
    # The same answer for both, which therefore says nothing for sure.
    Kind("salla", say_salla, SALLA, None, frozenset({503}), frozenset(), shows_history=False),
)


def _config(backends: dict[str, Any], vendors: Sequence[str]) -> dict[str, Any]:
    config = demo_config()
    config["vendors"] = {name: config["vendors"][name] for name in vendors}
    config["merchants"]["demo"] |= {
        "backends": backends,
        "customers": [{"references": customer._asdict()} for customer in CUSTOMERS],
    }
    return config


def _side(upstream: dict[str, Any], place: Place) -> dict[str, Any]:
    settings = {"url": f"{place.url}/{httpx.URL(upstream['url']).path.lstrip('/')}", "settle_seconds": 2}
    return {"upstream": upstream | settings | {"patience_seconds": 5}}


@dataclass
class Whole:
    """One move from its beginning to its end."""

    kind: Kind
    places: dict[str, Place]
    kills: Kills
    chance: random.Random
    outages: list[Outage] = field(default_factory=list)
    settled: dict[str, float] = field(default_factory=dict)
    has_led: float = float("inf")

    @property
    def new_side(self) -> Store:
        """Where the points are that move across."""
        return self.places.get("new", self.places["front"]).store

    # Commands, as an operator gives them beside the running gateway

    async def _command(self, *words: str) -> tuple[int, str]:
        front = self.places["front"]
        whose = ("--merchant", "demo", "--vendor", self.kind.vendor)
        arguments = ["migration", *words, *whose, "--config", str(front.config_file), *front.ledger_option]
        ended = await asyncio.to_thread(CliRunner().invoke, commands, arguments)
        return ended.exit_code, ended.output

    async def _advance(self, *words: str) -> None:
        status, told = await self._command("advance", "--why", "a test", *words)
        assert status == 0, told

    async def _until_well(self, *words: str) -> None:
        deadline = time.monotonic() + _BOUND_SECONDS
        while (ended := await self._command(*words))[0]:
            assert ended[0] == 1, ended[1]
            assert time.monotonic() < deadline, ended[1]
            await asyncio.sleep(0.2)

    async def _lead(self, *words: str) -> None:
        await self._until_well("reconcile")
        self.has_led = min(self.has_led, time.monotonic())
        await self._advance(*words)

    async def _look_after(self) -> None:
        """A person, who looks at the old vendor what came of that which its history does not tell."""
        while True:
            await asyncio.sleep(0.3)
            for row in self.places["front"].store.rows(
                "SELECT id, adjustment FROM intents WHERE state = 'parked' AND settled_at IS NULL"
            ):
                reason = msgspec.json.decode(row["adjustment"])["reason"]
                found = self.places["old"].store.rows("SELECT 1 FROM entries WHERE reason = ?", (reason,))
                await self._settle(str(row["id"]), "--done" if found else "--refused")
                self.settled[reason] = time.monotonic()

    async def _settle(self, *words: str) -> None:
        front = self.places["front"]
        options = ("--config", str(front.config_file), *front.ledger_option)
        command = (sys.executable, "-m", "loyalty_gateway", "ledger", "settle", *words, *options)
        await asyncio.to_thread(subprocess.run, command, check=True)

    # The story

    async def moved(self) -> Traffic:
        kind = self.kind
        front = self.places["front"].url
        await self._give_funds()
        traffic = Traffic(front, kind.say, set(kind.busy), set(kind.says_undone), self.chance)
        traffic.begin()
        person = asyncio.create_task(self._look_after())
        try:
            await self._part(traffic, "observe")
            await self._part(traffic, "shadow", self._advance())
            await self._part(traffic, "mirror", self._advance(), self._until_well("import"))
            await self._part(traffic, "half lead", self._lead("--percent", "50"))
            await self._part(traffic, "lead", self._lead())
            status, told = await self._command("back", "--why", "just in case")
            assert status == 0, told
            await self._part(traffic, "back")
            await self._part(traffic, "lead again", self._lead())
            await traffic.ended()
            await self._until_nothing_waits()
            await self._until_well("reconcile")
            await self._advance()
            assert not person.done() or person.exception() is None
        finally:
            person.cancel()
        return traffic

    async def _give_funds(self) -> None:
        """What customers have before anything moves."""
        async with httpx.AsyncClient(base_url=self.places["old"].url) as client:
            for number, customer in enumerate(CUSTOMERS):
                answer = await self.kind.say(client, Change(f"funds-{number}", customer, _FUNDS))
                assert answer.is_success, answer.text

    async def _part(self, traffic: Traffic, name: str, *steps: Awaitable[None]) -> None:
        """Takes the steps, and has the places killed, while clients go on; they do behind it too."""

        async def taken() -> None:
            for step in steps:
                await step

        async def killed() -> None:
            for places in self.kills.get(name, []):
                chosen = [self.places[place] for place in places if place in self.places]
                await asyncio.sleep(self.chance.uniform(0.1, 0.6))
                await asyncio.gather(*(place.killed(self.chance.uniform(0, 0.5)) for place in chosen))

        await asyncio.gather(taken(), killed())
        await traffic.goes_on(_ANSWERS_BETWEEN)

    async def _until_nothing_waits(self) -> None:
        front = self.places["front"].store
        deadline = time.monotonic() + _BOUND_SECONDS
        while waiting := front.rows(
            "SELECT id, state, mark, adjustment FROM intents "
            "WHERE settled_at IS NULL OR (follow = 1 AND state = 'done')"
        ) + front.rows(
            "SELECT f.* FROM followed f JOIN wallets w ON w.id = f.wallet_id "
            "WHERE w.version > f.version OR f.pending IS NOT NULL"
        ):
            assert time.monotonic() < deadline, waiting
            await asyncio.sleep(0.2)

    # What must be so

    def assert_exactly_once(self, traffic: Traffic) -> None:
        old, new = _effects(self.places["old"].store), _effects(self.new_side)
        asked = {(change.customer.email, key): [change.points] for key, change in traffic.applied.items()}
        balances = Counter({customer.email: _FUNDS for customer in CUSTOMERS})
        for change in traffic.applied.values():
            balances[change.customer.email] += change.points

        assert {who: points for who, points in old.items() if who[1].startswith("key-")} == asked
        came = {who: points for who, points in new.items() if who[1].startswith("key-")}
        assert {who: points for who, points in came.items() if asked.get(who) != points} == {}
        assert set(traffic.let_be) & {key for _, key in [*old, *new]} == set()
        assert _balances(self.places["old"].store) == dict(balances)
        assert _balances(self.new_side) == dict(balances)
        assert self.places["front"].store.rows("SELECT * FROM parked_follow_ups") == []
        for place in self.places.values():
            assert_clean(place.store)

    def assert_no_other_failure(self, traffic: Traffic) -> None:
        assert traffic.failures == []
        assert [one for one in traffic.refusals if not self._is_excused(one)] == []
        if self.kind.shows_history:
            assert self.settled == {}

    def _is_excused(self, refusal: Refusal) -> bool:
        # The person takes their time; what they are at is not known before.
        if refusal.asked_at < self.settled.get(refusal.change.key, 0.0) + _LOOKED_AT_SECONDS:
            return True
        return any(
            outage.began <= refusal.answered_at
            and refusal.asked_at <= outage.ended + _SOON_SECONDS
            and (outage.name != "new" or refusal.answered_at >= self.has_led)
            for place in self.places.values()
            for outage in place.outages
        )

    def told(self, traffic: Traffic) -> str:
        kills = Counter(outage.name for place in self.places.values() for outage in place.outages)
        refused = Counter(refusal.status for refusal in traffic.refusals)
        return (
            f"{self.kind}: kills {dict(kills)}, {len(traffic.applied)} adjustments applied, {traffic.broken} "
            f"connections broken, refused for now {dict(refused)}, {len(traffic.let_be)} let be, "
            f"{traffic.replays} replays, {len(self.settled)} settled by a person"
        )


def _effects(store: Store) -> dict[tuple[str, str], list[int]]:
    """The points of all entries by customer and reason."""
    found: dict[tuple[str, str], list[int]] = {}
    for row in store.rows(
        "SELECT r.value AS email, e.reason, e.points_delta FROM entries e "
        "JOIN customer_references r ON r.wallet_id = e.wallet_id AND r.namespace = 'email'"
    ):
        found.setdefault((row["email"], unmarked(row["reason"] or "") or ""), []).append(row["points_delta"])
    return found


def _balances(store: Store) -> dict[str, int]:
    rows = store.rows(
        "SELECT r.value AS email, w.available FROM wallets w "
        "JOIN customer_references r ON r.wallet_id = w.id AND r.namespace = 'email'"
    )
    return {row["email"]: row["available"] for row in rows}


def _move(folder: Path, kind: Kind, kills: Kills, chance: random.Random, store: Store | None = None) -> str:
    """Moves wholly, and holds what came of it against what clients know; gives what there is to tell."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        old = Place(folder / "old", _config({}, [kind.vendor]))
        places = {"old": old}
        new: Any = "engine"
        if kind.new is not None:
            places["new"] = Place(folder / "new", _config({}, [kind.new["vendor"]]))
            new = _side(kind.new, places["new"])
        backends = {kind.vendor: {"migration": {"old": _side(kind.old, old), "new": new}}}
        places["front"] = Place(folder / "front", _config(backends, [kind.vendor]), store)
        for place in places.values():
            stack.callback(place.close)
            place.start()
        whole = Whole(kind, places, kills, chance)

        traffic = asyncio.run(whole.moved())

    told = whole.told(traffic)
    whole.assert_exactly_once(traffic)
    whole.assert_no_other_failure(traffic)
    return told


@pytest.fixture(autouse=True)
def _hasty_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands leave a server that failed alone no longer than ``hasty.py`` does."""
    monkeypatch.setattr(connections, "_PAUSE_SECONDS", 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_move_with_a_kill_of_each_process_loses_and_doubles_nothing_and_shows_no_failure_of_its_own(
    tmp_path: Path, kind: Kind
) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    told = _move(tmp_path, kind, FEW, random.Random(SEED))

    print(told)  # noqa: T201 - what the run showed


def _many(kind: Kind, chance: random.Random) -> Kills:
    """Kills in any part of a move, of any of the processes or several at once, and of each at least once."""
    names = ["old", "front"] if kind.new is None else ["old", "new", "front"]
    kills = {
        part: [tuple(chance.sample(names, chance.choice((1, 1, 1, 2, len(names))))) for _ in range(count)]
        for part, count in zip(_PARTS, chance.choices((0, 1, 1, 2), k=len(_PARTS)), strict=True)
    }
    spared = set(names).difference(*(places for rounds in kills.values() for places in rounds))
    kills["mirror"] += [(name,) for name in sorted(spared)]
    return kills


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_moves_with_kills_at_any_moment_lose_and_double_nothing_and_show_no_failure_of_their_own(
    tmp_path: Path, kind: Kind, store: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nLOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run
    chance = random.Random(SEED)

    for number in range(_MOVES[store]):
        with ExitStack() as stack:
            database = None
            if store == "postgres":
                server: PostgresServer = request.getfixturevalue("postgres")
                database = stack.enter_context(server.database())
            told = _move(tmp_path / f"move-{number}", kind, _many(kind, chance), chance, database)
        with capsys.disabled():
            print(f"{store}, move {number + 1}: {told}")  # noqa: T201 - what the run showed
