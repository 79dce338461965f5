"""What each user of NATS may do: a service what its place in the catalogue of facts asks for, and no more.

Nobody but `operator` makes, changes or deletes a stream, reads what is not meant for it, or touches the consumers of
others. What a service is told, it is told by its own consumers: it may subscribe to nothing but its inboxes.

These rights hold against mistakes, and against a fact in another's name. They do not hold against a service that was
taken over: the broker sends its answers wherever a request says, without asking what the user may, and takes an empty
one at `$JS.API.STREAM.DELETE...` for an order. Only an account for each service would keep that apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalogue.model import Catalogue, Fact, Service
from mesh import contract
from mesh.events import again, durable
from mesh.events.again import Lane
from mesh.events.bus import creating
from mesh.events.dead_letters import BURIED
from mesh.events.durable import Durable
from mesh.events.streams import DEAD_LETTERS

OPERATOR = "operator"
API, ACK = "$JS.API", "$JS.ACK"
HISTORIANS = {"shop.orders.v1": ("SHOP_EVENTS",)}
"""Packages whose service reads whole streams, whatever it reacts to: timelines are rebuilt from all facts."""


@dataclass(frozen=True)
class Rights:
    """The subjects, with wildcards, that a user may publish and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


EVERYTHING = Rights((">",), (">",))


def of_users(catalogue: Catalogue) -> dict[str, Rights]:
    """Each user's rights, by name: every service with an event door, and the operator."""
    return {OPERATOR: EVERYTHING} | {service.name: of_service(service, catalogue) for service in catalogue.services}


def of_service(service: Service, catalogue: Catalogue) -> Rights:
    """What one service needs."""
    publish: list[str] = []
    if service.announces:
        publish.append(f"{service.package}.*.*")
    if service.reactions:
        publish += _to_react(service.name, [catalogue.fact(each.fact) for each in service.reactions])
    publish += (f"{API}.DIRECT.GET.{stream}" for stream in HISTORIANS.get(service.package, ()))
    return Rights(tuple(publish), (f"_INBOX_{service.name}.>",))


def authorization(rights: Mapping[str, Rights], passwords: Mapping[str, str]) -> dict[str, Any]:
    """The block of that name in the configuration of a NATS server."""
    users = [
        {"user": user, "password": passwords[user], "permissions": _permissions(each)} for user, each in rights.items()
    ]
    return {"users": users}


def _to_react(service: str, facts: list[Fact]) -> list[str]:
    """To be told of these facts, to have them sent once more, and to bury them."""
    durables = durable.of_service(service, [contract.Fact(fact.name, fact.stream, fact.key) for fact in facts])
    return [
        *(again.subject(service, ">", lane) for lane in Lane),
        f"{API}.STREAM.INFO.{DEAD_LETTERS.name}",
        *(right for each in durables for right in (f"{BURIED}.{each.name}.>", *_to_pull(each))),
    ]


def _to_pull(each: Durable) -> list[str]:
    """To make it, to ask it for messages, and to answer for them: by today's subjects, and by the newer ones."""
    return [
        creating(each.stream, each.config()),
        f"{API}.CONSUMER.INFO.{each.stream}.{each.name}",
        f"{API}.CONSUMER.MSG.NEXT.{each.stream}.{each.name}",
        f"{ACK}.{each.stream}.{each.name}.>",
        f"{ACK}.*.*.{each.stream}.{each.name}.>",
    ]


def _permissions(rights: Rights) -> dict[str, Any]:
    """To a server, an empty list of what is allowed means that all is."""
    publish = {"allow": list(rights.publish)} if rights.publish else {"deny": [">"]}
    return {"publish": publish, "subscribe": {"allow": list(rights.subscribe)}}
