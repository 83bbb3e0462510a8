"""Faults on demand: which requests they are for, and whose turn it is."""

import itertools
import math
import time
from collections.abc import Callable, Iterable
from typing import Annotated, Final, Literal

import msgspec

from loyalty_gateway.adjustment import CustomerReference, customer_reference
from loyalty_gateway.problem import Code, ConfigurationError
from loyalty_gateway.testing.received import ReceivedRequest
from loyalty_gateway.vendor import Vendor

Kind = Literal["status", "delay", "timeout", "reset", "malformed", "rate_limit"]
Positive = Annotated[int, msgspec.Meta(ge=1)]

_SECONDS: Final[dict[str, float]] = {"delay": 1.0, "timeout": 60.0, "rate_limit": 1.0}
_AFTER_THE_EFFECT: Final = frozenset({"timeout", "malformed"})
_DECIMALS: Final = 6
"""Of seconds, since a clock has microseconds."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done wrong, and to which requests.

    Args:
        does: ``status`` refuses with ``status`` or ``code``; ``delay`` answers ``seconds`` later; ``timeout`` does
            not answer, and cuts the connection after ``seconds``; ``reset`` resets the connection; ``malformed``
            answers half a body; ``rate_limit`` refuses as the vendor does, from the first such request until
            ``seconds`` later by the gateway's clock.
        vendor: at this vendor only.
        operation: for this operation only, by its id in the vendor's document.
        customer: for requests that name this customer so: ``namespace:value``.
        nth: from the nth such request on, counted from the order.
        times: how many of them, and of ``rate_limit`` how many limits one after another; ``None`` for all that
            follow.
        status: for ``status``, by default 503: the likeliest of the vendor's refusals with this status.
        code: for ``status``, in place of a number: this refusal, with the status that the vendor gives it.
        seconds: by default 1, and 60 for ``timeout``.
        after_effect: whether the request is carried out nevertheless; by default where a client could not tell,
            for ``timeout`` and ``malformed``.
    """

    does: Kind
    vendor: str | None = None
    operation: str | None = None
    customer: str | None = None
    nth: Positive = 1
    times: Positive | None = 1
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    code: Code | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None
    after_effect: bool | None = None

    @property
    def lasts(self) -> float:
        """Seconds."""
        return _SECONDS.get(self.does, 0.0) if self.seconds is None else self.seconds

    @property
    def is_carried_out(self) -> bool:
        """Whether the request has its effect all the same."""
        return self.does in _AFTER_THE_EFFECT if self.after_effect is None else self.after_effect


class _Order:
    """A fault that was ordered, and how many requests it was for."""

    def __init__(self, fault: Fault, customer: CustomerReference | None) -> None:
        self.fault = fault
        self.matched = 0
        self.done = 0
        self._customer = customer
        self._begun = 0
        self._limited_until = -math.inf

    def is_for(self, request: ReceivedRequest) -> bool:
        fault = self.fault
        return (
            fault.vendor in {None, request.vendor}
            and fault.operation in {None, request.operation}
            and (self._customer is None or self._customer in request.customers)
        )

    def is_due(self, now: float) -> bool:
        """Whether it is to be done to the request counted last."""
        is_its_turn = self.fault.times is None or self._begun < self.fault.times
        return self._seconds_left(now) > 0 or (self.matched >= self.fault.nth and is_its_turn)

    def do(self, now: float) -> Fault:
        """Counts it as done; a rate limit has the seconds that are left of it."""
        is_limit = self.fault.does == "rate_limit"
        if self._seconds_left(now) <= 0:
            self._begun += 1
            if is_limit:
                self._limited_until = now + self.fault.lasts
        self.done += 1
        return msgspec.structs.replace(self.fault, seconds=self._seconds_left(now)) if is_limit else self.fault

    def _seconds_left(self, now: float) -> float:
        return max(0.0, round(self._limited_until - now, _DECIMALS))


class OrderedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault by its number, with how many requests it has been for so far, and to how many it was done."""

    number: int
    fault: Fault
    matched: int
    done: int


class Faults:
    """The faults of one gateway, in the order in which they were ordered; without any, nothing is done wrong.

    Every order counts the requests it is for in the order of their arrival. Of several that are due the one that
    was ordered first is done, and the others stay due.
    """

    def __init__(self, vendors: Iterable[Vendor], clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.on_request: Callable[[ReceivedRequest], None] | None = None
        self._operations = {vendor.name: {one.id for one in vendor.operations} for vendor in vendors}
        self._orders: dict[int, _Order] = {}
        self._numbers = itertools.count(1)

    def order(self, fault: Fault) -> int:
        """Has the fault done from here on; gives its number.

        Raises:
            ConfigurationError: there is no such vendor or operation, or the fault cannot be done so.
        """
        order = _Order(fault, self._check(fault))
        number = next(self._numbers)
        # One step, since requests are looked up from another thread.
        self._orders = {**self._orders, number: order}
        return number

    def status(self, vendor: str | None = None, status: int | None = None, **which: object) -> int:
        """Refuses with this status or ``code``, in the vendor's envelope where it has one for it."""
        return self._ordered("status", vendor, {"status": status, **which})

    def delay(self, vendor: str | None = None, seconds: float = 1.0, **which: object) -> int:
        """Answers so many seconds later."""
        return self._ordered("delay", vendor, {"seconds": seconds, **which})

    def timeout(self, vendor: str | None = None, **which: object) -> int:
        """Carries the request out and does not answer."""
        return self._ordered("timeout", vendor, which)

    def reset(self, vendor: str | None = None, **which: object) -> int:
        """Resets the connection."""
        return self._ordered("reset", vendor, which)

    def malformed(self, vendor: str | None = None, **which: object) -> int:
        """Carries the request out and answers half a body."""
        return self._ordered("malformed", vendor, which)

    def rate_limit(self, vendor: str | None = None, seconds: float = 1.0, **which: object) -> int:
        """Refuses as the vendor does to whoever asks too often, until so many seconds later."""
        return self._ordered("rate_limit", vendor, {"seconds": seconds, **which})

    def clear(self, number: int | None = None) -> bool:
        """Takes one order back, or all; whether there was any."""
        kept = {key: order for key, order in self._orders.items() if number not in {None, key}}
        had_any = len(kept) < len(self._orders)
        self._orders = kept
        return had_any

    def ordered(self) -> list[OrderedFault]:
        """Every order that was not taken back."""
        return [
            OrderedFault(number=number, fault=order.fault, matched=order.matched, done=order.done)
            for number, order in self._orders.items()
        ]

    def take(self, request: ReceivedRequest) -> Fault | None:
        """The fault to do to this request, which is counted; a rate limit has the seconds that are left of it."""
        now = self.clock()
        concerned = [order for order in self._orders.values() if order.is_for(request)]
        for order in concerned:
            order.matched += 1
        due = next((order for order in concerned if order.is_due(now)), None)
        fault = None if due is None else due.do(now)
        request.fault = None if fault is None else fault.does
        if self.on_request is not None:
            self.on_request(request)
        return fault

    def _ordered(self, does: Kind, vendor: str | None, which: dict[str, object]) -> int:
        try:
            return self.order(msgspec.convert({"does": does, "vendor": vendor, **which}, Fault))
        except msgspec.ValidationError as error:
            raise ConfigurationError("fault", str(error)) from error

    def _check(self, fault: Fault) -> CustomerReference | None:
        if fault.vendor is not None and fault.vendor not in self._operations:
            known = ", ".join(sorted(self._operations))
            raise ConfigurationError("fault: vendor", f"no such vendor is served; there are {known}")
        served = [fault.vendor] if fault.vendor is not None else list(self._operations)
        operations = {one for vendor in served for one in self._operations[vendor]}
        if fault.operation is not None and fault.operation not in operations:
            raise ConfigurationError(
                "fault: operation", f"no such operation; there are {', '.join(sorted(operations))}"
            )
        if fault.code is not None and (fault.does != "status" or fault.status is not None):
            raise ConfigurationError("fault: code", "is for status, and in place of a number")
        if fault.does == "rate_limit" and fault.after_effect:
            raise ConfigurationError("fault: after_effect", "a request over the rate limit is never carried out")
        if fault.customer is None:
            return None
        namespace, colon, value = fault.customer.partition(":")
        if not (namespace and colon and value):
            raise ConfigurationError("fault: customer", "must be namespace:value")
        return customer_reference(namespace, value)
