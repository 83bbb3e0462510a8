"""A vendor is added with one spec and one module, and inherits a contract suite that can fail."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from conftest import ROOT

HERE = Path(__file__).parent
SUITE = ROOT / "tests" / "contract" / "test_contract.py"

_SPECS_ARE_BROKEN = {"optional_body", "undeclared_operation"}

BREAKS = {
    "drops_a_field": ('reason=request.body.get("why"),', "reason=None,"),
    "wants_an_optional_field": ('request.body.get("why")', 'request.body["why"]'),
    "undeclared_status": ("    return Answer(\n        200,", "    return Answer(\n        202,"),
    "undeclared_refusal": ("return 409", "return 418"),
    "misshapen_refusal": ('"places": places', '"places": None'),
    "answers_403_to_strangers": ("return 401", "return 403"),
    "tells_the_key": ('"kind": problem.code.value', '"kind": _request.headers.get("x-stamp-key", "none")'),
    "never_the_same_answer": ('"stamps": entry.points_after', '"stamps": __import__("time").monotonic_ns()'),
    "drops_a_parameter": ('request.query.get("newest", "false") == "true"', "True"),
    "asks_otherwise": ("asks=CustomerQuery,", "asks=CustomersQuery,"),
    "misshapen_card": ('"stamps": customer.wallet.available', '"stamps": str(customer.wallet.available)'),
    "misshapen_page": ("page.customers[-1].wallet.id if page.has_more", '"more" if page.has_more'),
    "no_reason_to_ignore": ('"the gateway has no printer"', '""'),
    "no_evidence": ("the invented document", "-"),
    "says_less": ('{"stamps": stamps, **why}', '{"stamps": stamps}'),
    "says_what_the_spec_forbids": ("{} if adjustment.reason is None else {", "{"),
    "takes_for_adding": ('{"stamps": stamps, **why}', '{"stamps": abs(stamps), **why}'),
    "cannot_say": ("or not stamps or", "or not stamps or stamps < 0 or"),
    "begins_anew": ('"newest": newest, **behind}', '"newest": newest}'),
    "tells_otherwise": ("points_after=stamps,", "points_after=changed_by,"),
    "tells_less": ('available=told(answer.body, "stamps", int)', ""),
    "tells_less_of_a_list": ("references=told_names((_NAMESPACE, member))", ""),
    "needs_what_may_be_left_out": ('told_or_none(answer.body, "why", str)', 'answer.body["why"]'),
    "hears_no_refusal": ('case {"fault": {"kind": kind}}', 'case {"fault": str(kind)}'),
    "takes_one_refusal_for_another": ("_KINDS.get(str(kind)) or _BY_STATUS", "_BY_STATUS"),
    "optional_body": ("        required: true\n        content:", "        content:"),
    "undeclared_operation": ("operationId: changeStamps", "operationId: alterStamps"),
}
"""Vendors broken by one replacement in the module, or in the spec."""

CAUGHT_BY = {
    "drops_a_field": "test_every_published_field_is_read_or_ignored_with_a_reason",
    "wants_an_optional_field": "test_a_request_that_the_spec_admits_is_parsed",
    "undeclared_status": "test_an_answer_to_what_took_effect_conforms_to_the_spec",
    "undeclared_refusal": "test_a_problem_is_told_with_a_declared_status_and_body",
    "misshapen_refusal": "test_a_problem_is_told_with_a_declared_status_and_body",
    "answers_403_to_strangers": "test_a_call_without_credentials_or_with_wrong_ones_is_401_and_moves_nothing",
    "tells_the_key": "test_a_secret_reaches_no_log_no_metric_and_no_answer",
    "never_the_same_answer": "test_a_key_sent_twice_is_applied_once_and_replayed",
    "drops_a_parameter": "test_every_published_field_is_read_or_ignored_with_a_reason",
    "asks_otherwise": "test_a_request_that_the_spec_admits_is_parsed",
    "misshapen_card": "test_an_answer_to_what_took_effect_conforms_to_the_spec",
    "misshapen_page": "test_an_answer_to_what_took_effect_conforms_to_the_spec",
    "no_reason_to_ignore": "test_what_is_ignored_is_a_published_field_and_has_a_reason",
    "no_evidence": "test_every_behaviour_says_how_it_is_known_and_where",
    "says_less": "test_what_a_request_asks_for_survives_being_said_again",
    "says_what_the_spec_forbids": "test_what_a_request_asks_for_survives_being_said_again",
    "takes_for_adding": "test_what_a_request_asks_for_survives_being_said_again",
    "cannot_say": "test_what_a_request_asks_for_survives_being_said_again",
    "begins_anew": "test_what_a_request_asks_for_survives_being_said_again",
    "tells_otherwise": "test_what_an_answer_says_is_told_as_it_is_and_all_of_it",
    "tells_less": "test_what_an_answer_says_is_told_as_it_is_and_all_of_it",
    "tells_less_of_a_list": "test_what_an_answer_says_is_told_as_it_is_and_all_of_it",
    "needs_what_may_be_left_out": "test_an_answer_that_leaves_out_what_it_may_is_understood",
    "hears_no_refusal": "test_a_refusal_is_understood_as_what_it_is_or_as_what_looks_the_same",
    "takes_one_refusal_for_another": "test_a_refusal_is_understood_as_what_it_is_or_as_what_looks_the_same",
    "optional_body": "test_a_request_without_its_body_is_refused",
    "undeclared_operation": "test_the_spec_and_the_translator_know_the_same_operations",
}


def test_the_inherited_contract_suite_passes_for_a_spec_and_a_module(tmp_path: Path) -> None:
    passed, failed = _run_suite(HERE / "stampcards", HERE / "specs", tmp_path / "report.xml")

    assert failed == set()
    assert len(passed) >= 60
    assert all("stampcard" in test for test in passed)


@pytest.fixture(scope="module")
def failed_for_broken_vendors(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The tests that fail for the broken vendors, of those that should, all run in one go."""
    folder = tmp_path_factory.mktemp("broken")
    vendors, specs = folder / "broken_stampcards", folder / "specs"
    vendors.mkdir()
    specs.mkdir()
    (vendors / "__init__.py").touch()
    module = (HERE / "stampcards" / "stampcard.py").read_text(encoding="utf-8")
    spec = (HERE / "specs" / "stampcard.yaml").read_text(encoding="utf-8")
    for name, (sound, broken) in BREAKS.items():
        source, document = module.replace('name="stampcard"', f'name="{name}"'), spec
        if name in _SPECS_ARE_BROKEN:
            assert sound in document, name
            document = document.replace(sound, broken)
        else:
            assert sound in source, name
            source = source.replace(sound, broken)
        (vendors / f"{name}.py").write_text(source, encoding="utf-8")
        (specs / f"{name}.yaml").write_text(document, encoding="utf-8")
    wanted = " or ".join(f"({test} and {name})" for name, test in CAUGHT_BY.items())
    _, failed = _run_suite(vendors, specs, folder / "report.xml", "-k", wanted)
    return failed


@pytest.mark.parametrize("name", BREAKS)
def test_the_inherited_contract_suite_catches(name: str, failed_for_broken_vendors: set[str]) -> None:
    failed = {test for test in failed_for_broken_vendors if f"[{name}" in test}

    assert any(test.startswith(CAUGHT_BY[name]) for test in failed), failed


def _run_suite(vendors: Path, specs: Path, report: Path, *options: str) -> tuple[set[str], set[str]]:
    """The names of the tests that passed, and of those that failed."""
    command = [sys.executable, "-m", "pytest", str(SUITE), "-q", "--tb=line", f"--junit-xml={report}"]
    run = subprocess.run(
        [*command, "--vendors", str(vendors), "--specs", str(specs), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert report.exists(), run.stdout + run.stderr
    tests = {test.attrib["name"]: list(test) for test in ET.parse(report).iter("testcase")}
    assert (run.returncode == 0) == (not any(tests.values())), run.stdout + run.stderr
    return (
        {name for name, outcomes in tests.items() if not outcomes},
        {name for name, outcomes in tests.items() if outcomes},
    )
