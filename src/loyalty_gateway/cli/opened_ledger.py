"""A ledger that is open while a command does its work on it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.orders import Behind
from loyalty_gateway.problem import ConfigurationError, Problem

R = TypeVar("R")


def done_on(ledger: Ledger, work: Callable[[Ledger], Awaitable[R]]) -> R:
    """What the work gives on the ledger; raises ConfigurationError where that cannot be used now."""
    return uvloop.run(_while_open(ledger, work))


async def _while_open(ledger: Ledger, work: Callable[[Ledger], Awaitable[R]]) -> R:
    try:
        await ledger.open()
        return await work(ledger)
    except Problem as problem:
        raise ConfigurationError("ledger", f"{problem.code.value}; is it in use elsewhere?") from problem
    except Behind as behind:
        what = "an adjustment of everyone is being carried out; see `ledger jobs`, and try again after it"
        raise ConfigurationError("ledger", what) from behind
    finally:
        await ledger.close()
