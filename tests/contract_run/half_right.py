"""Servers that do as they should where most clients look: half of it is wrong, or something is done beside it."""

from base64 import b64decode, b64encode
from dataclasses import replace

from spoiling import Answered, Asked, Gateway


async def looks_at_the_guid_alone(asked: Asked, gateway: Gateway) -> Answered:
    if asked.headers.get("x-guid") == "demo-guid" and "x-api-key" in asked.headers:
        asked = replace(asked, headers={**asked.headers, "x-api-key": "demo-api-key"})
    return await gateway(asked)


async def looks_at_no_secret(asked: Asked, gateway: Gateway) -> Answered:
    scheme, _, sent = asked.headers.get("authorization", "").partition(" ")
    if scheme == "Basic" and b64decode(sent).startswith(b"demo-site-token:"):
        known = b64encode(b"demo-site-token:demo-site-secret").decode()
        asked = replace(asked, headers={**asked.headers, "authorization": f"Basic {known}"})
    return await gateway(asked)


async def obeys_whom_it_refuses(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status in {401, 403} and asked.path.endswith("/points"):
        await gateway(replace(asked, headers={**asked.headers, "authorization": "mage_demo_key"}))
    return answer


async def obeys_what_it_refuses(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status == 415:
        await gateway(replace(asked, headers={**asked.headers, "content-type": "application/json"}))
    return answer


async def pays_another_too(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status == 200 and asked.method == "POST" and "6789012345/points" in asked.path:
        other = replace(asked, path=asked.path.replace("6789012345", "6789012346"))
        await gateway(other.without("idempotency-key"))
    return answer


async def adds_a_hundred_at_most(asked: Asked, gateway: Gateway) -> Answered:
    wanted = asked.json.get("adjustment") if isinstance(asked.json, dict) else None
    if not isinstance(wanted, int) or wanted <= 100:
        return await gateway(asked)
    answer = await gateway(asked.saying(adjustment=100))
    told = answer.json
    if answer.status == 200:
        told["data"]["attributes"]["adjustment"] = wanted
    return answer.telling(told)


async def takes_a_key_for_anybody(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status == 422 and "idempotency-key" in asked.headers:
        return await gateway(replace(asked, path=asked.path.replace("6789012346", "6789012345")))
    return answer


async def floors_and_tells_a_debt(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/points"):
        return answer
    told = answer.json
    points = told["data"]["attributes"]
    points["points_after"] = points["current_points"] = points["points_before"] + points["adjustment"]
    return answer.telling(told)


async def tells_less_of_a_wallet(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/wallet"):
        return answer
    optional = {"lifetimeEarnedPoints", "version", "updatedAt"}
    return answer.telling(
        {"data": {name: value for name, value in answer.json["data"].items() if name not in optional}}
    )


async def shows_strangers_a_wallet(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 404 or not asked.path.endswith("/wallet"):
        return answer
    return await gateway(replace(asked, path=asked.path.replace("-nobody", "")))


async def tells_one_balance_in_every_entry(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/history"):
        return answer
    return answer.telling(
        {**answer.json, "data": [entry | {"availableAfter": "31337"} for entry in answer.json["data"]]}
    )


async def tells_one_moment_in_every_entry(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/history"):
        return answer
    moment = {"occurredAt": "1999-01-01T00:00:00.000Z"}
    return answer.telling({**answer.json, "data": [entry | moment for entry in answer.json["data"]]})


async def shows_strangers_a_history(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 404 or "/earning" not in asked.path:
        return answer
    return await gateway(replace(asked, path=asked.path.replace("9999999999", "6789012345")))


async def counts_customers_who_are_not_there(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/customers"):
        return answer
    return answer.telling({**answer.json, "pagination": {**answer.json["pagination"], "total": 99_999}})
