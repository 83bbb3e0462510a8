"""Every way a request can be refused: the codes in order of precedence, and what is told with them.

Exception
├── Problem             a refusal that leaves in the vendor's own envelope
└── ConfigurationError  a mistake of the operator's, told at start with the place where it stands
"""

import enum
from typing import Any

import msgspec


class Code(enum.StrEnum):
    """The kinds of refusal, in the order in which a request meets them."""

    UNKNOWN_PATH = "unknown_path"
    WRONG_METHOD = "wrong_method"
    MISSING_CREDENTIALS = "missing_credentials"
    INVALID_CREDENTIALS = "invalid_credentials"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    RATE_LIMITED = "rate_limited"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNREADABLE = "unreadable"
    INVALID = "invalid"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    KEY_IN_FLIGHT = "key_in_flight"
    KEY_REUSED = "key_reused"
    UNKNOWN_CUSTOMER = "unknown_customer"
    CUSTOMER_CONFLICT = "customer_conflict"
    CUSTOMER_EXCLUDED = "customer_excluded"
    TOO_FEW_POINTS = "too_few_points"
    BALANCE_OVERFLOW = "balance_overflow"
    RECORD_BUSY = "record_busy"
    UNAVAILABLE = "unavailable"
    UNFORESEEN = "unforeseen"


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One constraint of the spec that a request does not keep.

    ``location`` is ``body``, ``query``, ``path`` or ``header``; ``path`` leads to the true field below it;
    ``keyword`` is the JSON Schema keyword (``required``, ``type``, …); ``expected`` is that keyword's value in
    the schema; ``received`` is what was sent, which is for telling the client only and enters no log.
    """

    location: str
    path: tuple[str | int, ...]
    keyword: str
    expected: Any = None
    received: Any = None

    @property
    def field(self) -> str:
        """The dotted name of the field, the empty string for the whole body."""
        return ".".join(str(part) for part in self.path)


def explain(violation: Violation) -> str:  # noqa: C901, PLR0911, PLR0912 - one sentence for each keyword
    """What a request did not keep, in English, without a word of what was sent."""
    field = violation.field or "the request body"
    match violation.keyword:
        case "required":
            return f"{field} is required"
        case "type" if isinstance(violation.expected, str):
            return f"{field} must be of type {violation.expected}"
        case "type" if isinstance(violation.expected, list):
            return f"{field} must be of type {' or '.join(violation.expected)}"
        case "enum":
            return f"{field} must be one of: {', '.join(_spelt(violation.expected))}"
        case "minimum":
            return f"{field} must be at least {violation.expected}"
        case "maximum":
            return f"{field} must be at most {violation.expected}"
        case "additionalProperties":
            return f"{field} is not a known field"
        case "minLength" | "minItems":
            return f"{field} must not be empty"
        case "maxItems" if violation.expected:
            return f"{field} must have at most {violation.expected} items"
        case "maxItems":
            return f"{field} must be absent or empty"
        case "maxLength":
            return f"{field} must be at most {violation.expected} characters long"
        case "not" if violation.expected == {}:
            return f"{field} must be left out"
        case _:
            return f"{field} is not valid"


def _spelt(values: list[Any]) -> list[str]:
    """Values as JSON has them; words among words need no quotation marks."""
    if all(isinstance(value, str) for value in values):
        return values
    return [msgspec.json.encode(value).decode() for value in values]


def explain_all(violations: tuple[Violation, ...]) -> str:
    """All violations in one line."""
    return "; ".join(map(explain, violations))


class Problem(Exception):  # noqa: N818 - a refusal is an answer, not an error of the program
    """A refusal on its way to the vendor's ``render_problem``.

    Args:
        code: the kind of refusal.
        violations: what exactly the request did not keep; for ``Code.INVALID``.
        scope: the scope that was missing; for ``Code.INSUFFICIENT_SCOPE``.
        allow: the methods the path knows; for ``Code.WRONG_METHOD``.
        retry_after: seconds until another try makes sense; for ``Code.RATE_LIMITED``.
        lost: the fields of an adjustment that are lost on its way to an upstream.
        intent: the number of what was asked for at an upstream and may have been carried out.
    """

    def __init__(  # noqa: PLR0913 - all that may be told
        self,
        code: Code,
        *,
        violations: tuple[Violation, ...] = (),
        scope: str = "",
        allow: tuple[str, ...] = (),
        retry_after: int = 1,
        lost: tuple[str, ...] = (),
        intent: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.violations = violations
        self.scope = scope
        self.allow = allow
        self.retry_after = retry_after
        self.lost = lost
        self.intent = intent


class ConfigurationError(Exception):
    """The configuration, a spec or an overlay is wrong; ``where`` names the key or the place in the document."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what
