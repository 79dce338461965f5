"""The contracts as they are written: comments and text, which the generated code no longer has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, SourceCodeInfo
from grpc_tools import protoc

PROTO = Path(__file__).parents[1] / "proto"
KINDS = ("message_type", "enum_type", "service", "method")
"""Fields of descriptors that hold what has a definition of its own."""


@dataclass(frozen=True)
class Definition:
    """A message, an enum, a service or a method, as the proto file has it."""

    comment: str
    """On one line."""
    text: str
    """With the comment."""
    uses: tuple[str, ...]
    """The messages and enums of its fields, by full name."""


@cache
def definitions() -> dict[str, Definition]:
    """All definitions, by full name."""
    return {name: each for file in _compiled().file for name, each in _definitions(file)}


def _compiled() -> FileDescriptorSet:
    with TemporaryDirectory() as folder:
        output = Path(folder) / "contracts.binpb"
        files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
        includes = (f"-I{PROTO}", f"-I{resources.files('grpc_tools') / '_proto'}")
        if protoc.main(["protoc", *includes, "--include_source_info", f"--descriptor_set_out={output}", *files]):
            raise ValueError(f"{PROTO} does not compile")
        return FileDescriptorSet.FromString(output.read_bytes())


def _definitions(file: FileDescriptorProto) -> Iterator[tuple[str, Definition]]:
    lines = (PROTO / file.name).read_text().splitlines()
    for location in file.source_code_info.location:
        if (found := _find(file, location.path)) is not None:
            name, element = found
            comment = " ".join(location.leading_comments.split())
            uses = tuple(field.type_name[1:] for field in getattr(element, "field", ()) if field.type_name)
            yield name, Definition(comment, _text(lines, location), uses)


def _find(file: FileDescriptorProto, path: Sequence[int]) -> tuple[str, Any] | None:
    """What is at a path of field numbers and indices, with its full name; None for a mere part, such as a field."""
    element: Any = file
    names = [file.package]
    for number, index in zip(path[::2], path[1::2], strict=False):
        kind = element.DESCRIPTOR.fields_by_number[number].name
        if kind not in KINDS:
            return None
        element = getattr(element, kind)[index]
        names.append(element.name)
    return (".".join(names), element) if path and len(path) % 2 == 0 else None


def _text(lines: list[str], location: SourceCodeInfo.Location) -> str:
    first = location.span[0]
    last = max([first, *location.span[2:-1]])  # a span on one line does not name its last
    comment = len(location.leading_comments.splitlines())
    return "\n".join(lines[first - comment : last + 1])
