"""Credentials: which are taken, which are refused, and that no secret is kept."""

import base64
import gc
import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from conftest import StartGateway, demo_config
from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.app import create_app
from loyalty_gateway.authentication import Authenticator, Caller, Credential, authorize
from loyalty_gateway.config import parse_config
from loyalty_gateway.journal import Journal
from loyalty_gateway.problem import Code, ConfigurationError, Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Operation, Request, Vendor
from test_bad_input import CASES, Case, every, in_voice

_DEMO = Merchant(name="demo")
_SECRETS = [
    (vendor, {name: secret for name, secret in credential.items() if name not in {"merchant", "scopes"}})
    for vendor, chosen in demo_config()["vendors"].items()
    for credential in chosen["credentials"]
]


def _credential(fields: dict[str, str], merchant: Merchant = _DEMO, **more: Any) -> Credential:
    return Credential(where="credentials[0]", fields=fields, merchant=merchant, scopes=frozenset(), **more)


def _operation(vendor: Vendor, contracts: dict[str, Contract], index: int = 0) -> tuple[Operation, Any]:
    operation = vendor.operations[index]
    return operation, contracts[vendor.name].operations[operation.id]


def _authenticate(
    vendor: Vendor, contracts: dict[str, Contract], authenticator: Authenticator, address: str = "", **given: Any
) -> Caller:
    operation, contract = _operation(vendor, contracts, given.pop("index", 0))
    request = Request(
        vendor=vendor,
        operation=operation,
        method="POST",
        path_values=given.get("path_values", {}),
        query=given.get("query", {}),
        headers=given.get("headers", {}),
        options=None,
    )
    return authenticator.authenticate(request, contract, address)


def _reachable(start: object) -> list[object]:
    """All objects that can be reached from one, types and modules left out."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type) or type(found).__name__ in {"module", "function"}:
            continue
        seen[id(found)] = found
        waiting += gc.get_referents(found)
        # Structs without cycles are not tracked by the garbage collector, and named by their fields.
        waiting += [getattr(found, name) for name in getattr(found, "__struct_fields__", ())]
    return list(seen.values())


@pytest.mark.parametrize(("vendor", "fields"), _SECRETS)
def test_no_secret_is_kept_in_memory(vendors: dict[str, Vendor], vendor: str, fields: dict[str, str]) -> None:
    authenticator = Authenticator(vendors[vendor], [_credential(fields)])

    kept = _reachable(authenticator)

    texts = [found for found in kept if isinstance(found, str)] + [
        found.decode("latin-1") for found in kept if isinstance(found, bytes)
    ]
    assert len(kept) > 20
    assert not [text for text in texts for secret in fields.values() if secret in text]
    assert not [secret for secret in fields.values() if secret in repr(vars(authenticator))]


@pytest.mark.parametrize(("vendor", "fields"), _SECRETS)
def test_a_credential_that_stands_twice_is_refused_at_start(
    vendors: dict[str, Vendor], vendor: str, fields: dict[str, str]
) -> None:
    elsewhere = Merchant(name="elsewhere")

    with pytest.raises(ConfigurationError, match="stands twice") as refusal:
        Authenticator(vendors[vendor], [_credential(fields), _credential(fields, elsewhere)])

    assert not [secret for secret in fields.values() if secret in str(refusal.value)]


@pytest.mark.parametrize("fields", [{}, {"bearer": "x"}, {"guid": "x"}, {"guid": "x", "access_token": "y"}])
def test_a_credential_of_another_form_is_refused_at_start(
    vendors: dict[str, Vendor], fields: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match=r"guid \+ api_key or app_key \+ access_token") as refusal:
        Authenticator(vendors["yotpo"], [_credential(fields)])

    assert refusal.value.where == "credentials[0]"


@pytest.mark.parametrize("fields", [{"guid": "", "api_key": "y"}, {"guid": "x", "api_key": ""}])
def test_an_empty_credential_is_refused_at_start(vendors: dict[str, Vendor], fields: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="must not be empty"):
        Authenticator(vendors["yotpo"], [_credential(fields)])


_YOTPO = [
    _credential({"guid": "guid-a", "api_key": "key-a"}),
    _credential({"guid": "guid-b", "api_key": "key-b"}, Merchant(name="other")),
    _credential({"app_key": "app-a", "access_token": "token-a"}),
    _credential({"app_key": "app-b", "access_token": "token-b"}, Merchant(name="other")),
]


@pytest.mark.parametrize(
    ("given", "merchant"),
    [
        ({"headers": {"x-guid": "guid-a", "x-api-key": "key-a"}}, "demo"),
        ({"headers": {"x-guid": "guid-b", "x-api-key": "key-b"}}, "other"),
        ({"query": {"guid": "guid-b", "api_key": "key-b"}}, "other"),
        ({"query": {"merchant_id": "guid-b", "api_key": "key-b"}}, "other"),
        ({"index": 1, "path_values": {"app_key": "app-b"}, "query": {"access_token": "token-b"}}, "other"),
    ],
)
def test_a_pair_of_credentials_names_its_merchant(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], given: dict[str, Any], merchant: str
) -> None:
    caller = _authenticate(vendors["yotpo"], contracts, Authenticator(vendors["yotpo"], _YOTPO), **given)

    assert caller.merchant.name == merchant


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"headers": {"x-guid": "guid-a", "x-api-key": "key-b"}}, Code.INVALID_CREDENTIALS),
        ({"query": {"guid": "guid-b", "api_key": "key-a"}}, Code.INVALID_CREDENTIALS),
        ({"headers": {"x-guid": "key-a", "x-api-key": "guid-a"}}, Code.INVALID_CREDENTIALS),
        ({"headers": {"x-guid": "guid-akey-a", "x-api-key": "x"}}, Code.INVALID_CREDENTIALS),
        ({"headers": {"x-guid": "app-a", "x-api-key": "token-a"}}, Code.INVALID_CREDENTIALS),
        ({"headers": {"x-guid": "GUID-A", "x-api-key": "key-a"}}, Code.INVALID_CREDENTIALS),
        ({"headers": {"x-guid": "guid-a"}, "query": {"api_key": "key-a"}}, Code.MISSING_CREDENTIALS),
        ({"headers": {"x-guid": "guid-a"}}, Code.MISSING_CREDENTIALS),
        ({"query": {"access_token": "token-a", "app_key": "app-a"}}, Code.MISSING_CREDENTIALS),
        (
            {"index": 1, "path_values": {"app_key": "app-b"}, "query": {"access_token": "token-a"}},
            Code.INVALID_CREDENTIALS,
        ),
        ({"index": 1, "path_values": {"app_key": "app-a"}}, Code.MISSING_CREDENTIALS),
        (
            {"index": 1, "path_values": {"app_key": "guid-a"}, "query": {"access_token": "key-a"}},
            Code.INVALID_CREDENTIALS,
        ),
    ],
)
def test_halves_of_different_pairs_are_no_credentials(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], given: dict[str, Any], code: Code
) -> None:
    with pytest.raises(Problem) as refusal:
        _authenticate(vendors["yotpo"], contracts, Authenticator(vendors["yotpo"], _YOTPO), **given)

    assert refusal.value.code is code


@given(pair=st.tuples(st.text(min_size=1), st.text(min_size=1)), cut=st.integers(0, 5))
def test_no_other_split_of_a_pair_is_the_same_credential(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], pair: tuple[str, str], cut: int
) -> None:
    guid, api_key = pair
    joined = guid + api_key
    other = (joined[:cut], joined[cut:])
    authenticator = Authenticator(vendors["yotpo"], [_credential({"guid": guid, "api_key": api_key})])

    try:
        headers = {"x-guid": other[0], "x-api-key": other[1]}
        known = bool(_authenticate(vendors["yotpo"], contracts, authenticator, headers=headers))
    except Problem:
        known = False

    assert known == (other == pair)


def test_a_secret_that_spells_the_name_of_a_field_is_no_other_credential(
    vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    authenticator = Authenticator(vendors["yotpo"], [_credential({"api_key": "aguidx", "guid": "b"})])

    with pytest.raises(Problem) as refusal:
        _authenticate(vendors["yotpo"], contracts, authenticator, headers={"x-api-key": "a", "x-guid": "xguidb"})

    assert refusal.value.code is Code.INVALID_CREDENTIALS


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer pat",
        "bearer pat",
        "BEARER   pat",
        _basic("token:se:cret"),
        _basic("token:se:cret").lower()[:6] + _basic("token:se:cret")[6:],
    ],
)
def test_loyaltylion_takes_its_key_and_its_site_token(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], authorization: str
) -> None:
    lion = vendors["loyaltylion"]
    known = [_credential({"bearer": "pat"}), _credential({"token": "token", "secret": "se:cret"})]

    caller = _authenticate(lion, contracts, Authenticator(lion, known), headers={"authorization": authorization})

    assert caller.merchant == _DEMO


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "pat",
        "Bearer",
        "Bearer ",
        "Bearer pa",
        "Bearer patt",
        "Bearer pat pat",
        "Basic pat",
        "Basic",
        _basic("token"),
        _basic("token:"),
        _basic(":se:cret"),
        _basic("token:se"),
        _basic("pat:"),
        "Basic /w==",
        "Basic ====",
        "Bearer token:se:cret",
        "Digest pat",
    ],
)
def test_loyaltylion_takes_nothing_else(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], authorization: str
) -> None:
    lion = vendors["loyaltylion"]
    known = [_credential({"bearer": "pat"}), _credential({"token": "token", "secret": "se:cret"})]

    with pytest.raises(Problem) as refusal:
        _authenticate(lion, contracts, Authenticator(lion, known), headers={"authorization": authorization})

    assert refusal.value.code in {Code.MISSING_CREDENTIALS, Code.INVALID_CREDENTIALS}


@pytest.mark.parametrize("authorization", ["mage_demo_key", "Bearer mage_demo_key", "bearer  mage_demo_key"])
def test_mages_key_stands_alone_or_after_a_word(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], authorization: str
) -> None:
    mage = vendors["mage"]
    authenticator = Authenticator(mage, [_credential({"api_key": "mage_demo_key"})])

    caller = _authenticate(mage, contracts, authenticator, headers={"authorization": authorization})

    assert caller.id == "credentials[0]"


@pytest.mark.parametrize("header", ["x-api-key", "x-bitbybit-key"])
def test_bitbybits_key_is_taken_from_either_header(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], header: str
) -> None:
    authenticator = Authenticator(vendors["bitbybit"], [_credential({"api_key": "key"})])

    assert _authenticate(vendors["bitbybit"], contracts, authenticator, headers={header: "key"}).merchant == _DEMO


def test_a_wrong_key_in_one_header_does_not_hide_the_right_one_in_the_other(
    vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    authenticator = Authenticator(vendors["bitbybit"], [_credential({"api_key": "key"})])
    headers = {"x-api-key": "wrong", "x-bitbybit-key": "key"}

    assert _authenticate(vendors["bitbybit"], contracts, authenticator, headers=headers).merchant == _DEMO


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("10.255.255.255", True),
        ("192.0.2.7", True),
        ("2001:db8::1", True),
        ("11.0.0.1", False),
        ("192.0.2.8", False),
        ("2001:db9::1", False),
        ("::1", False),
        ("", False),
        ("testclient", False),
        ("10.1.2", False),
        ("10.1.2.3.4", False),
    ],
)
def test_a_credential_is_taken_from_its_networks_only(
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
    address: str,
    allowed: bool,  # noqa: FBT001
) -> None:
    networks = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
    authenticator = Authenticator(vendors["bitbybit"], [_credential({"api_key": "key"}, networks=networks)])

    try:
        _authenticate(vendors["bitbybit"], contracts, authenticator, address, headers={"x-api-key": "key"})
        code = None
    except Problem as problem:
        code = problem.code

    assert code is (None if allowed else Code.ADDRESS_NOT_ALLOWED)


@every()
def test_an_address_outside_the_networks_is_refused_in_the_vendors_voice(
    start_gateway: StartGateway, case: Case
) -> None:
    config = demo_config()
    for credential in config["vendors"][case.vendor]["credentials"]:
        credential["networks"] = ["10.0.0.0/8"]
    gateway = start_gateway(config)

    answer = case.send(gateway)

    assert answer.status_code == 403
    assert in_voice(case.vendor, answer)
    assert gateway.entries() == []
    if case.vendor == "bitbybit":
        assert answer.json()["error"]["code"] == "IP_NOT_ALLOWED"


def test_the_address_is_that_of_the_connection_whatever_a_header_says(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Any
) -> None:
    config = demo_config(ledger=f"sqlite:///{tmp_path / 'ledger.db'}")
    config["vendors"]["bitbybit"]["credentials"][0]["networks"] = ["198.51.100.0/24"]
    case = CASES[0]

    def ask(address: str) -> int:
        app = create_app(
            parse_config(config, vendors, {}), vendors, journal=Journal(BytesIO()), contracts=contracts
        )
        with TestClient(app, client=(address, 50_000)) as client:
            headers = {**case.headers, "x-forwarded-for": "198.51.100.1", "forwarded": "for=198.51.100.1"}
            return client.post(case.url, json=dict(case.body), headers=headers).status_code

    assert [ask("198.51.100.9"), ask("203.0.113.9")] == [200, 403]


def test_a_missing_scope_is_named(vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> None:
    caller = Caller(id="x", merchant=_DEMO, scopes=frozenset({"customers.read"}))

    with pytest.raises(Problem) as refusal:
        authorize(caller, *_operation(vendors["salla"], contracts))

    assert (refusal.value.code, refusal.value.scope) == (Code.INSUFFICIENT_SCOPE, "customers.read_write")


@every()
def test_a_credential_without_scopes_in_the_configuration_may_do_everything(
    start_gateway: StartGateway, case: Case
) -> None:
    config = demo_config()
    for chosen in config["vendors"].values():
        chosen["credentials"] = [{n: v for n, v in one.items() if n != "scopes"} for one in chosen["credentials"]]
    gateway = start_gateway(config)
    gateway.set_available("shopify:6789012345", 100)

    assert case.send(gateway).status_code == case.success


@every()
def test_a_credential_with_no_scope_at_all_may_do_nothing(start_gateway: StartGateway, case: Case) -> None:
    config = demo_config()
    for credential in config["vendors"][case.vendor]["credentials"]:
        credential["scopes"] = []
    gateway = start_gateway(config)

    assert case.send(gateway).status_code == (401 if case.vendor == "salla" else 403)
    assert gateway.entries() == []


def test_the_same_reference_of_two_merchants_is_two_customers(start_gateway: StartGateway) -> None:
    config = demo_config()
    config["merchants"]["other"] = json.loads(json.dumps(config["merchants"]["demo"]))
    config["vendors"]["mage"]["credentials"].append({"merchant": "other", "api_key": "other-key"})
    gateway = start_gateway(config)

    gateway.post("/mage/v1/customers/6789012345/points", {"adjustment": 7}, {"authorization": "other-key"})

    assert gateway.wallet("shopify:6789012345", "other")["available"] == 7
    assert gateway.wallet("shopify:6789012345", "demo")["available"] == 0


_SPELLINGS = [
    ("mage", {"authorization": "Bearer mage_demo_key"}),
    ("bitbybit", {"x-bitbybit-key": "bbb_test_demo"}),
    *(
        (vendor, {"authorization": spelling.format(token)})
        for vendor, token in (("salla", "demo-salla-token"), ("loyaltylion", "pat_demo"))
        for spelling in ("bearer {}", "BEARER {}", "Bearer   {}")
    ),
    *(
        ("loyaltylion", {"authorization": _basic("demo-site-token:demo-site-secret").replace("Basic ", word)})
        for word in ("basic ", "BASIC ", "Basic  ")
    ),
]


@pytest.mark.parametrize(("vendor", "headers"), _SPELLINGS)
def test_however_a_credential_is_spelt_a_bad_body_is_the_clients_mistake_and_not_ours(
    start_gateway: StartGateway, vendor: str, headers: dict[str, str]
) -> None:
    gateway = start_gateway()
    case = next(case for case in CASES if case.vendor == vendor)

    good = gateway.post(case.url, dict(case.body), headers)
    bad = gateway.post(case.url, {}, headers)

    assert good.status_code == case.success
    assert bad.status_code == (422 if vendor == "salla" else 400)
    assert in_voice(vendor, bad)


@pytest.mark.parametrize(
    "query", ["guid=demo-guid&api_key=demo-api-key", "merchant_id=demo-guid&api_key=demo-api-key"]
)
def test_yotpos_credentials_in_the_query_do_for_a_good_body_and_for_a_bad_one(
    start_gateway: StartGateway, query: str
) -> None:
    gateway = start_gateway()
    case = next(case for case in CASES if case.vendor == "yotpo")

    statuses = [gateway.post(f"{case.path}?{query}", body).status_code for body in (dict(case.body), {})]

    assert statuses == [200, 422]
