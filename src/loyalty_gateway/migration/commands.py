"""The commands of a move: ``loyalty-gateway migration …``."""

import asyncio
import csv
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Final, TextIO

from loyalty_gateway.adjustment import Merchant, customer_reference
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.following.ending import give_up_the_way_back, not_come_across
from loyalty_gateway.ledger.following.parked import Parked, parked, settle_parked
from loyalty_gateway.ledger.following.standing import wallet_id_of
from loyalty_gateway.ledger.moving import (
    Move,
    Reconciliation,
    Stage,
    begin_reconciliation,
    change_move,
    changes,
    comparisons,
    end_reconciliation,
    last_reconciliation,
    merchant_number,
    moves,
)
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.migration.importing import import_balances
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.migration.reconciling import reconcile
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.problem import ConfigurationError

_AT_ONCE: Final = 1_000
_HOUR: Final = 3_600_000_000
_SECOND: Final = 1_000_000
_MOST_TOLD: Final = 20


class Chosen:
    """The move that a command is about: a merchant's, in a vendor's dialect."""

    def __init__(self, ledger: Ledger, merchant: Merchant, vendor: str) -> None:
        self.ledger = ledger
        self.merchant = merchant
        self.vendor = vendor

    async def move(self) -> Move:
        """How far it is."""
        known = await self.ledger.look(moves)
        return known.get((self.merchant.name, self.vendor)) or Move(
            merchant=self.merchant.name, vendor=self.vendor
        )

    async def merchant_id(self) -> int:
        """The merchant's number; 0 for one whom the ledger has not met."""
        return await self.ledger.look(lambda dialect: merchant_number(dialect, self.merchant.name))

    async def numbers(self, file: Path | None) -> list[int]:
        """The customers of a file, one ``namespace:value`` a line; raises ConfigurationError."""
        if file is None:
            return []
        try:
            lines = (await asyncio.to_thread(file.read_text, encoding="utf-8")).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(str(file), f"cannot be read: {error}") from error
        merchant_id = await self.merchant_id()
        found = []
        for place, line in enumerate(lines, 1):
            namespace, _, value = line.strip().partition(":")
            if not namespace:
                continue
            reference = customer_reference(namespace, value)
            number = await self.ledger.look(
                lambda dialect, reference=reference: wallet_id_of(dialect, merchant_id, reference)  # type: ignore[misc]
            )
            if not number:
                what = f"line {place}: the ledger has no customer {line.strip()}; write namespace:value"
                raise ConfigurationError(str(file), what)
            found.append(number)
        return found


async def advance(  # noqa: PLR0913 - who is to go, and who says so
    chosen: Chosen,
    *,
    percent: int | None,
    customers: Path | None,
    who: str,
    why: str,
    largest_age_hours: float,
    out: TextIO,
) -> None:
    """Takes the move one step on, or more customers into its stage.

    Raises:
        ConfigurationError: there is no such step, or it is not shown to be safe.
    """
    named = await chosen.numbers(customers)

    def work(dialect: Dialect, merchant_id: int, now: int) -> Work[Move]:
        known = yield from moves(dialect)
        before = known.get((chosen.merchant.name, chosen.vendor)) or Move(
            merchant=chosen.merchant.name, vendor=chosen.vendor
        )
        after = before.advanced(percent=percent, customers=named)
        if after.stage.is_led_by_new:
            last = yield from last_reconciliation(dialect, merchant_id, chosen.vendor)
            _check(before, after, last, now - round(largest_age_hours * _HOUR), largest_age_hours)
        return (yield from _changed(merchant_id, before, after, who=who, why=why, now=now))

    _tell_change(await chosen.ledger.change(chosen.merchant, work), named, out)


def _check(before: Move, after: Move, last: Reconciliation | None, since: int, hours: float) -> None:
    """Raises ConfigurationError where it is not shown that both sides are alike."""
    where, again = f"advance to {after.stage}", "run `loyalty-gateway migration reconcile`"
    if last is None:
        raise ConfigurationError(where, f"the sides were never held against each other; {again}")
    if last.finished_at is None:
        raise ConfigurationError(where, f"reconciliation {last.number} did not come to its end; {again}")
    if last.unread:
        raise ConfigurationError(
            where, f"reconciliation {last.number} failed: of {last.unread} customers a side told nothing; {again}"
        )
    if last.different:
        what = (
            f"reconciliation {last.number} found {last.different} customers different; look at them, then {again}"
        )
        raise ConfigurationError(where, what)
    if last.started_at < since:
        raise ConfigurationError(where, f"reconciliation {last.number} is older than {hours:g} hours; {again}")
    if last.started_at < before.staged_at:
        what = f"reconciliation {last.number} is from before the move came to {before.stage}; {again}"
        raise ConfigurationError(where, what)


async def take_back(chosen: Chosen, *, percent: int | None, who: str, why: str, out: TextIO) -> None:
    """Takes the move one step back, or fewer customers into its stage; raises ConfigurationError at the first."""

    def work(dialect: Dialect, merchant_id: int, now: int) -> Work[Move]:
        known = yield from moves(dialect)
        before = known.get((chosen.merchant.name, chosen.vendor)) or Move(
            merchant=chosen.merchant.name, vendor=chosen.vendor
        )
        after = before.taken_back(percent=percent)
        return (yield from _changed(merchant_id, before, after, who=who, why=why, now=now))

    _tell_change(await chosen.ledger.change(chosen.merchant, work), (), out)


async def end(chosen: Chosen, parts: Parts, *, who: str, why: str, out: TextIO) -> bool:
    """Gives the way back up, and forgets what was kept for it; always true.

    Raises:
        ConfigurationError: the move is not done, or the new side has not heard of all that the old one did.
    """

    def work(dialect: Dialect, merchant_id: int, now: int) -> Work[Move]:
        known = yield from moves(dialect)
        before = known.get((chosen.merchant.name, chosen.vendor)) or Move(
            merchant=chosen.merchant.name, vendor=chosen.vendor
        )
        after = yield from _changed(merchant_id, before, before.ended(), who=who, why=why, now=now)
        # Behind the change, from which on nobody writes down anything that is to follow.
        waiting = yield from not_come_across(merchant_id, parts.route)
        if any(waiting):
            what = (
                f"{waiting.follow_ups} adjustments of the old side, {waiting.parked} parked follow-ups and "
                f"{waiting.balances} balances have not come across; see `migration status` and `ledger intents`"
            )
            raise ConfigurationError(f"end {before}", what)
        yield from give_up_the_way_back(merchant_id, chosen.vendor)
        return after

    move = await chosen.ledger.change(chosen.merchant, work)
    print(f"{move}: {_spelt(move)}; every gateway goes by it within a second", file=out)
    return True


def _changed(  # noqa: PLR0913 - from where to where, and who says so
    merchant_id: int, before: Move, after: Move, *, who: str, why: str, now: int
) -> Work[Move]:
    if not why.strip():
        raise ConfigurationError("--why", "must say why")
    # A stage that is entered anew begins now; of one that only grows or shrinks the beginning stays. What was done
    # before a move is done is to reach the old side still, so that of those who come to it later counts too.
    stays = after.stage is before.stage and after.stage is not Stage.DONE
    staged_at = before.staged_at if stays and before.staged_at else now
    after = Move(
        merchant=after.merchant,
        vendor=after.vendor,
        stage=after.stage,
        percent=after.percent,
        customers=after.customers,
        staged_at=staged_at,
    )
    yield from change_move(merchant_id, after, who=who, why=why, now=now)
    return after


def _tell_change(move: Move, named: Collection[int], out: TextIO) -> None:
    more = f", with the {len(named)} customers named" if named else ""
    print(f"{move}: {_spelt(move)}{more}; every gateway goes by it within a second", file=out)


def _spelt(move: Move) -> str:
    if move.stage is Stage.ENDED:
        return "ended, the new side is alone and there is no way back any more"
    if move.is_whole:
        return f"{move.stage}"
    named = f" and {len(move.customers)} customers named" if move.customers else ""
    return f"{move.stage} for {move.percent} % of the customers{named}, {move.stage.before} for the others"


async def tell_status(chosen: Chosen, *, out: TextIO) -> None:
    """Writes where the move is, how it came there, and what a person has to look at."""
    move, merchant_id = await chosen.move(), await chosen.merchant_id()
    print(f"{move}: {_spelt(move)}", file=out)
    for change in await chosen.ledger.look(lambda dialect: changes(dialect, merchant_id, chosen.vendor)):
        named = f" and {change.customers} customers named" if change.customers else ""
        print(
            f"  {iso_milliseconds(change.changed_at)} {change.stage} {change.percent} %{named}, "
            f"{change.who}: {change.why}",
            file=out,
        )
    last = await chosen.ledger.look(lambda dialect: last_reconciliation(dialect, merchant_id, chosen.vendor))
    print(f"  last reconciliation: {'none' if last is None else _summed(last)}", file=out)
    aside = await chosen.ledger.look(lambda dialect: parked(dialect, merchant_id, chosen.vendor))
    for one in aside:
        print(f"  {_aside(one)}", file=out)


def _summed(one: Reconciliation) -> str:
    state = "was broken off" if one.finished_at is None else "is clean" if one.is_clean else "is NOT clean"
    return (
        f"number {one.number} of {iso_milliseconds(one.started_at)} {state}: {one.equal} equal, "
        f"{one.explained} explained, {one.different} different, {one.unread} unread"
    )


def _aside(one: Parked) -> str:
    state = "is tried again" if one.is_waiting else f"parked ({one.code})"
    points = one.adjustment.points_delta or 0
    return f"follow-up {one.key}: {points:+d} points for wallet_{one.wallet_id} at the {one.side} side, {state}"


async def settle_follow_up(chosen: Chosen, *, key: str, retries: bool, out: TextIO) -> None:
    """Has a parked follow-up tried again, or forgets it; raises ConfigurationError where there is none."""
    known = await chosen.ledger.change(
        chosen.merchant,
        lambda _, merchant_id, __: settle_parked(merchant_id, chosen.vendor, key, retries=retries),
    )
    if not known:
        raise ConfigurationError(f"follow-up {key}", "there is none; see `migration status`")
    print(f"follow-up {key}: {'is tried again' if retries else 'is forgotten'}", file=out)


async def run_import(chosen: Chosen, parts: Parts, *, batch: str, out: TextIO) -> bool:
    """Takes the balances of all customers over; whether nobody was left."""
    move = await chosen.move()
    if move.common.is_led_by_new:
        raise ConfigurationError(
            f"import at {move.stage}",
            "the new side leads, and its balances are the true ones; see `migration status`",
        )
    counts: Counter[str] = Counter()
    async for one in import_balances(parts, move, batch):
        counts[one.kind] += 1
        if one.kind not in {"set", "known", "led"}:
            print(f"{one.whom}: {one.kind}", file=out)
    done = counts["set"] + counts["known"] + counts["led"]
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nobody"
    print(f"batch {batch}: {told}", file=out)
    if move.common.place < Stage.MIRROR.place:
        print("what happens from now on follows for customers at mirror only; import again there", file=out)
    return done == counts.total()


async def run_reconciliation(chosen: Chosen, parts: Parts, *, file: Path | None, out: TextIO) -> bool:
    """Holds every customer at both sides against each other; whether it is safe to go on."""
    number = await chosen.ledger.change(
        chosen.merchant, lambda _, merchant_id, now: begin_reconciliation(merchant_id, chosen.vendor, now)
    )
    started_at = time.time_ns() // 1_000
    counts: Counter[str] = Counter()
    rows: list[tuple[object, ...]] = []
    move = await chosen.move()
    async for held in reconcile(parts, move):
        counts[held.kind] += 1
        rows.append((held.whom, held.kind, held.old, held.new, held.why))
        if held.kind in {"different", "unread"} and counts["different"] + counts["unread"] <= _MOST_TOLD:
            print(f"{held.whom}: {held.kind}, old {held.old}, new {held.new} {held.why}".rstrip(), file=out)
    if file is not None:
        with file.open("w", encoding="utf-8", newline="") as content:
            csv.writer(content).writerows([("customer", "kind", "old", "new", "why"), *rows])
    found = Reconciliation(
        number=number,
        started_at=started_at,
        finished_at=time.time_ns() // 1_000,
        equal=counts["equal"],
        explained=counts["explained"],
        different=counts["different"],
        unread=counts["unread"],
    )
    await chosen.ledger.change(
        chosen.merchant, lambda _, merchant_id, __: end_reconciliation(merchant_id, chosen.vendor, found)
    )
    print(_summed(found), file=out)
    return found.is_clean


async def tell_report(chosen: Chosen, *, customers: bool, out: TextIO) -> None:
    """Writes what comparing the sides came to: a summary, and on request a line for each customer."""
    merchant_id = await chosen.merchant_id()
    kinds: Counter[tuple[str, str]] = Counter()
    fields: Counter[tuple[str, str]] = Counter()
    each: dict[int, Counter[str]] = {}
    after = 0
    while found := await chosen.ledger.look(
        lambda dialect, after=after: comparisons(  # type: ignore[misc]
            dialect, merchant_id, chosen.vendor, after=after, at_most=_AT_ONCE
        )
    ):
        for one in found:
            types = {difference["type"] for difference in one.differences}
            result = "money differs" if "money" in types else "fields differ" if types else "same"
            kinds[one.kind, result] += 1
            each.setdefault(one.wallet_id, Counter())[result] += 1
            fields.update((difference["type"], difference["field"]) for difference in one.differences)
        after = found[-1].number
    print(f"{kinds.total()} comparisons", file=out)
    for (kind, result), count in sorted(kinds.items()):
        print(f"  {kind}: {count} {result}", file=out)
    for (kind, field), count in sorted(fields.items(), key=lambda one: (one[0][0] != "money", -one[1], one[0])):
        print(f"  {kind} {field}: {count}", file=out)
    if customers:
        for number, counts in sorted(each.items()):
            told = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
            print(f"wallet_{number}: {told}", file=out)
