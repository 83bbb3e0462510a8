"""Salla's history of points: what was granted, oldest first, and how much of each grant is spent."""

from typing import Any, Final

from loyalty_gateway.adjustment import Entry, Wallet
from loyalty_gateway.customer import History, HistoryQuery, Only
from loyalty_gateway.vendor import Answer, Behaviour, Evidence, Promise, Shown, ValidRequest
from loyalty_gateway.vendors.salla.customers import customer_spelt
from loyalty_gateway.vendors.salla.dates import php_date
from loyalty_gateway.vendors.salla.language import in_language
from loyalty_gateway.vendors.salla.pages import page_of, pagination

_PER_PAGE: Final = 30


def parse_history(request: ValidRequest) -> HistoryQuery:
    """A page of one customer's grants."""
    page = page_of(request, size=_PER_PAGE)
    return HistoryQuery(
        customer=customer_spelt(request.query["customer_id"]),
        limit=page.size,
        offset=page.offset,
        only=Only.ADDED,
        newest_first=False,
    )


def render_history(history: History, request: ValidRequest) -> Answer:
    """200 with the grants; those of all pages together, less what is used of them, are the balance."""
    (wallet,) = (customer.wallet for customer in history.customers.values())
    shown = [_shown(entry, wallet, request) for entry in history.entries]
    paging = pagination(request, page_of(request, size=_PER_PAGE), count=len(shown), total=wallet.grants)
    return Answer(200, {"status": 200, "success": True, "data": shown, "pagination": paging})


def _shown(entry: Entry, wallet: Wallet, request: ValidRequest) -> dict[str, Any]:
    return {
        "name": in_language(request.headers, "مخصصة", "Custom"),
        "points": entry.points_delta,
        "used_points": _used(entry, wallet),
        "status": in_language(request.headers, "مؤكدة", "Confirmed"),
        "created_at": php_date(entry.occurred_at),
        "expiry_date": None,
        "order_id": None,
        "used_at": None,
        "notes": entry.reason,
        "reference_id": None,
    }


def _used(entry: Entry, wallet: Wallet) -> int:
    """What all deductions took from this grant, the oldest grants having been spent first."""
    deducted = wallet.granted - wallet.available
    granted_before = entry.granted_after - entry.points_delta
    return min(max(deducted - granted_before, 0), entry.points_delta)


BEHAVIOURS = (
    Behaviour(
        "The history has 30 grants a page, dates as PHP writes them in Asia/Riyadh, and pagination in camelCase.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/12250577e0, example",
        (
            Shown(
                operation="Customer-Loyalty-Points",
                without=("per_page",),
                after=(1,),
                status=200,
                tells={
                    "/pagination/perPage": 30,
                    "/pagination/currentPage": 1,
                    "/data/0/created_at/timezone": "Asia/Riyadh",
                    "/data/0/created_at/timezone_type": 3,
                },
                looks={"/data/0/created_at/date": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"},
            ),
        ),
    ),
    Behaviour(
        "There is no balance: the points less the used_points of all pages are it.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code, which sums them",
    ),
    Behaviour(
        "A deduction or a reset is no line of its own: it raises used_points of the oldest grants.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "Grants are told oldest first, so that no page changes its grants while others are written.",
        Evidence.OUR_DEFAULT,
        "-",
        (Promise.HISTORY_PAGES,),
    ),
    Behaviour(
        "Every grant is named مخصصة (Custom) and is مؤكدة (Confirmed), as those made through the API are.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/12250577e0, example; the English words are ours",
        (
            Shown(
                operation="Customer-Loyalty-Points",
                after=(1,),
                status=200,
                tells={"/data/0/name": "مخصصة", "/data/0/status": "مؤكدة"},
            ),
            Shown(
                operation="Customer-Loyalty-Points",
                headers={"accept-language": "en"},
                status=200,
                tells={"/data/0/name": "Custom", "/data/0/status": "Confirmed"},
            ),
        ),
    ),
    Behaviour(
        "Points never expire: expiry_date is null.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="Customer-Loyalty-Points", after=(1,), status=200, tells={"/data/0/expiry_date": None}),),
    ),
    Behaviour(
        "order_id, reference_id and used_at are null.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="Customer-Loyalty-Points",
                after=(1,),
                status=200,
                tells={"/data/0/order_id": None, "/data/0/reference_id": None, "/data/0/used_at": None},
            ),
        ),
    ),
    Behaviour(
        "A history without customer_id is 422 with the documented message.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/12250577e0, example of the 422",
        (
            Shown(operation="Customer-Loyalty-Points", without=("customer_id",), status=422, says="customer_id"),
            Shown(
                operation="Customer-Loyalty-Points",
                without=("customer_id",),
                headers={"accept-language": "en"},
                status=422,
                says="The customer id field is required.",
            ),
        ),
    ),
    Behaviour(
        "A history of nobody is 422 on customer_id, not an empty one.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="Customer-Loyalty-Points",
                query={"customer_id": "999999999999999999"},
                status=422,
                says="customer_id",
            ),
        ),
    ),
    Behaviour(
        "Reading needs the scope customers.read.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/12250577e0, https://docs.salla.dev/5394121e0, https://docs.salla.dev/5394122e0",
        (Promise.SCOPE,),
    ),
)
