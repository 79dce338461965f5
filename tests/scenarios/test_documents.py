"""Every command that a document shows is run, and gives the answer that the document shows."""

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from cli.books import settled
from cli.stack.layout import SERVICES, Layout
from cli.stack.state import State
from tests.documents import Example, examples
from tests.shop import Shop

pytestmark = pytest.mark.system

EXAMPLES = examples()
CALLS = [each for each in EXAMPLES if each.command.startswith("grpcurl ")]
GRPCURL = shutil.which("grpcurl")
FRESH = f"{uuid.uuid4().hex}-"
"""Before the keys that documents make up for the outside world, which remembers those of an earlier run."""


def here(shop: Shop, command: str) -> str:
    """The command, with the addresses of this shop for those of `ensemble up`, and with fresh keys."""
    addresses = listening(shop.state)
    moved = re.sub(r"(?:localhost|127\.0\.0\.1):(\d+)", lambda port: addresses[int(port[1])], command)
    return re.sub(r"(?<=/)(?=order-\d)", FRESH, moved)


def listening(state: State) -> dict[int, str]:
    """`host:port` of who is called from outside, by the port that `ensemble up` gives them; of one replica of each."""
    ports = Layout().ports
    services = {ports[each.name]: state.services[each.package].removeprefix("ipv4:") for each in SERVICES}
    return {port: targets.partition(",")[0] for port, targets in services.items()} | {
        ports["sandbox"]: urlsplit(state.sandbox_url).netloc
    }


async def run(shop: Shop, command: str, cwd: Path) -> str:
    """What a shell prints, in a folder where `.ensemble` is the running stack."""
    if not (cwd / ".ensemble").exists():
        (cwd / ".ensemble").symlink_to(shop.data.resolve())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_shell(
        here(shop, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env={**os.environ, "PATH": path, "COLUMNS": "200"},
    )
    output, _ = await process.communicate()
    return output.decode().replace(FRESH, "")


@pytest.fixture(scope="module", autouse=True)
async def at_rest(shop: Shop) -> AsyncGenerator[None]:
    """No order of theirs is under way any more when others look at the books."""
    before = await shop.books()
    yield
    await settled(before, shop.books)


def test_there_are_examples_of_both_kinds() -> None:
    assert CALLS
    assert [each for each in EXAMPLES if each.command.startswith("ensemble ")]


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each not in CALLS], ids=str)
async def test_a_command_prints_what_the_document_shows(shop: Shop, example: Example, tmp_path: Path) -> None:
    output = await run(shop, example.command, tmp_path)

    assert example.shows(output), output


@pytest.mark.skipif(
    GRPCURL is None, reason="needs grpcurl: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest"
)
@pytest.mark.parametrize("example", CALLS, ids=str)
async def test_grpcurl_prints_what_the_document_shows(shop: Shop, example: Example, tmp_path: Path) -> None:
    output = await run(shop, example.command, tmp_path)

    assert example.shows(output), output


@pytest.mark.parametrize("example", CALLS, ids=str)
async def test_reflection_answers_what_the_document_shows(shop: Shop, example: Example) -> None:
    words = shlex.split(here(shop, example.command))[1:]

    answer = await asyncio.to_thread(by_reflection, [word for word in words if word != "-plaintext"])

    assert like(answer, example.answer), answer


def by_reflection(words: list[str]) -> str:
    """What grpcurl does, with nothing but the server's reflection."""
    body = words[words.index("-d") + 1] if "-d" in words else "{}"
    address, *verb = [word for word in words if word not in ("-d", body)]
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        if verb == ["list"]:
            return "\n".join(sorted(database.get_services()))
        pool = DescriptorPool(database)  # type: ignore[no-untyped-call]
        if verb[0] == "describe":
            return f"{pool.FindServiceByName(verb[1]).full_name} is a service:"
        return call(channel, pool, verb[0], body)


def call(channel: grpc.Channel, pool: DescriptorPool, path: str, body: str) -> str:
    service, _, name = path.rpartition("/")
    method = pool.FindServiceByName(service).methods_by_name[name]
    request = json_format.Parse(body, GetMessageClass(method.input_type)(), descriptor_pool=pool)
    invoke = channel.unary_unary(
        f"/{path}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        response = invoke(request, timeout=10)
    except grpc.RpcError as error:
        return f"Message: {error.details()}"  # type: ignore[attr-defined]
    return json_format.MessageToJson(response, preserving_proto_field_name=True)


def like(answer: str, shown: str) -> bool:
    """Whether an answer says what the document shows: JSON by value, everything else by its lines."""
    if not shown.startswith("{"):
        return set(answer.splitlines()) <= {line.strip() for line in shown.splitlines()}
    return same(json.loads(answer), json.loads(shown))


def same(value: Any, shown: Any) -> bool:
    if isinstance(shown, dict) and isinstance(value, dict):
        return value.keys() == shown.keys() and all(same(value[key], shown[key]) for key in shown)
    if isinstance(shown, list) and isinstance(value, list):
        return len(value) == len(shown) and all(map(same, value, shown))
    return shown in ("...", value)
