"""What Yotpo does with customers, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown

BEHAVIOURS = (
    Behaviour(
        "A customer is looked up by customer_email, customer_id or phone_number, one of which is needed.",
        Evidence.DOCUMENTED,
        "Loyalty API and App Developer API, customer details pages",
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
    ),
    Behaviour(
        "Of several names the first counts: customer_id, customer_email, phone_number, pos_account_id; in a query "
        "one of white space counts for nothing, and an empty one is 422.",
        Evidence.OUR_DEFAULT,
        "-",
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
                operation="fetchCustomerDetails", query={"with_history": "true"}, status=200, says="history_items"
            ),
        ),
    ),
    Behaviour(
        "The customer has the vendor's keys, thirty_party_id beside third_party_id among them.",
        Evidence.SEEN_IN_CLIENTS,
        "a production answer",
    ),
    Behaviour(
        "points_balance is what can be spent, points_earned all that was ever earned.",
        Evidence.DOCUMENTED,
        "Retrieve Customer Details pages",
    ),
    Behaviour(
        "history_items has the whole history, the oldest first.",
        Evidence.INFERRED,
        "the example of the older documentation",
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
    ),
    Behaviour(
        "Its look-up takes a bare body too, and its switches in either place.",
        Evidence.INFERRED,
        "customer details page: fields are shown without a wrapper",
    ),
    Behaviour(
        'Its look-up of nobody is 400 {"error":"Customer does not exist"}.',
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
        (
            Shown(
                operation="retrieveStoreCustomerDetails",
                body={"customers": {"customer_id": "nobody-at-all"}},
                status=400,
                says="Customer does not exist",
            ),
        ),
    ),
    Behaviour(
        "missing_store_customer: 404 in the options gives the other body that it is seen to give.",
        Evidence.SEEN_IN_CLIENTS,
        "public client code",
    ),
    Behaviour(
        "Its look-up shares the limit of 100 requests a minute for each app key.", Evidence.OUR_DEFAULT, "-"
    ),
    Behaviour(
        "POST /api/v2/customers creates or updates, by id or else by email; email is required.",
        Evidence.DOCUMENTED,
        "Loyalty API, create/update customer records page",
    ),
    Behaviour(
        "An email that is sent with a known id takes the place of the earlier one.",
        Evidence.DOCUMENTED,
        "Loyalty API, create/update customer records page: used where a customer changes their email",
    ),
    Behaviour(
        "An id, phone number or pos_account_id that is sent takes the place of the earlier one.",
        Evidence.OUR_DEFAULT,
        "as the email does",
    ),
    Behaviour(
        "tags are separated by commas and take the place of all earlier ones.",
        Evidence.DOCUMENTED,
        "Loyalty API, create/update customer records page",
    ),
    Behaviour(
        "A detail that is null or blank is passed over, except that empty tags take all away.",
        Evidence.INFERRED,
        "create customer page of a sibling API: null skips a field",
    ),
    Behaviour(
        "It answers 200 with the customer, a new one too.",
        Evidence.SEEN_IN_CLIENTS,
        "clients take 200 or 201",
    ),
    Behaviour(
        "An id and an email of different customers, or somebody else's phone number or pos_account_id, are 422; "
        "two customers whom adjustments enrolled by different names are never made one.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "opt_in false is refused with 422, and so is opt_in true for an excluded customer.",
        Evidence.OUR_DEFAULT,
        "whoever is in the ledger takes part, unless the merchant excluded them",
    ),
)
