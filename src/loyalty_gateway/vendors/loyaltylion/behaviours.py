"""What LoyaltyLion does, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown
from loyalty_gateway.vendors.loyaltylion import customers, pages, transactions

BEHAVIOURS = (
    Behaviour(
        "points adds and answers 201; remove_points answers 204.",
        Evidence.DOCUMENTED,
        "OpenAPI document",
        (Promise.ADDITION, Promise.DEDUCTION),
    ),
    Behaviour(
        "The 201 has zero bytes, not the JSON string of the schema.",
        Evidence.SEEN_IN_CLIENTS,
        "a production client parses only what is not empty",
        (Promise.ADDITION,),
    ),
    Behaviour(
        "A program key needs read_customers or write_customers; site token and secret may do everything.",
        Evidence.DOCUMENTED,
        "OpenAPI document, security",
        (
            Promise.SCOPE,
            Promise.CREDENTIAL_FORMS,
        ),
    ),
    Behaviour(
        "400, 401 and 403 are {error: {message, details}}; 404 and 422 are {error: text}.",
        Evidence.DOCUMENTED,
        "OpenAPI document, responses",
        (
            Promise.INVALID,
            Promise.UNREADABLE,
            Promise.MISSING_CREDENTIALS,
            Promise.WRONG_CREDENTIALS,
            Promise.SCOPE,
            Promise.OVERDRAFT,
        ),
    ),
    Behaviour(
        "401 says Authentication is required.",
        Evidence.DOCUMENTED,
        "the sister API",
        (
            Promise.MISSING_CREDENTIALS,
            Promise.WRONG_CREDENTIALS,
            Shown(
                operation="customers.listCustomers",
                anonymous=True,
                status=401,
                tells={"/error/message": "Authentication is required"},
            ),
        ),
    ),
    Behaviour(
        "400 tells each field in the words of the vendor's validator.",
        Evidence.INFERRED,
        "texts of that validator's library",
        (
            Shown(
                operation="customers.addPointsToCustomer",
                body={"points": "5"},
                status=400,
                tells={"/error/details/points": "Invalid input: expected number, received string"},
            ),
            Shown(
                operation="customers.addPointsToCustomer",
                without=("points",),
                status=400,
                tells={"/error/details/points": "Invalid input: expected number, received undefined"},
            ),
            Shown(
                operation="customers.listCustomers",
                query={"limit": "many"},
                status=400,
                tells={"/error/details/limit": "Invalid input: expected number, received NaN"},
            ),
        ),
    ),
    Behaviour(
        "Removing more than the balance is refused: Customer does not have enough points.",
        Evidence.SEEN_IN_CLIENTS,
        "text from client code; the status 422 is inferred",
        (
            Promise.OVERDRAFT,
            Shown(
                operation="customers.removePointsFromCustomer",
                body={"points": 999999999},
                status=422,
                tells={"/error": "Customer does not have enough points"},
            ),
        ),
    ),
    Behaviour(
        "An unknown key is refused as the schema says; an overlay drops it instead.",
        Evidence.DOCUMENTED,
        "OpenAPI document; the real service most likely drops it",
        (Shown(operation="customers.addPointsToCustomer", body={"noSuchField": 1}, status=400),),
    ),
    Behaviour(
        "points has no maximum in remove_points.",
        Evidence.DOCUMENTED,
        "remove points page",
        (Shown(operation="customers.removePointsFromCustomer", body={"points": 10**15}, status=422),),
    ),
    Behaviour(
        "20 requests a second; the 429 is {error: {message}}.",
        Evidence.DOCUMENTED,
        "rate limit page",
        (Promise.RATE_LIMITED,),
    ),
    Behaviour("At most 100 fields are told, and 100 characters of a key.", Evidence.OUR_DEFAULT, "-"),
    Behaviour(
        "A merchant_id of white space is refused with 400.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="customers.addPointsToCustomer", path_values={"merchant_id": " "}, status=400),),
    ),
    Behaviour("A blocked customer is refused with 422.", Evidence.OUR_DEFAULT, "-", (Promise.EXCLUDED,)),
    Behaviour(
        "Wrong method is 404; wrong media type 400.",
        Evidence.OUR_DEFAULT,
        "-",
        (Promise.WRONG_METHOD, Promise.MEDIA_TYPE),
    ),
    Behaviour(
        "merchant_id is looked up in the namespace shopify (configurable).",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="customers.addPointsToCustomer",
                path_values={"merchant_id": "{first:shopify}"},
                status=201,
                moves=1,
            ),
        ),
    ),
    *pages.BEHAVIOURS,
    *customers.BEHAVIOURS,
    *transactions.BEHAVIOURS,
)
