"""A shop in a Kubernetes cluster, brought to loopback: `python -m tests.forwarded ... -- COMMAND`.

While COMMAND runs, FILE, an `ensemble.json`, says where everything is that a customer or an operator may call.
"""

import argparse
import asyncio
import base64
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.stack import StackError, nats, postgres, state
from cli.stack.layout import CUSTOMER, ORCHESTRATOR, SERVICES, Layout
from cli.stack.ports import free_port_base
from cli.stack.program import Program
from cli.stack.rights import OPERATOR
from cli.stack.state import Process, State
from cli.stack.supervisor import Supervisor

GRPC = 50051
"""Where each of our services listens in its pods."""


@dataclass(frozen=True)
class Forward:
    """One `kubectl port-forward`."""

    whom: str
    """As kubectl names it."""
    ports: Mapping[str, int]
    """Those in the pod, by the names that a Layout has for their near ends."""
    probe: str
    """A URL by way of the near end: it is there once the far one answers."""


@asynccontextmanager
async def forwarded(kubectl: tuple[str, ...], data: Path) -> AsyncGenerator[None]:
    """Forward everything while open; `ensemble.json` in `data` tells where it is, and logs are beside it.

    A forward ends with the pod that it leads to; it is started again, and leads to another. Raises StackError when
    something cannot be reached.
    """
    layout = Layout(free_port_base())
    found = as_state(layout, await passwords(kubectl))
    (data / "logs").mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(data / "logs", restart=True, report=_say, changed=lambda: None)
    try:
        await supervisor.start([_program(kubectl, layout, each) for each in forwards(layout, found)])
        state.write(data, found)
        yield
    finally:
        await supervisor.stop()
        (data / state.FILE_NAME).unlink(missing_ok=True)


async def passwords(kubectl: tuple[str, ...]) -> dict[str, str]:
    """Those in the Secrets of the namespace, by name. Raises StackError with what kubectl said."""
    process = await asyncio.create_subprocess_exec(
        *kubectl, "get", "secrets", "--output=json", stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise StackError(err.decode().strip())
    secrets = {each["metadata"]["name"]: each.get("data", {}) for each in json.loads(out)["items"]}
    return {name: base64.b64decode(data["password"]).decode() for name, data in secrets.items() if "password" in data}


def as_state(layout: Layout, secrets: Mapping[str, str]) -> State:
    """What is in the cluster, as if it were a stack on this machine. The one process of it here is this one."""
    return State(
        processes=[Process(name="forwarded", replica=0, pid=os.getpid(), address=layout.address("customer"))],
        nats_url=nats.url(layout, OPERATOR, secrets[f"{OPERATOR}-nats"]),
        postgres={
            each.name: postgres.url(each.name, secrets[f"{each.name}-postgres"], layout.ports["postgres"])
            for each in SERVICES
        },
        smtp=layout.outside["smtp"],
        sandbox_url=layout.outside["http"],
        customer=layout.targets[CUSTOMER],
        orchestrator=layout.targets[ORCHESTRATOR],
        services=layout.targets,
        traces=None,
        traces_query=f"http://{layout.address('traces')}",
    )


def forwards(layout: Layout, found: State) -> list[Forward]:
    """To everybody."""
    return [
        *(
            Forward(f"service/{each.name}", {each.name: GRPC}, f"grpc://{layout.address(each.name)}")
            for each in SERVICES
        ),
        Forward("service/sandbox", {"sandbox": 8080, "sandbox SMTP": 2525}, f"{found.sandbox_url}/health"),
        Forward("service/postgres", {"postgres": 5432}, found.postgres["orders"]),
        Forward(
            "statefulset/nats",
            {"nats": 4222, "nats monitoring": 8222},
            f"http://{layout.address('nats monitoring')}/healthz",
        ),
        Forward("service/jaeger", {"traces": 16686}, f"{found.traces_query}/api/v3/services"),
    ]


def _program(kubectl: tuple[str, ...], layout: Layout, forward: Forward) -> Program:
    ports = [f"{layout.ports[near]}:{far}" for near, far in forward.ports.items()]
    return Program(
        name=forward.whom.partition("/")[2],
        command=(*kubectl, "port-forward", forward.whom, *ports),
        address=layout.address(next(iter(forward.ports))),
        probe=forward.probe,
    )


async def main() -> int:
    """Returns the exit code of the command; 1, having said why, when the shop cannot be reached."""
    asked = _arguments()
    try:
        async with forwarded(_kubectl(asked), asked.write.parent):
            command = await asyncio.create_subprocess_exec(*asked.command)
            return await command.wait()
    except StackError as error:
        _say(str(error))
        return 1


def _kubectl(asked: argparse.Namespace) -> tuple[str, ...]:
    path = shutil.which("kubectl")
    if path is None:
        raise StackError("kubectl is not on the PATH: https://kubernetes.io/docs/tasks/tools")
    return (path, f"--context={asked.context}", f"--namespace={asked.namespace}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.forwarded", description=__doc__)
    parser.add_argument("--context", required=True, help="of the cluster, as `kubectl config get-contexts` names it")
    parser.add_argument("--namespace", required=True, help="where the shop is")
    parser.add_argument(
        "--write", required=True, metavar="FILE", type=Path, help=f"the {state.FILE_NAME} to be written"
    )
    parser.add_argument("command", metavar="COMMAND", nargs="+", help="what to run meanwhile, after --")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
