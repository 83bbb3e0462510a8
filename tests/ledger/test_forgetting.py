"""What a store promises of old intents: what nobody needs is forgotten, and nothing else."""

from collections.abc import Iterator

import msgspec
import pytest
from intending import KEEP, UPSTREAM, begin_intents, new_intent, settle_intent
from opened import DEMO, JANE, OMAR, SECOND, Opened

from loyalty_gateway.ledger.following.seen import seen
from loyalty_gateway.ledger.forgetting import Tally, forget, forgettable, tally
from loyalty_gateway.ledger.intents import FOLLOWER, Intent, Outcome, State
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.upstream import upkeep
from loyalty_gateway.upstream.upkeep import Upkeep
from stores import Store


@pytest.fixture
def opened(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    opened = Opened(store, runs_jobs=False)
    opened.enrol(JANE)
    monkeypatch.setattr("time.time_ns", lambda: opened.clock.now * 1_000)
    monkeypatch.setattr(upkeep, "_BETWEEN_PAGES_SECONDS", 0.001)
    yield opened
    opened.close()


def _done(opened: Opened, *intents: Intent) -> list[int]:
    """They are written down and settled; their numbers."""
    begun, _ = begin_intents(opened, *intents)
    for intent in reversed(begun):
        settle_intent(opened, intent, Outcome(points_delta=10))
    return [intent.id for intent in begun]


def _forget_old(opened: Opened) -> int:
    kept = Upkeep(opened.ledger, {"demo": DEMO}, [], Metrics(), KEEP / SECOND)
    forgotten: int = opened.run(kept.forget_old())
    return forgotten


def _left(opened: Opened) -> list[int]:
    return [row["id"] for row in opened.rows("SELECT id FROM intents ORDER BY id")]


def _later(opened: Opened) -> None:
    """Longer than keys count; the newest intent of all is kept whatever it is."""
    opened.clock.now += KEEP + SECOND
    begin_intents(opened, new_intent(likeness=b"newest", customer=OMAR))


def test_what_was_settled_longer_ago_than_keys_count_is_forgotten_in_small_batches(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_PAGE", 2)
    for number in range(5):
        _done(opened, new_intent(f"k{number}"))
    _later(opened)
    recent = _done(opened, new_intent("recent"))
    newest = begin_intents(opened, new_intent("open"))[0][0].id

    forgotten = _forget_old(opened)

    assert forgotten == 5
    assert _left(opened)[-2:] == [*recent, newest]
    assert len(_left(opened)) == 3


def test_what_is_not_settled_is_never_forgotten_nor_is_the_last_number(opened: Opened) -> None:
    open_one = begin_intents(opened, new_intent("open"))[0][0].id
    last = _done(opened, new_intent("last"))
    opened.clock.now += 1_000 * KEEP

    assert _forget_old(opened) == 0
    assert _left(opened) == [open_one, *last]


def test_parts_are_forgotten_before_the_whole_and_none_while_it_is_not_settled(opened: Opened) -> None:
    begun, _ = begin_intents(
        opened, new_intent("k"), new_intent(likeness=b"one"), new_intent(likeness=b"two", customer=OMAR)
    )
    for part in begun[1:]:
        settle_intent(opened, part, Outcome(points_delta=10))
    _later(opened)

    while_open = _forget_old(opened)
    settle_intent(opened, begun[0], Outcome(points_delta=10, count=2))
    _later_again = begin_intents(opened, new_intent("later"))
    opened.clock.now += KEEP + SECOND
    counts = [_forget_old(opened), _forget_old(opened), _forget_old(opened)]

    assert (while_open, counts) == (0, [2, 1, 0])
    assert begun[0].id not in _left(opened)


def test_what_is_to_follow_is_kept_with_its_whole_until_it_has_followed(opened: Opened) -> None:
    whole, part = _done(opened, new_intent("k"), new_intent(likeness=b"part", follow=True))
    _later(opened)

    before = _forget_old(opened)
    opened.execute("UPDATE intents SET follow = 0 WHERE id = ?", (part,))

    assert before == 0
    assert [_forget_old(opened), _forget_old(opened)] == [1, 1]
    assert not {whole, part} & set(_left(opened))


_WAITS = {
    "an intent": (
        "UPDATE intents SET follow = 1 WHERE mark = 'lg-SOURCE'",
        "UPDATE intents SET follow = 0 WHERE mark = 'lg-SOURCE'",
    ),
    "a parked follow-up": (
        "INSERT INTO parked_follow_ups VALUES (1, 'a', 'key', 1, 'new', '{}', 'invalid', 'parked', 0)",
        "DELETE FROM parked_follow_ups",
    ),
    "a balance that is being set": (
        "INSERT INTO followed VALUES (1, 'a', 1, NULL, NULL, 5, 'key', NULL, 0, 0)",
        "UPDATE followed SET pending = NULL, pending_key = NULL",
    ),
    "an entry of the ledger here": (
        "INSERT INTO followed VALUES (1, 'a', 1, -1, NULL, NULL, NULL, NULL, 0, 0)",
        "UPDATE followed SET version = 0",
    ),
}


@pytest.mark.parametrize("what", _WAITS)
def test_what_followed_is_kept_while_anything_of_the_customer_is_to_follow(opened: Opened, what: str) -> None:
    begins, ends = _WAITS[what]
    source, follower = (
        _done(opened, one)
        for one in (
            new_intent("theirs", mark="lg-SOURCE"),
            new_intent("key", vendor=FOLLOWER, upstream="a to c"),
        )
    )
    opened.execute("INSERT INTO migrations VALUES (1, 'a', 'mirror', 100, '[]', 0)")
    opened.execute(begins)
    _later(opened)

    _forget_old(opened)
    while_it_waits = _left(opened)
    opened.execute(ends)
    _forget_old(opened)

    assert follower[0] in while_it_waits
    assert not {*source, *follower} & set(_left(opened))


def test_what_came_to_be_needed_meanwhile_is_not_forgotten(opened: Opened) -> None:
    (one,), (other,) = _done(opened, new_intent("one")), _done(opened, new_intent("other"))
    _later(opened)
    before = opened.clock.now - KEEP
    page = opened.run(opened.ledger.look(lambda dialect: forgettable(dialect, before=before, after=0, at_most=10)))
    opened.execute("UPDATE intents SET follow = 1 WHERE id = ?", (one,))

    forgotten = opened.run(
        opened.ledger.change(DEMO, lambda dialect, _, __: forget(dialect, page.forgettable, before=before))
    )

    assert page.forgettable == (one, other)
    assert forgotten == 1
    assert one in _left(opened)


def test_a_key_that_was_forgotten_is_a_new_one(opened: Opened) -> None:
    (first,) = _done(opened, new_intent("k"))
    _later(opened)
    _forget_old(opened)

    (again,), is_new = begin_intents(opened, new_intent("k", fingerprint=b"another"))

    assert is_new
    assert again.id > first


def test_an_old_intent_that_is_forgotten_hides_no_new_one(opened: Opened) -> None:
    _done(opened, new_intent("old"))
    _later(opened)
    before = opened.run(opened.ledger.look(lambda dialect: seen(dialect, 1, 1)))

    _forget_old(opened)
    _done(opened, new_intent("new"))
    after = opened.run(opened.ledger.look(lambda dialect: seen(dialect, 1, 1)))

    assert after.intents == before.intents
    assert after != before


def test_what_is_not_settled_is_counted_by_upstream_and_state(opened: Opened) -> None:
    first = opened.clock.now
    begin_intents(opened, new_intent("a"))
    opened.clock.now += SECOND
    begin_intents(opened, new_intent("b"))
    begin_intents(opened, msgspec.structs.replace(new_intent("c"), upstream="a to c", state=State.PARKED))
    _done(opened, new_intent("d"))

    counts = opened.run(opened.ledger.look(tally))

    assert counts == [
        Tally(UPSTREAM, State.OPEN, 2, first),
        Tally("a to c", State.PARKED, 1, first + SECOND),
    ]
