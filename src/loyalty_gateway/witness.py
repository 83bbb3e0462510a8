"""What is told of each request when it is over: to the journal, the metrics and the recorder."""

from typing import Final

from loyalty_gateway import journal
from loyalty_gateway.exchange import Exchange
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.problem import Code
from loyalty_gateway.spec import Defect
from loyalty_gateway.traffic.recorder import Passed, Recorder
from loyalty_gateway.upstream.connections import Received

_NONE: Final = "none"


class Witness:
    """Tells of requests when they are over, those that no vendor answers among them.

    Args:
        metrics: count each of them.
        log: has a line for each.
        recorder: takes those that a vendor answered, where there is one.
    """

    def __init__(self, metrics: Metrics, log: journal.Journal, recorder: Recorder | None = None) -> None:
        self._metrics = metrics
        self._journal = log
        self._recorder = recorder

    def exchanged(self, exchange: Exchange, sent: Received, seconds: float) -> None:
        """Tells of an exchange with a vendor's client, and hands it to the recorder."""
        code = exchange.code
        self._tell(exchange, sent.status, code.value if code is not None else None, seconds)
        if self._recorder is not None:
            scope, vendor = exchange.scope, exchange.request.vendor.name
            asked = (scope["method"], exchange.path, scope["query_string"], scope["headers"], exchange.raw_body)
            self._recorder.take(Passed(vendor, *asked, sent, seconds))

    def abandoned(self, exchange: Exchange, seconds: float) -> None:
        """Tells of one whose client went away; the status is what web servers write in their logs then."""
        self._tell(exchange, 499, "client_disconnected", seconds)

    def answered(
        self,
        status: int,
        seconds: float,
        *,
        method: str | None = None,
        path: str | None = None,
        code: Code | None = None,
    ) -> None:
        """Tells of an answer that is no vendor's; ``method`` and ``path`` are our words, never the client's."""
        self._metrics.answered(_NONE, _NONE, status, _NONE if code is None else code.value, seconds)
        self._journal.write(
            journal.Line(
                time=journal.now(),
                method=method,
                path=path,
                status=status,
                code=None if code is None else code.value,
                milliseconds=round(seconds * 1_000, 3),
            )
        )

    def _tell(self, exchange: Exchange, status: int, code: str | None, seconds: float) -> None:
        operation = exchange.operation.id if exchange.operation is not None else None
        vendor = exchange.request.vendor.name
        self._metrics.answered(vendor, operation or _NONE, status, code or _NONE, seconds)
        if exchange.defects:
            self._metrics.defective(vendor, operation or _NONE)
        if exchange.request_defects:
            self._metrics.defective_request(vendor, operation or _NONE)
        caller, error = exchange.caller, exchange.error
        self._journal.write(
            journal.Line(
                time=journal.now(),
                vendor=vendor,
                operation=operation,
                # A method is the client's text unless a path knows it.
                method=exchange.request.method if operation is not None else None,
                path=exchange.contract.path if exchange.contract is not None else None,
                merchant=caller.merchant.name if caller is not None else None,
                caller=caller.id if caller is not None else None,
                status=status,
                code=code,
                ambiguous=exchange.ambiguous,
                intent=exchange.intent,
                replayed=exchange.replayed,
                lost=list(exchange.lost) or None,
                milliseconds=round(seconds * 1_000, 3),
                error=_named(error) if error is not None else None,
                frames=journal.frames_of(error) if error is not None else None,
                request_defects=[*map(_told, exchange.request_defects)] or None,
                defects=[*map(_told, exchange.defects)] or None,
            )
        )


def _told(defect: Defect) -> str:
    return f"{defect.location} {defect.constraint}"


def _named(error: Exception) -> str:
    """The error's type, and its number's name where a store gives one; a message may quote what was sent."""
    name = getattr(error, "sqlite_errorname", None)
    return type(error).__name__ if name is None else f"{type(error).__name__} {name}"
