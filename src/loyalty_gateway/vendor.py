"""What a vendor is: one frozen record of pure functions, found by standing in the ``vendors`` folder."""

import enum
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.customer import CustomerUpdate, Enrolment, Query
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import Told

Task = Adjustment | CustomerUpdate | Enrolment | Query
"""What a request asks for, in nobody's dialect."""

NO_HEADERS: Mapping[str, str] = {}
_MOST_DIGITS = 15


class Evidence(enum.StrEnum):
    """How a vendor's behaviour is known."""

    DOCUMENTED = "documented"
    OBSERVED = "observed"
    SEEN_IN_CLIENTS = "seen in clients"
    INFERRED = "inferred"
    OUR_DEFAULT = "our default"


class Promise(enum.StrEnum):
    """What a client sees of any vendor's server from outside; a contract run has a probe for each."""

    ADDITION = "addition"
    """An addition moves the balance by its points, once, and is answered in the vendor's shape."""
    DEDUCTION = "deduction"
    OVERDRAFT = "overdraft"
    """A deduction of more than there is floors at 0, or is refused and moves nobody, as the vendor does."""
    RESET = "reset"
    """A reset leaves no points."""
    LIST = "list"
    """Each customer of a list is adjusted, or nobody where one of them is unknown or has too few points."""
    LISTED_TWICE = "listed_twice"
    REPLAY = "replay"
    """The same key again gives the same answer, and no points."""
    KEY_REUSED = "key_reused"
    HISTORY = "history"
    """An adjustment stands in the history, with its reason."""
    UNKNOWN_CUSTOMER = "unknown_customer"
    INVALID = "invalid"
    UNREADABLE = "unreadable"
    MEDIA_TYPE = "media_type"
    MISSING_CREDENTIALS = "missing_credentials"
    WRONG_CREDENTIALS = "wrong_credentials"
    SCOPE = "scope"
    """A credential that may only read changes nothing."""
    UNKNOWN_PATH = "unknown_path"
    WRONG_METHOD = "wrong_method"
    RATE_LIMIT_HEADERS = "rate_limit_headers"
    RATE_LIMITED = "rate_limited"
    """More requests than the limit lets through are refused, and taken again when it is over."""
    CREDENTIAL_FORMS = "credential_forms"
    """Credentials are taken wherever the document lets them stand."""
    PATH_ALIAS = "path_alias"
    """An operation answers under its further paths as it does under its published one."""
    WHOLE_FLOATS = "whole_floats"
    """A whole number may be written with a decimal point."""
    LIFETIME = "lifetime"
    """What is told of the points of a lifetime moves by the vendor's own rule."""
    EXCLUDED = "excluded"
    """Who is excluded is refused, and has their points as before."""
    CONFLICT = "conflict"
    """A name that is somebody's already is refused to a new customer, or to another one."""
    LOOK_UP = "look_up"
    """A customer is found by each name that the operation takes."""
    UPDATE = "update"
    """An update changes what it names, leaves the rest, and takes away what it names as nothing."""
    HISTORY_PAGES = "history_pages"
    """Adjustments stand in the history in its order, none lost or twice between pages."""
    LIST_PAGES = "list_pages"
    """Customers stand in a list once each, page by page."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A request that shows a behaviour, told as what differs from a plain one of the operation, and its answer.

    ``path_values``, ``query``, ``headers`` and ``body`` have what stands in the place of the plain request's, and
    ``without`` names fields of its body and query that are left out. ``after`` are adjustments that come before
    it. One that is ``anonymous`` has no credentials. It shows something only where the vendor's ``options`` are
    so. ``moves`` are the points by which the known customer's balance changes, unless ``leaves`` says how many
    are left. ``says`` and ``says_not`` are text that stands in the answer and that does not. ``tells`` has values
    by their JSON pointer into the answer, ``looks`` regular expressions of texts there, and at those that it
    ``lacks`` is nothing; ``answers_headers`` has regular expressions of headers, by their names.

    Texts may hold ``{first:NAMESPACE}`` and ``{second:NAMESPACE}``, names of the known customers;
    ``{part:NAMESPACE}``, the middle of the first one's in other letters; ``{new}``, digits that nobody has as a
    name, the same throughout a behaviour; and ``{last:POINTER}``, what stands there in the answer before, of the
    same behaviour.
    """

    operation: str
    status: int
    path_values: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: Mapping[str, Any] = {}
    without: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    anonymous: bool = False
    after: tuple[int, ...] = ()
    moves: int = 0
    leaves: int | None = None
    says: str = ""
    says_not: str = ""
    tells: Mapping[str, Any] = {}
    looks: Mapping[str, str] = {}
    lacks: tuple[str, ...] = ()
    answers_headers: Mapping[str, str] = {}


class Behaviour(msgspec.Struct, frozen=True):
    """One thing a vendor does, how that is known, and where; ``shown_by`` is what shows it from outside."""

    does: str
    evidence: Evidence
    source: str
    shown_by: tuple[Promise | Shown, ...] = ()


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests in so many seconds, counted per credential or per merchant.

    ``sliding`` counts the last seconds at any moment; otherwise the count starts anew with each window.
    Operations that name the same limit share its count.
    """

    name: str
    requests: int
    seconds: int
    per: Literal["credential", "merchant"]
    sliding: bool = False


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a rate limit: ``limit`` and ``remaining`` requests, ``resets_at`` in epoch seconds."""

    limit: RateLimit
    remaining: int
    resets_at: float
    now: float

    @property
    def resets_in(self) -> int:
        """Whole seconds until the count starts anew, at least one."""
        return max(1, math.ceil(self.resets_at - self.now))


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as received, before anything of it was checked.

    ``headers`` have lower-case names; ``path_values`` are decoded once; ``options`` are the vendor's own
    options from the configuration; ``operation`` is ``None`` where no path or method matched.
    """

    vendor: "Vendor"
    operation: "Operation | None"
    method: str
    path_values: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    options: Any


class ValidRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that keeps the vendor's spec; ``body`` is its parsed JSON, ``None`` without one.

    ``url`` is where the client sent it, without the query: links in answers begin with it. One that we send
    ourselves has none; its address and its credentials are the upstream's.
    """

    url: str = ""
    path_values: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    options: Any
    body: Any = None

    def asking(self, further: Mapping[str, str]) -> "ValidRequest":
        """The same request with these parameters, in place of those of the same names."""
        return msgspec.structs.replace(self, query={**self.query, **further})


class Answer(msgspec.Struct, frozen=True):
    """Status, body and headers in the vendor's shape.

    ``body`` is the JSON value, ``text`` a body that is not JSON; with neither the answer has zero bytes.
    """

    status: int
    body: Any = msgspec.UNSET
    headers: Mapping[str, str] = NO_HEADERS
    text: str | None = None
    media_type: str = "application/json"


def no_further_page(_answer: Answer, _request: ValidRequest) -> None:
    """For an operation whose first answer tells everything."""
    return


def tells_no_reset(_headers: Mapping[str, str], _now: float) -> None:
    """For a vendor that documents no header of its own for when to come back."""
    return


def seconds_in(headers: Mapping[str, str], name: str) -> float | None:
    """The seconds that a header has as a whole number; ``None`` where it is not there, or no such number."""
    text = headers.get(name, "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a vendor's spec and its translation, in both directions.

    Where we are the server, ``parse_request`` and ``render_response`` translate. Where we are the client,
    ``render_request`` says a task as this operation does, given the vendor's options, or gives ``None`` where it
    cannot: what of the task it has no words for is left out, and seen by parsing the request again. The customers
    of the task have names in the vendor's ``namespaces``. ``parse_response`` tells what a successful answer says,
    and ``None`` where that is nothing. ``next_request`` asks for the page behind an answer, ``None`` at the end.
    ``render_request`` takes tasks of the kind that it ``asks``, and of those that it ``also_says``.

    ``id`` is the spec's ``operationId``. ``asks`` is the kind of task that ``parse_request`` gives, which decides
    what ``render_response`` gets: of an ``Adjustment`` the ``Receipt``, of an ``Enrolment`` ``Enrolled``, of a
    ``CustomerUpdate`` and a ``CustomerQuery`` the ``Customer``, of a ``CustomersQuery`` ``Customers``, of a
    ``HistoryQuery`` the ``History``. ``opaque`` are parameters whose values only our own answers make.
    ``scopes`` are what a credential needs where the spec itself names
    none. ``ignored`` maps each published field whose wish is not carried out to the reason.
    ``path_credentials`` are the values of the path that belong to the credentials; ``body_credentials`` maps
    fields of the body to those of a credential, which are looked at where no other credentials are sent.
    ``idempotency_field`` is the field of the body in which the vendor's own idempotency key stands.
    """

    id: str
    asks: type[Task] = Adjustment
    parse_request: Callable[[ValidRequest], Task]
    render_response: Callable[[Any, ValidRequest], Answer]
    render_request: Callable[[Any, Any], ValidRequest | None]
    parse_response: Callable[[Answer, ValidRequest], Told | None]
    next_request: Callable[[Answer, ValidRequest], ValidRequest | None] = no_further_page
    also_says: tuple[type[Task], ...] = ()
    opaque: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    ignored: Mapping[str, str] = msgspec.field(default_factory=dict)
    rate_limits: tuple[RateLimit, ...] = ()
    path_credentials: tuple[str, ...] = ()
    body_credentials: Mapping[str, str] = msgspec.field(default_factory=dict)
    idempotency_field: str | None = None

    def said(self, task: Task, options: Any) -> ValidRequest | None:
        """The task as this operation says it; ``None`` where it cannot."""
        return self.render_request(task, options) if isinstance(task, (self.asks, *self.also_says)) else None


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """A loyalty product whose API we answer.

    Args:
        name: the search word for everything of this vendor: spec, mount, configuration, tests.
        title: the name as people write it.
        hosts: the real hosts that a client may call; requests to them are recognised by ``Host``.
        operations: every operation answered.
        render_problem: any refusal in the vendor's envelope, language and headers.
        parse_problem: what a refusal says, given the operation that was refused; ``None`` where it says nothing
            that the vendor is known to say. Of refusals that look the same the likeliest is told.
        namespaces: those in which its operations name a customer, given the options; the first is preferred.
        history_shows: whether the vendor's history tells an adjustment with its reason, so that whether it was
            carried out can be read there.
        render_budgets: the rate-limit headers, given what is left of each limit of the operation.
        parse_retry_after: the seconds until a request may come that a 429 without Retry-After tells in headers of
            the vendor's own (with lower-case names), given the epoch seconds; ``None`` where it tells nothing.
        credential_forms: the combinations of fields a credential in the configuration may have.
        credential_fields: which of those fields a security scheme of the spec carries; a basic scheme
            carries two, joined by a colon.
        scopes: the scopes a credential has where the configuration names none.
        behaviours: what the vendor does, with evidence.
        options: the type of the vendor's own options in the configuration.
        path_aliases: further prefixes or whole paths, each with the published one it stands for.
    """

    name: str
    title: str
    hosts: tuple[str, ...]
    operations: tuple[Operation, ...]
    render_problem: Callable[[Problem, Request], Answer]
    parse_problem: Callable[[Answer, Operation], Code | None]
    namespaces: Callable[[Any], tuple[str, ...]]
    history_shows: Callable[[Adjustment], bool]
    render_budgets: Callable[[tuple[Budget, ...], Problem | None], Mapping[str, str]]
    credential_forms: tuple[tuple[str, ...], ...]
    credential_fields: Mapping[str, str]
    scopes: tuple[str, ...]
    behaviours: tuple[Behaviour, ...]
    options: type[msgspec.Struct]
    path_aliases: Mapping[str, str] = msgspec.field(default_factory=dict)
    parse_retry_after: Callable[[Mapping[str, str], float], float | None] = tells_no_reset


def discover(package: ModuleType | None = None) -> dict[str, Vendor]:
    """All vendors by name: the ``VENDOR`` of each module in the package (``loyalty_gateway.vendors``)."""
    if package is None:
        package = importlib.import_module("loyalty_gateway.vendors")
    modules = (
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    )
    vendors: list[Vendor] = [module.VENDOR for module in modules]
    return {vendor.name: vendor for vendor in vendors}
