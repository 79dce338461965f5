"""The facts whose contracts this program knows."""

import importlib
import pkgutil
from typing import Any

import shop
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from cli.order import reason_word
from cli.output import items_of, money

for module in pkgutil.walk_packages(shop.__path__, f"{shop.__name__}."):
    if module.name.endswith("_facts_pb2"):
        importlib.import_module(module.name)


def decoded(kind: str, payload: bytes) -> Message | None:
    """The fact of this full name; None where we do not know it, or where the bytes are none."""
    try:
        return GetMessageClass(Default().FindMessageTypeByName(kind)).FromString(payload)
    except (KeyError, DecodeError):
        return None


def detail(fact: Any) -> str:
    """What a person would want to know of a fact besides its name: items, money, a tracking code, why not."""
    fields = fact.DESCRIPTOR.fields_by_name
    if "refusal" in fields:
        return f"{fact.refusal.reason}: {fact.refusal.message}"
    if "reason" in fields:
        return reason_word(fact.reason)
    sums = [money(getattr(fact, name)) for name in ("total", "amount") if name in fields]
    if "purchase" in fields and not sums:
        return items_of(fact.purchase.items)
    return " ".join(filter(None, [*sums, fact.tracking if "tracking" in fields else ""]))
