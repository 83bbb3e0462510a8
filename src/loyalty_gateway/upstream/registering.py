"""Customers made and changed at an upstream, where its own operations say just what was asked."""

import msgspec

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.customer import CustomerUpdate, Enrolment, Existing
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldCustomer, ToldEnrolment
from loyalty_gateway.upstream import partial
from loyalty_gateway.upstream.calls import Calls
from loyalty_gateway.upstream.partial import Partial
from loyalty_gateway.upstream.reading import Reading, local
from loyalty_gateway.upstream.targets import Targets


class Registering:
    """Enrols and updates at one upstream; whatever would be lost on the way is refused."""

    def __init__(self, calls: Calls, targets: Targets, reading: Reading) -> None:
        self._calls = calls
        self._targets = targets
        self._reading = reading

    async def enrol(self, merchant: Merchant, enrolment: Enrolment) -> Partial:
        """See ``Ledger.enrol``; the customer is remembered in the ledger with the names that the upstream tells.

        Raises:
            Problem: UNAVAILABLE also where the upstream cannot be asked for it; what the upstream refuses.
        """
        said = self._calls.say(enrolment)
        if said is None or said.meant != enrolment:
            raise Problem(Code.UNAVAILABLE)
        # A second try would find the customer whom the first one made.
        told = await self._calls.registered(said, repeats=enrolment.existing is not Existing.REFUSE)
        if not isinstance(told, ToldEnrolment):
            raise Problem(Code.UNAVAILABLE)
        references = tuple(dict.fromkeys((*enrolment.references, *enrolment.attached)))
        target = await self._targets.enrolled(merchant, references, told.customer)
        whole, target = await self._reading.whole(merchant, target, told.customer)
        return partial.enrolled(told, whole, local(target))

    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Partial:
        """See ``Ledger.update``.

        Raises:
            Problem: UNAVAILABLE also where the upstream cannot be asked for it; what the upstream refuses.
        """
        target = await self._targets.find(merchant, update.customer)
        asked = msgspec.structs.replace(update, customer=target.reference)
        said = self._calls.say(asked)
        if said is None or said.meant != asked:
            raise Problem(Code.UNAVAILABLE)
        told = await self._calls.registered(said, repeats=True)
        known = told if isinstance(told, ToldCustomer) else ToldCustomer()
        whole, target = await self._reading.whole(merchant, target, known)
        return partial.customer(whole, local(target))
