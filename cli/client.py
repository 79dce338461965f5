"""Where the services are, and what their errors mean to a person."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import grpc
import typer

from cli.running import REFUSED, UNAVAILABLE, USAGE, CommandError
from cli.stack import StackError, state
from cli.stack.state import State
from mesh.rpc.channel import channel
from mesh.rpc.status import error_info

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data directory of the stack; a relative one is looked for in the folders above, too.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Where the service is, without looking into --data."),
]
Json = Annotated[bool, typer.Option("--json", help="For programs: protobuf JSON instead of a table.")]

DEFAULT_DATA = Path(".ensemble")

CONNECT_SECONDS = 3
RETRY_SECONDS = 0.2

EXIT_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: USAGE,
    grpc.StatusCode.NOT_FOUND: REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: REFUSED,
    grpc.StatusCode.ALREADY_EXISTS: REFUSED,
}
"""Of the codes that are answers. All others mean that nothing is known: exit code UNAVAILABLE."""

ADVICE = {
    grpc.StatusCode.INVALID_ARGUMENT: "; correct the arguments",
    grpc.StatusCode.ALREADY_EXISTS: "; choose another --request-id",
    grpc.StatusCode.NOT_FOUND: "",
    grpc.StatusCode.FAILED_PRECONDITION: "",
}
TRY_AGAIN = "; try again, and see the logs in --data if it stays so"

T = TypeVar("T")


@dataclass(frozen=True)
class Where:
    """Where a command finds the stack."""

    data: Path = DEFAULT_DATA
    address: str | None = None
    """Of the one service that the command calls, if it was named."""
    nats: str | None = None
    """URL of NATS, if it was named."""
    traces: str | None = None
    """Base URL of the query API for traces, if it was named."""

    def target(self, package: str) -> str:
        """The gRPC target of `package`. Raises StackError when the stack does not run."""
        return self.address or self._running().services[package]

    @property
    def nats_url(self) -> str:
        """With the operator's user. Raises StackError when the stack does not run."""
        return self.nats or self._running().nats_url

    @property
    def traces_url(self) -> str:
        """Base URL of the query API for traces. Raises StackError when the stack does not run, or keeps none."""
        url = self.traces or self._running().traces_query
        if url is None:
            raise StackError("this stack does not say where its traces can be read; name the query API by --traces")
        return url

    def _running(self) -> State:
        here = Path.cwd()
        found = (folder / self.data for folder in (here, *here.parents))
        data = next((each for each in found if (each / state.FILE_NAME).exists()), self.data)
        known = state.read(data)
        if not known.processes:
            raise StackError(f"the stack in {data} is stopped; start it with `ensemble up --data {data}`")
        return known


@asynccontextmanager
async def connected(where: Where, package: str, patience: float = CONNECT_SECONDS) -> AsyncGenerator[grpc.aio.Channel]:
    """A channel to the service of `package`.

    Raises CommandError when it is not there within `patience`, seconds, or a call inside fails.
    """
    target = where.target(package)
    async with channel(target, package) as connection:
        await _until_connected(connection, package, target, patience)
        try:
            yield connection
        except grpc.aio.AioRpcError as error:
            raise _explained(error, package, target) from error


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until it is answered, be it with a refusal, which is raised as it came. Bound it from outside."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if is_answer(error):
                raise
        await asyncio.sleep(RETRY_SECONDS)


def is_answer(error: grpc.aio.AioRpcError) -> bool:
    """Whether the service said no, rather than nothing."""
    return error.code() in EXIT_CODES


async def _until_connected(connection: grpc.aio.Channel, package: str, target: str, patience: float) -> None:
    try:
        await asyncio.wait_for(connection.channel_ready(), patience)
    except TimeoutError:
        raise CommandError(f"{package} does not answer at {target}; is `ensemble up` running?", UNAVAILABLE) from None


def _explained(error: grpc.aio.AioRpcError, package: str, target: str) -> CommandError:
    code = error.code()
    reason = error_info(error).reason or code.name
    advice = ADVICE.get(code, TRY_AGAIN)
    message = f"{reason}: {error.details()} ({package} at {target}){advice}"
    return CommandError(message, EXIT_CODES.get(code, UNAVAILABLE))
