"""Customers in the ledger: whose they are, what they are called, and what starting again does to them."""

import asyncio
from collections.abc import Iterator

import pytest
from opened import DEMO, JANE, JANES_EMAIL, NOBODY, OMAR, OTHER, Opened, codes, instruction

from loyalty_gateway.adjustment import CustomerReference, Merchant
from loyalty_gateway.customer import CustomerUpdate, Enrolled, Enrolment, Existing
from loyalty_gateway.problem import Code, Problem
from stores import Store

NEW_EMAIL = CustomerReference("email", "jane.doe@example.com")


@pytest.fixture
def opened(store: Store) -> Iterator[Opened]:
    opened = Opened(store)
    opened.enrol(JANE, JANES_EMAIL)
    yield opened
    opened.close()


def _references(opened: Opened, enrolment: Enrolment) -> list[str]:
    enrolled: Enrolled = opened.run(opened.ledger.enrol(DEMO, enrolment))
    return [str(reference) for reference in enrolled.customer.references]


@pytest.mark.parametrize(
    "refused",
    [CustomerUpdate(customer=NOBODY, changes={}), Enrolment(references=(CustomerReference("wallet", "77"),))],
    ids=["update", "enrolment"],
)
def test_merchants_whose_first_requests_are_refused_stay_apart(
    opened: Opened, refused: CustomerUpdate | Enrolment
) -> None:
    enrolling = [Merchant(name=name, enrols_unknown_customers=True) for name in ("one", "two", "three")]
    for merchant in enrolling[:2]:
        first = opened.ledger.enrol if isinstance(refused, Enrolment) else opened.ledger.update
        with pytest.raises(Problem):
            opened.run(first(merchant, refused))  # type: ignore[arg-type]  # each of its own kind

    outcomes = opened.at_once(*(instruction(NOBODY, 5, merchant=merchant) for merchant in reversed(enrolling)))

    assert codes(outcomes) == [None] * 3
    assert [opened.available(NOBODY, merchant) for merchant in enrolling] == [5, 5, 5]


def test_enrolling_again_does_not_bring_back_a_reference_that_was_replaced(opened: Opened) -> None:
    replacing = Enrolment(references=(JANE, NEW_EMAIL), replaces=("email",), existing=Existing.UPDATE)
    opened.run(opened.ledger.enrol(DEMO, replacing))

    again = _references(opened, Enrolment(references=(JANE, JANES_EMAIL)))

    assert again == [str(NEW_EMAIL), str(JANE)]


def test_enrolling_again_adds_a_reference_in_a_namespace_that_had_none(opened: Opened) -> None:
    again = _references(opened, Enrolment(references=(JANE, CustomerReference("salla", "7"))))

    assert again == [str(JANES_EMAIL), "salla:7", str(JANE)]


def test_enrolments_and_adjustments_share_commits_and_come_in_their_order(opened: Opened) -> None:
    async def all_at_once() -> tuple[object, ...]:
        ledger = opened.ledger
        return await asyncio.gather(
            ledger.adjust(instruction(OMAR, 5)),
            ledger.enrol(DEMO, Enrolment(references=(OMAR,))),
            ledger.adjust(instruction(OMAR, 7)),
            ledger.update(DEMO, CustomerUpdate(customer=OMAR, changes={}, excluded=True)),
            ledger.adjust(instruction(OMAR, 9)),
            return_exceptions=True,
        )

    opened.gauges.sizes.clear()
    outcomes = opened.run(all_at_once())

    refusals = [outcome.code if isinstance(outcome, Problem) else None for outcome in outcomes]
    assert refusals == [Code.UNKNOWN_CUSTOMER, None, None, None, Code.CUSTOMER_EXCLUDED]
    assert opened.available(OMAR) == 7
    assert opened.gauges.sizes == [5]


def test_an_enrolment_that_says_they_take_part_refuses_the_excluded(opened: Opened) -> None:
    opened.run(opened.ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={}, excluded=True)))

    with pytest.raises(Problem) as refusal:
        opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(JANE,), refuses_excluded=True)))

    assert refusal.value.code is Code.CUSTOMER_EXCLUDED


@pytest.mark.parametrize("blank", ["", " ", "\u3000"])
@pytest.mark.parametrize("field", ["references", "attached"])
def test_a_blank_name_is_nobodys_to_be_enrolled_by(opened: Opened, field: str, blank: str) -> None:
    name = (CustomerReference("phone", blank),)
    named = Enrolment(references=name) if field == "references" else Enrolment(references=(NOBODY,), attached=name)

    with pytest.raises(Problem) as refusal:
        opened.run(opened.ledger.enrol(DEMO, named))

    assert refusal.value.code is Code.UNKNOWN_CUSTOMER


def test_a_customer_of_another_merchant_is_nobodys_here(opened: Opened) -> None:
    enrolled: Enrolled = opened.run(opened.ledger.enrol(OTHER, Enrolment(references=(JANE, NEW_EMAIL))))

    assert enrolled.is_new
    assert opened.available(JANE) == 0
