"""Tables that a test makes for itself."""

from mesh.postgres.migrations.files import Migration, Migrations


def tables(sql: str) -> Migrations:
    """The migration that makes them."""
    return Migrations("test", (Migration("0001_tables.sql", sql),))
