"""The migrations that we have: old code goes on working while they are applied, and after."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from mesh.postgres.migrations.files import OUTSIDE, Migration, Migrations
from tests.history import ROOT, git, release_before
from tests.squawk import complaints

SERVICES = [f"services.{path.parent.name}" for path in sorted(ROOT.glob("services/*/core.py"))]
OWNERS = ["mesh.postgres", "orchestrator", *SERVICES]
FILES = [(owner, file) for owner in OWNERS for file in Migrations.of(owner).files]


def name(value: object) -> str:
    return value.name if isinstance(value, Migration) else str(value)


@pytest.mark.parametrize(("owner", "file"), FILES, ids=name)
def test_a_migration_breaks_nobody_who_runs_beside_it(owner: str, file: Migration) -> None:
    assert complaints(file) == set()


@pytest.mark.parametrize(("owner", "file"), FILES, ids=name)
def test_only_indexes_are_made_outside_a_transaction_where_half_of_it_may_happen(owner: str, file: Migration) -> None:
    assert file.in_transaction or all(" CONCURRENTLY " in statement for statement in file.statements)


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("ALTER TABLE thing ADD COLUMN size bigint NOT NULL;", "adding-required-field"),
        ("ALTER TABLE thing ALTER COLUMN size SET NOT NULL;", "adding-not-nullable-field"),
        ("ALTER TABLE thing ALTER COLUMN size DROP NOT NULL;", "ban-drop-not-null"),
        ("ALTER TABLE thing ALTER COLUMN size TYPE text;", "changing-column-type"),
        ("ALTER TABLE thing ALTER COLUMN size DROP DEFAULT;", "ban-drop-default"),
        ("ALTER TABLE thing ADD CHECK (size > 0) NOT VALID;", "ban-new-write-restriction"),
        ("ALTER TABLE thing ADD CHECK (size > 0);", "constraint-missing-not-valid"),
        ("ALTER TABLE thing DROP CONSTRAINT small;", "ban-drop-constraint"),
        ("ALTER TABLE thing DROP COLUMN size;", "ban-drop-column"),
        ("ALTER TABLE thing RENAME COLUMN size TO weight;", "renaming-column"),
        ("ALTER TABLE thing RENAME TO object;", "renaming-table"),
        ("DROP TABLE thing;", "ban-drop-table"),
        ("CREATE INDEX thing_size ON thing (size);", "require-concurrent-index-creation"),
        ("DROP INDEX thing_size;", "require-concurrent-index-deletion"),
        (OUTSIDE + "CREATE UNIQUE INDEX CONCURRENTLY thing_size ON thing (size);", "ban-new-write-restriction"),
        ("COMMIT;", "transaction-nesting"),
        ("ALTER TABEL thing;", "syntax-error"),
    ],
)
def test_what_old_code_would_stumble_over_is_found(sql: str, rule: str) -> None:
    assert rule in complaints(Migration("0002_thing.sql", sql))


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE thing (id text PRIMARY KEY);\nCREATE INDEX thing_id ON thing (id);",
        "ALTER TABLE thing ADD COLUMN size bigint DEFAULT 0;",
        OUTSIDE
        + "DROP INDEX CONCURRENTLY IF EXISTS thing_size;\nCREATE INDEX CONCURRENTLY thing_size ON thing (size);",
    ],
)
def test_what_only_adds_is_let_pass(sql: str) -> None:
    assert complaints(Migration("0002_thing.sql", sql)) == set()


def test_what_old_code_needs_may_go_after_the_roll_out() -> None:
    assert complaints(Migration("0002_thing.after.sql", "ALTER TABLE thing DROP COLUMN size;")) == set()


def test_nobody_is_held_up_after_the_roll_out_either() -> None:
    file = Migration("0002_thing.after.sql", "ALTER TABLE thing ALTER COLUMN size SET NOT NULL;")

    assert complaints(file) == {"adding-not-nullable-field"}


def wrong_since(released: Mapping[str, str], files: Sequence[Migration]) -> list[str]:
    """Files that were changed or taken out since a release, and new ones that take away before others add.

    What takes away is applied at a start if something follows it: then that must be the start of the release after.
    """
    now = {file.name: file.sql for file in files}
    changed = [name for name, sql in released.items() if now.get(name) != sql]
    new = [file for file in files if file.name not in released]
    return changed + [file.name for file, next_one in pairwise(new) if file.after and not next_one.after]


@pytest.mark.parametrize("owner", OWNERS)
def test_released_migrations_stay_as_they_are_and_new_ones_take_away_last(owner: str) -> None:
    release, folder = release_before(), f"{owner.replace('.', '/')}/migrations/"
    names = [path for path in git("ls-tree", "--name-only", release, folder).decode().split() if path.endswith(".sql")]
    released = {path.removeprefix(folder): git("show", f"{release}:{path}").decode() for path in names}

    assert wrong_since(released, Migrations.of(owner).files) == []


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (["0001_a.sql", "0002_b.sql", "0003_c.after.sql"], []),
        (["0001_a.sql", "0002_b.after.sql", "0003_c.sql"], ["0002_b.after.sql"]),
        (["0001_z.sql"], ["0001_a.sql"]),
    ],
)
def test_what_is_wrong_since_the_release_is_found(names: list[str], wrong: list[str]) -> None:
    assert wrong_since({"0001_a.sql": ""}, [Migration(name, "") for name in names]) == wrong


def test_what_a_release_took_away_may_be_built_on_in_the_next() -> None:
    files = [Migration(name, "") for name in ("0001_a.sql", "0002_b.after.sql", "0003_c.sql")]

    assert wrong_since({"0001_a.sql": "", "0002_b.after.sql": ""}, files) == []
