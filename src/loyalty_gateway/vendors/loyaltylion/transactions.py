"""LoyaltyLion's transactions: every change of points, of one customer or of the whole programme."""

from typing import Any, Final

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Entry, Everyone
from loyalty_gateway.customer import Customer, History, HistoryQuery
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.vendor import Answer, Behaviour, Evidence, Promise, Shown, ValidRequest
from loyalty_gateway.vendors.loyaltylion import pages
from loyalty_gateway.vendors.loyaltylion.customers import addressed
from loyalty_gateway.vendors.loyaltylion.moments import from_moment, until_moment

_FILTERS: Final = ("limit", "since_id", "created_at_min", "created_at_max")

TYPE_IGNORED: Final = "JSON is the only format; a wish for another one is refused"


def parse_of_customer(request: ValidRequest) -> HistoryQuery:
    """A page of one customer's transactions."""
    return _query(_asked_of_customer(request), addressed(request))


def render_of_customer(history: History, request: ValidRequest) -> Answer:
    """200 with the transactions and the cursors."""
    return _page(history, _asked_of_customer(request), request)


def parse_of_all(request: ValidRequest) -> HistoryQuery:
    """A page of all transactions, or of those of the customer with this id of LoyaltyLion's."""
    asked = _asked_of_all(request)
    if asked.customer_id is None:
        return _query(asked, Everyone.EVERYONE)
    return _query(asked, CustomerReference(OWN_NAMESPACE, str(asked.customer_id)))


def render_of_all(history: History, request: ValidRequest) -> Answer:
    """200 with the transactions and the cursors."""
    return _page(history, _asked_of_all(request), request)


def _asked_of_customer(request: ValidRequest) -> pages.Asked:
    return pages.asked(request, f"transactions of {request.path_values['merchant_id']}", _FILTERS)


def _asked_of_all(request: ValidRequest) -> pages.Asked:
    return pages.asked(request, "transactions", (*_FILTERS, "customer_id"))


def _query(asked: pages.Asked, customer: CustomerReference | Everyone) -> HistoryQuery:
    upwards = asked.rising != asked.backwards
    # What was shown lies behind since_id, so a page that goes on from there needs no other bound.
    after = asked.last_id if upwards and asked.last_id is not None else asked.since_id
    return HistoryQuery(
        customer=customer,
        limit=asked.limit,
        newest_first=not upwards,
        after=after,
        before=None if upwards else asked.last_id,
        since=from_moment(asked.created_at_min, "created_at_min"),
        until=until_moment(asked.created_at_max, "created_at_max"),
    )


def _page(history: History, asked: pages.Asked, request: ValidRequest) -> Answer:
    entries = history.entries[::-1] if asked.backwards else history.entries
    cursors = pages.cursors(asked, [pages.Place(entry.id) for entry in entries], has_more=history.has_more)
    namespace: str = request.options.customer_namespace
    shown = [_shown(entry, history.customers[entry.wallet_id], namespace) for entry in entries]
    return Answer(200, {"transactions": shown, "cursor": cursors}, pages.link(request, cursors))


def _shown(entry: Entry, customer: Customer, namespace: str) -> dict[str, Any]:
    return {
        "id": entry.id,
        "customer": {
            "id": customer.wallet.id,
            "merchant_id": customer.name(namespace),
            "email": customer.value("email"),
            "points_pending": 0,
            "points_approved": customer.wallet.available,
            "points_spent": customer.wallet.lifetime_burned,
        },
        "points_approved": entry.points_delta,
        "points_pending": 0,
        "created_at": iso_milliseconds(entry.occurred_at),
        "resource": "adjustment",
        "adjustment": {"note": entry.reason},
    }


BEHAVIOURS = (
    Behaviour(
        "A transaction has the signed points in points_approved and the customer as of now.",
        Evidence.DOCUMENTED,
        "https://developers.loyaltylion.com/api/resources/transactions",
        (
            Shown(
                operation="customers.listCustomers", query={"email": "{first:email}"}, after=(2, -1), status=200
            ),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "2"},
                status=200,
                tells={
                    "/transactions/0/points_approved": -1,
                    "/transactions/1/points_approved": 2,
                    "/transactions/1/customer/points_approved": "{last:/customers/0/points_approved}",
                },
            ),
        ),
    ),
    Behaviour(
        "The reason of an adjustment is the note of its transaction, null where none was given.",
        Evidence.INFERRED,
        "the transactions page, where an adjustment has a note",
        (
            Promise.HISTORY,
            Shown(operation="customers.addPointsToCustomer", without=("reason",), status=201, moves=1),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "1"},
                status=200,
                tells={"/transactions/0/adjustment/note": None},
            ),
        ),
    ),
    Behaviour(
        "Whatever changed points is an adjustment, through whichever vendor's API it came.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "A wish for CSV is refused with 400.",
        Evidence.OUR_DEFAULT,
        "its columns are not documented",
        (Shown(operation="transactions.listTransactions", query={"type": "csv"}, status=400),),
    ),
    Behaviour(
        "A customer_id that nobody has is 404.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="transactions.listTransactions", query={"customer_id": "9007199254740991"}, status=404),),
    ),
)
