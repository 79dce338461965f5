"""The local stack: what dies comes back, what stops leaves nothing behind, and nobody shares."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from cli.stack import StackError, lock, state
from cli.stack.layout import OTHERS, SERVICES, Layout
from cli.stack.local import Plan, Stack, running
from cli.stack.ports import free_port_base
from cli.stack.program import Program
from cli.stack.readiness import is_ready
from cli.stack.supervisor import Supervisor
from cli.stack.traces import to_collector
from tests.eventually import eventually

pytestmark = pytest.mark.integration

PROCESSES = ["collector", "postgres", "nats", "sandbox", *(service.name for service in SERVICES)]
READY = b"Everything is up"


def is_running(pid: int) -> bool:
    """Orphans that have ended stay zombies for as long as init likes: they do not run."""
    try:
        os.kill(pid, 0)
        return not (stat := Path(f"/proc/{pid}/stat")).exists() or ") Z " not in stat.read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


async def until_gone(pids: Iterable[int]) -> None:
    await eventually(lambda: not any(is_running(pid) for pid in pids))


def pids(data: Path) -> dict[str, int]:
    return {process.name: process.pid for process in state.read(data).processes}


@pytest.fixture(scope="module")
async def reports() -> list[str]:
    return []


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, reports: list[str]) -> AsyncGenerator[Stack]:
    plan = Plan(tmp_path_factory.mktemp("stack"), Layout(free_port_base()), traces=to_collector)
    async with running(plan, reports.append) as started:
        yield started


@asynccontextmanager
async def ensemble_up(data: Path) -> AsyncGenerator[Process]:
    """The command itself, once it says that everything is up. Whoever opens it has to end it."""
    stray = {"ENSEMBLE_LISTEN": "meant for another process"}
    command = (sys.executable, "-m", "cli.main", "up", "--data", str(data), "--port-base", str(free_port_base()))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env={**os.environ, **stray})
    assert process.stdout is not None
    lines: list[bytes] = []
    async for line in process.stdout:
        lines.append(line)
        if READY in line:
            break
    else:
        pytest.fail(b"".join(lines).decode())
    yield process
    await process.wait()


@pytest.mark.parametrize("name", PROCESSES)
async def test_a_killed_process_comes_back_and_the_state_file_stays_true(
    name: str, stack: Stack, reports: list[str]
) -> None:
    data = stack.topology.data
    before = pids(data)
    collector = stack.topology.traces.program
    programs = [collector, *stack.topology.foundations(), *stack.topology.services()]
    probe = next(program.probe for program in programs if program and program.name == name)

    os.kill(before[name], signal.SIGKILL)

    async def back() -> bool:
        return pids(data).get(name, before[name]) != before[name] and await is_ready(probe)

    await eventually(back)
    after = pids(data)
    os.kill(after[name], 0)
    assert f"{name} (pid {before[name]}) was killed by SIGKILL; restarted as pid" in "\n".join(reports)
    others = set(PROCESSES) - {name}
    assert {other: after[other] for other in others} == {other: before[other] for other in others}


async def test_a_message_that_was_acknowledged_survives_the_broker_being_killed(stack: Stack) -> None:
    client = await nats.connect(stack.state.nats_url)
    stream = client.jetstream()
    await stream.add_stream(name="KEPT", subjects=["kept"])
    await stream.publish("kept", b"this")

    os.kill(pids(stack.topology.data)["nats"], signal.SIGKILL)

    message = await asyncio.wait_for(_last_message(stack.state.nats_url), 30)
    assert message == b"this"
    await client.close()


async def _last_message(url: str) -> bytes | None:
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    message = await client.jetstream().get_last_msg("KEPT", "kept")
    await client.close()
    return message.data


async def test_ctrl_c_stops_everything_and_leaves_no_process(tmp_path: Path) -> None:
    async with ensemble_up(tmp_path) as process:
        started = pids(tmp_path)
        process.send_signal(signal.SIGINT)

    assert process.returncode == 0
    assert sorted(started) == sorted(PROCESSES)
    await until_gone(started.values())
    assert state.read(tmp_path).processes == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent is gone")
async def test_a_killed_stack_takes_its_processes_along(tmp_path: Path) -> None:
    async with ensemble_up(tmp_path) as process:
        started = pids(tmp_path)
        process.kill()

    await until_gone(started.values())


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--jaeger"], 3, b"go install github.com/jaegertracing/jaeger"),
        (["--jaeger", "--no-traces"], 2, b"without traces"),
        (["--no-traces", "--traces-query", "http://127.0.0.1:16686"], 2, b"traces query"),
    ],
    ids=["absent", "contradiction", "nothing to ask for"],
)
async def test_traces_that_cannot_be_had_are_refused_with_advice(
    tmp_path: Path, options: list[str], code: int, said: bytes
) -> None:
    command = (sys.executable, "-m", "cli.main", "up", "--data", str(tmp_path), *options)
    environment = {**os.environ, "PATH": "", "COLUMNS": "500"}

    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    output, _ = await process.communicate()

    assert process.returncode == code
    assert said in output


async def test_a_second_stack_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with lock.held(tmp_path), pytest.raises(StackError, match=f"in use by the stack of process {os.getpid()}"):
        async with running(Plan(tmp_path, Layout(free_port_base())), print):
            pass


async def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    base = free_port_base()
    with socket.create_server(("127.0.0.1", base + OTHERS["nats"])) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StackError, match=rf"port in use: {port} \(for nats\)"):
            async with running(Plan(tmp_path, Layout(base)), print):
                pass

    assert not (tmp_path / "postgres").exists()


def supervisor(data: Path, reports: list[str], *, restart: bool) -> Supervisor:
    return Supervisor(data, restart=restart, report=reports.append, changed=lambda: None)


async def test_a_program_that_never_becomes_ready_is_explained_by_the_end_of_its_log(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "print('the disk is made of cheese'); exit(3)")
    program = Program("broken", command, "127.0.0.1:1", "http://127.0.0.1:1/")
    broken = supervisor(tmp_path, [], restart=True)

    with pytest.raises(StackError, match=r"(?s)broken died 5 times.*the disk is made of cheese"):
        await broken.start([program])

    await broken.stop()


async def test_without_restart_what_dies_stays_down(tmp_path: Path) -> None:
    port = free_port_base()
    command = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    told: list[str] = []
    once = supervisor(tmp_path, told, restart=False)
    await once.start([Program("web", command, f"127.0.0.1:{port}", f"http://127.0.0.1:{port}/")])
    pid = once.processes[0].pid

    os.kill(pid, signal.SIGKILL)

    await eventually(lambda: bool(told))
    assert told == [f"web (pid {pid}) was killed by SIGKILL; it stays down, as --no-restart says"]
    assert once.processes == []
    await once.stop()
