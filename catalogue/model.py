"""What the catalogue says, for those who read it: the CLI, the rights of NATS users, the documents."""

from graphlib import TopologicalSorter
from importlib import resources

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """A part of the catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(Entry):
    """One kind of fact."""

    name: str
    """Full name of its message: `shop.orders.v1.OrderCreated`."""
    stream: str
    """Where it is kept."""
    key: str
    """The field whose value ends the subject."""
    subject: str
    """Of all facts of this kind: `shop.orders.v1.OrderCreated.*`."""
    undoes: str | None
    """The RPC, as `package.Service/Method`, that it tells the undoing of; None for a fact that undoes nothing."""
    comment: str
    """What has happened, in the contract's words."""

    @property
    def event(self) -> str:
        """The name without its package: `OrderCreated`."""
        return self.name.rpartition(".")[2]


class Reaction(Entry):
    """What a service does when it learns of a fact."""

    fact: str
    """Full name."""
    durable: str
    """The consumer that keeps its place in the stream."""
    stream: str
    subject: str
    does: str
    """In the words of the reaction itself."""
    leads_to: tuple[str, ...]
    """The facts, by full name, that it may announce."""


class Answer(Entry):
    """One RPC."""

    name: str
    does: str
    """In the contract's words."""


class Service(Entry):
    """One service and its two doors."""

    name: str
    package: str
    """Of its contract; all facts of the package are its own."""
    service: str
    """Full name of its RPC service."""
    owns: str
    answers: tuple[Answer, ...]
    announces: tuple[str, ...]
    """The facts, by full name, that only this service may announce."""
    begins: tuple[str, ...]
    """Those that follow no other fact: an RPC or a timer announces them."""
    reactions: tuple[Reaction, ...]


class Catalogue(Entry):
    """All services and all facts."""

    services: tuple[Service, ...]
    facts: tuple[Fact, ...]

    def fact(self, name: str) -> Fact:
        """The fact of this full name. Raises KeyError."""
        return {fact.name: fact for fact in self.facts}[name]

    def announcer(self, fact: str) -> Service:
        """The service that announces the fact of this full name. Raises KeyError."""
        return {name: service for service in self.services for name in service.announces}[fact]

    def story(self) -> list[Fact]:
        """All facts, none before one that leads to it. Raises graphlib.CycleError where facts lead in a circle."""
        before = {fact.name: self.before(fact.name) for fact in self.facts}
        return [self.fact(name) for name in TopologicalSorter(before).static_order()]

    def before(self, fact: str) -> list[str]:
        """The facts, by full name, that may lead to this one."""
        return [each.fact for service in self.services for each in service.reactions if fact in each.leads_to]

    def reactions_to(self, fact: str) -> list[tuple[Service, Reaction]]:
        """Who reacts to the fact of this full name, and how."""
        return [(service, each) for service in self.services for each in service.reactions if each.fact == fact]


def read() -> Catalogue:
    """The catalogue as it was generated."""
    return Catalogue.model_validate_json(resources.files("catalogue").joinpath("catalogue.json").read_text())
