"""Our credentials at a vendor's server, put where its security schemes want them."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from loyalty_gateway.spec import OperationContract
from loyalty_gateway.vendor import Operation, Vendor


class Presented(NamedTuple):
    """Credentials on their way, by where they stand."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    path_values: Mapping[str, str]


def presented(
    vendor: Vendor, operation: Operation, contract: OperationContract, fields: Mapping[str, str]
) -> Presented | None:
    """The credential as the operation's first requirement that it satisfies wants it; ``None`` for none."""
    return next(ways_to_present(vendor, operation, contract, fields), None)


def ways_to_present(
    vendor: Vendor, operation: Operation, contract: OperationContract, fields: Mapping[str, str]
) -> Iterator[Presented]:
    """The credential as each of the operation's requirements that it satisfies wants it."""
    if not all(name in fields for name in operation.path_credentials):
        return
    path_values = {name: fields[name] for name in operation.path_credentials}
    for requirement in contract.requirements:
        headers: dict[str, str] = {}
        query: dict[str, str] = {}
        for scheme in requirement.schemes:
            names = vendor.credential_fields[scheme.name].split(":")
            if not all(name in fields for name in names):
                break
            value = ":".join(fields[name] for name in names)
            match scheme.kind:
                case "header":
                    headers[scheme.key] = value
                case "query":
                    query[scheme.key] = value
                case "bearer":
                    headers["authorization"] = f"Bearer {value}"
                case _:
                    headers["authorization"] = f"Basic {b64encode(value.encode()).decode()}"
        else:
            yield Presented(headers, query, path_values)
