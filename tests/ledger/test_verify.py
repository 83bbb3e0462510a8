"""``loyalty-gateway ledger verify``: a sound ledger passes, and whatever is wrong in one is told."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from opened import DEMO, JANE, OMAR, OTHER, Opened, instruction
from rich.console import Console

from conftest import command
from loyalty_gateway.adjustment import CustomerReference, Everyone
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger_commands.verifying import verify
from stores import SqliteFile, Store


@pytest.fixture
def opened(store: Store) -> Iterator[Opened]:
    """Three wallets of two merchants with ten entries, one of which has a key."""
    opened = Opened(store)
    for merchant, customers in ((DEMO, (JANE, OMAR)), (OTHER, (JANE,))):
        for customer in customers:
            opened.enrol(customer, merchant=merchant)
            for points in (10, -4, 7):
                opened.adjust(instruction(customer, points, merchant=merchant))
    opened.adjust(instruction(JANE, 5, "k"))
    yield opened
    opened.close()


def _told(opened: Opened) -> tuple[bool, list[str]]:
    """Whether nothing was found, and the lines."""
    out = io.StringIO()
    sound = opened.run(verify(opened.ledger, Console(file=out, width=200)))
    return sound, out.getvalue().splitlines()


def test_a_sound_ledger_passes_while_it_is_open(opened: Opened) -> None:
    opened.adjust(instruction(Everyone.EVERYONE, 3, "all"))
    opened.adjust(instruction(JANE, None))
    opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(CustomerReference("email", "a@b"),))))

    assert _told(opened) == (True, ["4 wallets, 13 entries: nothing is wrong"])


def test_a_ledger_without_anything_passes(store: Store) -> None:
    opened = Opened(store)

    assert _told(opened) == (True, ["0 wallets, 0 entries: nothing is wrong"])
    opened.close()


@pytest.mark.parametrize(
    ("breaking", "told"),
    [
        ("UPDATE wallets SET available = available + 1 WHERE id = 1", "available is 19, its entries make it 18"),
        ("UPDATE wallets SET lifetime_earned = 0 WHERE id = 1", "lifetime_earned is 0, its entries make it 22"),
        ("UPDATE wallets SET lifetime_burned = 9 WHERE id = 1", "lifetime_burned is 9, its entries make it 4"),
        ("UPDATE wallets SET granted = 1 WHERE id = 1", "granted is 1, its entries make it 22"),
        ("UPDATE wallets SET grants = 1 WHERE id = 1", "grants is 1, its entries make it 3"),
        ("UPDATE wallets SET version = 9 WHERE id = 1", "version is 9, its entries make it 4"),
        ("UPDATE wallets SET job = 1 WHERE id = 1", "job 1 is the last to have reached it, which ought to be 0"),
        ("UPDATE wallets SET last_entry_at = 1 WHERE id = 1", "last_entry_at is 1, its entries make it"),
        ("UPDATE wallets SET updated_at = 1 WHERE id = 1", "updated_at is before its last entry"),
        ("DELETE FROM entries WHERE wallet_id = 1 AND version = 2", "(version 3): its versions have a gap"),
        ("DELETE FROM entries WHERE wallet_id = 1 AND version = 4", "available is 18, its entries make it 13"),
        ("UPDATE entries SET points_before = 1 WHERE id = 2", "it does not begin where the one before ended"),
        ("UPDATE entries SET points_delta = -3 WHERE id = 2", "its points do not add up"),
        ("UPDATE entries SET points_after = -4 WHERE id = 2", "it leaves less than nothing"),
        ("UPDATE entries SET earned_delta = -11 WHERE id = 2", "the lifetime counters fall below zero"),
        ("UPDATE entries SET granted_after = 9 WHERE id = 2", "it counts other grants"),
        ("UPDATE entries SET occurred_at = 1 WHERE id = 2", "it is not later than the one before"),
        ("UPDATE entries SET id = 0 WHERE id = 2", "its id is not larger than the one before"),
        ("DELETE FROM entries WHERE id = 10", "an idempotency key tells of entry 10, which is not there"),
        ("UPDATE entries SET wallet_id = 9 WHERE id = 9", "an entry without its wallet"),
        ("UPDATE entries SET merchant_id = 1 WHERE id = 9", "version is 3, its entries make it 2"),
        ("INSERT INTO customer_references VALUES (1, 'email', 'x', 9)", "a reference without its wallet"),
        ("INSERT INTO profiles (merchant_id, wallet_id) VALUES (2, 1)", "a profile without its wallet"),
        ("DELETE FROM wallets WHERE id = 1", "merchant 1, wallet 1: an entry without its wallet"),
    ],
)
def test_what_is_broken_is_told(opened: Opened, breaking: str, told: str) -> None:
    opened.execute(breaking)

    sound, lines = _told(opened)

    assert not sound
    assert any(told in line for line in lines), lines
    assert lines[-1].endswith(f"{len(lines) - 1} findings")


def test_a_long_history_is_read_in_pages(opened: Opened) -> None:
    opened.at_once(*(instruction(OMAR, 1) for _ in range(9_000)))
    opened.execute("UPDATE entries SET points_after = 0 WHERE wallet_id = 2 AND version = 5001")

    sound, lines = _told(opened)

    assert not sound
    assert ["version 5001" in line or "version 5002" in line for line in lines[:-1]] == [True, True]
    assert lines[-1] == "3 wallets, 9010 entries: 2 findings"


def test_the_command_ends_with_1_where_something_is_wrong(tmp_path: Path) -> None:
    opened = Opened(SqliteFile(tmp_path / "ledger.db"))
    opened.enrol(JANE)
    opened.adjust(instruction(JANE, 10))
    verify = ("ledger", "verify", "--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")

    sound = command(*verify)
    opened.execute("UPDATE wallets SET available = 1")
    broken = command(*verify)

    assert (sound.exit_code, sound.stdout, sound.stderr) == (
        0,
        "1 wallets, 1 entries: nothing is wrong\n",
        "",
    )
    assert (broken.exit_code, broken.stderr) == (1, "")
    assert broken.stdout.endswith("1 wallets, 1 entries: 1 findings\n")
    opened.close()
