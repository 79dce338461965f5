"""The story of a choreographed order, put together from the evidence.

Nobody directs it, and nobody tells it: each fact names what caused it, and the durables show who has yet to react.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from google.protobuf.message import Message
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCompleted

from catalogue.model import Catalogue
from cli.evidence import Evidence, Place
from mesh.cloudevents import NoEvent
from mesh.events import again
from mesh.events.dead_letters import Letter
from mesh.events.history import Recorded
from mesh.events.streams import AGAIN

OUTCOMES = {OrderCompleted.DESCRIPTOR.full_name: "COMPLETED", OrderCancelled.DESCRIPTOR.full_name: "CANCELLED"}
OPEN = "OPEN"


class Standing(Enum):
    """How far a service is with its reaction to a fact."""

    ANSWERED = "answered"
    """With a fact."""
    HEARD = "heard"
    """It has acknowledged, and announced nothing."""
    AT_WORK = "at work"
    """It was given the fact; others after it are not acknowledged yet, and perhaps this one is not."""
    WAITING = "waiting"
    """It was not given the fact yet."""
    ABSENT = "absent"
    """It has no durable for this: it has never listened."""
    BURIED = "buried"
    """It cannot handle the fact, which is a dead letter."""
    DISCARDED = "discarded"
    """The same, and somebody has decided that it need not."""


@dataclass(frozen=True)
class Reaction:
    """What one service makes of one fact."""

    service: str
    durable: str
    standing: Standing
    leads_to: tuple[str, ...]
    """Names of the facts that it may answer with."""
    since: datetime
    """When the fact was announced, or buried, or addressed to it once more."""
    place: Place | None
    letter: Letter | None


@dataclass(frozen=True)
class Happening:
    """A fact, who reacts to it, and what it led to."""

    record: Recorded
    fact: Message | None
    problem: str
    """Why it is no fact that is known here, if so."""
    reactions: tuple[Reaction, ...]
    led_to: "tuple[Happening, ...]"

    @property
    def event(self) -> str:
        """The name of the fact, as its subject has it."""
        return self.record.subject.split(".")[-2]


@dataclass(frozen=True)
class Story:
    """What happened to an order, from each beginning on: it was submitted, somebody wanted it back."""

    order_id: str
    beginnings: tuple[Happening, ...]

    def happenings(self) -> list[Happening]:
        """All of them, each after its cause."""
        return [each for beginning in self.beginnings for each in _and_after(beginning)]

    @property
    def began_at(self) -> datetime:
        return min(each.record.announced_at for each in self.happenings())

    @property
    def outcome(self) -> Happening | None:
        """The fact that decided it."""
        return next((each for each in self.happenings() if each.fact and each.record.kind in OUTCOMES), None)

    @property
    def state(self) -> str:
        """COMPLETED, CANCELLED, or OPEN."""
        return OUTCOMES[self.outcome.record.kind] if self.outcome else OPEN

    def awaited(self) -> list[tuple[Happening, Reaction]]:
        """What has yet to happen, and by whom. Where nobody has to: who has heard of a fact, and not gone on."""
        reactions = [(each, reaction) for each in self.happenings() for reaction in each.reactions]
        outstanding = [pair for pair in reactions if self._is_outstanding(pair[1])]
        if outstanding or self.outcome:
            return outstanding
        return [pair for pair in reactions if pair[1].standing is Standing.HEARD and self._could_go_on(pair[1])]

    def _is_outstanding(self, reaction: Reaction) -> bool:
        if reaction.standing is Standing.AT_WORK:  # perhaps; what it leads to tells
            return self._could_go_on(reaction)
        return reaction.standing in (Standing.WAITING, Standing.ABSENT, Standing.BURIED)

    def _could_go_on(self, reaction: Reaction) -> bool:
        said = {each.event for each in self.happenings()}
        return bool(reaction.leads_to) and said.isdisjoint(reaction.leads_to)


def tell(evidence: Evidence, catalogue: Catalogue) -> Story:
    """Put the story together. What names a cause that is not there is a beginning."""
    return Story(evidence.order_id, tuple(_Teller(evidence, catalogue).beginnings()))


def _and_after(happening: Happening) -> Iterator[Happening]:
    yield happening
    for each in happening.led_to:
        yield from _and_after(each)


class _Teller:
    def __init__(self, evidence: Evidence, catalogue: Catalogue) -> None:
        self._evidence = evidence
        self._catalogue = catalogue
        self._places = evidence.places or ()
        self._facts = _once(evidence.facts)
        self._following: defaultdict[str, list[Recorded]] = defaultdict(list)

    def beginnings(self) -> Iterator[Happening]:
        ids = {record.event_id for record in self._facts} - {""}
        begun: list[Recorded] = []
        for record in self._facts:
            (self._following[record.cause] if record.cause in ids else begun).append(record)
        yield from map(self._happening, begun)
        while self._following:  # forged: what causes itself
            _, begun = self._following.popitem()
            yield from map(self._happening, begun)

    def _happening(self, record: Recorded) -> Happening:
        after = self._following.pop(record.event_id, [])
        fact, problem = _read(record)
        said = {each.source for each in after}
        who = {} if self._evidence.places is None else self._who(record)
        reactions = tuple(self._reaction(record, *each, said) for each in who.items())
        return Happening(record, fact, problem, reactions, tuple(map(self._happening, after)))

    def _who(self, record: Recorded) -> dict[str, tuple[str, ...]]:
        """The services that react, and what each may answer: those with a durable, and those that should have one."""
        kind, _, _ = record.subject.rpartition(".")
        event = f"_{_name(kind)}"
        having = [place.name for place in self._places if place.subject == f"{kind}.*"]
        known = {
            service.name: tuple(map(_name, reaction.leads_to))
            for service, reaction in self._catalogue.reactions_to(kind)
        }
        others = {name.removesuffix(event): () for name in having if name.endswith(event)}
        return dict(sorted({**others, **known}.items()))

    def _reaction(self, record: Recorded, service: str, leads_to: tuple[str, ...], said: set[str]) -> Reaction:
        durable = f"{service}_{record.subject.split('.')[-2]}"
        letter, since = self._letter(record, durable), record.announced_at
        place = self._place(durable)
        if service in said:
            standing = Standing.ANSWERED
        elif letter is not None and (end := ENDS.get(letter.headers.get("Resolved-As", ""))):
            standing, since = end, letter.recorded.stored_at
        elif addressed := self._addressed(record, service):
            place, since = self._place(f"{service}_again"), addressed.stored_at
            standing = _standing(addressed, place)
        else:
            standing = _standing(record, place)
        return Reaction(service, durable, standing, leads_to, since, place, letter)

    def _place(self, durable: str) -> Place | None:
        return next((place for place in self._places if place.name == durable), None)

    def _addressed(self, record: Recorded, service: str) -> Recorded | None:
        """The fact as it was last addressed once more to the service."""
        prefix = again.subject(service, "")
        found = [each for each in self._evidence.again if each.subject.startswith(prefix)]
        return next((each for each in reversed(found) if each.event_id == record.event_id), None)

    def _letter(self, record: Recorded, durable: str) -> Letter | None:
        """What was last made of the fact as a letter of this durable."""
        found = [each for each in self._evidence.letters if each.durable == durable and _is_of(each, record)]
        return max(found, key=lambda letter: letter.recorded.sequence, default=None)


ENDS = {"": Standing.BURIED, "discarded": Standing.DISCARDED}
"""How it stands with a letter, by what it was resolved as."""


def _once(facts: Sequence[Recorded]) -> list[Recorded]:
    """Of what was sent twice, the first; in the order of their announcement."""
    first = {record.event_id or record.sequence: record for record in reversed(facts)}
    return sorted(first.values(), key=lambda record: (record.announced_at, record.sequence))


def _read(record: Recorded) -> tuple[Message | None, str]:
    try:
        return record.fact(), ""
    except NoEvent as error:
        return None, str(error)


def _is_of(letter: Letter, record: Recorded) -> bool:
    stream, sequence = letter.origin
    told = letter.headers.get("ce-id", "")
    return told == record.event_id if told else stream != AGAIN.name and sequence == record.sequence


def _standing(record: Recorded, place: Place | None) -> Standing:
    if place is None:
        return Standing.ABSENT
    if record.sequence <= place.settled:
        return Standing.HEARD
    return Standing.AT_WORK if record.sequence <= place.delivered else Standing.WAITING


def _name(kind: str) -> str:
    return kind.rpartition(".")[2]
