"""A fact of each kind: ordinary, and as large as its contract lets it be."""

from collections.abc import Callable
from typing import Any

from ensemble.mesh.v1 import rules_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from catalogue import code

KINDS = code.facts()
ORDER_ID = "0193a8b0-0000-7000-8000-000000000000"
WIDEST = "\N{GRINNING FACE}"
"""Four bytes for one character."""

Text = Callable[[rules_pb2.Rules], str]


def ordinary(kind: type[Message]) -> Message:
    """With every field set to something."""
    return _filled(kind, lambda _: "x", items=1)


def largest(kind: type[Message]) -> Message:
    """With every text and every list as long as the rules allow; what has no rule comes from our own code."""
    return _filled(kind, lambda rules: WIDEST * (rules.string.max_len or 100), items=100)


def _filled(kind: type[Message], text: Text, items: int) -> Message:
    message = kind()
    fields: Any = kind.DESCRIPTOR.fields
    for field in fields:
        if field.is_repeated:
            getattr(message, field.name).extend(_value(field, text, items) for _ in range(items))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(_value(field, text, items))
        else:
            setattr(message, field.name, _value(field, text, items))
    return message


def _value(field: FieldDescriptor, text: Text, items: int) -> Any:
    if field.message_type is not None:
        return _filled(GetMessageClass(field.message_type), text, items)
    if field.type != FieldDescriptor.TYPE_STRING:
        return 1
    rules = field.GetOptions().Extensions[rules_pb2.field]
    return ORDER_ID if rules.uuid else text(rules)
