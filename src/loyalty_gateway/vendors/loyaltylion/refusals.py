"""The texts of LoyaltyLion's refusals: by them one refusal is told from another of the same status."""

from typing import Final

INVALID: Final = "Invalid request"
NOT_AUTHENTICATED: Final = "Authentication is required"
ADDRESS_NOT_ALLOWED: Final = "This IP address is not allowed"
NOT_FOUND: Final = "Not found"
CUSTOMER_NOT_FOUND: Final = "Customer not found"
KEY_IN_FLIGHT: Final = "A request with this idempotency key is being carried out"
KEY_REUSED: Final = "The idempotency key was used with another request"
CUSTOMER_BLOCKED: Final = "Customer is blocked"
TOO_FEW_POINTS: Final = "Customer does not have enough points"
CUSTOMER_EXISTS: Final = "Customer exists already"
TOO_MANY_POINTS: Final = {"points": "Too big: the number cannot be held"}
"""The details of an invalid request for more points than a balance can hold."""
