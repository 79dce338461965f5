"""The names of attributes: those that are known, and those that the code writes or reads."""

import ast
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from opentelemetry import semconv

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"[a-z][a-z_]*(\.[a-z][a-z_0-9]*)+(?<!\.v\d)")
"""Of an attribute. What ends in a version is a proto package."""
WRITERS = ("mesh", "services", "orchestrator", "sandbox")
READERS = ("cli",)
TYPES: dict[str, type] = {"string": str, "int": int, "double": float, "boolean": bool, "string[]": tuple}
"""What the values of a type are in Python."""


@dataclass(frozen=True)
class Attribute:
    """One of our own."""

    name: str
    type: str
    values: frozenset[str] = frozenset()
    """The only ones; any, if there are none."""

    def allows(self, value: object) -> bool:
        """Whether it may have this value, as the collector of the tests has it."""
        if self.values:
            return value in self.values
        return isinstance(value, TYPES[self.type])


@dataclass
class Names:
    """Where each name occurs."""

    written: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    read: dict[str, set[str]] = field(default_factory=dict[str, set[str]])


def ours() -> dict[str, Attribute]:
    """The attributes of telemetry/registry.yaml, by name."""
    groups = yaml.safe_load((ROOT / "telemetry/registry.yaml").read_text())["groups"]
    return {each["id"]: _attribute(each) for group in groups for each in group["attributes"]}


def _attribute(told: Mapping[str, Any]) -> Attribute:
    if isinstance(told["type"], str):
        return Attribute(told["id"], told["type"])
    return Attribute(told["id"], "string", frozenset(member["value"] for member in told["type"]["members"]))


def conventions() -> tuple[frozenset[str], frozenset[str]]:
    """OpenTelemetry's own attributes, those that are current and those that are deprecated."""
    current: set[str] = set()
    deprecated: set[str] = set()
    for path in Path(semconv.__path__[0]).rglob("*_attributes.py"):
        for constant, document in _documented(ast.parse(path.read_text())):
            (deprecated if "Deprecated" in document else current).add(constant)
    return frozenset(current), frozenset(deprecated - current)


def _documented(tree: ast.Module) -> Generator[tuple[str, str]]:
    for statement, following in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            yield str(statement.value.value), ast.unparse(following)


def in_code() -> Names:
    """The names that occur in our code where attributes do."""
    names = Names()
    for folder in (*WRITERS, *READERS):
        for path in (ROOT / folder).rglob("*.py"):
            where, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text())
            constants = _constants(tree)
            for node in ast.walk(tree):
                if folder in WRITERS:
                    _note(names.written, where, constants, _written(node))
                _note(names.read, where, constants, _read(node))
    return names


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """What the names stand for that a module gives to values."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _note(
    found: dict[str, set[str]], where: str, constants: Mapping[str, ast.expr], nodes: Iterable[ast.expr | None]
) -> None:
    for node in nodes:
        constant = constants.get(node.id) if isinstance(node, ast.Name) else node
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str) and NAME.fullmatch(constant.value):
            found.setdefault(constant.value, set()).add(where)


def _written(node: ast.AST) -> Iterable[ast.expr | None]:
    """Keys of a dict, those that are put into one, what `set_attribute` sets, what a keyword spells with `__`."""
    match node:
        case ast.Subscript(slice=name, ctx=ast.Store()):
            return [name]
        case ast.Dict(keys=keys):
            return keys
        case ast.Call(func=ast.Attribute(attr="set_attribute"), args=[name, *_]):
            return [name]
        case ast.Call(keywords=keywords):
            spelt = [keyword.arg for keyword in keywords if keyword.arg and "__" in keyword.arg]
            return [ast.Constant(word.replace("__", ".")) for word in spelt]
        case _:
            return ()


def _read(node: ast.AST) -> Iterable[ast.expr]:
    """What is got out of a mapping."""
    match node:
        case ast.Subscript(slice=name, ctx=ast.Load()):
            return [name]
        case ast.Call(func=ast.Attribute(attr="get"), args=[name, *_]):
            return [name]
        case _:
            return ()
