"""A service that starts before its database is made: an operator makes the role first, and the database after it."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from mesh.postgres.database import Database
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration


async def test_a_service_waits_until_its_role_and_its_database_are_made(foundations: Foundations) -> None:
    superuser = urlsplit(await foundations.database())
    late = superuser._replace(netloc=f"late:secret@{superuser.hostname}:{superuser.port}", path="/late")
    operator = await asyncpg.connect(urlunsplit(superuser))

    async def opened() -> bool:
        async with Database.open(urlunsplit(late), "late") as database:
            return await database.answers()

    with capture_logs() as logs:
        opening = asyncio.create_task(opened())
        await eventually(lambda: any("InvalidPassword" in line["error"] for line in logs))
        await operator.execute("CREATE ROLE late LOGIN PASSWORD 'secret'")
        await eventually(lambda: any("InvalidCatalogName" in line["error"] for line in logs))
        await operator.execute("CREATE DATABASE late OWNER late")
        assert await opening
    await operator.close()
