"""`python -m mesh.postgres.migrations PACKAGE before|after|status`: migrations by hand, of the kit and one package.

The database is that of the environment: ENSEMBLE_DATABASE_URL.
"""

import argparse
import asyncio
import os
import sys

from mesh.postgres.errors import OUTAGES
from mesh.postgres.migrations.apply import migrate, recorded
from mesh.postgres.migrations.due import Applied, Record, due_at_start, pending
from mesh.postgres.migrations.files import KIT, Migration, MigrationError, Migrations
from mesh.telemetry import logs

CHOICES = {"before": due_at_start, "after": pending}
VARIABLE = "ENSEMBLE_DATABASE_URL"
TIME = "%Y-%m-%d %H:%M:%SZ"


def main() -> None:
    """Do it. Ends the process with status 1, and a sentence, if it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m mesh.postgres.migrations")
    parser.add_argument("package", help="who owns the tables; the kit's own in its database are meant, too")
    parser.add_argument(
        "what",
        choices=[*CHOICES, "status"],
        help="before: apply what a start would; after: apply the rest, once no process of an older release is left; "
        "status: list what was applied and what was not",
    )
    given = parser.parse_args()
    if not (url := os.environ.get(VARIABLE)):
        sys.exit(f"{VARIABLE} does not say which database")
    logs.configure()
    try:
        asyncio.run(_do(url, (KIT, Migrations.of(given.package)), given.what))
    except (MigrationError, ModuleNotFoundError) as error:
        sys.exit(str(error))
    except OUTAGES as error:
        sys.exit(f"the database does not answer: {error!r}")


async def _do(url: str, owners: tuple[Migrations, ...], what: str) -> None:
    if what in CHOICES:
        await migrate(url, owners, CHOICES[what])
    for migrations, applied in zip(owners, await recorded(url, owners), strict=True):
        _show(migrations, applied)


def _show(migrations: Migrations, applied: Applied) -> None:
    files = {file.number: file for file in migrations.files}
    for number in sorted(files.keys() | applied.keys()):
        file, record = files.get(number), applied.get(number)
        name = file.name if file else applied[number].name
        print(f"{migrations.owner:24} {name:40} {_state(file, record)}")  # noqa: T201 - it is what was asked for


def _state(file: Migration | None, record: Record | None) -> str:
    if record is None:
        return "due after the roll-out" if file and file.after else "due"
    applied = f"applied {record.applied_at:{TIME}}"
    if file is None:
        return f"{applied} by a newer release"
    return applied if file.checksum == record.checksum else f"{applied} AND CHANGED SINCE"


if __name__ == "__main__":
    main()
