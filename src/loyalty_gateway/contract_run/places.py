"""Places in the requests of a vendor's record, for what a run alone knows: names, new ones, earlier answers."""

import re
from collections.abc import Mapping
from typing import Any, Final

from loyalty_gateway.contract_run.setup import Customer
from loyalty_gateway.contract_run.stage import CannotShow, Stage
from loyalty_gateway.spec.references import NOWHERE, value_at

_PLACE: Final = re.compile(r"\{(first|second|part|new|last)(?::([^}]+))?\}")


class Places:
    """The places of one behaviour's requests: ``last`` is the body of the answer before."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._new = stage.new_digits()
        self.last: Any = None

    def texts(self, values: Mapping[str, str]) -> dict[str, str]:
        """Texts by name with their places filled in; raises CannotShow where nothing is known to stand there."""
        made = {name: self.filled(value) for name, value in values.items()}
        if None in made.values():
            raise CannotShow("the answer before tells nothing to go on from")
        return {name: str(value) for name, value in made.items()}

    def filled(self, value: Any) -> Any:
        """The value with its places filled in; text that is one place becomes what stands there, text or not."""
        match value:
            case str():
                whole = _PLACE.fullmatch(value)
                return self._at(whole) if whole else _PLACE.sub(lambda place: str(self._at(place)), value)
            case dict():
                return {key: self.filled(child) for key, child in value.items()}
            case list() | tuple():
                return [self.filled(child) for child in value]
            case _:
                return value

    def _at(self, place: re.Match[str]) -> Any:
        what, where = place.groups()
        match what:
            case "new":
                return self._new
            case "last":
                return self._earlier(where)
            case "part":
                return self._name(self._stage.first, where)[1:-1].swapcase()
            case _:
                return self._name(self._stage.second if what == "second" else self._stage.first, where)

    def _earlier(self, pointer: str) -> Any:
        value = value_at(self.last, pointer)
        if value is NOWHERE:
            raise CannotShow(f"the answer before has nothing at {pointer}")
        return value

    def _name(self, customer: Customer, namespace: str) -> str:
        name = next((one.value for one in customer if one.namespace == namespace), None)
        if name is None:
            raise CannotShow(f"no {namespace} of the customer is known")
        return name
