"""What the proto files promise, read from their descriptors: methods with deadline, retry and undo; facts."""

from dataclasses import dataclass
from functools import cache

from ensemble.mesh.v1 import command_pb2, fact_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message


@dataclass(frozen=True)
class Method:
    """One method and what it promises."""

    path: str
    """`/package.Service/Method`, as gRPC has it on the wire."""
    deadline: float | None
    """Seconds one attempt may take; None where the method declares none, as streams do."""
    retry: command_pb2.Retry.ValueType
    read_only: bool
    undo: str | None
    """`package.Service/Method` that takes it back."""
    no_undo_reason: str

    @property
    def service(self) -> str:
        """Full name of the service it belongs to."""
        return self.path[1:].rpartition("/")[0]


@dataclass(frozen=True)
class Fact:
    """One kind of fact and where it is announced."""

    name: str
    """Full name of the message: CloudEvents `type`, and the subject's beginning."""
    stream: str
    key: str
    """The field that ties together the facts of one story."""
    refusal: str | None = None
    """The field that says why, in a fact that tells of a refusal."""

    def subject(self, key: str) -> str:
        """The subject of the fact about `key`; `*` for all of them."""
        return f"{self.name}.{key}"

    def story(self, key: str) -> str:
        """The subject of all facts about `key`, of every package beside this one; `*` for those about anything."""
        root, _, version, _ = self.name.split(".")
        return f"{root}.*.{version}.*.{key}"

    @property
    def stream_subjects(self) -> str:
        """What its stream listens to."""
        return self.story("*")


@cache
def method(path: str) -> Method:
    """The method at `/package.Service/Method`. Raises KeyError for an unknown one."""
    service, _, name = path.strip("/").rpartition("/")
    return describe_method(descriptor_pool.Default().FindMethodByName(f"{service}.{name}"))


def describe_method(descriptor: MethodDescriptor) -> Method:
    """The promises of a method, from its options."""
    options = descriptor.GetOptions()
    command = options.Extensions[command_pb2.command]
    return Method(
        path=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        deadline=command.deadline.ToTimedelta().total_seconds() if command.HasField("deadline") else None,
        retry=command.retry,
        read_only=options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
        undo=command.undo or None,
        no_undo_reason=command.no_undo_reason,
    )


def methods(service: ServiceDescriptor) -> list[Method]:
    """All methods of a service."""
    return [describe_method(each) for each in service.methods]


def fact(message: type[Message] | Message) -> Fact:
    """What kind of fact a message is. Raises TypeError for a message that is none."""
    return describe_fact(message.DESCRIPTOR)


@cache
def describe_fact(descriptor: Descriptor) -> Fact:
    """The kind of fact a descriptor is of. Raises TypeError if it is none."""
    options = descriptor.GetOptions()
    if not options.HasExtension(fact_pb2.fact):
        raise TypeError(f"{descriptor.full_name} is no fact: it has no option (ensemble.mesh.v1.fact)")
    declared = options.Extensions[fact_pb2.fact]
    return Fact(descriptor.full_name, declared.stream, declared.key, declared.refusal or None)
