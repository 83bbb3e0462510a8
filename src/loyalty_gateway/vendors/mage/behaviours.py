"""What Mage does, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown
from loyalty_gateway.vendors.mage import customer_behaviours, history

BEHAVIOURS = (
    Behaviour(
        "The key stands in Authorization without a word before it.",
        Evidence.DOCUMENTED,
        "authentication page",
        (Promise.CREDENTIAL_FORMS,),
    ),
    Behaviour("A word Bearer before the key is tolerated.", Evidence.INFERRED, "habit of clients"),
    Behaviour(
        "Refusals are JSON:API; status is a string.",
        Evidence.DOCUMENTED,
        "error page",
        (
            Promise.INVALID,
            Promise.UNREADABLE,
            Promise.MISSING_CREDENTIALS,
            Promise.WRONG_CREDENTIALS,
            Promise.SCOPE,
            Promise.UNKNOWN_PATH,
            Promise.WRONG_METHOD,
        ),
    ),
    Behaviour("A read-only key is refused with 403.", Evidence.DOCUMENTED, "error page", (Promise.SCOPE,)),
    Behaviour(
        "A deduction beyond the balance floors at 0.",
        Evidence.DOCUMENTED,
        "adjust points page",
        (Promise.OVERDRAFT,),
    ),
    Behaviour(
        "update_lifetime_points and send_email default to true; mail goes out on increases only.",
        Evidence.DOCUMENTED,
        "adjust points page",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="adjustPoints",
                path_values={"identifier": "{new}"},
                without=("update_lifetime_points", "send_email"),
                body={"adjustment": 3},
                status=200,
            ),
            Shown(
                operation="getCustomer",
                path_values={"identifier": "{new}"},
                status=200,
                tells={"/data/attributes/lifetime_points": 3, "/data/attributes/redeemed_points": 0},
            ),
        ),
    ),
    Behaviour("The VIP tier is recalculated.", Evidence.DOCUMENTED, "adjust points page"),
    Behaviour(
        "400 for an adjustment that is missing, zero or no integer.",
        Evidence.DOCUMENTED,
        "adjust points page; texts are ours",
        (
            Promise.INVALID,
            Shown(operation="adjustPoints", body={"adjustment": 0}, status=400),
            Shown(operation="adjustPoints", body={"adjustment": 1.5}, status=400),
        ),
    ),
    Behaviour(
        "An excluded customer is refused with 403.", Evidence.DOCUMENTED, "adjust points page", (Promise.EXCLUDED,)
    ),
    Behaviour(
        "6 requests a second for each key, sliding.",
        Evidence.DOCUMENTED,
        "rate limit page",
        (Promise.RATE_LIMITED,),
    ),
    Behaviour(
        "The customer is named by Shopify id or by email.",
        Evidence.INFERRED,
        "documented on the sibling pages",
        (
            Shown(operation="adjustPoints", path_values={"identifier": "{first:email}"}, status=200, moves=1),
            Shown(operation="adjustPoints", path_values={"identifier": "{first:shopify}"}, status=200, moves=1),
        ),
    ),
    Behaviour(
        "The answer's id is the Shopify id, also for a customer named by email.",
        Evidence.INFERRED,
        "fields of the answer",
        (
            Shown(
                operation="adjustPoints",
                path_values={"identifier": "{first:email}"},
                status=200,
                moves=1,
                tells={"/data/id": "{first:shopify}", "/data/attributes/shopify_customer_id": "{first:shopify}"},
            ),
        ),
    ),
    Behaviour(
        "A flat body and a JSON:API one are taken.",
        Evidence.INFERRED,
        "documented for updating a customer",
        (
            Shown(
                operation="adjustPoints",
                without=("adjustment", "note", "update_lifetime_points", "send_email"),
                body={"data": {"type": "points_adjustment", "attributes": {"adjustment": 1}}},
                status=200,
                moves=1,
            ),
        ),
    ),
    Behaviour(
        "adjustment echoes what was asked, also of a floored deduction.",
        Evidence.INFERRED,
        "name of the field",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="adjustPoints",
                path_values={"identifier": "{new}"},
                body={"adjustment": -5},
                status=200,
                tells={"/data/attributes/adjustment": -5, "/data/attributes/points_after": 0},
            ),
        ),
    ),
    Behaviour(
        "An omitted note is null.",
        Evidence.INFERRED,
        "the answer's example has the field",
        (
            Shown(
                operation="adjustPoints",
                without=("note",),
                status=200,
                moves=1,
                tells={"/data/attributes/note": None},
            ),
        ),
    ),
    Behaviour(
        "A deduction lowers lifetime points too, never below 0.",
        Evidence.INFERRED,
        "meaning of update_lifetime_points",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="adjustPoints",
                path_values={"identifier": "{new}"},
                without=("update_lifetime_points",),
                body={"adjustment": 3},
                status=200,
            ),
            Shown(
                operation="adjustPoints",
                path_values={"identifier": "{new}"},
                without=("update_lifetime_points",),
                body={"adjustment": -1},
                status=200,
            ),
            Shown(
                operation="getCustomer",
                path_values={"identifier": "{new}"},
                status=200,
                tells={"/data/attributes/lifetime_points": 2},
            ),
            Shown(
                operation="adjustPoints",
                path_values={"identifier": "{new}"},
                without=("update_lifetime_points",),
                body={"adjustment": -9},
                status=200,
            ),
            Shown(
                operation="getCustomer",
                path_values={"identifier": "{new}"},
                status=200,
                tells={"/data/attributes/lifetime_points": 0},
            ),
        ),
    ),
    Behaviour(
        "A body with data and flat fields beside it is refused with 400.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="adjustPoints",
                body={"data": {"type": "points_adjustment", "attributes": {"adjustment": 1}}},
                status=400,
            ),
        ),
    ),
    Behaviour(
        "An identifier of white space is refused with 400.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="adjustPoints", path_values={"identifier": " "}, status=400),),
    ),
    Behaviour("A customer without a Shopify id is named as addressed.", Evidence.OUR_DEFAULT, "-"),
    *customer_behaviours.BEHAVIOURS,
    *history.BEHAVIOURS,
)
