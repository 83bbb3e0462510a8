"""Reads that come together are read together, each with what itself comes to."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from loyalty_gateway.ledger.short_reads import ShortReads

Read = Callable[[], str]


def _raising(error: Exception) -> Read:
    def read() -> str:
        raise error

    return read


async def _joined(*works: Read) -> list[Any]:
    reads: ShortReads[Read] = ShortReads(lambda work: work())
    try:
        return await asyncio.gather(*map(reads.join, works), return_exceptions=True)
    finally:
        reads.close()


def test_each_gets_its_own_and_what_one_raises_is_nobody_elses() -> None:
    error = ValueError("only mine")

    told = asyncio.run(_joined(lambda: "a", _raising(error), lambda: "b", *[lambda: "c"] * 300))

    assert told == ["a", error, "b", *["c"] * 300]


def test_a_read_that_takes_long_leaves_a_lane_to_the_others() -> None:
    is_over = threading.Event()

    def long() -> str:
        assert is_over.wait(30)
        return "long"

    def short() -> str:
        is_over.set()
        return "short"

    assert asyncio.run(_joined(long, short)) == ["long", "short"]


def test_whoever_gives_up_waiting_takes_nothing_from_the_others() -> None:
    async def told() -> list[Any]:
        reads: ShortReads[Read] = ShortReads(lambda work: work())
        tasks = [asyncio.create_task(reads.join(lambda: "a")) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[5].cancel()
        outcomes: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        outcomes.append(await reads.join(lambda: "still reading"))
        reads.close()
        return outcomes

    outcomes = asyncio.run(told())

    assert [str(one) for one in outcomes if not isinstance(one, BaseException)] == ["a"] * 8 + ["still reading"]


def test_what_comes_when_the_threads_have_ended_is_told_so() -> None:
    async def late() -> None:
        reads: ShortReads[Read] = ShortReads(lambda work: work())
        reads.close()
        await reads.join(lambda: "late")

    with pytest.raises(RuntimeError):
        asyncio.run(late())
