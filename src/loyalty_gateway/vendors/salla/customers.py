"""Salla's customers: their numbers, the list with its search, and one of them."""

import re
from typing import Any, Final

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference
from loyalty_gateway.customer import Customer, CustomerQuery, Customers, CustomersQuery, sought
from loyalty_gateway.vendor import Answer, Behaviour, Evidence, Shown, ValidRequest
from loyalty_gateway.vendors.salla.dates import day_begins, day_ends, php_date, php_day
from loyalty_gateway.vendors.salla.pages import page_of, pagination

NAMESPACE: Final = "salla"
_FIRST_OWN: Final = 9 * 10**15
_PER_PAGE: Final = 15

EXTRA_FIELDS_IGNORED: Final = (
    "of the extra fields the ledger has is_blocked and total_points, which both are told wherever any is asked for"
)


def customer_numbered(number: int) -> CustomerReference:
    """Whom a number means: beyond 9 * 10^15 the ledger's own, for those to whom Salla never gave one."""
    if number > _FIRST_OWN:
        return CustomerReference(OWN_NAMESPACE, str(number - _FIRST_OWN))
    return CustomerReference(NAMESPACE, str(number))


def numbered(customer: CustomerReference) -> int | None:
    """The number that means this customer, the inverse of ``customer_numbered``; ``None`` where none does."""
    if _ANY_DIGITS.fullmatch(customer.value) is None:
        return None
    number = int(customer.value) + (_FIRST_OWN if customer.namespace == OWN_NAMESPACE else 0)
    return number if number <= _LARGEST_NUMBER and customer_numbered(number) == customer else None


def customer_spelt(text: str) -> CustomerReference:
    """Whom a number in digits means; other text means nobody that Salla has numbered."""
    return customer_numbered(int(text)) if _DIGITS.fullmatch(text) else CustomerReference(NAMESPACE, text)


def spelling(customer: CustomerReference) -> str | None:
    """The text that means this customer, the inverse of ``customer_spelt``; ``None`` where none does."""
    number = numbered(customer)
    text = customer.value if number is None else str(number)
    return text if text.strip(" \t\r\n") and customer_spelt(text) == customer else None


def number_of(customer: Customer) -> int:
    """The customer's number at Salla, or the ledger's own beyond all of those."""
    value = customer.value(NAMESPACE)
    return int(value) if value and _is_number(value) else _FIRST_OWN + customer.wallet.id


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None and int(value) <= _FIRST_OWN


_LARGEST_NUMBER: Final = 2**64 - 1
_ANY_DIGITS: Final = re.compile(r"[0-9]{1,20}")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")


def parse_list(request: ValidRequest) -> CustomersQuery:
    """A page of the store's customers, newest first, with how many there are."""
    page = page_of(request, size=_PER_PAGE)
    keyword = request.query.get("keyword")
    first_day, last_day = request.query.get("date_from"), request.query.get("date_to")
    return CustomersQuery(
        limit=page.size,
        offset=page.offset,
        containing=None if keyword is None else sought(keyword),
        searched=("email", "phone"),
        searches_names=True,
        created_from=None if first_day is None else day_begins(first_day),
        created_until=None if last_day is None else day_ends(last_day),
        counts=True,
    )


def render_list(customers: Customers, request: ValidRequest) -> Answer:
    """200 with the customers and where the page stands."""
    assert customers.total is not None
    shown = [_shown(customer, request) for customer in customers.customers]
    paging = pagination(request, page_of(request, size=_PER_PAGE), count=len(shown), total=customers.total)
    return Answer(200, {"status": 200, "success": True, "data": shown, "pagination": paging})


def parse_details(request: ValidRequest) -> CustomerQuery:
    """The customer with the number in the path."""
    return CustomerQuery(references=(customer_spelt(request.path_values["customer"]),))


def render_details(customer: Customer, request: ValidRequest) -> Answer:
    """200 with the customer."""
    return Answer(200, {"status": 200, "success": True, "data": _shown(customer, request)})


def _shown(customer: Customer, request: ValidRequest) -> dict[str, Any]:
    """Salla's customer; what the ledger does not know is empty text, or null where text has no place."""
    profile, wallet = customer.profile, customer.wallet
    mobile_code, mobile = _phone(customer.value("phone") or "")
    shown = {
        "id": number_of(customer),
        "first_name": profile.first_name or "",
        "last_name": profile.last_name or "",
        "mobile": mobile,
        "mobile_code": mobile_code,
        "email": customer.value("email"),
        "urls": {"customer": "", "admin": ""},
        "avatar": "",
        "gender": None,
        "birthday": None if profile.date_of_birth is None else php_day(profile.date_of_birth),
        "city": "",
        "country": "",
        "country_code": "",
        "currency": "",
        "location": "",
        "updated_at": php_date(wallet.updated_at),
        "groups": [],
    }
    if request.query.get("fields[]") is None:
        return shown
    return shown | {"is_blocked": wallet.excluded, "total_points": wallet.available}


def _phone(text: str) -> tuple[str, int | None]:
    """The country's code, empty where the number is told without one, and the number behind it."""
    dialled = re.sub(r"^00", "+", re.sub(r"[^0-9+]", "", text))
    if found := _INTERNATIONAL.fullmatch(dialled):
        return found["code"], int(found["number"])
    return "", int(dialled) if _NATIONAL.fullmatch(dialled) else None


# No code is the beginning of another one, so a number falls apart in one way.
_INTERNATIONAL: Final = re.compile(
    r"\+(?P<code>1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[2-9][0-9]{2})(?P<number>[0-9]{3,14})"
)
_NATIONAL: Final = re.compile(r"[0-9]{1,15}")

BEHAVIOURS = (
    Behaviour(
        "A customer whom Salla gave no number has 9 * 10^15 plus the ledger's own, which every operation takes.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "A keyword is looked for within the name, the email and the mobile number; case makes no difference.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/5394121e0; within and case are inferred",
        (Shown(operation="List-Customers", query={"keyword": "{part:email}"}, status=200, says="{first:email}"),),
    ),
    Behaviour("Customers are listed newest first.", Evidence.INFERRED, "the ids in the published examples fall"),
    Behaviour(
        "date_from and date_to are the first and the last day of enrolment, in Riyadh.",
        Evidence.INFERRED,
        "the names of the parameters; their descriptions are exchanged",
    ),
    Behaviour(
        "Any fields[] adds is_blocked and total_points, the balance; other extra fields are not told.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="Customer-Details",
                query={"fields[]": "is_blocked"},
                status=200,
                tells={"/data/is_blocked": False},
                looks={},
            ),
            Shown(
                operation="Customer-Details",
                without=("fields[]",),
                status=200,
                lacks=("/data/is_blocked", "/data/total_points"),
            ),
        ),
    ),
    Behaviour(
        "mobile is a number without the country's code, which mobile_code has without a plus.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/5394122e0, example; another one has the plus",
    ),
    Behaviour(
        "What nobody told of a customer is empty text; mobile, email, gender and birthday are null.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
    Behaviour(
        "A number that no customer has is 404, with 404 as the error's code.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/5394122e0, example of the 404; its Arabic text is that of the other 404s",
        (
            Shown(
                operation="Customer-Details",
                path_values={"customer": "999999999999999999"},
                status=404,
                tells={"/error/code": 404},
            ),
        ),
    ),
    Behaviour(
        "A path that is not a number of up to 18 digits is 422 on customer.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="Customer-Details", path_values={"customer": "jane"}, status=422, says="customer"),),
    ),
)
