"""bitbybit's reading of points: a customer's wallet, and its history page by page."""

from loyalty_gateway.adjustment import customer_reference
from loyalty_gateway.customer import Customer, CustomerQuery, History, HistoryQuery, Only
from loyalty_gateway.moment import iso_microseconds, microseconds_of
from loyalty_gateway.vendor import Answer, Behaviour, Evidence, Promise, Shown, ValidRequest
from loyalty_gateway.vendors.bitbybit.wallet import entry_of, wallet_of

_FILTERS = {"all": Only.ALL, "points_added": Only.ADDED, "points_deducted": Only.DEDUCTED}


def parse_wallet(request: ValidRequest) -> CustomerQuery:
    """The customer of the path."""
    return CustomerQuery(references=(customer_reference("bitbybit", request.path_values["customerId"]),))


def render_wallet(customer: Customer, request: ValidRequest) -> Answer:
    """The wallet as it stands."""
    return Answer(200, {"data": wallet_of(customer.wallet, request.path_values["customerId"])})


def parse_history(request: ValidRequest) -> HistoryQuery:
    """A page of the history that ends before a moment; the newest entries first (inferred)."""
    before = request.query.get("before")
    return HistoryQuery(
        customer=customer_reference("bitbybit", request.path_values["customerId"]),
        limit=_limit(request),
        only=_FILTERS[request.query.get("filter", "all")],
        until=None if before is None else microseconds_of(before) - 1,
    )


def render_history(history: History, request: ValidRequest) -> Answer:
    """The page; ``nextBefore`` is the moment of its last entry where there are more."""
    (customer,) = history.customers.values()
    company_id, customer_id = customer.wallet.merchant_id, request.path_values["customerId"]
    return Answer(
        200,
        {
            "data": [entry_of(entry, company_id, customer_id) for entry in history.entries],
            "pagination": {
                "limit": _limit(request),
                "hasMore": history.has_more,
                # Entries show milliseconds, in one of which several can stand; a page begins between two of them.
                "nextBefore": iso_microseconds(history.entries[-1].occurred_at) if history.has_more else None,
            },
        },
    )


def _limit(request: ValidRequest) -> int:
    return int(request.query.get("limit", "20"))


BEHAVIOURS = (
    Behaviour(
        "A customer's wallet is read by itself.",
        Evidence.DOCUMENTED,
        "wallet page",
        (
            Promise.LOOK_UP,
            Shown(operation="getLoyaltyWallet", status=200, looks={"/data/availablePoints": "-?[0-9]+"}),
        ),
    ),
    Behaviour(
        "The history is filtered by all, points_added or points_deducted; a page has 20 entries, at most 100.",
        Evidence.DOCUMENTED,
        "point history page",
        (
            Shown(
                operation="getLoyaltyPointHistory",
                query={"filter": "points_deducted"},
                without=("limit",),
                after=(2, -1),
                status=200,
                tells={"/data/0/pointsDelta": "-1", "/pagination/limit": 20},
            ),
            Shown(
                operation="getLoyaltyPointHistory",
                query={"filter": "points_added", "limit": "100"},
                status=200,
                tells={"/data/0/pointsDelta": "2"},
            ),
            Shown(operation="getLoyaltyPointHistory", query={"limit": "101"}, status=400),
        ),
    ),
    Behaviour(
        "The history comes newest first, and before excludes the moment it names.",
        Evidence.INFERRED,
        "its pages are led on by nextBefore",
        (
            Promise.HISTORY_PAGES,
            Shown(
                operation="getLoyaltyPointHistory",
                query={"limit": "1"},
                after=(4, 3),
                status=200,
                tells={"/data/0/pointsDelta": "3"},
            ),
            Shown(
                operation="getLoyaltyPointHistory",
                query={"limit": "1", "before": "{last:/pagination/nextBefore}"},
                status=200,
                tells={"/data/0/pointsDelta": "4"},
            ),
        ),
    ),
    Behaviour(
        "nextBefore has microseconds, so that of entries of one millisecond none is lost between pages.",
        Evidence.INFERRED,
        "paging by a time that several entries show would lose some",
        (
            Shown(
                operation="getLoyaltyPointHistory",
                query={"limit": "1"},
                after=(1, 1),
                status=200,
                looks={"/pagination/nextBefore": r".+\.[0-9]{6}Z"},
            ),
        ),
    ),
    Behaviour(
        "nextBefore is null on the last page.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="getLoyaltyPointHistory",
                query={"before": "2000-01-01T00:00:00Z"},
                status=200,
                tells={"/data": [], "/pagination/nextBefore": None},
            ),
        ),
    ),
    Behaviour(
        "Reading needs the scope customers.read.",
        Evidence.INFERRED,
        "scopes are resource and action",
        (Promise.SCOPE,),
    ),
    Behaviour(
        "The history holds every entry of the wallet, whichever vendor's API wrote it.", Evidence.OUR_DEFAULT, "-"
    ),
    Behaviour(
        "A filter, limit or time that is not documented is refused with 400 VALIDATION_ERROR; unknown parameters "
        "are ignored.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(operation="getLoyaltyPointHistory", query={"filter": "spent"}, status=400),
            Shown(operation="getLoyaltyPointHistory", query={"noSuchParameter": "1"}, status=200),
        ),
    ),
)
