"""What Yotpo does where customers are looked up, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown

BEHAVIOURS = (
    Behaviour(
        "A customer is looked up by customer_email, customer_id or phone_number, one of which is needed.",
        Evidence.DOCUMENTED,
        "Loyalty API and App Developer API, customer details pages",
        (
            Promise.LOOK_UP,
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com", "phone_number": "+{new}"},
                status=200,
            ),
            Shown(
                operation="fetchCustomerDetails",
                without=("customer_id", "customer_email"),
                query={"phone_number": "+{new}"},
                status=200,
                tells={"/third_party_id": "{new}"},
            ),
            Shown(
                operation="retrieveStoreCustomerDetails",
                body={"customers": {"phone_number": "+{new}"}},
                status=200,
                tells={"/customers/third_party_id": "{new}"},
            ),
            Shown(operation="fetchCustomerDetails", without=("customer_id", "customer_email"), status=422),
        ),
    ),
    Behaviour(
        "A phone number has to be the same text, as E.164 writes it; one to be kept that stands written otherwise "
        "beside its country is 422.",
        Evidence.DOCUMENTED,
        "App Developer API, customer details page",
    ),
    Behaviour(
        "The Loyalty API finds customers by pos_account_id too.",
        Evidence.INFERRED,
        "App Developer API, customer details page",
        (
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com", "pos_account_id": "till-{new}"},
                status=200,
                tells={"/pos_account_id": "till-{new}"},
            ),
            Shown(
                operation="fetchCustomerDetails",
                without=("customer_id", "customer_email"),
                query={"pos_account_id": "till-{new}"},
                status=200,
                tells={"/third_party_id": "{new}"},
            ),
        ),
    ),
    Behaviour(
        "Of several names the first counts: customer_id, customer_email, phone_number, pos_account_id; in a query "
        "one of white space counts for nothing, and an empty one is 422.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="fetchCustomerDetails",
                query={"customer_id": "{first:shopify}", "customer_email": "{second:email}"},
                status=200,
                tells={"/email": "{first:email}"},
            ),
            Shown(
                operation="fetchCustomerDetails",
                query={"customer_id": " ", "customer_email": "{second:email}"},
                status=200,
                tells={"/email": "{second:email}"},
            ),
            Shown(
                operation="fetchCustomerDetails",
                query={"customer_email": ""},
                without=("customer_id",),
                status=422,
            ),
        ),
    ),
    Behaviour(
        "A plus that a query did not encode is still the plus of a phone number.", Evidence.OUR_DEFAULT, "-"
    ),
    Behaviour(
        "with_history and with_referral_code are false unless said, and add history_items and referral_code.",
        Evidence.DOCUMENTED,
        "both customer details pages",
        (
            Shown(
                operation="fetchCustomerDetails",
                without=("with_history", "with_referral_code"),
                status=200,
                lacks=("/history_items", "/referral_code"),
            ),
            Shown(
                operation="fetchCustomerDetails",
                query={"with_history": "true", "with_referral_code": "true"},
                after=(1,),
                status=200,
                tells={"/referral_code": None},
                looks={"/history_items/0/action": ".*"},
            ),
        ),
    ),
    Behaviour(
        "The customer has the vendor's keys, thirty_party_id beside third_party_id among them.",
        Evidence.SEEN_IN_CLIENTS,
        "a production answer",
        (
            Shown(
                operation="fetchCustomerDetails",
                status=200,
                tells={"/thirty_party_id": "{first:shopify}", "/third_party_id": "{first:shopify}"},
            ),
        ),
    ),
    Behaviour(
        "points_balance is what can be spent, points_earned all that was ever earned.",
        Evidence.DOCUMENTED,
        "Retrieve Customer Details pages",
        (
            Promise.DEDUCTION,
            Promise.LIFETIME,
        ),
    ),
    Behaviour(
        "history_items has the whole history, the oldest first.",
        Evidence.INFERRED,
        "the example of the older documentation",
        (Promise.HISTORY_PAGES,),
    ),
    Behaviour(
        "The action of a history item is the history_title.",
        Evidence.INFERRED,
        "clients search the history for a reference that they put there",
        (Promise.HISTORY,),
    ),
    Behaviour(
        "A history item is Approved, and completed when it was created; hidden adjustments stand there too.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="adjustPoints",
                body={"history_title": "Hidden {new}", "visible_to_customer": False},
                status=200,
                moves=1,
            ),
            Shown(
                operation="fetchCustomerDetails",
                query={"with_history": "true"},
                status=200,
                says="Hidden {new}",
                tells={"/history_items/0/status": "Approved"},
            ),
        ),
    ),
    Behaviour(
        "third_party_id is null for a customer without an id in its namespace; pos_account_id likewise.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "opt_in is true unless the customer is excluded, opted_in_at the day of enrolment.",
        Evidence.OUR_DEFAULT,
        "whoever is in the ledger takes part",
        (
            Shown(
                operation="fetchCustomerDetails",
                status=200,
                tells={"/opt_in": True},
                looks={"/opted_in_at": r"\d{4}-\d\d-\d\d"},
            ),
        ),
    ),
    Behaviour(
        "vip_tier_name is the tier of the lifetime points; the other fields of tiers are null.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "Purchases and perks are 0, credit is $0, has_store_account is false; visits, expiry, referral code null.",
        Evidence.OUR_DEFAULT,
        "the ledger has none of them",
        (
            Shown(
                operation="fetchCustomerDetails",
                status=200,
                tells={
                    "/total_purchases": 0,
                    "/perks_redeemed": 0,
                    "/credit_balance": "$0",
                    "/has_store_account": False,
                    "/last_seen_at": None,
                    "/points_expire_at": None,
                },
            ),
            Shown(
                operation="fetchCustomerDetails",
                query={"with_referral_code": "true"},
                status=200,
                tells={"/referral_code": None},
            ),
        ),
    ),
    Behaviour(
        "A look-up on the Loyalty API of nobody is 404.",
        Evidence.DOCUMENTED,
        "customer details page",
        (Shown(operation="fetchCustomerDetails", query={"customer_id": "nobody-at-all"}, status=404),),
    ),
    Behaviour(
        "The App Developer API wraps its look-up and its answer in customers.",
        Evidence.DOCUMENTED,
        "customer details page",
        (
            Shown(
                operation="retrieveStoreCustomerDetails",
                body={"customers": {"customer_email": "{first:email}"}},
                status=200,
                tells={"/customers/email": "{first:email}"},
            ),
        ),
    ),
    Behaviour(
        "Its look-up takes a bare body too, and its switches in either place.",
        Evidence.INFERRED,
        "customer details page: fields are shown without a wrapper",
        (
            Shown(
                operation="retrieveStoreCustomerDetails",
                without=("customers",),
                body={"customer_email": "{first:email}", "with_history": True},
                after=(1,),
                status=200,
                looks={"/customers/history_items/0/action": ".*"},
            ),
            Shown(
                operation="retrieveStoreCustomerDetails",
                body={"customers": {"customer_email": "{first:email}", "with_history": True}},
                status=200,
                looks={"/customers/history_items/0/action": ".*"},
            ),
            Shown(
                operation="retrieveStoreCustomerDetails",
                body={"customers": {"customer_email": "{first:email}"}, "with_history": True},
                status=200,
                looks={"/customers/history_items/0/action": ".*"},
            ),
        ),
    ),
    Behaviour(
        'Its look-up of nobody is 400 {"error":"Customer does not exist"}.',
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (
            Shown(
                operation="retrieveStoreCustomerDetails",
                body={"customers": {"customer_id": "nobody-at-all"}},
                options={"missing_store_customer": 400},
                status=400,
                says="Customer does not exist",
            ),
        ),
    ),
    Behaviour(
        "missing_store_customer: 404 in the options gives the other body that it is seen to give.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (
            Shown(
                operation="retrieveStoreCustomerDetails",
                body={"customers": {"customer_id": "nobody-at-all"}},
                options={"missing_store_customer": 404},
                status=404,
                tells={"/errors/0/message/customer": "Could not find customer"},
            ),
        ),
    ),
    Behaviour(
        "Its look-up shares the limit of 100 requests a minute for each app key.", Evidence.OUR_DEFAULT, "-"
    ),
)
