"""Credentials by the spec's security schemes: who is calling, for which merchant, with which scopes."""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import msgspec

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.problem import Code, ConfigurationError, Problem
from loyalty_gateway.spec import OperationContract, SecurityScheme
from loyalty_gateway.vendor import Operation, Request, Vendor

_BEARER = re.compile(r"^bearer +", re.IGNORECASE)
_PROCESS_KEY = secrets.token_bytes(32)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: ``id`` names the credential without telling it; ``networks`` is empty where any may call."""

    id: str
    merchant: Merchant
    scopes: frozenset[str]
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential of the configuration: its fields, whose it is, what it may do and from where."""

    where: str
    fields: Mapping[str, str]
    merchant: Merchant
    scopes: frozenset[str]
    networks: tuple[str, ...] = ()


class Authenticator:
    """The credentials of one vendor, kept as keyed digests only.

    A digest is keyed by a random key of this process, so the time that finding one takes tells nothing about
    a credential; the last comparison is in constant time all the same.

    Raises:
        ConfigurationError: a credential has not the fields of any of the vendor's forms, or stands twice.
    """

    def __init__(self, vendor: Vendor, credentials: Iterable[Credential]) -> None:
        self._vendor = vendor
        self._callers: dict[bytes, tuple[bytes, Caller]] = {}
        for credential in credentials:
            form = tuple(sorted(credential.fields))
            if form not in {tuple(sorted(known)) for known in vendor.credential_forms}:
                forms = " or ".join(" + ".join(known) for known in vendor.credential_forms)
                raise ConfigurationError(credential.where, f"a credential of {vendor.name} is {forms}")
            if not all(credential.fields.values()):
                raise ConfigurationError(credential.where, "a credential must not be empty")
            digest = _digest(credential.fields)
            if digest in self._callers:
                raise ConfigurationError(credential.where, "this credential stands twice")
            self._callers[digest] = (
                digest,
                Caller(
                    id=credential.where,
                    merchant=credential.merchant,
                    scopes=credential.scopes,
                    networks=tuple(map(ip_network, credential.networks)),
                ),
            )

    def authenticate(self, request: Request, contract: OperationContract, address: str) -> Caller:
        """The caller of the request.

        Args:
            request: the request as received.
            contract: its operation, whose security requirements are tried in their order.
            address: the client's IP address.

        Raises:
            Problem: MISSING_CREDENTIALS where no requirement finds its fields, INVALID_CREDENTIALS where no
                caller has them, ADDRESS_NOT_ALLOWED.
        """
        found = False
        assert request.operation is not None
        for requirement in contract.requirements:
            fields = self._fields(request, requirement.schemes, request.operation)
            if fields is None:
                continue
            found = True
            caller = self._caller(fields)
            if caller is not None:
                return _from_allowed_address(caller, address)
        raise Problem(Code.INVALID_CREDENTIALS if found else Code.MISSING_CREDENTIALS)

    def authenticate_by_body(self, body: Any, operation: Operation, address: str) -> Caller:
        """The caller named by the operation's ``body_credentials``; raises Problem as ``authenticate`` does."""
        names = operation.body_credentials
        values = [body.get(name) for name in names] if isinstance(body, dict) else []
        fields = {field: str(value) for field, value in zip(names.values(), values, strict=False) if value}
        if not fields or len(fields) < len(names):
            raise Problem(Code.MISSING_CREDENTIALS)
        caller = self._caller(fields)
        if caller is None:
            raise Problem(Code.INVALID_CREDENTIALS)
        return _from_allowed_address(caller, address)

    def _caller(self, fields: Mapping[str, str]) -> Caller | None:
        digest = _digest(fields)
        known = self._callers.get(digest)
        return known[1] if known is not None and hmac.compare_digest(known[0], digest) else None

    def _fields(
        self, request: Request, schemes: tuple[SecurityScheme, ...], operation: Operation
    ) -> dict[str, str] | None:
        fields: dict[str, str] = {name: request.path_values[name] for name in operation.path_credentials}
        for scheme in schemes:
            names = self._vendor.credential_fields[scheme.name].split(":")
            values = _presented(request, scheme)
            if values is None or len(values) != len(names):
                return None
            fields.update(zip(names, values, strict=True))
        return fields


def needed_scopes(operation: Operation, contract: OperationContract) -> tuple[str, ...]:
    """What a credential needs for the operation: the vendor's own, or those that the spec names."""
    return operation.scopes or tuple(scope for needs in contract.requirements for scope in needs.scopes)


def authorize(caller: Caller, operation: Operation, contract: OperationContract) -> None:
    """Raises Problem INSUFFICIENT_SCOPE, with the scope, if the caller lacks one that the operation needs."""
    for scope in needed_scopes(operation, contract):
        if scope not in caller.scopes:
            raise Problem(Code.INSUFFICIENT_SCOPE, scope=scope)


def _presented(request: Request, scheme: SecurityScheme) -> list[str] | None:
    """The values that the request carries for a scheme; ``None`` where it carries none that can be read."""
    match scheme.kind:
        case "header":
            value = request.headers.get(scheme.key)
            if value and scheme.key == "authorization":
                # A key that stands alone in Authorization is often sent with the word all the same.
                value = _BEARER.sub("", value)
        case "query":
            value = request.query.get(scheme.key)
        case _:
            kind, _, value = request.headers.get("authorization", "").partition(" ")
            if kind.lower() != scheme.kind:
                return None
            value = value.strip()
    if not value:
        return None
    return _user_and_password(value) if scheme.kind == "basic" else [value]


def _user_and_password(encoded: str) -> list[str] | None:
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    return [user, password] if colon else None


def _from_allowed_address(caller: Caller, address: str) -> Caller:
    if not caller.networks:
        return caller
    try:
        here = ip_address(address)
    except ValueError as error:  # a Unix socket has no address
        raise Problem(Code.ADDRESS_NOT_ALLOWED) from error
    if not any(here in network for network in caller.networks):
        raise Problem(Code.ADDRESS_NOT_ALLOWED)
    return caller


def _digest(fields: Mapping[str, str]) -> bytes:
    # Lengths before the parts keep ("ab", "c") and ("a", "bc") apart.
    told = "".join(f"{len(part)}:{part}" for name in sorted(fields) for part in (name, fields[name]))
    return blake2b(told.encode("utf-8", "surrogatepass"), key=_PROCESS_KEY, digest_size=32).digest()
