"""How a vendor answers a reading, found by answering one where everything is known."""

from typing import Any

from loyalty_gateway.contract_run.likeness import differences
from loyalty_gateway.contract_run.setup import Customer as Names
from loyalty_gateway.customer import Customer, Customers, CustomersQuery, History, HistoryQuery, Profile
from loyalty_gateway.upstream.answers import example_receipt
from loyalty_gateway.vendor import Answer, Operation, ValidRequest


def lacking(operation: Operation, request: ValidRequest, names: Names, answer: Answer) -> list[str]:
    """What an answer has not, or has otherwise, that the vendor tells of everybody: it may tell more of somebody.

    ``names`` are those of the customer whom the request is about.
    """
    return differences(operation.render_response(_found(operation, names), request), answer, whole=False)


def _found(operation: Operation, names: Names) -> Any:
    """A customer of whom nothing but names is known, with one entry, as the operation answers what it asks for."""
    receipt = example_receipt(1)
    customer = Customer(wallet=receipt.wallets[0], references=names, profile=Profile())
    if operation.asks is HistoryQuery:
        return History(entries=receipt.entries, has_more=False, customers={customer.wallet.id: customer})
    if operation.asks is CustomersQuery:
        return Customers(customers=(customer,), has_more=False, total=1)
    return customer
