"""What Mage does with customers, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown

BEHAVIOURS = (
    Behaviour(
        "Customers are read, listed, enrolled and updated; each comes as the same resource.",
        Evidence.DOCUMENTED,
        "customer object page",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="getCustomer",
                path_values={"identifier": "{new}"},
                status=200,
                tells={"/data": "{last:/data}"},
            ),
            Shown(
                operation="listCustomers", query={"page[size]": "1"}, status=200, tells={"/data/0": "{last:/data}"}
            ),
            Shown(
                operation="updateCustomer",
                path_values={"identifier": "{new}"},
                body={"date_of_birth": None},
                status=200,
                tells={"/data/type": "customer", "/data/id": "{new}"},
            ),
        ),
    ),
    Behaviour(
        "exclude_vip=true makes vip_tier null.",
        Evidence.DOCUMENTED,
        "retrieve a customer page",
        (Shown(operation="getCustomer", query={"exclude_vip": "true"}, status=200, says='"vip_tier":null'),),
    ),
    Behaviour(
        "exclude_vip takes truth in other spellings too: True, yes, on, 1.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="getCustomer",
                query={"exclude_vip": "yes"},
                status=200,
                tells={"/data/attributes/vip_tier": None},
            ),
            Shown(
                operation="getCustomer",
                query={"exclude_vip": "1"},
                status=200,
                tells={"/data/attributes/vip_tier": None},
            ),
        ),
    ),
    Behaviour(
        "filter[email] finds customers by a part of the address, in either case.",
        Evidence.DOCUMENTED,
        "list customers page",
        (
            Shown(
                operation="listCustomers",
                query={"filter[email]": "{part:email}"},
                status=200,
                says="{first:email}",
            ),
        ),
    ),
    Behaviour(
        "Lists have 20 to a page, at most 100, and come newest first.",
        Evidence.DOCUMENTED,
        "pagination page",
        (
            Shown(operation="listCustomers", without=("page[size]",), status=200, tells={"/meta/per_page": 20}),
            Shown(operation="listCustomers", query={"page[size]": "101"}, status=400),
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="listCustomers",
                query={"page[size]": "1"},
                without=("sort",),
                status=200,
                tells={"/data/0/id": "{new}"},
            ),
        ),
    ),
    Behaviour(
        "Enrolling answers 201 for a new customer and 200 for one enrolled already, whom it leaves as they are.",
        Evidence.DOCUMENTED,
        "enroll a customer page",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="enrollCustomer",
                body={"shopify_customer_id": "{new}"},
                status=200,
                tells={"/data": "{last:/data}"},
            ),
        ),
    ),
    Behaviour(
        "An update changes the fields it names; null takes a date away.",
        Evidence.DOCUMENTED,
        "update a customer page",
        (Promise.UPDATE,),
    ),
    Behaviour(
        "A date of birth is told as midnight in UTC of its day.",
        Evidence.DOCUMENTED,
        "example of the list customers page",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="updateCustomer",
                path_values={"identifier": "{new}"},
                body={"date_of_birth": "1990-05-17"},
                status=200,
                looks={"/data/attributes/date_of_birth": r"1990-05-17T00:00:00(\.0+)?Z"},
            ),
        ),
    ),
    Behaviour(
        "Customers whose sorted points are equal come in the order, or the reverse, of their enrolment.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "A list without any entry has 0 pages, and a page past the last is empty.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="listCustomers",
                query={"filter[email]": "nobody.{new}@example.com"},
                status=200,
                tells={"/meta/total_pages": 0},
            ),
            Shown(operation="listCustomers", query={"page[number]": "99999"}, status=200, tells={"/data": []}),
        ),
    ),
    Behaviour(
        "A page, size, sort or filter that is not documented is refused with 400; unknown parameters are ignored.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(operation="listCustomers", query={"sort": "height"}, status=400),
            Shown(operation="listCustomers", query={"no_such_parameter": "1"}, status=200),
        ),
    ),
    Behaviour(
        "Enrolling takes any Shopify id and knows no more than that: Shopify is not asked, no points are given.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="enrollCustomer",
                body={"shopify_customer_id": "{new}"},
                status=201,
                tells={
                    "/data/attributes/current_points": 0,
                    "/data/attributes/email": None,
                    "/data/attributes/first_name": None,
                },
            ),
        ),
    ),
    Behaviour(
        "Of a date sent with a time the day is kept, as it was written.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(operation="enrollCustomer", body={"shopify_customer_id": "{new}"}, status=201),
            Shown(
                operation="updateCustomer",
                path_values={"identifier": "{new}"},
                body={"date_of_birth": "1990-05-17T23:30:00-05:00"},
                status=200,
                looks={"/data/attributes/date_of_birth": r"1990-05-17T00:00:00(\.0+)?Z"},
            ),
        ),
    ),
    Behaviour(
        "vip_tier is the merchant's tier for the lifetime points; its id is its name, its multiplier 1, its "
        "badges are null.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "There are no referrals and no points that expire: their fields are null.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="getCustomer",
                status=200,
                tells={
                    "/data/attributes/referral_url": None,
                    "/data/attributes/referral_code": None,
                    "/data/attributes/points_expire_at": None,
                },
            ),
        ),
    ),
    Behaviour(
        "In lists and look-ups a customer without a Shopify id has the email address for an id, or the ledger's "
        "own name, wallet_ and a number; every operation takes either.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
)
