"""Servers that break one promise each, and the check that finds it."""

import asyncio
from dataclasses import dataclass, replace

from half_right import (
    adds_a_hundred_at_most,
    counts_customers_who_are_not_there,
    floors_and_tells_a_debt,
    looks_at_no_secret,
    looks_at_the_guid_alone,
    obeys_what_it_refuses,
    obeys_whom_it_refuses,
    pays_another_too,
    shows_strangers_a_history,
    shows_strangers_a_wallet,
    takes_a_key_for_anybody,
    tells_less_of_a_wallet,
    tells_one_balance_in_every_entry,
    tells_one_moment_in_every_entry,
)
from spoiling import Answered, Asked, Gateway, Spoil

_LONGER_THAN_A_RUN = 6.0


@dataclass(frozen=True)
class WrongServer:
    """A vendor's server that breaks a promise at one operation.

    ``found_by`` is the check that is to find it, ``breaks_too`` what else does not hold because of it; ``rounds``
    of generated requests are needed.
    """

    vendor: str
    spoil: Spoil
    operation: str
    found_by: str
    breaks_too: tuple[str, ...] = ()
    rounds: int = 0


async def right(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(asked)


async def wrong_status(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, status=202) if answer.status == 200 and asked.path.endswith("/adjust") else answer


async def wrong_envelope(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return answer.telling({"message": "no"}) if 400 <= answer.status < 500 else answer


async def number_for_string(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/wallet"):
        return answer
    wallet = answer.json["data"]
    return answer.telling({"data": {**wallet, "availablePoints": int(wallet["availablePoints"])}})


async def missing_header(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(
        answer, headers={name: text for name, text in answer.headers.items() if name != "ratelimit-reset"}
    )


async def dropped_field(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/points"):
        return answer
    told = answer.json
    del told["data"]["attributes"]["points_after"]
    return answer.telling(told)


async def takes_the_forbidden(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status == 422 and isinstance(asked.json, dict) and not isinstance(asked.json.get("points", 1), int):
        return answer.telling({"status": 201, "success": True, "data": {"code": 201, "message": "done"}}, 201)
    return answer


async def refuses_the_admitted(asked: Asked, gateway: Gateway) -> Answered:
    if asked.method == "GET" and asked.path.endswith("/v2/customers"):
        return Answered(400).telling({"error": {"message": "Invalid request", "details": {"limit": "no"}}})
    return await gateway(asked)


async def refuses_admitted_additions(asked: Asked, gateway: Gateway) -> Answered:
    """As if there were too few points, which an addition cannot be refused for."""
    wanted = asked.json.get("adjustment", 0) if isinstance(asked.json, dict) else 0
    if not isinstance(wanted, int) or wanted <= 7:
        return await gateway(asked)
    answer = await gateway(asked.saying(adjustment=0))
    return replace(answer, status=422)


async def applies_again(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(asked.without("idempotency-key"))


async def forgets_what_a_key_was_for(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return await gateway(asked.without("idempotency-key")) if answer.status == 422 else answer


async def floors(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    while (
        b"points" in answer.body
        and answer.status == 422
        and asked.path.endswith("/remove_points")
        and asked.json["points"] > 1
    ):
        asked = asked.saying(points=asked.json["points"] // 2)
        answer = await gateway(asked)
    return answer


async def refuses_instead_of_flooring(asked: Asked, gateway: Gateway) -> Answered:
    wanted = asked.json.get("adjustment", 0) if isinstance(asked.json, dict) else 0
    if isinstance(wanted, int) and wanted < 0:
        reading = replace(asked, method="GET", path=asked.path.removesuffix("/points"), body=b"")
        shown = await gateway(reading)
        if shown.status == 200 and shown.json["data"]["attributes"]["current_points"] + wanted < 0:
            error = {"status": "400", "title": "Bad Request", "detail": "Not enough points"}
            return Answered(400).telling({"errors": [error]})
    return await gateway(asked)


async def ignores_credentials(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(replace(asked, headers={**asked.headers, "authorization": "Bearer demo-salla-token"}))


async def lets_readers_write(asked: Asked, gateway: Gateway) -> Answered:
    sent = asked.headers.get("authorization", "").replace("demo-salla-readonly", "demo-salla-token")
    return await gateway(replace(asked, headers={**asked.headers, "authorization": sent}))


async def answers_a_page(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 404:
        return answer
    return Answered(404, {"content-type": "text/html"}, b"<h1>Not Found</h1>")


async def applies_half_a_list(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    listed = asked.json.get("customers") if isinstance(asked.json, dict) else None
    if answer.status in {400, 422} and isinstance(listed, list) and len(listed) > 1:
        await gateway(asked.saying(customers=listed[:1]))
    return answer


async def resets_nothing(asked: Asked, gateway: Gateway) -> Answered:
    if isinstance(asked.json, dict) and asked.json.get("reset_points") is True:
        return await gateway(asked.saying(reset_points=False, points=1, type="minus"))
    return await gateway(asked)


async def tells_a_limit_that_never_shrinks(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    limit = answer.headers.get("ratelimit-limit")
    return replace(answer, headers=answer.headers | {"ratelimit-remaining": limit}) if limit else answer


async def breaks_down(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, status=500) if answer.status == 400 else answer


async def forgets_the_history(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/transactions"):
        return answer
    return answer.telling({**answer.json, "transactions": []})


async def adds_twice(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status == 201 and asked.path.endswith("/points") and "idempotency-key" not in asked.headers:
        await gateway(asked)
    return answer


async def knows_one_key_header(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(asked.without("x-bitbybit-key"))


async def forgets_its_further_path(asked: Asked, gateway: Gateway) -> Answered:
    if "/customer/open/v1/" in asked.path:
        return Answered(404).telling({"error": {"code": "NOT_FOUND", "message": "Not found"}})
    return await gateway(asked)


async def dislikes_decimal_points(asked: Asked, gateway: Gateway) -> Answered:
    if b".0" in asked.body:
        error = {"status": "400", "title": "Bad Request", "detail": "No integer"}
        return Answered(400).telling({"errors": [error]})
    return await gateway(asked)


async def forgets_what_was_earned(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    customer = answer.json.get("data") if asked.method == "GET" and answer.status == 200 else None
    if not isinstance(customer, dict):
        return answer
    forgotten = {"lifetime_points": customer["attributes"]["current_points"], "redeemed_points": 0}
    return answer.telling({"data": customer | {"attributes": customer["attributes"] | forgotten}})


async def takes_the_excluded(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    excludes = answer.status == 403 and b"exclud" in answer.body
    return replace(answer, status=200) if excludes and asked.path.endswith("/points") else answer


async def shares_an_address(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, status=201) if answer.status == 409 else answer


async def knows_no_email(asked: Asked, gateway: Gateway) -> Answered:
    if asked.method == "POST" and "customer_email" in (asked.json or {}).get("customers", {}):
        return Answered(400).telling({"error": "Customer does not exist"})
    return await gateway(asked)


async def forgets_birthdays(asked: Asked, gateway: Gateway) -> Answered:
    if isinstance(asked.json, dict) and "date_of_birth" in asked.json:
        return await gateway(asked.saying(date_of_birth=None))
    return await gateway(asked)


async def tells_the_oldest_first(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/history"):
        return answer
    return answer.telling({**answer.json, "data": answer.json["data"][::-1]})


async def fills_its_pages(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/v1/customers"):
        return answer
    return answer.telling({**answer.json, "data": answer.json["data"] * 2})


async def links_to_no_page(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, headers={name: text for name, text in answer.headers.items() if name != "link"})


async def calls_every_key_missing(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 401:
        return answer
    return answer.telling({"error": {"code": "MISSING_API_KEY", "message": "API key is required"}})


async def refuses_for_ever(_asked: Asked, _gateway: Gateway) -> Answered:
    return Answered(429, {"retry-after": "0"}).telling({"message": "Too many"})


async def forgets_balances(asked: Asked, gateway: Gateway) -> Answered:
    if asked.method == "GET":
        return Answered(500).telling({"message": "no"})
    return await gateway(asked)


class Silent:
    """Answers so many requests and then no more."""

    def __init__(self, answered: int) -> None:
        self._left = answered

    async def __call__(self, asked: Asked, gateway: Gateway) -> Answered:
        self._left -= 1
        if self._left < 0:
            await asyncio.sleep(_LONGER_THAN_A_RUN)
        return await gateway(asked)


async def slowly(asked: Asked, gateway: Gateway) -> Answered:
    await asyncio.sleep(0.03)
    return await gateway(asked)


async def tells_too_much(_asked: Asked, _gateway: Gateway) -> Answered:
    return Answered(200).telling({"message": "x" * 9_000_000})


WRONG_SERVERS = (
    WrongServer(
        "bitbybit",
        wrong_status,
        "adjustCustomerPoints",
        "conformance/status/adjustCustomerPoints",
        breaks_too=(
            "parity/addition",
            "parity/deduction",
            "parity/history",
            "parity/shown",
            "parity/whole_floats",
        ),
    ),
    WrongServer(
        "mage",
        wrong_envelope,
        "adjustPoints",
        "conformance/body/adjustPoints",
        breaks_too=(
            "parity/excluded",
            "parity/invalid",
            "parity/key_reused",
            "parity/media_type",
            "parity/scope",
            "parity/unknown_customer",
        ),
    ),
    WrongServer(
        "bitbybit",
        number_for_string,
        "getLoyaltyWallet",
        "conformance/body/getLoyaltyWallet",
        breaks_too=("parity/look_up",),
    ),
    WrongServer("bitbybit", missing_header, "getLoyaltyWallet", "parity/rate_limit_headers"),
    WrongServer(
        "mage",
        dropped_field,
        "adjustPoints",
        "parity/addition",
        breaks_too=(
            "conformance/body/adjustPoints",
            "parity/deduction",
            "parity/overdraft",
            "parity/whole_floats",
        ),
    ),
    WrongServer(
        "salla",
        takes_the_forbidden,
        "updateCustomerLoyaltyPoints",
        "conformance/invalid-requests/updateCustomerLoyaltyPoints",
        rounds=2,
        breaks_too=("parity/shown",),
    ),
    WrongServer(
        "loyaltylion",
        refuses_the_admitted,
        "customers.listCustomers",
        "conformance/valid-requests/customers.listCustomers",
        breaks_too=(
            "parity/list_pages",
            "parity/look_up",
            "parity/missing_credentials",
            "parity/shown",
        ),
    ),
    WrongServer(
        "mage",
        refuses_admitted_additions,
        "adjustPoints",
        "conformance/valid-requests/adjustPoints",
        rounds=1,
        breaks_too=("parity/addition",),
    ),
    WrongServer("mage", applies_again, "adjustPoints", "parity/replay", breaks_too=("parity/key_reused",)),
    WrongServer("mage", forgets_what_a_key_was_for, "adjustPoints", "parity/key_reused"),
    WrongServer(
        "loyaltylion",
        floors,
        "customers.removePointsFromCustomer",
        "parity/overdraft",
        breaks_too=("parity/shown",),
    ),
    WrongServer("mage", refuses_instead_of_flooring, "adjustPoints", "parity/overdraft"),
    WrongServer(
        "salla",
        ignores_credentials,
        "List-Customers",
        "parity/missing_credentials",
        breaks_too=("parity/wrong_credentials",),
    ),
    WrongServer("salla", lets_readers_write, "updateCustomerLoyaltyPoints", "parity/scope"),
    WrongServer(
        "mage",
        answers_a_page,
        "adjustPoints",
        "conformance/media-type/adjustPoints",
        breaks_too=(
            "parity/unknown_path",
            "parity/unknown_customer",
        ),
    ),
    WrongServer(
        "salla", applies_half_a_list, "updateCustomerLoyaltyPoints", "parity/list", breaks_too=("parity/shown",)
    ),
    WrongServer(
        "salla", resets_nothing, "updateCustomerLoyaltyPoints", "parity/reset", breaks_too=("parity/shown",)
    ),
    WrongServer("yotpo", tells_a_limit_that_never_shrinks, "adjustPoints", "parity/rate_limit_headers"),
    WrongServer(
        "bitbybit",
        breaks_down,
        "listCustomers",
        "conformance/server-errors/listCustomers",
        rounds=1,
        breaks_too=("parity/shown",),
    ),
    WrongServer("loyaltylion", forgets_the_history, "customers.addPointsToCustomer", "parity/history"),
    WrongServer(
        "loyaltylion",
        adds_twice,
        "customers.addPointsToCustomer",
        "parity/addition",
        breaks_too=(
            "parity/history",
            "parity/shown",
            "parity/whole_floats",
        ),
    ),
    WrongServer("bitbybit", knows_one_key_header, "getLoyaltyWallet", "parity/credential_forms"),
    WrongServer("bitbybit", forgets_its_further_path, "getLoyaltyWallet", "parity/path_alias"),
    WrongServer("bitbybit", calls_every_key_missing, "getLoyaltyWallet", "parity/wrong_credentials"),
    WrongServer(
        "bitbybit",
        shares_an_address,
        "createCustomer",
        "parity/conflict",
        breaks_too=("conformance/body/createCustomer",),
    ),
    WrongServer("bitbybit", tells_the_oldest_first, "getLoyaltyPointHistory", "parity/history_pages"),
    WrongServer("mage", dislikes_decimal_points, "adjustPoints", "parity/whole_floats"),
    WrongServer("mage", forgets_what_was_earned, "adjustPoints", "parity/lifetime"),
    WrongServer(
        "mage",
        takes_the_excluded,
        "adjustPoints",
        "parity/excluded",
        breaks_too=("conformance/body/adjustPoints",),
    ),
    WrongServer("mage", forgets_birthdays, "updateCustomer", "parity/update"),
    WrongServer("mage", fills_its_pages, "listCustomers", "parity/list_pages"),
    WrongServer(
        "yotpo", knows_no_email, "retrieveStoreCustomerDetails", "parity/look_up", breaks_too=("parity/shown",)
    ),
    WrongServer("loyaltylion", links_to_no_page, "customers.listTransactionsForCustomer", "parity/shown"),
    WrongServer("yotpo", looks_at_the_guid_alone, "adjustPoints", "parity/wrong_credentials"),
    WrongServer("loyaltylion", looks_at_no_secret, "customers.addPointsToCustomer", "parity/wrong_credentials"),
    WrongServer(
        "mage",
        obeys_whom_it_refuses,
        "adjustPoints",
        "parity/missing_credentials",
        breaks_too=("parity/scope", "parity/wrong_credentials"),
    ),
    WrongServer("mage", obeys_what_it_refuses, "adjustPoints", "parity/media_type"),
    WrongServer("mage", pays_another_too, "adjustPoints", "parity/addition"),
    WrongServer("mage", adds_a_hundred_at_most, "adjustPoints", "parity/addition"),
    WrongServer("mage", takes_a_key_for_anybody, "adjustPoints", "parity/key_reused"),
    WrongServer("mage", floors_and_tells_a_debt, "adjustPoints", "parity/overdraft"),
    WrongServer("bitbybit", tells_less_of_a_wallet, "getLoyaltyWallet", "parity/look_up"),
    WrongServer("bitbybit", shows_strangers_a_wallet, "getLoyaltyWallet", "parity/look_up"),
    WrongServer("bitbybit", tells_one_balance_in_every_entry, "getLoyaltyPointHistory", "parity/history_pages"),
    WrongServer("bitbybit", tells_one_moment_in_every_entry, "getLoyaltyPointHistory", "parity/history_pages"),
    WrongServer("mage", shows_strangers_a_history, "listEarningHistory", "parity/history_pages"),
    WrongServer("salla", counts_customers_who_are_not_there, "List-Customers", "parity/list_pages"),
)
