"""The rules of the architecture that no linter knows."""

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import ensemble
import pytest
import shop
from ensemble.mesh.v1 import fact_pb2, rules_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from catalogue import code
from catalogue.model import Service
from mesh import contract
from mesh.postgres.migrations.files import Migrations

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "core.py").exists())
FILES = {"__init__.py", "__main__.py", "core.py", "events.py", "rpc.py", "store.py"}
CLIENTS = {"modes.py", "outside.py"}
"""The one file more of a service that calls others: peers, or the outside world."""


def generated(package: ModuleType) -> list[ModuleType]:
    names = [name for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [importlib.import_module(name) for name in names if name.endswith("_pb2")]


CONTRACTS = [module for package in (shop, ensemble) for module in generated(package)]
RPC_SERVICES: list[ServiceDescriptor] = [
    service for module in CONTRACTS for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS = [method for service in RPC_SERVICES for method in service.methods]
MUTATING = [each for each in METHODS if each.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS]
CATALOGUE = code.read().services
FACTS: list[Descriptor] = [
    message
    for module in CONTRACTS
    for message in module.DESCRIPTOR.message_types_by_name.values()
    if message.GetOptions().HasExtension(fact_pb2.fact)
]


def name(descriptor: MethodDescriptor | Descriptor) -> str:
    return descriptor.full_name


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_every_method_says_whether_it_may_be_repeated(method: MethodDescriptor) -> None:
    assert method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN


@pytest.mark.parametrize("method", MUTATING, ids=name)
def test_every_mutating_request_has_a_request_id(method: MethodDescriptor) -> None:
    field = method.input_type.fields_by_name["request_id"]

    assert field.GetOptions().Extensions[rules_pb2.field].id


@pytest.mark.parametrize("method", MUTATING, ids=name)
def test_every_mutating_method_names_its_undo_or_why_there_is_none(method: MethodDescriptor) -> None:
    promise = contract.describe_method(method)

    assert bool(promise.undo) != bool(promise.no_undo_reason)
    if promise.undo:
        assert not contract.method(promise.undo).read_only


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_every_unary_method_has_a_deadline_and_no_stream_has(method: MethodDescriptor) -> None:
    assert (contract.describe_method(method).deadline is None) == method.server_streaming


def strings(message: Descriptor) -> list[FieldDescriptor]:
    found: list[FieldDescriptor] = []
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            found.append(field)
        elif field.message_type is not None and not field.message_type.full_name.startswith("google."):
            found += strings(field.message_type)
    return found


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_every_text_and_list_of_a_request_has_a_limit(method: MethodDescriptor) -> None:
    for field in strings(method.input_type):
        rules = field.GetOptions().Extensions[rules_pb2.field]
        bounded = re.fullmatch(r"\[.*\]\{\d\}", rules.string.pattern) is not None
        assert rules.uuid or rules.id or rules.string.max_len or bounded, field.full_name
    for field in method.input_type.fields:
        if field.is_repeated:
            assert field.GetOptions().Extensions[rules_pb2.field].repeated.max_items, field.full_name


@pytest.mark.parametrize("fact", FACTS, ids=name)
def test_every_fact_has_its_key_and_is_named_for_what_has_happened(fact: Descriptor) -> None:
    option = fact.GetOptions().Extensions[fact_pb2.fact]

    assert option.key in fact.fields_by_name
    assert re.search(r"(ed|Sent)$", fact.name), "facts are past tense"
    assert fact.file.name.endswith("_facts.proto")


@pytest.mark.parametrize("fact", FACTS, ids=name)
def test_a_fact_that_tells_of_a_refusal_says_which_field_does(fact: Descriptor) -> None:
    told = [
        field.name for field in fact.fields if field.message_type is not None and field.message_type.name == "Refusal"
    ]

    assert told == [name for name in [contract.describe_fact(fact).refusal] if name]


def canvas(service: str) -> dict[str, set[str]]:
    text = importlib.import_module(f"services.{service}").__doc__ or ""
    lines = re.findall(r"^([A-Z][\w ]+): (.*(?:\n    .*)*)", text, re.MULTILINE)
    words = {key: set(re.findall(r"[A-Z]\w+", value)) for key, value in lines}
    return {key: words.get(key, set()) for key in ("Answers", "Reacts to", "Announces")}


@pytest.mark.parametrize("service", CATALOGUE, ids=SERVICES)
def test_the_canvas_of_a_service_is_what_it_does(service: Service) -> None:
    assert canvas(service.name) == {
        "Answers": {answer.name for answer in service.answers},
        "Reacts to": {event(reaction.fact) for reaction in service.reactions},
        "Announces": {event(fact) for fact in service.announces},
    }


@pytest.mark.parametrize("service", CATALOGUE, ids=SERVICES)
def test_a_service_makes_at_each_door_the_facts_that_begin_or_follow_there(service: Service) -> None:
    following = {fact for reaction in service.reactions for fact in reaction.leads_to}

    assert made(service, "rpc.py") == set(service.begins)
    assert made(service, "events.py") == following


def made(service: Service, file: str) -> set[str]:
    """The facts of the service that a file makes, as its text has them."""
    text = (ROOT / "services" / service.name / file).read_text()
    return {fact for fact in service.announces if re.search(rf"\b{event(fact)}\(", text)}


def event(fact: str) -> str:
    """The name without its package."""
    return fact.rpartition(".")[2]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_files(service: str) -> None:
    files = {path.name for path in (ROOT / "services" / service).iterdir() if path.is_file()}

    assert files - CLIENTS == FILES
    assert Migrations.of(f"services.{service}").files


def test_the_kit_names_no_service() -> None:
    words = re.compile(rf"\b(shop|{'|'.join(SERVICES)})\b", re.IGNORECASE)
    for path in (ROOT / "mesh").rglob("*.py"):
        found = [line for line in path.read_text().splitlines() if words.search(line)]
        assert found == [], path


@pytest.mark.parametrize(
    "folder", ["mesh", "services", "orchestrator", "sandbox", "collector", "catalogue", "cli", "tests"]
)
def test_no_file_is_too_long_to_be_one_idea(folder: str) -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}

    assert {path: length for path, length in lengths.items() if length > 350} == {}
