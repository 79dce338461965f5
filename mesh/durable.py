"""The durable consumers of a service, as the broker knows them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from mesh import again, contract
from mesh.streams import AGAIN, EXHAUSTED

ACK_WAIT = 5.0
"""Seconds after which a fact whose handler has crashed, or is slow, is delivered again: handled once all the same."""
TRIES_MAX = 10
"""Deliveries of a message. A handler that fails in an unforeseen way has as many tries; an outage has no limit."""
PENDING_MAX = 1000
"""Facts of one durable that all replicas together may have in hand."""
ALONE_SECONDS = 30.0
"""How long a fact that nobody answered for may take when it is tried alone."""


@dataclass(frozen=True)
class Durable:
    """One of them."""

    stream: str
    name: str
    subjects: tuple[str, ...]
    """What it is given of its stream."""
    ack_wait: float = ACK_WAIT
    max_deliver: int = TRIES_MAX
    max_ack_pending: int = PENDING_MAX

    def config(self) -> ConsumerConfig:
        """What the broker is told, explicitly: of an existing one, what differs is changed."""
        return self._filtered(
            durable_name=self.name,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            max_deliver=self.max_deliver,
            max_ack_pending=self.max_ack_pending,
        )

    def alone(self, sequence: int) -> ConsumerConfig:
        """A consumer for one message of this durable's, at its place in the stream; it goes by itself."""
        return self._filtered(
            name=f"{self.name}_alone",
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=sequence,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ALONE_SECONDS,
            max_deliver=1,
            inactive_threshold=ALONE_SECONDS,
        )

    def _filtered(self, **config: Any) -> ConsumerConfig:
        if len(self.subjects) == 1:  # then the broker checks the right to it
            return ConsumerConfig(filter_subject=self.subjects[0], **config)
        return ConsumerConfig(filter_subjects=list(self.subjects), **config)


def of_service(service: str, facts: Iterable[contract.Fact]) -> list[Durable]:
    """All that a service reacting to these facts has: one for each, then those of again and exhausted."""
    told = [*(of_fact(service, fact) for fact in facts), of_again(service)]
    return [*told, of_exhausted(service, told)]


def of_fact(service: str, fact: contract.Fact) -> Durable:
    """A service's reaction to one kind of fact, named so that `nats consumer ls` reads as the choreography."""
    name = f"{service}_{fact.name.rpartition('.')[2]}"
    return Durable(fact.stream, name, (fact.subject("*"),), max_deliver=TRIES_MAX)


def of_again(service: str) -> Durable:
    """Facts that are sent to this service once more."""
    return Durable(AGAIN.name, f"{service}_again", (again.subject(service, ">"),), max_deliver=TRIES_MAX)


def of_exhausted(service: str, durables: Iterable[Durable]) -> Durable:
    """The broker's word that it has given up on a message of one of these; one at a time."""
    advisory = EXHAUSTED.subjects[0].removesuffix(">")
    subjects = tuple(f"{advisory}{durable.stream}.{durable.name}" for durable in durables)
    name = f"{service}_exhausted"
    return Durable(EXHAUSTED.name, name, subjects, ack_wait=ALONE_SECONDS, max_deliver=-1, max_ack_pending=1)
