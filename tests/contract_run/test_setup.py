"""What a run knows of a server before it asks anything."""

import json
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from test_wrong_servers import unhurried

from loyalty_gateway.config import parse_config
from loyalty_gateway.contract_run.setup import Wish, prepare
from loyalty_gateway.contract_run.verdict import redacted
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor, discover


@pytest.mark.parametrize("vendor", sorted(discover()))
def test_a_credential_is_hidden_in_each_form_in_which_a_server_may_quote_it(
    vendor: str, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    config = parse_config(unhurried(Path("none.db")), vendors, {})
    for form in vendors[vendor].credential_forms:
        fields = {name: f'{name}/of a "merchant"' for name in form}
        wish = Wish(credentials=[f"{name}={value}" for name, value in fields.items()])
        setup = prepare(config, vendors[vendor], contracts[vendor], "http://127.0.0.1", wish)
        sent = {header for one in setup.operations for way in setup.ways(one) for header in way.headers.values()}
        forms = {*fields.values(), *(header.rpartition(" ")[2] for header in sent if header.startswith("Basic "))}
        forms |= {quote(value, safe="") for value in forms} | {urlencode({"": value})[1:] for value in forms}
        told = [
            f"{' or '.join(sent)} is unknown, as {next(iter(forms))} is",
            {"query": urlencode(fields), "body": json.dumps(fields), "path": f"/of/{quote(fields[form[0]])}"},
            dict.fromkeys(fields.values(), "as a name"),
        ]

        hidden = json.dumps(redacted(told, setup.secrets()))

        assert "***" in hidden
        assert [one for one in forms if one in hidden or json.dumps(one)[1:-1] in hidden] == []
