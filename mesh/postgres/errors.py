"""PostgreSQL's errors: which of them are outages, and what of them nobody must be told."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # it is starting, shutting down, or somebody cancelled the statement
    asyncpg.InvalidCatalogNameError,  # it is being set up
    asyncpg.InvalidAuthorizationSpecificationError,  # so is its role, or the password is being changed
    asyncpg.InsufficientResourcesError,  # disk, memory, connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby, in the middle of a fail-over
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.SerializationError,
)


@contextmanager
def discreet() -> Generator[None]:
    """The detail of an error quotes the row: personal data must not get into logs and traces."""
    try:
        yield
    except asyncpg.PostgresError as error:
        error.detail = None
        raise
