"""Enrolling customers and changing what is known of them, each within the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Tier, Wallet
from loyalty_gateway.customer import Customer, CustomerUpdate, Enrolled, Enrolment, Existing
from loyalty_gateway.ledger.jobs import hold_and_catch_up, last_job
from loyalty_gateway.ledger.reading import Reader
from loyalty_gateway.ledger.statements import Dialect, Insert, NewIds, Statement, Work, only
from loyalty_gateway.ledger.tables import REFERENCES, WALLETS, blank_wallet, row_of_wallet
from loyalty_gateway.problem import Code, Problem


class Register:
    """A merchant's customers, to be enrolled and changed at the moment ``now``."""

    def __init__(self, dialect: Dialect, merchant_id: int, tiers: Sequence[Tier], now: int) -> None:
        self._dialect = dialect
        self._reader = Reader(dialect, merchant_id, tiers)
        self._merchant_id = merchant_id
        self._now = now

    def enrol(self, enrolment: Enrolment) -> Work[Enrolled]:
        """See ``Ledger.enrol``."""
        known, lacking = yield from self._found(enrolment)
        is_new = known is None
        wallet_id = (yield from self._new_wallet()) if known is None else known
        yield from hold_and_catch_up(self._dialect, self._merchant_id, (wallet_id,))
        before = yield from self._customer(wallet_id)
        if enrolment.refuses_excluded and before.wallet.excluded:
            raise Problem(Code.CUSTOMER_EXCLUDED)
        if enrolment.existing is Existing.KEEP:
            kept = {reference.namespace for reference in before.references}
            lacking = [reference for reference in lacking if reference.namespace not in kept]
        yield from self._attach(wallet_id, lacking, enrolment.replaces)
        if is_new or enrolment.existing is Existing.UPDATE:
            yield from self._keep_profile(before, enrolment.changes)
        return Enrolled(customer=(yield from self._touched(before, is_new=is_new)), is_new=is_new)

    def _found(self, enrolment: Enrolment) -> Work[tuple[int | None, list[CustomerReference]]]:
        """Whom the references mean, if anybody, and those that nobody has; raises Problem."""
        if not all(reference.value.strip() for reference in (*enrolment.references, *enrolment.attached)):
            # A blank name would be everybody's.
            raise Problem(Code.UNKNOWN_CUSTOMER)
        found = yield from self._owners(enrolment.references)
        known = {wallet.id for wallet in found.values() if wallet is not None}
        if len(known) > 1 or (known and enrolment.existing is Existing.REFUSE):
            raise Problem(Code.CUSTOMER_CONFLICT)
        attached = yield from self._owners(enrolment.attached)
        if any(wallet is not None and wallet.id not in known for wallet in attached.values()):
            raise Problem(Code.CUSTOMER_CONFLICT)
        lacking = [reference for reference, wallet in (found | attached).items() if wallet is None]
        if any(reference.namespace == OWN_NAMESPACE for reference in lacking):
            # The ledger's own names are its own to give.
            raise Problem(Code.CUSTOMER_CONFLICT)
        return (known.pop() if known else None), lacking

    def _attach(
        self, wallet_id: int, references: Sequence[CustomerReference], replaces: Sequence[str]
    ) -> Work[None]:
        for namespace in {reference.namespace for reference in references}.intersection(replaces):
            yield Statement(
                "DELETE FROM customer_references "
                "WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id AND namespace = :namespace",
                {"merchant_id": self._merchant_id, "wallet_id": wallet_id, "namespace": namespace},
            )
        if references:
            yield Insert(
                REFERENCES,
                [(self._merchant_id, reference.namespace, reference.value, wallet_id) for reference in references],
            )

    def update(self, update: CustomerUpdate) -> Work[Customer]:
        """See ``Ledger.update``."""
        found = yield from self._reader.wallet(update.customer)
        if found is None:
            raise Problem(Code.UNKNOWN_CUSTOMER)
        wallet_id = found.id
        yield from hold_and_catch_up(self._dialect, self._merchant_id, (wallet_id,))
        before = yield from self._customer(wallet_id)
        if update.excluded is not None:
            yield Statement(
                "UPDATE wallets SET excluded = :excluded WHERE merchant_id = :merchant_id AND id = :wallet_id",
                {"excluded": int(update.excluded), "merchant_id": self._merchant_id, "wallet_id": wallet_id},
            )
        yield from self._keep_profile(before, update.changes)
        return (yield from self._touched(before))

    def _touched(self, before: Customer, *, is_new: bool = False) -> Work[Customer]:
        """The customer as they are now; where something of a known one has changed, that was at this moment."""
        wallet_id = before.wallet.id
        after = yield from self._customer(wallet_id)
        if is_new or after == before:
            return after
        yield from self._touch(wallet_id)
        return (yield from self._customer(wallet_id))

    def _owners(self, references: Iterable[CustomerReference]) -> Work[dict[CustomerReference, Wallet | None]]:
        owners: dict[CustomerReference, Wallet | None] = {}
        for reference in references:
            owners[reference] = yield from self._reader.wallet(reference)
        return owners

    def _new_wallet(self) -> Work[int]:
        (wallet_id,) = only((yield NewIds(WALLETS, 1)))
        job = yield from last_job(self._dialect, self._merchant_id)
        yield Insert(WALLETS, [row_of_wallet(blank_wallet(wallet_id, self._merchant_id, self._now, job))])
        return int(wallet_id)

    def _customer(self, wallet_id: int) -> Work[Customer]:
        wallet = yield from self._reader.wallet(CustomerReference(OWN_NAMESPACE, str(wallet_id)))
        assert wallet is not None
        return (yield from self._reader.customers([wallet]))[wallet_id]

    def _keep_profile(self, customer: Customer, changes: Mapping[str, object]) -> Work[None]:
        if not changes:
            return
        profile = msgspec.structs.replace(customer.profile, **changes)
        fields = msgspec.structs.asdict(profile) | {"tags": msgspec.json.encode(profile.tags).decode()}
        names, values = ", ".join(fields), ", ".join(f":{name}" for name in fields)
        changed = ", ".join(f"{name} = excluded.{name}" for name in fields)
        yield Statement(
            f"INSERT INTO profiles (merchant_id, wallet_id, {names}) "
            f"VALUES (:merchant_id, :wallet_id, {values}) "
            f"ON CONFLICT (merchant_id, wallet_id) DO UPDATE SET {changed}",
            fields | {"merchant_id": self._merchant_id, "wallet_id": customer.wallet.id},
        )

    def _touch(self, wallet_id: int) -> Work[None]:
        yield Statement(
            "UPDATE wallets SET updated_at = CASE WHEN updated_at < :now THEN :now ELSE updated_at + 1 END "
            "WHERE merchant_id = :merchant_id AND id = :wallet_id",
            {"now": self._now, "merchant_id": self._merchant_id, "wallet_id": wallet_id},
        )
