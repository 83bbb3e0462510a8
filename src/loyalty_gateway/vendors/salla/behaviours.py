"""What Salla does, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown
from loyalty_gateway.vendors.salla import customers, history, pages

BEHAVIOURS = (
    Behaviour(
        "201 with the documented message, and 422 and 400 with theirs.",
        Evidence.DOCUMENTED,
        "OpenAPI document, examples",
        (
            Promise.ADDITION,
            Promise.INVALID,
            Promise.OVERDRAFT,
            Shown(
                operation="updateCustomerLoyaltyPoints",
                status=201,
                moves=1,
                tells={"/data/message": "تم تحديث نقاط الولاء للعملاء بنجاح"},
            ),
        ),
    ),
    Behaviour(
        "A missing scope is 401, not 403.",
        Evidence.DOCUMENTED,
        "OpenAPI document, example of the 401",
        (Promise.SCOPE,),
    ),
    Behaviour(
        "A missing or garbled header is Invalid-token.",
        Evidence.DOCUMENTED,
        "authorization page; when exactly is not told",
        (
            Promise.MISSING_CREDENTIALS,
            Shown(operation="List-Customers", anonymous=True, status=401, tells={"/error/code": "Invalid-token"}),
        ),
    ),
    Behaviour(
        "Messages are Arabic unless Accept-Language asks otherwise.",
        Evidence.DOCUMENTED,
        "localization page",
        (
            Shown(
                operation="updateCustomerLoyaltyPoints",
                headers={"accept-language": "en"},
                status=201,
                moves=1,
                says="successfully",
            ),
            Shown(operation="updateCustomerLoyaltyPoints", status=201, moves=1, says="تم"),
            Shown(
                operation="updateCustomerLoyaltyPoints",
                headers={"accept-language": "en"},
                without=("reason",),
                status=422,
                says="The reason field is required.",
            ),
            Shown(operation="updateCustomerLoyaltyPoints", without=("reason",), status=422, says="حقل"),
        ),
    ),
    Behaviour(
        "English messages are plain translations.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="updateCustomerLoyaltyPoints",
                headers={"accept-language": "en"},
                status=201,
                moves=1,
                tells={"/data/message": "Loyalty points updated successfully"},
            ),
        ),
    ),
    Behaviour("403 for an app that may not write.", Evidence.OBSERVED, "message; its envelope is inferred"),
    Behaviour(
        "reset_points, reset_point and rest_point mean the same.",
        Evidence.DOCUMENTED,
        "OpenAPI document: schema, example, description",
        (
            Promise.RESET,
            Shown(
                operation="updateCustomerLoyaltyPoints",
                body={"reset_point": True},
                without=("reset_points",),
                status=201,
                leaves=0,
            ),
            Shown(
                operation="updateCustomerLoyaltyPoints",
                body={"rest_point": True},
                without=("reset_points",),
                status=201,
                leaves=0,
            ),
            Shown(operation="updateCustomerLoyaltyPoints", body={"reset_points": True}, status=201, leaves=0),
        ),
    ),
    Behaviour(
        "A reset sets the available points to 0 whatever points and type say.",
        Evidence.OUR_DEFAULT,
        "points is required as published, so clients may send it with a reset",
        (
            Promise.RESET,
            Shown(
                operation="updateCustomerLoyaltyPoints",
                body={"reset_points": True, "points": 3, "type": "plus"},
                status=201,
                leaves=0,
            ),
        ),
    ),
    Behaviour(
        "A reset that is true in one spelling and false in another is 422.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="updateCustomerLoyaltyPoints",
                body={"reset_points": True, "reset_point": False},
                status=422,
            ),
        ),
    ),
    Behaviour(
        "select_all together with a list of customers is 422.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="updateCustomerLoyaltyPoints", body={"select_all": True}, status=422),),
    ),
    Behaviour(
        "A list has at most 10,000 customers, an id at most 20 digits, channel_send 100 items.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="updateCustomerLoyaltyPoints",
                body={"customers": ["{first:salla}"] * 10_001},
                status=422,
                says="customers",
            ),
            Shown(
                operation="updateCustomerLoyaltyPoints",
                body={"customers": ["9" * 21]},
                status=422,
                says="customers",
            ),
            Shown(
                operation="updateCustomerLoyaltyPoints",
                body={"channel_send": ["sms"] * 101},
                status=422,
                says="channel_send",
            ),
        ),
    ),
    Behaviour(
        "A fraction of a point is refused on points.",
        Evidence.INFERRED,
        "points are whole",
        (Shown(operation="updateCustomerLoyaltyPoints", body={"points": 1.5}, status=422, says='"points"'),),
    ),
    Behaviour(
        "Numeric strings pass for customers.",
        Evidence.INFERRED,
        "habit of clients",
        (
            Shown(
                operation="updateCustomerLoyaltyPoints", body={"customers": ["{first:salla}"]}, status=201, moves=1
            ),
        ),
    ),
    Behaviour("select_all needs no customers.", Evidence.INFERRED, "description of the field"),
    Behaviour("select_all passes over excluded customers.", Evidence.OUR_DEFAULT, "-"),
    Behaviour(
        "An unknown customer refuses the whole list and adjusts nobody.",
        Evidence.INFERRED,
        "documented example of the 422",
        (Promise.LIST, Promise.UNKNOWN_CUSTOMER),
    ),
    Behaviour(
        "channel_send may be empty.",
        Evidence.SEEN_IN_CLIENTS,
        "sent by a client; answer unknown",
        (Shown(operation="updateCustomerLoyaltyPoints", body={"channel_send": []}, status=201, moves=1),),
    ),
    Behaviour(
        "A minus below zero is refused with the 400, adjusting nobody.",
        Evidence.OUR_DEFAULT,
        "-",
        (Promise.OVERDRAFT, Promise.LIST),
    ),
    Behaviour("A customer listed twice is adjusted once.", Evidence.OUR_DEFAULT, "-", (Promise.LISTED_TWICE,)),
    Behaviour(
        "720 requests a minute (the plan Special) and 500 in 10 minutes for customers.",
        Evidence.DOCUMENTED,
        "rate limit page; the latter counted per store, as the docs say",
        (Promise.RATE_LIMIT_HEADERS,),
    ),
    Behaviour(
        "Retry-After tells when a 429 is over, or X-RateLimit-Reset in epoch seconds; as an upstream it is "
        "waited for.",
        Evidence.DOCUMENTED,
        "rate limit page",
        (Promise.RATE_LIMITED,),
    ),
    *history.BEHAVIOURS,
    *customers.BEHAVIOURS,
    *pages.BEHAVIOURS,
)
