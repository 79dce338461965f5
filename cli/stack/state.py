"""`ensemble.json`: what runs and where, kept true by `ensemble up`, read by everyone else."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cli.stack import StackError
from cli.stack.secrets import write_private

FILE_NAME = "ensemble.json"


class Process(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    replica: int
    pid: int
    address: str


class State(BaseModel):
    """One stack. It holds passwords, inside of URLs."""

    model_config = ConfigDict(frozen=True)

    processes: list[Process]
    """Those that run now; none after a clean stop."""
    nats_url: str
    postgres: dict[str, str]
    """Database URL by service."""
    smtp: str
    sandbox_url: str
    customer: str
    """gRPC target of the front door."""
    orchestrator: str
    services: dict[str, str]
    """gRPC target by proto package."""
    traces: str | None
    """Where traces are sent by OTLP, if anywhere."""
    traces_query: str | None
    """The base URL of the query API (Jaeger's api_v3) that knows them, if there is one."""


def write(data: Path, state: State) -> None:
    """Replace the file at once, readable by its owner only."""
    write_private(data / FILE_NAME, state.model_dump_json(indent=2) + "\n")


def read(data: Path) -> State:
    """The state of the stack in `data`. Raises StackError when there is none."""
    path = data / FILE_NAME
    try:
        return State.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StackError(f"there is no stack in {data}; start one with `ensemble up`, or name its --data") from None
    except (OSError, ValidationError) as error:
        raise StackError(f"{path} cannot be read: {error}") from error
