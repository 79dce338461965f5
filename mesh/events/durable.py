"""The durable consumers of a service, as the broker knows them."""

from collections.abc import Iterable
from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from mesh import contract
from mesh.events import again
from mesh.events.again import Lane
from mesh.events.streams import AGAIN

ACK_WAIT = 5.0
"""Seconds after which a fact whose handler has crashed is delivered again."""
PENDING_MAX = 1000
"""Facts of one durable that all replicas together may have in hand."""


@dataclass(frozen=True)
class Durable:
    """One of them."""

    stream: str
    name: str
    subject: str
    """What it is given of its stream."""
    ack_wait: float = ACK_WAIT
    max_ack_pending: int = PENDING_MAX

    def config(self) -> ConsumerConfig:
        """What the broker is told, explicitly: of an existing one, what differs is changed.

        The broker delivers without end: were it to give up on a message, it would only say so, once, to whoever hears.
        """
        return ConsumerConfig(
            durable_name=self.name,
            filter_subject=self.subject,  # the broker checks the right to it
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            max_deliver=-1,
            max_ack_pending=self.max_ack_pending,
        )


def of_service(service: str, facts: Iterable[contract.Fact]) -> list[Durable]:
    """All that a service reacting to these facts has: one for each, then the lanes `again` and `alone`."""
    return [*(of_fact(service, fact) for fact in facts), of_lane(service, Lane.AGAIN), of_lane(service, Lane.ALONE)]


def of_fact(service: str, fact: contract.Fact) -> Durable:
    """A service's reaction to one kind of fact, named so that `nats consumer ls` reads as the choreography."""
    return Durable(fact.stream, f"{service}_{fact.name.rpartition('.')[2]}", fact.subject("*"))


def of_lane(service: str, lane: Lane) -> Durable:
    """Facts that are sent to this service once more."""
    at_a_time = 1 if lane is Lane.ALONE else PENDING_MAX
    return Durable(AGAIN.name, f"{service}_{lane}", again.subject(service, ">", lane), max_ack_pending=at_a_time)
