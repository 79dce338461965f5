"""Which migrations are due, by what the database has recorded. Decides, and touches nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from mesh.postgres.migrations.files import Migration, MigrationError, Migrations, is_after


@dataclass(frozen=True)
class Record:
    """What the database remembers of a migration that was applied."""

    name: str
    checksum: str
    applied_at: datetime


Applied: TypeAlias = Mapping[int, Record]
"""What was applied of one owner, by number."""
Choice: TypeAlias = Callable[[Migrations, Applied], list[Migration]]
"""Which are to be applied, in order."""


def pending(migrations: Migrations, applied: Applied) -> list[Migration]:
    """All that were not applied yet.

    What a newer release has applied is no hindrance: old code runs on what newer code has added. Raises MigrationError
    if a file was changed after it was applied, or a newer release has taken away what this one needs.
    """
    for file in migrations.files:
        if (record := applied.get(file.number)) and record.checksum != file.checksum:
            raise MigrationError(
                f"{migrations.owner}: {file.name} is not what was applied as {record.name} at {record.applied_at}: "
                "restore that file, and put the change into a new one"
            )
    known = len(migrations.files)
    if removed := [record.name for number, record in applied.items() if number > known and is_after(record.name)]:
        raise MigrationError(
            f"{migrations.owner}: this release needs what {removed[0]} has taken away: deploy one that has this file"
        )
    return [file for file in migrations.files if file.number not in applied]


def due_at_start(migrations: Migrations, applied: Applied) -> list[Migration]:
    """Those that may be applied while the release before still runs. Raises MigrationError.

    Of the files for after the roll-out these are the ones that others follow: the release before has them, too. On an
    empty database there is none before.
    """
    left = pending(migrations, applied)
    if not applied:
        return left
    while left and left[-1].after:
        left.pop()
    return left
