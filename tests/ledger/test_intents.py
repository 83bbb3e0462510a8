"""What a store promises of intents: written once for each request, taken up by one, settled once."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from intending import KEEP, LEASE, UPSTREAM, begin_intents, new_intent, settle_intent
from opened import DEMO, JANE, OMAR, SECOND, START, Opened

from loyalty_gateway.ledger.intents import (
    Intent,
    Outcome,
    State,
    claim,
    find,
    hold,
    is_due,
    leave,
    open_part,
    parts,
    reopen,
    unsettled,
)
from loyalty_gateway.ledger_commands.intents import settle_by_hand, tell_intents
from loyalty_gateway.problem import Code, ConfigurationError, Problem
from loyalty_gateway.told import ToldEntry, ToldReceipt
from stores import Store


@pytest.fixture
def opened(store: Store) -> Iterator[Opened]:
    opened = Opened(store, runs_jobs=False)
    opened.enrol(JANE)
    yield opened
    opened.close()


def _park(opened: Opened, intent: Intent) -> None:
    opened.run(opened.ledger.change(DEMO, lambda *_: leave(intent.id, State.PARKED, due_at=0)))


def _found(opened: Opened, intent: Intent) -> Intent:
    found: Intent | None = opened.run(opened.ledger.look(lambda dialect: find(dialect, intent.id)))
    assert found is not None
    return found


def _claim(opened: Opened, owner: str, *, at_most: int = 10) -> list[int]:
    def work(dialect: Any, _merchant_id: int, now: int) -> Any:
        return claim(dialect, upstream="a to b", owner=owner, now=now, due_at=now + LEASE, at_most=at_most)

    claimed: list[Intent] = opened.run(opened.ledger.change(DEMO, work))
    return [one.id for one in claimed]


def test_an_intent_is_found_again_as_it_was_written(opened: Opened) -> None:
    (written,), is_new = begin_intents(opened, new_intent("k"))

    assert is_new
    assert written.id > 0
    assert _found(opened, written) == written


@pytest.mark.parametrize("key", ["k", None])
def test_the_same_request_again_is_the_same_intent_while_it_is_not_settled(
    opened: Opened, key: str | None
) -> None:
    (first,), _ = begin_intents(opened, new_intent(key))
    (again,), is_new = begin_intents(opened, new_intent(key))

    assert not is_new
    assert again.id == first.id


def test_another_request_is_another_intent(opened: Opened) -> None:
    (one,), _ = begin_intents(opened, new_intent())
    (other,), is_new = begin_intents(opened, new_intent(likeness=b"another"))

    assert is_new
    assert other.id != one.id


def test_without_a_key_what_comes_behind_the_outcome_is_new(opened: Opened) -> None:
    (first,), _ = begin_intents(opened, new_intent())
    settle_intent(opened, first, Outcome(points_delta=10))

    (second,), is_new = begin_intents(opened, new_intent())

    assert is_new
    assert second.id != first.id


def test_with_a_key_the_outcome_is_given_again_for_as_long_as_keys_count(opened: Opened) -> None:
    outcome = Outcome(points_delta=10, told=ToldReceipt(entry=ToldEntry(points_after=17, metadata={"a": [1]})))
    (first,), _ = begin_intents(opened, new_intent("k"))
    settle_intent(opened, first, outcome)

    (again,), is_new = begin_intents(opened, new_intent("k"))
    opened.clock.now += KEEP + SECOND
    (later,), is_later_new = begin_intents(opened, new_intent("k"))

    assert (is_new, again.id, again.outcome) == (False, first.id, outcome)
    assert (is_later_new, later.outcome) == (True, None)


def test_another_request_with_the_key_is_refused(opened: Opened) -> None:
    begin_intents(opened, new_intent("k"))

    with pytest.raises(Problem) as refusal:
        begin_intents(opened, new_intent("k", fingerprint=b"another"))

    assert refusal.value.code is Code.KEY_REUSED


def test_what_was_refused_may_be_asked_for_again_with_its_key(opened: Opened) -> None:
    (first,), _ = begin_intents(opened, new_intent("k"))
    settle_intent(opened, first, Outcome(code=Code.TOO_FEW_POINTS))

    (second,), is_new = begin_intents(opened, new_intent("k"))

    assert is_new
    assert (_found(opened, first).state, _found(opened, second).state) == (State.REFUSED, State.OPEN)


def test_an_intent_is_settled_once(opened: Opened) -> None:
    (intent,), _ = begin_intents(opened, new_intent())

    assert settle_intent(opened, intent, Outcome(points_delta=10))
    assert not settle_intent(opened, intent, Outcome(code=Code.UNAVAILABLE))
    assert _found(opened, intent).state is State.DONE


def test_what_is_due_is_taken_up_by_one_and_comes_due_again(opened: Opened) -> None:
    (intent,), _ = begin_intents(opened, new_intent())

    early = _claim(opened, "one")
    opened.clock.now += LEASE
    first, second = _claim(opened, "one"), _claim(opened, "two")
    opened.clock.now += LEASE
    third = _claim(opened, "two")

    assert (early, first, second, third) == ([], [intent.id], [], [intent.id])
    assert _found(opened, intent).owner == "two"


def test_what_is_parked_or_settled_is_not_taken_up(opened: Opened) -> None:
    (parked,), _ = begin_intents(opened, new_intent(likeness=b"parked"))
    (done,), _ = begin_intents(opened, new_intent(likeness=b"done"))
    _park(opened, parked)
    settle_intent(opened, done, Outcome())
    opened.clock.now += 2 * LEASE

    assert _claim(opened, "one") == []


def _begin_part(opened: Opened, part: Intent) -> bool:
    def work(_dialect: Any, _merchant_id: int, now: int) -> Any:
        return open_part(part.id, owner="us", now=now, due_at=now + LEASE)

    is_ours: bool = opened.run(opened.ledger.change(DEMO, work))
    return is_ours


def test_the_parts_of_an_intent_name_it_and_are_written_with_it(opened: Opened) -> None:
    (whole, *rest), is_new = begin_intents(
        opened,
        new_intent("k", state=State.WAITING),
        new_intent(state=State.WAITING),
        new_intent(state=State.WAITING, customer=OMAR),
    )
    opened.run(
        opened.ledger.change(DEMO, lambda _, __, now: open_part(rest[0].id, owner="us", now=now, due_at=now))
    )

    found = opened.run(opened.ledger.look(lambda dialect: parts(dialect, whole.id)))

    assert is_new
    assert [one.parent for one in rest] == [whole.id] * 2
    assert [one.id for one in found] == [one.id for one in rest]
    assert [one.state for one in found] == [State.OPEN, State.WAITING]


def test_a_part_is_begun_by_one_alone(opened: Opened) -> None:
    (_, part), _ = begin_intents(opened, new_intent("k", state=State.WAITING), new_intent(state=State.WAITING))

    def begun() -> bool:
        is_ours: bool = opened.run(
            opened.ledger.change(
                DEMO, lambda _, __, now: open_part(part.id, owner="us", now=now, due_at=now + LEASE)
            )
        )
        return is_ours

    assert [begun(), begun()] == [True, False]
    assert _claim(opened, "another") == []


def _hold(opened: Opened, owner: str, *intents: Intent) -> list[int]:
    def work(dialect: Any, _merchant_id: int, now: int) -> Any:
        return hold(dialect, [one.id for one in intents], owner=owner, now=now, due_at=now + LEASE)

    ours: list[int] = opened.run(opened.ledger.change(DEMO, work))
    return ours


def test_what_is_held_is_taken_up_by_nobody_and_counts_as_asked_for_until_then(opened: Opened) -> None:
    (intent,), _ = begin_intents(opened, new_intent())
    opened.clock.now += LEASE - 1

    ours = _hold(opened, "us", intent)

    held_at = opened.clock.now
    assert ours == [intent.id]
    opened.clock.now += LEASE - 1
    assert _claim(opened, "another") == []
    assert _found(opened, intent).sent_at == held_at
    opened.clock.now += 1
    assert _claim(opened, "another") == [intent.id]


def test_what_somebody_else_has_taken_up_is_not_held_any_more(opened: Opened) -> None:
    (kept, lost), _ = begin_intents(opened, new_intent("a"))[0] + begin_intents(opened, new_intent("b"))[0], True
    opened.run(opened.ledger.change(DEMO, lambda *_: leave(lost.id, State.UNCLEAR, due_at=0)))
    assert _claim(opened, "another") == [lost.id]

    assert _hold(opened, "us", kept, lost) == [kept.id]
    assert _hold(opened, "another", kept, lost) == []


def test_what_was_refused_and_carried_out_all_the_same_is_a_persons_and_its_key_is_free(opened: Opened) -> None:
    (intent,), _ = begin_intents(opened, new_intent("k"))
    settle_intent(opened, intent, Outcome(code=Code.UNAVAILABLE))
    (again,), is_new = begin_intents(opened, new_intent("k"))
    settle_intent(opened, again, Outcome(points_delta=10))

    def is_reopened(one: Intent) -> bool:
        is_so: bool = opened.run(opened.ledger.change(DEMO, lambda _, __, now: reopen(one, now=now)))
        return is_so

    reopened = [is_reopened(one) for one in (intent, again)]

    assert is_new
    assert reopened == [True, False]
    assert (_found(opened, intent).state, _found(opened, again).state) == (State.PARKED, State.DONE)
    assert begin_intents(opened, new_intent("k"))[0][0].id == again.id


def test_what_is_left_in_doubt_was_asked_for_when_that_is_said(opened: Opened) -> None:
    (intent,), _ = begin_intents(opened, new_intent())

    opened.run(opened.ledger.change(DEMO, lambda *_: leave(intent.id, State.UNCLEAR, due_at=1, sent_at=17)))
    first = _found(opened, intent).sent_at
    opened.run(opened.ledger.change(DEMO, lambda *_: leave(intent.id, State.UNCLEAR, due_at=1)))

    assert (first, _found(opened, intent).sent_at) == (17, 17)


def test_what_is_not_settled_is_listed_and_can_be_settled_by_a_person(opened: Opened) -> None:
    (one,), _ = begin_intents(opened, new_intent(likeness=b"one"))
    (other,), _ = begin_intents(opened, new_intent(likeness=b"other"))
    for intent in (one, other):
        _park(opened, intent)
    out, asked = io.StringIO(), "asked for 2023-11-14T22:13:20.000Z"

    opened.run(settle_by_hand(opened.ledger, number=one.id, done=True, points=7, upstreams={UPSTREAM}, out=out))
    opened.run(tell_intents(opened.ledger, number=None, upstreams={UPSTREAM}, out=out))
    opened.run(
        settle_by_hand(opened.ledger, number=other.id, done=False, points=None, upstreams={UPSTREAM}, out=out)
    )

    assert out.getvalue().splitlines() == [
        f"intent {one.id}: done",
        f"intent {other.id}: parked, +10 points for {JANE}, a to b, {asked}, mark lg-MARK",
        f"intent {other.id}: refused",
    ]
    assert _found(opened, one).outcome == Outcome(points_delta=7)
    assert opened.run(opened.ledger.look(lambda dialect: unsettled(dialect, after=0, at_most=9))) == []
    assert START == 1_700_000_000_000_000


def test_a_person_settles_what_is_left_to_a_person_and_as_it_can_be(opened: Opened) -> None:
    (whole, jane, omar), _ = begin_intents(
        opened, new_intent("k"), new_intent(), new_intent(likeness=b"omar", customer=OMAR)
    )
    _park(opened, whole)
    settle_intent(opened, jane, Outcome(points_delta=10))

    def refusal(*, done: bool, points: int | None = None, number: int = whole.id) -> str:
        with pytest.raises(ConfigurationError) as refused:
            opened.run(
                settle_by_hand(
                    opened.ledger, number=number, done=done, points=points, upstreams={UPSTREAM}, out=io.StringIO()
                )
            )
        return str(refused.value)

    assert "has parts that are not settled" in refusal(done=True)
    assert "is open; only" in refusal(done=True, number=omar.id)
    settle_intent(opened, omar, Outcome(code=Code.CUSTOMER_EXCLUDED))
    assert "has parts that are done" in refusal(done=False)
    assert "the sign of what was asked for: +10" in refusal(done=True, points=-10)


def test_what_came_of_each_customer_of_a_list_is_told(opened: Opened) -> None:
    (whole, jane, omar), _ = begin_intents(
        opened, new_intent("k", state=State.WAITING), new_intent(), new_intent(likeness=b"omar", customer=OMAR)
    )
    settle_intent(opened, jane, Outcome(points_delta=10))
    settle_intent(opened, omar, Outcome(code=Code.CUSTOMER_EXCLUDED))
    out = io.StringIO()

    opened.run(tell_intents(opened.ledger, number=whole.id, upstreams={UPSTREAM}, out=out))

    assert out.getvalue().splitlines() == [
        "intent,customer,state,points,reason",
        f"{jane.id},{JANE},done,10,",
        f"{omar.id},{OMAR},refused,0,customer_excluded",
    ]


def test_an_intent_that_is_not_there_or_settled_already_is_told(opened: Opened) -> None:
    (intent,), _ = begin_intents(opened, new_intent())
    settle_intent(opened, intent, Outcome())

    for number, what in ((99, "there is none"), (intent.id, "is done; only what is parked")):
        with pytest.raises(ConfigurationError, match=what):
            opened.run(
                settle_by_hand(
                    opened.ledger, number=number, done=True, points=None, upstreams={UPSTREAM}, out=io.StringIO()
                )
            )


def test_what_is_due_is_seen_without_being_taken_up(opened: Opened) -> None:
    (intent,), _ = begin_intents(opened, new_intent())

    def due(upstream: str = UPSTREAM) -> bool:
        now = opened.clock.now
        found: bool = opened.run(opened.ledger.look(lambda dialect: is_due(dialect, upstream=upstream, now=now)))
        return found

    early = due()
    opened.clock.now += LEASE
    in_time, elsewhere = due(), due("another")
    _park(opened, intent)

    assert (early, in_time, elsewhere, due()) == (False, True, False, False)


def test_intents_of_an_upstream_that_is_not_configured_are_marked_and_any_of_them_can_be_settled(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: opened.clock.now * 1_000)
    (whole, part), _ = begin_intents(
        opened, new_intent("k", state=State.WAITING), new_intent(likeness=b"part", state=State.OPEN)
    )
    out = io.StringIO()

    def settle_as_done(number: int, *upstreams: str) -> None:
        work = settle_by_hand(opened.ledger, number=number, done=True, points=None, upstreams=upstreams, out=out)
        opened.run(work)

    with pytest.raises(ConfigurationError, match="is open; only"):
        settle_as_done(part.id)
    opened.clock.now += LEASE
    with pytest.raises(ConfigurationError, match="is open; only"):
        settle_as_done(part.id, UPSTREAM)
    opened.run(tell_intents(opened.ledger, number=None, upstreams=(), out=out))
    for number in (part.id, whole.id):
        settle_as_done(number)

    *lines, first, second = out.getvalue().splitlines()
    assert [f"{UPSTREAM} (not configured), asked for" in line for line in lines] == [True, True]
    assert (first, second) == (f"intent {part.id}: done", f"intent {whole.id}: done")


def test_several_ledgers_that_begin_the_same_request_at_once_begin_it_once(store: Store) -> None:
    openeds = [Opened(store, runs_jobs=False) for _ in range(2)]
    begun = [begin_intents(opened, new_intent("k"))[0][0].id for opened in openeds * 2]

    assert len(set(begun)) == 1
    for opened in openeds:
        opened.close()
