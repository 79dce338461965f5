"""Which migrations there are, and which of them are due."""

from datetime import UTC, datetime

import pytest

from mesh.postgres.migrations.due import Record, due_at_start, pending
from mesh.postgres.migrations.files import OUTSIDE, Migration, MigrationError, Migrations


def migrations(*names: str) -> Migrations:
    return Migrations("test", tuple(Migration(f"{name}.sql", f"-- {name}") for name in names))


def applied(*names: str) -> dict[int, Record]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return {each.number: Record(each.name, each.checksum, at) for each in migrations(*names).files}


def names(due: list[Migration]) -> list[str]:
    return [each.name.removesuffix(".sql") for each in due]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (("0001_a", "0003_c"), "0003_c.sql stands where number 0002 is due"),
        (("0001_a", "0001_b"), "0001_b.sql stands where number 0002 is due"),
        (("0002_b",), "0002_b.sql stands where number 0001 is due"),
        (("1_a",), "1_a.sql is no name for a migration: 0001_words.sql is"),
        (("0001_a.later",), "0001_a.later.sql is no name"),
    ],
)
def test_files_are_numbered_without_gap_and_twin(files: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(MigrationError, match=complaint):
        migrations(*files)


def test_a_package_without_migrations_says_so() -> None:
    with pytest.raises(MigrationError, match=r"mesh\.rpc has no migrations"):
        Migrations.of("mesh.rpc")


def test_what_was_applied_is_not_due() -> None:
    assert names(due_at_start(migrations("0001_a", "0002_b", "0003_c"), applied("0001_a"))) == ["0002_b", "0003_c"]


def test_what_takes_away_waits_until_the_roll_out_is_over() -> None:
    ours = migrations("0001_a", "0002_b", "0003_c.after")

    assert names(due_at_start(ours, applied("0001_a"))) == ["0002_b"]
    assert names(pending(ours, applied("0001_a", "0002_b"))) == ["0003_c.after"]


def test_what_takes_away_is_due_at_the_start_of_the_release_that_builds_on_it() -> None:
    ours = migrations("0001_a", "0002_b.after", "0003_c", "0004_d.after")

    assert names(due_at_start(ours, applied("0001_a"))) == ["0002_b.after", "0003_c"]


def test_on_an_empty_database_nothing_has_to_wait() -> None:
    assert names(due_at_start(migrations("0001_a", "0002_b.after"), {})) == ["0001_a", "0002_b.after"]


def test_a_file_that_was_changed_after_it_was_applied_is_refused_by_name() -> None:
    ours = Migrations("test", (Migration("0001_a.sql", "-- something else"),))

    with pytest.raises(MigrationError, match=r"0001_a\.sql .*restore that file"):
        pending(ours, applied("0001_a"))


def test_old_code_accepts_what_newer_code_has_added() -> None:
    assert due_at_start(migrations("0001_a"), applied("0001_a", "0002_b")) == []


def test_old_code_does_not_start_where_newer_code_has_taken_away_what_it_needs() -> None:
    with pytest.raises(MigrationError, match=r"needs what 0003_c\.after\.sql has taken away"):
        due_at_start(migrations("0001_a", "0002_b"), applied("0001_a", "0002_b", "0003_c.after"))


def test_outside_a_transaction_statements_are_told_apart() -> None:
    file = Migration(
        "0002_b.sql", f"{OUTSIDE}DROP INDEX CONCURRENTLY IF EXISTS a;\nCREATE INDEX CONCURRENTLY a\n    ON b (c);\n"
    )

    assert not file.in_transaction
    assert [each.split()[-1] for each in file.statements] == ["a", "(c)"]
