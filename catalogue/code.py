"""Reads the catalogue from the code: the contracts, and what each service's event door reacts to."""

import importlib
import inspect
import pkgutil
import re
from functools import cache
from typing import Any

import shop
from ensemble.mesh.v1 import fact_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

import services
from catalogue.contracts import definitions
from catalogue.model import Answer, Catalogue, Fact, Reaction, Service
from mesh import contract
from mesh.events import reaction as kit
from mesh.events.durable import of_fact


def read() -> Catalogue:
    """What the code of this checkout says."""
    found = tuple(_service(module.name) for module in pkgutil.iter_modules(services.__path__))
    return Catalogue(services=found, facts=tuple(_fact(message) for message in facts()))


def _service(name: str) -> Service:
    rpc: ServiceDescriptor = importlib.import_module(f"services.{name}.rpc").SERVICE
    package = rpc.file.package
    announces = [_name(fact) for fact in facts() if fact.DESCRIPTOR.file.package == package]
    reactions = tuple(_reaction(name, each) for each in _reactions(name, rpc))
    following = {fact for reaction in reactions for fact in reaction.leads_to}
    return Service(
        name=name,
        package=package,
        service=rpc.full_name,
        owns=_owns(name),
        answers=tuple(Answer(name=each.name, does=_comment(each.full_name)) for each in rpc.methods),
        announces=tuple(announces),
        begins=tuple(fact for fact in announces if fact not in following),
        reactions=reactions,
    )


def _owns(service: str) -> str:
    """What the canvas says that it owns."""
    canvas = inspect.getdoc(importlib.import_module(f"services.{service}")) or ""
    (owned,) = re.findall(r"^Owns: (.*(?:\n    .*)*)\.$", canvas, re.MULTILINE)
    return " ".join(owned.split())


def _reactions(service: str, rpc: ServiceDescriptor) -> tuple[kit.Reaction[Any], ...]:
    """What the event door of the service reacts to."""
    listener = getattr(importlib.import_module(f"services.{service}.events"), rpc.name.replace("Service", "Listener"))
    parts = (None for _ in inspect.signature(listener).parameters)  # to say to what it reacts, it needs none
    return listener(*parts).reactions()


def _reaction(service: str, reaction: kit.Reaction[Any]) -> Reaction:
    fact = contract.fact(reaction.fact)
    durable = of_fact(service, fact)
    does, _, _ = (inspect.getdoc(reaction.react) or "").partition("\n")
    return Reaction(
        fact=fact.name,
        durable=durable.name,
        stream=durable.stream,
        subject=fact.subject("*"),
        does=does,
        leads_to=tuple(sorted(_name(each) for each in reaction.leads_to)),
    )


def _fact(message: type[Message]) -> Fact:
    fact = contract.fact(message)
    return Fact(
        name=fact.name,
        stream=fact.stream,
        key=fact.key,
        subject=fact.subject("*"),
        undoes=_undone(message),
        comment=_comment(fact.name),
    )


def _undone(fact: type[Message]) -> str | None:
    """The method that is undone when this has happened. An undo and its fact share the verb: Refund, Refunded."""
    participle = re.findall(r"[A-Z][a-z]+", fact.DESCRIPTOR.name)[-1]
    for service in _services_beside(fact):
        for method in contract.methods(service):
            undo = (method.undo or "").rpartition("/")[2]
            if undo and participle.startswith(re.findall(r"[A-Z][a-z]+", undo)[0]):
                return method.path[1:]
    return None


def _services_beside(fact: type[Message]) -> list[ServiceDescriptor]:
    """The RPC services of the fact's package."""
    package = fact.DESCRIPTOR.file.package
    return [
        each
        for module in _contracts()
        if module.DESCRIPTOR.package == package
        for each in module.DESCRIPTOR.services_by_name.values()
    ]


@cache
def facts() -> list[type[Message]]:
    """The messages that are facts, by name."""
    messages = [getattr(module, name) for module in _contracts() for name in module.DESCRIPTOR.message_types_by_name]
    return sorted((each for each in messages if each.DESCRIPTOR.GetOptions().HasExtension(fact_pb2.fact)), key=_name)


@cache
def _contracts() -> list[Any]:
    """The generated modules of the shop."""
    names = [name for _, name, _ in pkgutil.walk_packages(shop.__path__, "shop.")]
    return [importlib.import_module(name) for name in names if name.endswith("_pb2")]


def _name(message: type[Message]) -> str:
    return message.DESCRIPTOR.full_name


def _comment(name: str) -> str:
    return definitions()[name].comment
