"""What Yotpo does, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown
from loyalty_gateway.vendors.yotpo import look_up_behaviours, save_behaviours

BEHAVIOURS = (
    Behaviour(
        "The Loyalty API takes X-GUID and X-API-KEY, or guid and api_key in the query.",
        Evidence.DOCUMENTED,
        "Loyalty API, authentication",
        (
            Promise.CREDENTIAL_FORMS,
            Promise.MISSING_CREDENTIALS,
            Promise.WRONG_CREDENTIALS,
        ),
    ),
    Behaviour(
        "merchant_id serves for guid in the query, and with api_key in the body.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (Promise.CREDENTIAL_FORMS,),
    ),
    Behaviour(
        "The App Developer API takes the app key in the path and access_token in the query.",
        Evidence.DOCUMENTED,
        "App Developer API, adjust points page",
        (Promise.ADDITION, Promise.WRONG_CREDENTIALS),
    ),
    Behaviour(
        "Its last path segments are points/adjust.",
        Evidence.OUR_DEFAULT,
        "aliases are configurable",
        (Promise.ADDITION,),
    ),
    Behaviour(
        "Names, types and required fields of the request; history_title only required on the latter.",
        Evidence.DOCUMENTED,
        "both adjust points pages",
        (Promise.INVALID,),
    ),
    Behaviour(
        'visible_to_customer is taken as boolean and as "true" or "false" on both.',
        Evidence.INFERRED,
        "the two pages differ",
        (
            Shown(operation="adjustPoints", body={"visible_to_customer": "true"}, status=200, moves=1),
            Shown(operation="adjustStorePoints", body={"visible_to_customer": True}, status=200, moves=1),
        ),
    ),
    Behaviour(
        "A bare and a wrapped body are taken by the latter.",
        Evidence.INFERRED,
        "sibling page",
        (
            Shown(operation="adjustStorePoints", status=200, moves=1),
            Shown(
                operation="adjustStorePoints",
                without=(
                    "customer_id",
                    "customer_email",
                    "point_adjustment_amount",
                    "history_title",
                    "visible_to_customer",
                    "apply_adjustment_to_points_earned",
                    "adjustment",
                ),
                body={
                    "adjustment": {
                        "customer_id": "{first:shopify}",
                        "point_adjustment_amount": 1,
                        "history_title": "Wrapped",
                    }
                },
                status=200,
                moves=1,
            ),
        ),
    ),
    Behaviour(
        "Unknown fields are ignored.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (Shown(operation="adjustPoints", body={"no_such_field": 1}, status=200, moves=1),),
    ),
    Behaviour(
        "The answer is the event row, without a balance.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (Promise.ADDITION,),
    ),
    Behaviour(
        "The row's name is the history_title, its type PointsAdjustment.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="adjustPoints",
                body={"history_title": "Told in a probe"},
                status=200,
                moves=1,
                says='"name":"Told in a probe"',
            ),
            Shown(operation="adjustPoints", status=200, moves=1, says='"type":"PointsAdjustment"'),
        ),
    ),
    Behaviour(
        "A balance that would fall below zero is refused with 422.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code; status documented",
        (Promise.OVERDRAFT,),
    ),
    Behaviour("A busy record is 423.", Evidence.SEEN_IN_CLIENTS, "public client code; status documented"),
    Behaviour(
        "An unknown customer is 404.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (Promise.UNKNOWN_CUSTOMER,),
    ),
    Behaviour(
        "Bad credentials are 401.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (Promise.MISSING_CREDENTIALS, Promise.WRONG_CREDENTIALS),
    ),
    Behaviour(
        'Refusals are {"error": text}.',
        Evidence.SEEN_IN_CLIENTS,
        "the shape seen elsewhere",
        (Promise.INVALID, Promise.UNREADABLE, Promise.OVERDRAFT, Promise.UNKNOWN_CUSTOMER),
    ),
    Behaviour(
        "An unknown path is an HTML page.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (Promise.UNKNOWN_PATH, Promise.WRONG_METHOD),
    ),
    Behaviour(
        "apply_adjustment_to_points_earned defaults to true (configurable).",
        Evidence.OUR_DEFAULT,
        "the vendor's page preselects true",
        (
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com"},
                status=200,
            ),
            Shown(
                operation="adjustPoints",
                body={"customer_id": "{new}", "point_adjustment_amount": 5},
                without=("customer_email", "apply_adjustment_to_points_earned"),
                status=200,
            ),
            Shown(
                operation="fetchCustomerDetails",
                query={"customer_id": "{new}"},
                status=200,
                tells={"/points_earned": 5, "/points_balance": 5},
            ),
            Shown(
                operation="adjustPoints",
                body={"customer_id": "{new}", "point_adjustment_amount": -5},
                without=("customer_email",),
                status=200,
            ),
        ),
    ),
    Behaviour(
        "10 requests a second for each account, told by ratelimit headers.",
        Evidence.DOCUMENTED,
        "Loyalty API, rate limits",
        (Promise.RATE_LIMIT_HEADERS,),
    ),
    Behaviour(
        "ratelimit-reset tells the seconds after which a 429 is over; as an upstream it is waited for.",
        Evidence.INFERRED,
        "the header is documented, its unit is not",
        (Promise.RATE_LIMITED,),
    ),
    Behaviour(
        "600 requests a minute for each account, told by x-ratelimit headers.",
        Evidence.INFERRED,
        "the headers are documented, their figures are not: sixty seconds' worth",
        (Promise.RATE_LIMIT_HEADERS,),
    ),
    Behaviour(
        "100 requests a minute for each app key.",
        Evidence.DOCUMENTED,
        "App Developer API, adjust points page",
    ),
    Behaviour(
        "A customer_id of white space, or such an email without an id, is refused with 422.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="adjustPoints", body={"customer_id": " "}, status=422),),
    ),
    Behaviour(
        "Credentials in a body that is no JSON are not looked at: 415.",
        Evidence.OUR_DEFAULT,
        "older clients send forms",
    ),
    Behaviour(
        "customer_id is looked up in the namespace shopify (configurable).",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="fetchCustomerDetails",
                query={"customer_id": "{first:shopify}"},
                status=200,
                tells={"/email": "{first:email}"},
            ),
        ),
    ),
    *look_up_behaviours.BEHAVIOURS,
    *save_behaviours.BEHAVIOURS,
)
