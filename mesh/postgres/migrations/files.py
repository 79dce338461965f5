"""Migrations as they are written: the SQL files in the folder `migrations` of a package, in order."""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Self

NAME = re.compile(r"\d{4}_[a-z0-9_]+(\.after)?\.sql")
OUTSIDE = "-- outside a transaction\n"
"""The first line of a file whose statements PostgreSQL refuses inside one: CREATE INDEX CONCURRENTLY."""
END_OF_STATEMENT = re.compile(r";\s*$", re.MULTILINE)


class MigrationError(Exception):
    """The files or the database are not as they should be, which no repeat will heal. The message says what to do."""


@dataclass(frozen=True)
class Migration:
    """One file."""

    name: str
    """`0001_words.sql`, or `0001_words.after.sql`."""
    sql: str

    @property
    def number(self) -> int:
        """Its place among those of its owner, from 1."""
        return int(self.name.partition("_")[0])

    @property
    def after(self) -> bool:
        """Whether it takes away what the release before needs, and so waits until nobody runs that any more."""
        return is_after(self.name)

    @property
    def checksum(self) -> str:
        """Tells whether the file is still the one that was applied."""
        return sha256(self.sql.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        """Whether all of it happens, or nothing."""
        return not self.sql.startswith(OUTSIDE)

    @property
    def statements(self) -> list[str]:
        """One by one; each ends with a semicolon at the end of a line."""
        return [each for each in END_OF_STATEMENT.split(self.sql) if each.strip()]


@dataclass(frozen=True)
class Migrations:
    """All of one owner, in order."""

    owner: str
    """The package that has them."""
    files: tuple[Migration, ...]

    def __post_init__(self) -> None:
        """Raise MigrationError if one is not named as it should be, a number is missing, or there are two of it."""
        for expected, file in enumerate(self.files, start=1):
            if not NAME.fullmatch(file.name):
                raise MigrationError(
                    f"{self.owner}: {file.name} is no name for a migration: {expected:04}_words.sql is"
                )
            if file.number != expected:
                raise MigrationError(f"{self.owner}: {file.name} stands where number {expected:04} is due: renumber it")

    @classmethod
    def of(cls, package: str) -> Self:
        """Read those of a package. Raises MigrationError, also if there are none."""
        folder = resources.files(package).joinpath("migrations")
        if not folder.is_dir():
            raise MigrationError(f"{package} has no migrations")
        files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
        return cls(package, tuple(Migration(file.name, file.read_text(encoding="utf-8")) for file in files))


def is_after(name: str) -> bool:
    """Whether that is the name of a file for after the roll-out."""
    return name.endswith(".after.sql")


KIT = Migrations.of("mesh.postgres")
"""The kit's own, which come first in each database."""
