"""A vendor's server as the place where adjustments are carried out: written down first, asked for once.

Every adjustment is an intent in the ledger before the upstream hears of it. What came of it is settled there too,
so that a retry gets the outcome of the first try. Where that is not known, nothing is asked for again: the
upstream's history tells, or a person does (``settling.py``).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import (
    Adjustment,
    CustomerReference,
    Everyone,
    Idempotency,
    Instruction,
    Merchant,
    Receipt,
)
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import (
    Intent,
    Outcome,
)
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.upstream.asking import Asking
from loyalty_gateway.upstream.calls import Calls
from loyalty_gateway.upstream.intents import Intents, Still
from loyalty_gateway.upstream.lists import Lists
from loyalty_gateway.upstream.loss import Plan, lost, planned, refused
from loyalty_gateway.upstream.partial import Carried, Local, Partial, receipt
from loyalty_gateway.upstream.reading import Reading
from loyalty_gateway.upstream.registering import Registering
from loyalty_gateway.upstream.server import Server
from loyalty_gateway.upstream.settings import Settings
from loyalty_gateway.upstream.targets import Target, Targets


class UpstreamBackend:
    """A ``Backend`` that carries adjustments out at a vendor's server.

    Args:
        name: of this upstream, by which its intents are known; it stays the same from one start to the next.
        server: where it is.
        options: of the upstream's vendor.
        ledger: where intents, and the customers' names, are kept.
        settings: what the operator decided.
        tells_balance: whether the client's answers tell the balance, which is read back then where nobody told it.
        on_loss: is told the fields of which something was lost.
    """

    def __init__(  # noqa: PLR0913 - the parts of an upstream
        self,
        name: str,
        server: Server,
        options: msgspec.Struct,
        ledger: Ledger,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        *,
        tells_balance: bool = True,
        on_loss: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.calls = Calls(server, options)
        self._server = server
        self._settings = settings
        self._on_loss = on_loss
        self.targets = Targets(self.calls, ledger)
        self.reading = Reading(self.calls, self.targets)
        self.registering = Registering(self.calls, self.targets, self.reading)
        self._asking = Asking(self.calls, self.reading, marks=settings.marks, tells_balance=tells_balance)
        self.intents = Intents(name, ledger, self._asking, settings)
        self.lists = Lists(self.intents, self._asking, self.reading, ledger, settings.list_at_once)
        self.customer = self.reading.customer
        self.customers = self.reading.customers
        self.history = self.reading.history
        self.update = self.registering.update

    async def close(self) -> None:
        """Lets what is under way come to its end, then closes the server's connections."""
        await self.intents.close()
        await self._server.close()

    async def enrol(
        self,
        merchant: Merchant,
        enrolment: Enrolment,
        *,
        vendor: str,  # noqa: ARG002 - keys are a vendor's
        idempotency: Idempotency | None,
    ) -> Partial:
        """See ``Registering.enrol``; a key is refused, since nobody there would know it again."""
        if idempotency is not None:
            raise Problem(Code.UNAVAILABLE)
        return await self.registering.enrol(merchant, enrolment)

    async def adjust(
        self,
        instruction: Instruction,
        *,
        follow: bool = False,
        still: Still | None = None,
    ) -> Partial:
        """See ``Ledger.adjust``; what nobody told of the outcome is filled in twice.

        What is to ``follow`` at the other side of a move is asked for customer by customer, so that what took
        effect is known of each. Nothing is begun unless it is ``still`` wanted, as is seen in the transaction that
        writes the intent down.

        Raises:
            Problem: also RECORD_BUSY while it is not known what came of the same request before.
        """
        is_everyone = isinstance(instruction.adjustment.customers, Everyone)
        if is_everyone and not follow and self._asking.said(instruction.adjustment, ()) is not None:
            return await self._everyone_at_once(instruction, still)
        targets = await self._targets(instruction)
        plan = planned(self.calls.say, instruction.adjustment, [target.reference for target in targets])
        gone = self._weigh_loss(instruction.adjustment, plan)
        try:
            partial = await self._adjusted(instruction, targets, plan, follow=follow, still=still)
        except Problem as problem:
            # It may yet be carried out.
            problem.lost = gone
            raise
        return partial._replace(lost=gone)

    async def _everyone_at_once(self, instruction: Instruction, still: Still | None) -> Partial:
        """All of them by the upstream's own word for it, for which nobody has to be named."""
        plan = planned(self.calls.say, instruction.adjustment, [])
        gone = self._weigh_loss(instruction.adjustment, plan)
        outcome, intent, is_new = await self._whole(instruction, [], plan, follow=False, still=still)
        if outcome.code is not None:
            raise Problem(outcome.code, lost=gone)
        whole = Receipt(merchant_id=intent.merchant_id, count=outcome.count)
        return Partial(whole, whole, replayed=not is_new, lost=gone)

    async def _adjusted(
        self,
        instruction: Instruction,
        targets: Sequence[Target],
        plan: Plan,
        *,
        follow: bool,
        still: Still | None,
    ) -> Partial:
        if (plan.whole is None or follow) and len(targets) > 1:
            outcome, intent, is_new = await self.lists.adjust(
                instruction, targets, plan, follow=follow, still=still
            )
        else:
            outcome, intent, is_new = await self._whole(instruction, targets, plan, follow=follow, still=still)
        if outcome.code is not None:
            raise Problem(outcome.code)
        if len(targets) != 1 or isinstance(instruction.adjustment.customers, Everyone):
            whole = Receipt(merchant_id=intent.merchant_id, count=outcome.count)
            return Partial(whole, whole, replayed=not is_new)
        return await self._receipt(instruction, intent, outcome, targets[0], replayed=not is_new)

    async def _targets(self, instruction: Instruction) -> list[Target]:
        merchant, customers = instruction.merchant, instruction.adjustment.customers
        if isinstance(customers, Everyone):
            return await self.reading.everyone(merchant)
        found = [await self.targets.find(merchant, reference) for reference in dict.fromkeys(customers)]
        return list({target.reference: target for target in found}.values())

    def _weigh_loss(self, adjustment: Adjustment, plan: Plan) -> tuple[str, ...]:
        """The fields that are lost; raises Problem INVALID on those that the operator wants refused."""
        if plan.said is None:
            return ()
        assert isinstance(plan.said.meant, Adjustment)
        fields = tuple(lost(adjustment, plan.said.meant))
        for field in fields:
            if self._on_loss is not None:
                self._on_loss(field)
        for_its_sake = refused(self._settings.loss, fields)
        if for_its_sake:
            violations = tuple(Violation(location="body", path=(name,), keyword="not") for name in for_its_sake)
            raise Problem(Code.INVALID, violations=violations, lost=fields)
        return fields

    async def _whole(
        self,
        instruction: Instruction,
        targets: Sequence[Target],
        plan: Plan,
        *,
        follow: bool,
        still: Still | None,
    ) -> tuple[Outcome, Intent, bool]:
        """What comes of one intent, which is the same request's before where there is one: it is not new then."""
        drawn_up = msgspec.structs.replace(self.intents.draw_up(instruction, targets, plan), follow=follow)
        said = None if plan.said is None else self._asking.marked(drawn_up, plan.said)
        # What it was sent with counts, whatever is configured when it is looked for.
        drawn_up = msgspec.structs.replace(drawn_up, known_again=self._asking.is_shown(drawn_up, said))
        (intent, *_), is_new = await self.intents.write_down([drawn_up], instruction.merchant, still=still)
        request = said if is_new and plan.whole is not None else None
        outcome = await self.intents.outcome(intent, targets, instruction.merchant, is_new=is_new, request=request)
        return outcome, intent, is_new

    async def _receipt(
        self, instruction: Instruction, intent: Intent, outcome: Outcome, target: Target, *, replayed: bool
    ) -> Partial:
        adjustment = instruction.adjustment
        with suppress(Problem):
            # Points have moved; that their owner cannot be written down now is no reason to say otherwise.
            target = await self.targets.remember(instruction.merchant, target)
        after = outcome.told.entry.points_after
        assert not isinstance(adjustment.customers, Everyone)
        carried = Carried(
            number=intent.id,
            vendor=intent.vendor,
            points_asked=adjustment.points_delta,
            points_delta=outcome.points_delta,
            points_after=None if after is UNSET else after,
            reason=adjustment.reason,
            metadata=adjustment.metadata,
            idempotency_key=None if instruction.idempotency is None else instruction.idempotency.key,
            occurred_at=intent.created_at,
            customer=_named(adjustment, target, outcome),
        )
        local = Local(intent.merchant_id, target.wallet_id, target.references)
        return receipt(outcome.told, carried, local)._replace(replayed=replayed)


def _named(adjustment: Adjustment, target: Target, outcome: Outcome) -> CustomerReference:
    assert not isinstance(adjustment.customers, Everyone)
    addressed = adjustment.customers[0]
    wanted = adjustment.named_by
    if wanted is None or addressed.namespace == wanted:
        return addressed
    known = (*target.references, *outcome.told.customer.references)
    return next((one for one in sorted(known, key=str) if one.namespace == wanted), addressed)
