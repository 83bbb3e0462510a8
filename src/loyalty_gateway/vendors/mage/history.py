"""Mage's earning history: every entry of a customer's wallet, as adjustments made by hand."""

from typing import Any

from loyalty_gateway.adjustment import Entry
from loyalty_gateway.customer import History, HistoryQuery
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.vendor import Answer, Behaviour, Evidence, Promise, Shown, ValidRequest
from loyalty_gateway.vendors.mage.resource import customer_of, page, page_meta

APPROVED = "approved"
"""The status of entries whose points were given."""


def parse_list(request: ValidRequest) -> HistoryQuery:
    """A page of the history, the newest first where nothing else is asked (documented)."""
    number, size = page(request.query)
    sort = request.query.get("sort", "-created_at")
    return HistoryQuery(
        customer=customer_of(request.path_values["identifier"]),
        limit=size if _is_told(request) else 0,
        offset=(number - 1) * size,
        newest_first=sort.startswith("-"),
        # Points are given in the moment in which their entry is written, so both times sort alike.
        by_points=sort.removeprefix("-") == "points",
    )


def render_list(history: History, request: ValidRequest) -> Answer:
    """The page, and how many entries there are in all."""
    (customer,) = history.customers.values()
    return Answer(
        200,
        {
            "data": [_resource(entry) for entry in history.entries],
            # A wallet's version counts its entries.
            "meta": page_meta(request.query, customer.wallet.version if _is_told(request) else 0),
        },
    )


def _is_told(request: ValidRequest) -> bool:
    """Whether the filter lets entries pass: all of them are approved."""
    return request.query.get("filter[status]", APPROVED) == APPROVED


def _resource(entry: Entry) -> dict[str, Any]:
    occurred_at = iso_milliseconds(entry.occurred_at)
    return {
        "type": "earning_history_entry",
        "id": str(entry.id),
        "attributes": {
            "earning_rule_id": None,
            "action": "manual_adjustment",
            "points": entry.points_delta,
            "base_points": entry.points_delta,
            "points_multiplier": 1,
            "status": APPROVED,
            "order_id": None,
            "order_number": None,
            "shopify_date": None,
            "points_due_at": None,
            "points_given_at": occurred_at,
            "points_expiry_at": None,
            "manual_intervention": True,
            "created_at": occurred_at,
            "updated_at": occurred_at,
        },
    }


BEHAVIOURS = (
    Behaviour(
        "An adjustment is an entry of the earning history.",
        Evidence.DOCUMENTED,
        "adjust points page",
        (Promise.HISTORY_PAGES,),
    ),
    Behaviour(
        "The earning history is paged, filtered by status, and sorted by created_at, points or points_given_at.",
        Evidence.DOCUMENTED,
        "list earning history page",
        (
            Promise.HISTORY_PAGES,
            Shown(
                operation="listEarningHistory",
                query={"filter[status]": "approved", "sort": "-points_given_at"},
                after=(3,),
                status=200,
                tells={"/data/0/attributes/points": 3},
            ),
            Shown(
                operation="listEarningHistory",
                query={"sort": "points", "page[size]": "1"},
                after=(-1,),
                status=200,
                looks={"/data/0/type": "earning_history_entry"},
            ),
        ),
    ),
    Behaviour(
        "Every entry of the wallet is in the history, deductions too, whichever vendor's API wrote it.",
        Evidence.INFERRED,
        "the adjust points page says so of adjustments of either sign",
    ),
    Behaviour(
        "An entry has action manual_adjustment, manual_intervention true and status approved.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="listEarningHistory",
                after=(1,),
                status=200,
                tells={
                    "/data/0/attributes/action": "manual_adjustment",
                    "/data/0/attributes/manual_intervention": True,
                    "/data/0/attributes/status": "approved",
                },
            ),
        ),
    ),
    Behaviour(
        "An entry's points are those that took effect, with their sign: of a floored deduction what there was.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="adjustPoints", path_values={"identifier": "{new}"}, body={"adjustment": 3}, status=200
            ),
            Shown(
                operation="adjustPoints", path_values={"identifier": "{new}"}, body={"adjustment": -5}, status=200
            ),
            Shown(
                operation="listEarningHistory",
                path_values={"identifier": "{new}"},
                query={"sort": "-created_at"},
                status=200,
                tells={"/data/0/attributes/points": -3, "/data/1/attributes/points": 3},
            ),
        ),
    ),
    Behaviour(
        "Nothing is ever pending or rejected: those filters find nothing.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="listEarningHistory",
                query={"filter[status]": "pending"},
                status=200,
                tells={"/data": [], "/meta/total": 0},
            ),
            Shown(
                operation="listEarningHistory",
                query={"filter[status]": "rejected"},
                status=200,
                tells={"/data": [], "/meta/total": 0},
            ),
        ),
    ),
    Behaviour(
        "A page of the history costs the same wherever it lies, unless it is sorted by points.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
)
