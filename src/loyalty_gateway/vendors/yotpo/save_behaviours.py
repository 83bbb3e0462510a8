"""What Yotpo does where customers are created and updated, and how that is known."""

from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown

BEHAVIOURS = (
    Behaviour(
        "POST /api/v2/customers creates or updates, by id or else by email; email is required.",
        Evidence.DOCUMENTED,
        "Loyalty API, create/update customer records page",
        (
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com"},
                status=200,
                tells={"/email": "contract.{new}@example.com"},
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com", "first_name": "Ann"},
                status=200,
                tells={"/first_name": "Ann"},
            ),
            Shown(
                operation="createOrUpdateCustomer",
                without=("id",),
                body={"email": "contract.{new}@example.com", "last_name": "Lee"},
                status=200,
                tells={"/third_party_id": "{new}", "/first_name": "Ann", "/last_name": "Lee"},
            ),
            Shown(operation="createOrUpdateCustomer", without=("email",), body={"id": "{new}"}, status=422),
        ),
    ),
    Behaviour(
        "An email that is sent with a known id takes the place of the earlier one.",
        Evidence.DOCUMENTED,
        "Loyalty API, create/update customer records page: used where a customer changes their email",
        (
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com"},
                status=200,
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "later.{new}@example.com"},
                status=200,
                tells={"/email": "later.{new}@example.com"},
            ),
            Shown(
                operation="fetchCustomerDetails",
                without=("customer_id",),
                query={"customer_email": "later.{new}@example.com"},
                status=200,
                tells={"/third_party_id": "{new}"},
            ),
            Shown(
                operation="fetchCustomerDetails",
                without=("customer_id",),
                query={"customer_email": "contract.{new}@example.com"},
                status=404,
            ),
        ),
    ),
    Behaviour(
        "An id, phone number or pos_account_id that is sent takes the place of the earlier one.",
        Evidence.OUR_DEFAULT,
        "as the email does",
        (
            Shown(
                operation="createOrUpdateCustomer",
                body={
                    "id": "{new}",
                    "email": "contract.{new}@example.com",
                    "phone_number": "+1{new}",
                    "pos_account_id": "one-{new}",
                },
                status=200,
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={
                    "id": "{new}",
                    "email": "contract.{new}@example.com",
                    "phone_number": "+2{new}",
                    "pos_account_id": "two-{new}",
                },
                status=200,
                tells={"/phone_number": "+2{new}", "/pos_account_id": "two-{new}"},
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}7", "email": "contract.{new}@example.com"},
                status=200,
                tells={"/third_party_id": "{new}7"},
            ),
            Shown(operation="fetchCustomerDetails", query={"customer_id": "{new}"}, status=404),
        ),
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
        (
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com", "first_name": "Ann"},
                status=200,
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com", "first_name": None},
                status=200,
                tells={"/first_name": "Ann"},
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com", "first_name": " "},
                status=200,
                tells={"/first_name": "Ann"},
            ),
        ),
    ),
    Behaviour(
        "It answers 200 with the customer, a new one too.",
        Evidence.SEEN_IN_CLIENTS,
        "clients take 200 or 201",
        (
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com"},
                status=200,
                tells={"/third_party_id": "{new}"},
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{new}", "email": "contract.{new}@example.com"},
                status=200,
                tells={"/third_party_id": "{new}"},
            ),
        ),
    ),
    Behaviour(
        "An id and an email of different customers, or somebody else's phone number or pos_account_id, are 422; "
        "two customers whom adjustments enrolled by different names are never made one.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Promise.CONFLICT,
            Shown(
                operation="createOrUpdateCustomer",
                body={
                    "id": "{new}",
                    "email": "contract.{new}@example.com",
                    "phone_number": "+{new}",
                    "pos_account_id": "till-{new}",
                },
                status=200,
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{first:shopify}", "email": "{first:email}", "phone_number": "+{new}"},
                status=422,
            ),
            Shown(
                operation="createOrUpdateCustomer",
                body={"id": "{first:shopify}", "email": "{first:email}", "pos_account_id": "till-{new}"},
                status=422,
            ),
        ),
    ),
    Behaviour(
        "opt_in false is refused with 422, and so is opt_in true for an excluded customer.",
        Evidence.OUR_DEFAULT,
        "whoever is in the ledger takes part, unless the merchant excluded them",
        (Shown(operation="createOrUpdateCustomer", body={"opt_in": False}, status=422),),
    ),
)
