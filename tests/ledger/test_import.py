"""``loyalty-gateway ledger import`` and ``export``: customers with opening balances, each taken once."""

import asyncio
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opened import DEMO, JANE, JANES_EMAIL, OMAR, OTHER, Opened, instruction, unfolded
from rich.console import Console
from typer.testing import Result

from conftest import command
from loyalty_gateway.adjustment import LARGEST_POINTS, CustomerReference, Merchant, Tier
from loyalty_gateway.customer import CustomerQuery, Enrolment
from loyalty_gateway.ledger_commands.customer_files import CustomerFile
from loyalty_gateway.ledger_commands.customers import export_customers, import_customers
from loyalty_gateway.problem import ConfigurationError
from stores import SqliteFile, Store

_HEADER = "reference.shopify,reference.email,points,lifetime_earned,lifetime_burned,first_name,last_name"


@pytest.fixture
def opened(store: Store) -> Iterator[Opened]:
    """A ledger with Jane, who has 10 points, and Omar, to whom nothing has happened."""
    opened = Opened(store)
    opened.enrol(JANE, JANES_EMAIL)
    opened.enrol(OMAR)
    opened.adjust(instruction(JANE, 10))
    yield opened
    opened.close()


class _Importing:
    """A file in a folder, to be imported; ``told`` is the summary of the last time."""

    def __init__(self, folder: Path, *lines: str, header: str = _HEADER) -> None:
        self.path = folder / "customers.csv"
        self.rejects = folder / "customers.rejects.csv"
        self.path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
        self.told = ""

    def into(self, opened: Opened, name: str = "first", merchant: Merchant = DEMO) -> bool:
        out = io.StringIO()
        all_taken: bool = opened.run(
            import_customers(
                opened.ledger,
                merchant=merchant,
                file=CustomerFile(self.path),
                name=name,
                rejects=self.rejects,
                out=Console(file=out, width=300),
            )
        )
        self.told = out.getvalue()
        return all_taken

    def rejected(self) -> list[list[str]]:
        with self.rejects.open(encoding="utf-8", newline="") as content:
            return list(csv.reader(content))[1:]


def _customer(opened: Opened, namespace: str, value: str, merchant: Merchant = DEMO) -> Any:
    query = CustomerQuery(references=(CustomerReference(namespace, value),))
    return opened.run(opened.ledger.customer(merchant, query))


def test_a_customer_comes_with_the_opening_balance_counters_and_name(opened: Opened, tmp_path: Path) -> None:
    tiered = Merchant(name="demo", tiers=(Tier(name="Gold", points_required=100),))
    importing = _Importing(tmp_path, "77, Zoe@Example.com ,50,120,70,Zoë,جين")

    assert importing.into(opened, merchant=tiered)

    zoe = _customer(opened, "email", "zoe@example.com", tiered)
    wallet = zoe.wallet
    assert (wallet.available, wallet.lifetime_earned, wallet.lifetime_burned, wallet.version) == (50, 120, 70, 1)
    assert (wallet.tier, zoe.profile.first_name, zoe.profile.last_name) == ("Gold", "Zoë", "جين")
    assert [str(one) for one in zoe.references] == ["email:zoe@example.com", "shopify:77"]
    (entry,) = opened.rows("SELECT vendor, points_delta, reason FROM entries WHERE wallet_id = ?", (wallet.id,))
    assert entry == {"vendor": "import", "points_delta": 50, "reason": "Opening balance"}
    assert importing.told == "1 of 1 customers are in the ledger\n"
    assert not importing.rejects.exists()
    assert unfolded(opened) == []


def test_what_was_earned_is_the_balance_where_nothing_else_is_told(opened: Opened, tmp_path: Path) -> None:
    _Importing(tmp_path, "77,50", "78,", header="reference.shopify,points").into(opened)

    assert _customer(opened, "shopify", "77").wallet.lifetime_earned == 50
    assert (_customer(opened, "shopify", "78").wallet.version, len(opened.deltas())) == (0, 2)


def test_a_known_customer_without_entries_gets_the_balance_and_the_references(
    opened: Opened, tmp_path: Path
) -> None:
    _Importing(tmp_path, f"{OMAR.value},omar@example.com,30,,,,").into(opened)

    omar = _customer(opened, "email", "omar@example.com")
    assert (omar.wallet.id, omar.wallet.available) == (2, 30)
    assert unfolded(opened) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("77,,1.5,,,,", f"points must be a whole number from 0 to {LARGEST_POINTS}"),
        ("77,,-1,,,,", "points must be a whole number"),
        ("77,,٧,,,,", "points must be a whole number"),
        ("77,,9223372036854775808,,,,", "points must be a whole number"),
        ("77,,1,x,,,", "lifetime_earned must be a whole number"),
        ("77,,1,,x,,", "lifetime_burned must be a whole number"),
        (" ,,1,,,,", "names nobody"),
        ("77,,1", "has 3 fields, the first line has 7"),
        ("wallet_1,,1,,,,", "is what the ledger itself calls a customer"),
        (f"{JANE.value},,1,,,,", "wallet_1 has entries already"),
        (f"{OMAR.value},{JANES_EMAIL.value},1,,,,", "belong to different customers"),
        ("88,,1,,,,", "has entries already"),
    ],
)
def test_a_bad_line_is_told_with_its_reason_and_the_others_are_kept(
    opened: Opened, tmp_path: Path, line: str, reason: str
) -> None:
    importing = _Importing(tmp_path, "88,,5,,,,", line, "99,,7,,,,")

    assert not importing.into(opened)

    ((number, told),) = importing.rejected()
    assert number == "2"
    assert reason in told
    assert importing.told == f"2 of 3 customers are in the ledger; 1 are in {importing.rejects}\n"
    assert sorted(opened.deltas()) == [5, 7, 10]
    assert unfolded(opened) == []


def test_a_batch_is_taken_once(opened: Opened, tmp_path: Path) -> None:
    importing = _Importing(tmp_path, "77,,50,,,,", "x", "78,,5,,,,")
    importing.into(opened)
    before = opened.contents()

    again = importing.into(opened)

    assert not again
    assert opened.contents() == before
    assert importing.told == (
        f"2 of 3 customers are in the ledger, 0 lines were read now; 1 are in {importing.rejects}\n"
    )
    assert [line for line, _ in importing.rejected()] == ["2"]


def test_a_name_is_one_files_only_and_one_merchants(opened: Opened, tmp_path: Path) -> None:
    _Importing(tmp_path, "77,,50,,,,").into(opened)
    changed = _Importing(tmp_path, "77,,51,,,,")

    with pytest.raises(ConfigurationError, match="--batch first: is the name of another file's batch"):
        changed.into(opened)

    assert changed.into(opened, merchant=OTHER)
    assert _customer(opened, "shopify", "77", OTHER).wallet.available == 51
    assert _customer(opened, "shopify", "77").wallet.available == 50


class _BrokenOffError(Exception):
    pass


def test_a_batch_that_is_broken_off_goes_on_where_it_stood(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"c{number},,{number + 1},,,," if number % 700 else "x" for number in range(3_500)]
    importing = _Importing(tmp_path, *lines)
    change, calls = opened.ledger.change, 0

    async def broken_off(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise _BrokenOffError
        return await change(*arguments)

    monkeypatch.setattr(opened.ledger, "change", broken_off)
    with pytest.raises(_BrokenOffError):
        importing.into(opened)
    monkeypatch.undo()

    importing.into(opened)

    assert [line for line, _ in importing.rejected()] == ["1", "701", "1401", "2101", "2801"]
    assert "3495 of 3500 customers are in the ledger, 1500 lines were read now" in importing.told
    assert sorted(opened.deltas()) == sorted([10, *(number + 1 for number in range(3_500) if number % 700)])
    assert unfolded(opened) == []


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("email,points", "the column 'email' is none of reference.<namespace>, points"),
        ("points", "needs a column of references"),
        ("reference.email,points,points", "the column points stands twice"),
        ("reference.,points", "the column 'reference.' is none of"),
        ("", "needs a column of references"),
    ],
)
def test_a_file_with_other_columns_is_refused_whole(tmp_path: Path, header: str, told: str) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(f"{header}\na,1\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=told.replace("[", r"\[")) as refusal:
        CustomerFile(path)

    assert refusal.value.where == str(path)


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("reference.email\nzoë@x\n".encode("latin-1"))

    for name in ("latin.csv", "nowhere.csv"):
        with pytest.raises(ConfigurationError, match="cannot be read as CSV in UTF-8"):
            CustomerFile(tmp_path / name)


def test_what_is_exported_makes_the_same_customers_elsewhere(opened: Opened, tmp_path: Path) -> None:
    opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(CustomerReference("phone", "+1"),))))
    opened.adjust(instruction(JANE, -4))
    _Importing(tmp_path, '"a|b",zoe@example.com,50,120,70,"Zoë, ""Z""",').into(opened)
    exported = tmp_path / "exported.csv"
    with exported.open("w", encoding="utf-8", newline="") as out:
        count = opened.run(export_customers(opened.ledger, merchant=DEMO, out=out))

    opened.run(
        import_customers(
            opened.ledger,
            merchant=OTHER,
            file=CustomerFile(exported),
            name="copy",
            rejects=tmp_path / "none.csv",
            out=Console(file=io.StringIO()),
        )
    )

    copied = io.StringIO()
    assert opened.run(export_customers(opened.ledger, merchant=OTHER, out=copied)) == count == 4
    assert copied.getvalue().splitlines() == exported.read_text(encoding="utf-8").splitlines()
    assert _customer(opened, "shopify", "b", OTHER).wallet.available == 50


def test_nobody_is_exported_of_a_merchant_without_customers(opened: Opened) -> None:
    out = io.StringIO()

    assert opened.run(export_customers(opened.ledger, merchant=OTHER, out=out)) == 0
    assert out.getvalue() == "points,lifetime_earned,lifetime_burned,first_name,last_name\r\n"


def test_the_commands_import_export_and_say_what_was_not_taken(tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        return command("ledger", *arguments, "--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")

    importing = _Importing(tmp_path, "77,,50,,,,", "x")

    imported = run("import", str(importing.path))
    exported = run("export")
    nobody = run("export", "--merchant", "nobody")

    assert (imported.exit_code, imported.stderr) == (1, "")
    assert imported.stdout == f"1 of 2 customers are in the ledger; 1 are in {importing.rejects}\n"
    assert exported.stdout.splitlines()[1:] == ["77,50,50,0,,"]
    assert (nobody.exit_code, nobody.stderr) == (
        2,
        "loyalty-gateway: --merchant nobody: must be one of: demo\n",
    )


def test_an_import_goes_beside_adjustments(tmp_path: Path) -> None:
    opened = Opened(SqliteFile(tmp_path / "ledger.db"))
    opened.enrol(JANE)
    importing = _Importing(tmp_path, *(f"c{number},,1,,,," for number in range(5_000)))

    async def both() -> None:
        file = CustomerFile(importing.path)
        adjusting = (opened.ledger.adjust(instruction(JANE, 1)) for _ in range(500))
        importing_all = import_customers(
            opened.ledger,
            merchant=DEMO,
            file=file,
            name="b",
            rejects=importing.rejects,
            out=Console(file=io.StringIO()),
        )
        await asyncio.gather(importing_all, *adjusting)

    opened.run(both())

    assert opened.available(JANE) == 500
    assert len(opened.deltas()) == 5_500
    assert unfolded(opened) == []
    opened.close()
