"""``loyalty-gateway matrix`` and ``translate``: what is lost between a client's dialect and an upstream."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loyalty_gateway.adjustment import Adjustment, CustomerReference, customer_reference
from loyalty_gateway.app import load_contract
from loyalty_gateway.backend_config import UpstreamConfig
from loyalty_gateway.body import parse_json
from loyalty_gateway.config import Config
from loyalty_gateway.problem import ConfigurationError, Problem, Violation, explain
from loyalty_gateway.spec import Contract, OperationContract
from loyalty_gateway.upstream.asked import placeholders
from loyalty_gateway.upstream.credentials import presented
from loyalty_gateway.upstream.loss import Fate
from loyalty_gateway.upstream.matrix import Pair, matrix
from loyalty_gateway.upstream.phrasebook import Phrasebook, as_received
from loyalty_gateway.upstream.translation import Known, Sent, Translation, Translator
from loyalty_gateway.vendor import Operation, Task, ValidRequest, Vendor

_WIDER_THAN_ANY_LINE = 1_000
_NAMED_THERE = re.compile(r"([a-z][a-z0-9_]*):(.+)", re.DOTALL)
_SHOWN = 3


# The matrix


def all_pairs(vendors: Mapping[str, Vendor]) -> list[Pair]:
    """Every client's dialect at every upstream."""
    return matrix(vendors, {name: load_contract(vendor, checks=False) for name, vendor in vendors.items()})


def render_matrix(pairs: Sequence[Pair], stream: TextIO) -> None:
    """Prints the tables; piped output is never cut to a width."""
    console = _console(stream)
    table = Table("client", "upstream", "survives", "emulated", "lost", title="Adjustments", show_lines=True)
    for pair in pairs:
        table.add_row(pair.client, pair.upstream, *told_of(pair))
    console.print(table)
    answers = Table("client", "upstream", "read back", "left out", "null", title="Answers", show_lines=True)
    for pair in pairs:
        answer = pair.answer
        null = (*answer.null, *(f"{field} (off the contract)" for field in answer.off_contract))
        told = (answer.read_back, answer.left_out, null)
        if any(told):
            answers.add_row(pair.client, pair.upstream, *map(", ".join, told))
    console.print(answers)


def told_of(pair: Pair) -> tuple[str, str, str]:
    """What survives, what is emulated, and what is lost or cannot be asked for at all."""
    survives, emulated, lost, impossible = (", ".join(pair.labels(fate)) for fate in Fate)
    return survives, emulated, "; ".join(filter(None, (lost, impossible and f"impossible: {impossible}")))


# One request


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to see translated; ``query`` has fields as ``name=value``."""

    client: str
    upstream: str
    operation: str | None = None
    customer: str | None = None
    query: Sequence[str] = ()


def translate(config: Config, vendors: Mapping[str, Vendor], wish: Wish, body: bytes) -> Translation:
    """What an upstream would be asked for a client's request; raises ConfigurationError where nothing would be."""
    client, upstream = _vendor(vendors, wish.client, "--from"), _vendor(vendors, wish.upstream, "--to")
    value = _parsed(body)
    operation, request = _request(config, client, wish, body, value)
    task = _task(operation, request)
    known = [customer.customer_references() for one in config.merchants.values() for customer in one.customers]
    configured = _configured(config, client, upstream)
    book = _book(config, upstream, configured)
    meant = _named_there(book, known, wish, operation)
    if configured is None:
        translator = Translator(book, known, meant)
    else:
        translator = Translator(book, known, meant, url=configured.url, marks=configured.marks)
    return translator.translate(operation, task)


def _vendor(vendors: Mapping[str, Vendor], name: str, where: str) -> Vendor:
    if name not in vendors:
        raise ConfigurationError(f"{where} {name}", f"no such vendor; there are {', '.join(vendors)}")
    return vendors[name]


def _parsed(body: bytes) -> Any:
    try:
        return parse_json(body) if body.strip() else None
    except Problem as problem:
        raise ConfigurationError("the body", "cannot be read as JSON in UTF-8") from problem


def read_body(path: str | None) -> bytes:
    """The body in a file, on standard input for ``-``, or none; raises ConfigurationError."""
    if path is None:
        return b""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(path, f"cannot be read: {error.strerror}") from error


# What the client asks for


def _request(
    config: Config, client: Vendor, wish: Wish, body: bytes, value: Any
) -> tuple[Operation, ValidRequest]:
    """The operation that was chosen, or the first that adjusts and takes the request; of none, what is wrong."""
    chosen = config.vendors.get(client.name)
    contract = load_contract(client, () if chosen is None else chosen.overlays, checks=False)
    options = msgspec.convert({}, client.options) if chosen is None else chosen.options
    refusals = []
    for operation in _candidates(client, wish):
        described = contract.operations[operation.id]
        try:
            values = _path_values(operation, described, wish)
        except ConfigurationError as refusal:
            refusals.append(refusal)
            continue
        request = ValidRequest(path_values=values, query=_query(wish.query), options=options, body=value)
        violations = _violations(client, operation, described, request, body)
        if not violations:
            return operation, request
        refusals.append(_invalid(operation, violations))
    raise refusals[0]


def _candidates(client: Vendor, wish: Wish) -> list[Operation]:
    if wish.operation is None:
        return [operation for operation in client.operations if operation.asks is Adjustment]
    found = [operation for operation in client.operations if operation.id == wish.operation]
    if not found:
        names = ", ".join(operation.id for operation in client.operations)
        raise ConfigurationError(f"--operation {wish.operation}", f"no such operation of {client.name}: {names}")
    return found


def _path_values(operation: Operation, contract: OperationContract, wish: Wish) -> dict[str, str]:
    """The customer whom the path names; raises ConfigurationError for one too few or too many."""
    names = placeholders(operation, contract)
    if not names:
        if wish.customer is not None and _NAMED_THERE.fullmatch(wish.customer) is None:
            what = f"the path of {operation.id} names no customer: only namespace:value can say who is meant there"
            raise ConfigurationError(f"--customer {wish.customer}", what)
        return {}
    if wish.customer is None:
        what = f"is needed: {operation.id} names the customer in its path, {contract.path}"
        raise ConfigurationError("--customer", what)
    named = _NAMED_THERE.fullmatch(wish.customer)
    return dict.fromkeys(names, wish.customer if named is None else named[2])


def _query(fields: Sequence[str]) -> dict[str, str]:
    query = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--query {field}", "must read like name=value")
        query[name] = value
    return query


def _violations(
    client: Vendor, operation: Operation, contract: OperationContract, request: ValidRequest, body: bytes
) -> tuple[Violation, ...]:
    raw_body = body if request.body is not None and contract.media_types else b""
    media_type = contract.media_types[0] if raw_body else ""
    received = as_received(client, operation, contract, request)
    return contract.violations(received, media_type, raw_body, request.body)


def _invalid(operation: Operation, violations: Sequence[Violation]) -> ConfigurationError:
    """What is wrong, and how a person says it right."""
    told = "; ".join(dict.fromkeys(f"{one.location}: {explain(one)}" for one in violations))
    hint = " (--query NAME=VALUE says it)" if any(one.location == "query" for one in violations) else ""
    return ConfigurationError(operation.id, f"its contract refuses the request: {told}{hint}")


def _task(operation: Operation, request: ValidRequest) -> Task:
    try:
        return operation.parse_request(request)
    except Problem as problem:
        told = "; ".join(map(explain, problem.violations)) or problem.code.value.replace("_", " ")
        raise ConfigurationError(operation.id, f"refuses the request: {told}") from problem


# What the upstream is


def _configured(config: Config, client: Vendor, upstream: Vendor) -> UpstreamConfig | None:
    """The upstream as it is the client's backend, of a merchant at least."""
    served = config.vendors.get(client.name)
    backends = [] if served is None else [served.backend, *served.backends.values()]
    return next((one for one in backends if isinstance(one, UpstreamConfig) and one.vendor == upstream.name), None)


def _book(config: Config, upstream: Vendor, configured: UpstreamConfig | None) -> Phrasebook:
    """The upstream's operations, where it is configured those that its credentials are for."""
    itself = config.vendors.get(upstream.name)
    contract: Contract = load_contract(upstream, () if itself is None else itself.overlays, checks=False)
    operations = upstream.operations
    options = msgspec.convert({}, upstream.options) if itself is None else itself.options
    if configured is not None:
        options = msgspec.convert(configured.options, upstream.options)
        operations = tuple(
            operation
            for operation in upstream.operations
            if presented(upstream, operation, contract.operations[operation.id], configured.credentials)
        )
    return Phrasebook(upstream, operations, lambda operation: contract.operations[operation.id], options)


def _named_there(book: Phrasebook, known: Known, wish: Wish, operation: Operation) -> CustomerReference | None:
    """The customer whom ``namespace:value`` names, by the upstream's own name for them."""
    named = None if wish.customer is None else _NAMED_THERE.fullmatch(wish.customer)
    if named is None:
        return None
    reference = customer_reference(named[1], named[2])
    if reference.namespace in book.namespaces:
        return reference
    namespaces = " or ".join(book.namespaces)
    for references in known:
        for one in references if reference in references else ():
            if one.namespace in book.namespaces:
                return one
    what = f"{book.vendor.name} names customers by {namespaces}, for {operation.id} as for all else"
    raise ConfigurationError(f"--customer {wish.customer}", what)


# Told to people


def render_translation(translation: Translation, wish: Wish, stream: TextIO) -> None:
    """Prints what would be sent; piped output is never cut to a width."""
    console = _console(stream)

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    say(f"{wish.client} {translation.operation} → {wish.upstream}")
    _say_requests(say, "read first", translation.read)
    _say_requests(say, "sent", translation.sent)
    if not translation.sent:
        say("\nsent: nothing")
    if translation.emulated:
        say("\nemulated:")
        for label, how in translation.emulated.items():
            say(f"  {label}: {how}")
    if translation.lost:
        say("\nlost:")
        for field, one in translation.lost.items():
            say(f"  {field}: {_plain(one.asked)} is understood as {_plain(one.understood)}")
    elif translation.survives or translation.emulated:
        say("\nlost: nothing")


def _say_requests(say: Any, heading: str, requests: Sequence[Sent]) -> None:
    for request in requests[:_SHOWN]:
        say(f"\n{heading} ({request.operation}):\n  {request.method} {request.path}")
        for name, value in request.headers.items():
            say(f"  {name}: {value}")
        if request.body is not None:
            body = msgspec.json.format(msgspec.json.encode(request.body), indent=2).decode()
            say("\n" + "\n".join(f"  {line}" for line in body.splitlines()))
    if len(requests) > _SHOWN:
        say(f"\n{heading}: {len(requests) - _SHOWN} more like it")


def _plain(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _console(stream: TextIO) -> Console:
    return Console(file=stream, width=None if stream.isatty() else _WIDER_THAN_ANY_LINE, highlight=False)
