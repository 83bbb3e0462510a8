"""What a vendor's answers to adjustments tell, found by making some where everything is known."""

from collections import defaultdict
from typing import Any, Final

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Entry, Receipt, Wallet
from loyalty_gateway.told import ToldEntry, ToldReceipt
from loyalty_gateway.vendor import Operation, ValidRequest, Vendor

_MOMENT: Final = 1_600_000_000_000_000
_NOBODY: Final = CustomerReference("email", "nobody@example.com")


def tells_balance(vendor: Vendor, options: Any) -> bool:
    """Whether answers to the vendor's adjustments tell the balance, as rendering two that differ in it shows."""
    request = ValidRequest(path_values=defaultdict(lambda: "1"), options=options, body={})
    for operation in vendor.operations:
        if operation.asks is not Adjustment:
            continue
        one, other = (operation.render_response(example_receipt(balance), request) for balance in (5, 17))
        if one != other:
            return True
    return False


def tells_entry(operation: Operation, options: Any) -> bool:
    """Whether answers to an adjustment tell what was done, and not only that something was."""
    request = ValidRequest(path_values=defaultdict(lambda: "1"), options=options, body={})
    told = operation.parse_response(operation.render_response(example_receipt(5), request), request)
    return isinstance(told, ToldReceipt) and told.entry != ToldEntry()


def example_receipt(balance: int, customer: CustomerReference = _NOBODY) -> Receipt:
    """A receipt of one point for one customer who has this balance afterwards; everything in it is known."""
    entry = Entry(
        id=1,
        wallet_id=1,
        version=1,
        vendor="",
        points_delta=1,
        points_asked=1,
        points_before=balance - 1,
        points_after=balance,
        reserved_after=0,
        earned_delta=0,
        burned_delta=0,
        reason=None,
        metadata=None,
        notify=(),
        visible=True,
        idempotency_key=None,
        occurred_at=_MOMENT,
    )
    wallet = Wallet(
        id=1,
        merchant_id=1,
        available=balance,
        reserved=0,
        lifetime_earned=0,
        lifetime_burned=0,
        version=1,
        excluded=False,
        tier=None,
        created_at=_MOMENT,
        updated_at=_MOMENT,
        last_entry_at=_MOMENT,
    )
    return Receipt(merchant_id=1, count=1, entries=(entry,), wallets=(wallet,), customers=(customer,))
