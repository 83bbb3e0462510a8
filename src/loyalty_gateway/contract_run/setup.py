"""What a contract run needs to know of a server: where it is, its credentials, customers and rate limits."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import msgspec

from loyalty_gateway.adjustment import CustomerReference, customer_reference
from loyalty_gateway.backend_config import is_server_url
from loyalty_gateway.config import Config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract, OperationContract
from loyalty_gateway.spec.references import resolved
from loyalty_gateway.upstream.credentials import Presented, presented, ways_to_present
from loyalty_gateway.vendor import Operation, Vendor

Customer = tuple[CustomerReference, ...]
"""One customer, by all names that are known."""


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a credential and what it may do."""

    fields: Mapping[str, str]
    scopes: frozenset[str]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's server as a run meets it.

    ``url`` is what stands before the paths of the vendor's spec. ``limits`` are requests and seconds by
    the name of a rate limit; ``tells_limits`` is false where the server is known to count none. ``enrols`` tells
    whether customers whom nobody knows are taken in.
    """

    vendor: Vendor
    contract: Contract
    url: str
    options: Any
    credentials: tuple[Credential, ...]
    customers: tuple[Customer, ...]
    operations: tuple[Operation, ...]
    limits: Mapping[str, tuple[int, int]] = {}
    tells_limits: bool = True
    enrols: bool = False

    def described(self, operation: Operation) -> OperationContract:
        """The contract of an operation."""
        return self.contract.operations[operation.id]

    def missing_path(self) -> str:
        """The path with which the document's own address ends and ``url`` does not; mostly empty."""
        paths = {urlsplit(one.server_url).path for one in self.contract.operations.values()}
        place = next(iter(paths)) if len(paths) == 1 else ""
        return "" if self.url.rstrip("/").endswith(place) else place

    def spelt(self, customer: Customer) -> str:
        """The customer by a name that the vendor knows, for a person."""
        spaces = self.vendor.namespaces(self.options)
        return str(next(one for space in spaces for one in customer if one.namespace == space))

    def needed(self, operation: Operation) -> frozenset[str]:
        """The scopes that a credential needs for an operation."""
        told = (scope for needs in self.described(operation).requirements for scope in needs.scopes)
        return frozenset(operation.scopes or told)

    def access(self, operation: Operation, *, suffices: bool = True) -> Presented | None:
        """A credential that may call the operation, or one that lacks a scope for it, if there is one."""
        for credential in self.credentials:
            if (self.needed(operation) <= credential.scopes) is suffices:
                found = presented(self.vendor, operation, self.described(operation), credential.fields)
                if found is not None:
                    return found
        return None

    def ways(self, operation: Operation) -> list[Presented]:
        """Each way in which the document lets a credential that suffices be presented."""
        found: list[Presented] = []
        for credential in self.credentials:
            if self.needed(operation) <= credential.scopes:
                ways = ways_to_present(self.vendor, operation, self.described(operation), credential.fields)
                found += (way for way in ways if way not in found)
        return found

    def in_body(self, operation: Operation) -> dict[str, str] | None:
        """The fields of the body that present a credential which suffices; ``None`` where there are none."""
        for credential in self.credentials:
            fields, wanted = credential.fields, operation.body_credentials
            if wanted and self.needed(operation) <= credential.scopes and set(wanted.values()) <= fields.keys():
                return {name: fields[field] for name, field in wanted.items()}
        return None

    def wrong_access(self, operation: Operation) -> list[Presented]:
        """Credentials that nobody has: of each kind that the operation takes, with one field wrong at a time.

        What stands in the path is right, or it would be another path.
        """
        found: dict[str, Presented] = {}
        for credential in self.credentials:
            right = self._presented(operation, credential.fields)
            for name in credential.fields if right is not None else ():
                fields = {**credential.fields, name: f"{credential.fields[name]}-wrong"}
                wrong = self._presented(operation, fields)
                if wrong is not None and name not in operation.path_credentials and wrong != right:
                    found.setdefault(name, wrong)
        return list(found.values())

    def _presented(self, operation: Operation, fields: Mapping[str, str]) -> Presented | None:
        return presented(self.vendor, operation, self.described(operation), fields)

    def parameters(self, operation: Operation) -> set[tuple[str, str]]:
        """Where each of the operation's parameters stands, and its name; those of credentials are left out."""
        document = self.contract.document.corrected
        described = self.described(operation)
        item = document["paths"][described.template]
        told = (*item.get("parameters", ()), *item[described.method.lower()].get("parameters", ()))
        parameters = [resolved(document, one) for one in told]
        keys = {scheme.key for needs in described.requirements for scheme in needs.schemes}
        hidden = {*operation.path_credentials, *operation.opaque, *keys}
        return {(one["in"], one["name"]) for one in parameters if one["name"] not in hidden}

    def secrets(self) -> tuple[str, ...]:
        """Every text that nobody may read in a report, the longest first."""
        found = {value for credential in self.credentials for value in credential.fields.values()}
        for operation in self.vendor.operations:
            for credential in self.credentials:
                for way in ways_to_present(self.vendor, operation, self.described(operation), credential.fields):
                    found |= {*way.headers.values(), *way.query.values(), *way.path_values.values()}
                    # After the word for its scheme, as a server may quote it.
                    found |= {value.partition(" ")[2] for value in way.headers.values()}
        found |= {quoted(value, safe="") for value in found for quoted in (quote, quote_plus)}
        found |= {msgspec.json.encode(value).decode()[1:-1] for value in found}
        return tuple(sorted(filter(None, found), key=len, reverse=True))


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for beside the vendor and the URL, as written on the command line.

    ``credentials`` has ``key=value`` texts, ``customers`` one text each: ``namespace:value``, with commas between
    the names of one customer; ``operations`` are ids, all where there are none.
    """

    credentials: Sequence[str] = ()
    customers: Sequence[str] = ()
    operations: Sequence[str] = ()


def prepare(config: Config, vendor: Vendor, contract: Contract, url: str, wish: Wish) -> Setup:
    """What is known of the server, from the configuration unless it is given; raises ConfigurationError."""
    served = config.vendors.get(vendor.name)
    if not is_server_url(url):
        raise ConfigurationError("--url", "must read like https://api.example.com, without credentials or a query")
    given = _pairs(wish.credentials)
    configured = served.credentials if served is not None else ()
    if given:
        credentials: tuple[Credential, ...] = (Credential(fields=given, scopes=frozenset(vendor.scopes)),)
        merchants = [one.merchant for one in configured] or list(config.merchants)
    else:
        merchants = [one.merchant for one in configured]
        credentials = tuple(
            Credential(fields=one.fields, scopes=frozenset(vendor.scopes if one.scopes is None else one.scopes))
            for one in configured
            if one.merchant == merchants[0]
        )
    if not credentials:
        raise ConfigurationError("--credentials", f"there are none for {vendor.name}; {_forms(vendor)}")
    options = msgspec.convert({}, vendor.options) if served is None else served.options
    merchant = config.merchants[merchants[0]] if merchants else None
    customers = tuple(_customer(one) for one in wish.customers) or (
        () if merchant is None else tuple(one.customer_references() for one in merchant.customers)
    )
    usable = tuple(one for one in customers if any(name.namespace in vendor.namespaces(options) for name in one))
    if not usable:
        raise ConfigurationError(
            "--customer", f"a run needs a customer known by {' or '.join(vendor.namespaces(options))}"
        )
    setup = Setup(
        vendor=vendor,
        contract=contract,
        url=url.rstrip("/"),
        options=options,
        credentials=credentials,
        customers=usable,
        operations=_chosen(vendor, wish.operations),
        limits={} if served is None else served.rate_limits,
        tells_limits=bool(given) or config.server.rate_limits,
        enrols=merchant is not None and merchant.unknown_customers == "enrol",
    )
    if all(setup.access(operation) is None for operation in setup.operations):
        raise ConfigurationError("--credentials", f"no operation can be called with them; {_forms(vendor)}")
    return setup


def _forms(vendor: Vendor) -> str:
    return f"a credential of {vendor.name} is {' or '.join(' + '.join(form) for form in vendor.credential_forms)}"


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            # What stands there may be a secret.
            raise ConfigurationError("--credentials", "each must be key=value")
        pairs[name] = value
    return pairs


def _customer(text: str) -> Customer:
    names = []
    for name in text.split(","):
        namespace, colon, value = name.strip().partition(":")
        if not (namespace and colon and value):
            raise ConfigurationError(
                f"--customer {text}", "must be namespace:value, with commas between several names"
            )
        names.append(customer_reference(namespace, value))
    return tuple(names)


def _chosen(vendor: Vendor, ids: Sequence[str]) -> tuple[Operation, ...]:
    known = {operation.id: operation for operation in vendor.operations}
    for one in ids:
        if one not in known:
            raise ConfigurationError(f"--operation {one}", f"must be one of: {', '.join(known)}")
    return tuple(operation for operation in vendor.operations if not ids or operation.id in ids)
