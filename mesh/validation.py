"""Requests are held to the rules of their contract before anything else looks at them.

The rules are field options in the proto (`ensemble/mesh/v1/rules.proto`); the checks are compiled once per message
type into plain closures.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ensemble.mesh.v1 import rules_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}")


@dataclass(frozen=True)
class Violation:
    """One field that breaks its rule."""

    field: str
    """Path of the field, for example `purchase.items[0].sku`."""
    description: str


Check = Callable[[Any], str | None]
"""Looks at a value; says what is wrong with it, or None."""


def violations(message: Message) -> list[Violation]:
    """Every rule that `message` breaks, with the path of the field."""
    return [Violation(path, text) for path, text in _walk(message)]


def problem_of(message: Message, name: str) -> str | None:
    """What is wrong with one field, by its own rules; None if nothing is."""
    checks = next((checks for field, checks, _ in _compiled(message.DESCRIPTOR) if field.name == name), ())
    return next((problem for check in checks if (problem := check(getattr(message, name))) is not None), None)


def _walk(message: Message) -> Iterable[tuple[str, str]]:
    for field, checks, nested in _compiled(message.DESCRIPTOR):
        value = _value(message, field)
        for check in checks:
            if (problem := check(value)) is not None:
                yield field.name, problem
                break
        else:
            if nested and value is not None:
                yield from _walk_into(field, value)


def _walk_into(field: FieldDescriptor, value: Any) -> Iterable[tuple[str, str]]:
    if not field.is_repeated:
        for path, text in _walk(value):
            yield f"{field.name}.{path}", text
        return
    for index, item in enumerate(value):
        for path, text in _walk(item):
            yield f"{field.name}[{index}].{path}", text


def _value(message: Message, field: FieldDescriptor) -> Any:
    if field.message_type is not None and not field.is_repeated and not message.HasField(field.name):
        return None
    return getattr(message, field.name)


@cache
def _compiled(descriptor: Descriptor) -> list[tuple[FieldDescriptor, list[Check], bool]]:
    plan: list[tuple[FieldDescriptor, list[Check], bool]] = []
    for field in descriptor.fields:
        checks = list(_checks(field))
        nested = field.message_type is not None and not field.message_type.full_name.startswith("google.")
        if checks or nested:
            plan.append((field, checks, nested))
    return plan


def _checks(field: FieldDescriptor) -> Iterable[Check]:
    rules = field.GetOptions().Extensions[rules_pb2.field]
    if rules.required or rules.uuid or rules.id:
        yield lambda value: None if value else "is required"
    if field.enum_type is not None:
        yield _defined(frozenset(field.enum_type.values_by_number))
    if field.type == FieldDescriptor.TYPE_STRING:
        yield from _string_checks(rules)
    if rules.HasField("int"):
        yield _within(rules.int)
    if rules.repeated.max_items:
        yield _at_most(rules.repeated.max_items)
    if rules.repeated.unique_by:
        yield _unique(rules.repeated.unique_by)


def _string_checks(rules: rules_pb2.Rules) -> Iterable[Check]:
    if rules.uuid:
        yield _matches(UUID, "is not a UUID in its canonical form")
    elif rules.id:
        yield _matches(ID, "is not an id: up to 200 of A-Z a-z 0-9 . _ / : -, beginning with a letter or digit")
    else:
        if rules.string.max_len:
            yield _no_longer(rules.string.max_len)
        if rules.string.pattern:
            yield _matches(re.compile(rules.string.pattern), f"does not match {rules.string.pattern}")
        yield lambda value: "contains a NUL character" if "\0" in value else None


def _defined(numbers: frozenset[int]) -> Check:
    return lambda value: None if value in numbers else f"is not a value of its enum: {value}"


def _no_longer(most: int) -> Check:
    return lambda value: None if len(value) <= most else f"has {len(value)} characters; the most is {most}"


def _matches(pattern: re.Pattern[str], problem: str) -> Check:
    return lambda value: None if not value or pattern.fullmatch(value) else problem


def _within(rules: rules_pb2.IntRules) -> Check:
    low = rules.gte if rules.HasField("gte") else float("-inf")
    high = rules.lte if rules.HasField("lte") else float("inf")
    return lambda value: None if low <= value <= high else f"is {value}; allowed is {low} to {high}"


def _at_most(most: int) -> Check:
    return lambda value: None if len(value) <= most else f"has {len(value)} items; the most is {most}"


def _unique(name: str) -> Check:
    def check(items: Iterable[Message]) -> str | None:
        values = [getattr(item, name) for item in items]
        return None if len(set(values)) == len(values) else f"has two items with the same {name}"

    return check
