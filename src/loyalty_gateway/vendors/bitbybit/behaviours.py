"""What bitbybit does, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown
from loyalty_gateway.vendors.bitbybit import customers, history

BEHAVIOURS = (
    Behaviour(
        "The operation answers under /customer/api/open/v1 and /customer/open/v1.",
        Evidence.DOCUMENTED,
        "OpenAPI document and prose of the same page",
        (Promise.PATH_ALIAS,),
    ),
    Behaviour(
        "The key is taken from x-api-key or x-bitbybit-key.",
        Evidence.DOCUMENTED,
        "authentication page",
        (Promise.CREDENTIAL_FORMS,),
    ),
    Behaviour(
        "Refusals are {error: {code, message}} with the codes of the error page.",
        Evidence.DOCUMENTED,
        "error page",
        (
            Promise.INVALID,
            Promise.UNREADABLE,
            Promise.UNKNOWN_CUSTOMER,
            Promise.MISSING_CREDENTIALS,
            Promise.WRONG_CREDENTIALS,
            Promise.UNKNOWN_PATH,
            Promise.WRONG_METHOD,
        ),
    ),
    Behaviour(
        "Points, counters and the version are strings in answers; companyId and createdById are numbers.",
        Evidence.DOCUMENTED,
        "OpenAPI document",
        (Promise.ADDITION, Promise.DEDUCTION),
    ),
    Behaviour(
        "100 requests a minute for each key, told by RateLimit-* on every answer.",
        Evidence.DOCUMENTED,
        "rate limit page",
        (Promise.RATE_LIMIT_HEADERS,),
    ),
    Behaviour(
        "RateLimit-Reset tells the seconds after which a 429 is over; as an upstream it is waited for.",
        Evidence.DOCUMENTED,
        "rate limit page",
        (Promise.RATE_LIMITED,),
    ),
    Behaviour(
        "An IP allow list refuses other addresses with 403 IP_NOT_ALLOWED.",
        Evidence.DOCUMENTED,
        "authentication page",
    ),
    Behaviour(
        "pointsDelta is signed, the reason comes back as the entry's note, createdById is null for API keys.",
        Evidence.INFERRED,
        "fields of the answer's schema",
        (
            Promise.ADDITION,
            Promise.DEDUCTION,
            Promise.HISTORY,
            Shown(
                operation="adjustCustomerPoints",
                status=200,
                moves=1,
                tells={"/data/ledger/pointsDelta": "1", "/data/ledger/createdById": None},
            ),
        ),
    ),
    Behaviour(
        "An idempotencyKey is made when none was sent.",
        Evidence.INFERRED,
        "the answer's key may not be null",
        (
            Shown(
                operation="adjustCustomerPoints",
                without=("idempotencyKey",),
                status=200,
                moves=1,
                looks={"/data/idempotencyKey": ".+"},
            ),
        ),
    ),
    Behaviour(
        "Adjusting needs the scope customers.write.",
        Evidence.INFERRED,
        "scopes are resource and action",
        (Promise.SCOPE,),
    ),
    Behaviour(
        "The same key again gives the same answer and no second entry.",
        Evidence.INFERRED,
        "meaning of an idempotency key",
        (Promise.REPLAY,),
    ),
    Behaviour(
        "The same key with another payload is 400 VALIDATION_ERROR.",
        Evidence.OUR_DEFAULT,
        "-",
        (Promise.KEY_REUSED,),
    ),
    Behaviour(
        "An empty idempotencyKey counts as none.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="adjustCustomerPoints", body={"idempotencyKey": ""}, status=200, moves=1),),
    ),
    Behaviour(
        "An idempotencyKey of more than 255 characters is refused.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="adjustCustomerPoints", body={"idempotencyKey": "k" * 256}, status=400),),
    ),
    Behaviour(
        "An idempotencyKey and an Idempotency-Key header that differ are refused.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="adjustCustomerPoints",
                body={"idempotencyKey": "one"},
                headers={"idempotency-key": "other"},
                status=400,
            ),
        ),
    ),
    Behaviour(
        "A customerId of white space is refused with 400.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="adjustCustomerPoints", path_values={"customerId": " "}, status=400),),
    ),
    Behaviour(
        "Deducting below zero is refused with 400 VALIDATION_ERROR.",
        Evidence.OUR_DEFAULT,
        "-",
        (Promise.OVERDRAFT,),
    ),
    Behaviour(
        "entryType is adjustment, referenceType manual_adjustment.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="adjustCustomerPoints",
                status=200,
                moves=1,
                tells={"/data/ledger/entryType": "adjustment", "/data/ledger/referenceType": "manual_adjustment"},
            ),
        ),
    ),
    Behaviour("An excluded customer is refused with 403.", Evidence.OUR_DEFAULT, "-", (Promise.EXCLUDED,)),
    *history.BEHAVIOURS,
    *customers.BEHAVIOURS,
)
