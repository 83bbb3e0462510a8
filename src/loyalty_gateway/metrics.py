"""What the gateway counts of itself, in Prometheus' words."""

from collections.abc import Mapping
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "loyalty_gateway_requests",
            "Requests answered.",
            ("vendor", "operation", "status", "code"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "loyalty_gateway_request_seconds",
            "Seconds from the request's head to the answer.",
            ("vendor", "operation"),
            buckets=_LATENCY_SECONDS,
            registry=self._registry,
        )
        self._defects = Counter(
            "loyalty_gateway_answer_defects",
            "Answers that broke the vendor's spec.",
            ("vendor", "operation"),
            registry=self._registry,
        )
        self._request_defects = Counter(
            "loyalty_gateway_request_defects",
            "Requests that broke the vendor's spec and were passed on all the same.",
            ("vendor", "operation"),
            registry=self._registry,
        )
        self._losses = Counter(
            "loyalty_gateway_losses",
            "Fields of adjustments that an upstream has no words for.",
            ("vendor", "upstream", "field"),
            registry=self._registry,
        )
        self._comparisons = Counter(
            "loyalty_gateway_comparisons",
            "Tasks of which both sides of a move were compared.",
            ("vendor", "kind", "result"),
            registry=self._registry,
        )
        self._follow_ups = Counter(
            "loyalty_gateway_follow_ups",
            "Adjustments brought from one side of a move to the other.",
            ("vendor", "side", "result"),
            registry=self._registry,
        )
        self._unsettled = Gauge(
            "loyalty_gateway_unsettled_intents",
            "Adjustments at an upstream that are not settled, in the whole ledger.",
            ("upstream", "state"),
            registry=self._registry,
        )
        self._oldest_unsettled = Gauge(
            "loyalty_gateway_oldest_unsettled_intent_seconds",
            "Seconds since the oldest adjustment that is not settled was written down; 0 without one.",
            ("upstream",),
            registry=self._registry,
        )
        self._group_size = Histogram(
            "loyalty_gateway_group_size",
            "Adjustments committed together.",
            buckets=_GROUP_SIZES,
            registry=self._registry,
        )
        self._waiting = Gauge(
            "loyalty_gateway_waiting_adjustments",
            "Adjustments that wait for a group.",
            registry=self._registry,
        )
        self._dropped_lines = Counter(
            "loyalty_gateway_journal_lines_dropped",
            "Request lines that standard output did not take.",
            registry=self._registry,
        )
        self._not_judged = Counter(
            "loyalty_gateway_exchanges_not_judged",
            "Exchanges that the recorder dropped, or did not judge as a whole: too many at once, or too long.",
            registry=self._registry,
        )
        # Label look-up costs more than the counting; the children are few (no label is the client's).
        self._requests_for = lru_cache(maxsize=None)(self._requests.labels)
        self._latency_for = lru_cache(maxsize=None)(self._latency.labels)

    def answered(self, vendor: str, operation: str, status: int, code: str, seconds: float) -> None:
        """Counts one answer."""
        self._requests_for(vendor, operation, status, code).inc()
        self._latency_for(vendor, operation).observe(seconds)

    def defective(self, vendor: str, operation: str) -> None:
        """Counts an answer that broke the spec."""
        self._defects.labels(vendor, operation).inc()

    def defective_request(self, vendor: str, operation: str) -> None:
        """Counts a request that broke the spec and was passed on."""
        self._request_defects.labels(vendor, operation).inc()

    def lost(self, vendor: str, upstream: str, field: str) -> None:
        """Counts a field that was lost on its way to an upstream."""
        self._losses.labels(vendor, upstream, field).inc()

    def compared(self, vendor: str, kind: str, result: str) -> None:
        """Counts a task of which the two sides of a move were compared: same, different or skipped."""
        self._comparisons.labels(vendor, kind, result).inc()

    def followed(self, vendor: str, side: str, result: str) -> None:
        """Counts an adjustment that came to a side of a move from the other: done, parked or later."""
        self._follow_ups.labels(vendor, side, result).inc()

    def unsettled(self, counts: Mapping[tuple[str, str], int], oldest: Mapping[str, float]) -> None:
        """Sets how many intents are not settled, by upstream and state, and the oldest one's seconds."""
        for gauge in (self._unsettled, self._oldest_unsettled):
            gauge.clear()
        for (upstream, state), count in counts.items():
            self._unsettled.labels(upstream, state).set(count)
        for upstream, seconds in oldest.items():
            self._oldest_unsettled.labels(upstream).set(seconds)

    def grouped(self, size: int, waiting: int) -> None:
        """Counts a group of adjustments and those that wait for the next."""
        self._group_size.observe(size)
        self._waiting.set(waiting)

    def dropped(self, lines: int) -> None:
        """Counts request lines that were not written."""
        self._dropped_lines.inc(lines)

    def not_judged(self) -> None:
        """Counts an exchange that the recorder dropped."""
        self._not_judged.inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
