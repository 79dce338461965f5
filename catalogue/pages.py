"""The catalogue as Markdown pages with Mermaid diagrams."""

from collections.abc import Iterable

from catalogue.model import Catalogue, Fact, Reaction, Service

GENERATED = "<!-- Generated from the code by `make catalogue`. -->"

INTRODUCTION = """\
Nobody is in charge of a choreographed order: each service reacts to what the others announce. Who announces what, who
reacts, and what that leads to stands in the code; from there comes this page.

A solid arrow takes the order forward, a dotted one takes back what was done. A round box begins a story: a call or a
timer announces it. A reaction that leads to no further fact has no arrow here, but a line in the table."""

READERS = """\
For programs: [asyncapi.yaml](asyncapi.yaml), an AsyncAPI 3.0 document, and `catalogue/catalogue.json`."""


def overview(catalogue: Catalogue) -> str:
    """The whole choreography."""
    return "\n\n".join(
        [
            "# The choreography",
            GENERATED,
            INTRODUCTION,
            _mermaid(_choreography(catalogue)),
            _longest(catalogue),
            "## Facts",
            _table(("fact", "announced by", "who reacts", "durable", "leads to"), _lines(catalogue)),
            "## Services",
            "\n".join(f"- [{service.name}]({service.name}.md): {service.owns}" for service in catalogue.services),
            READERS + "\n",
        ]
    )


def _choreography(catalogue: Catalogue) -> list[str]:
    story = catalogue.story()
    begins = {name for service in catalogue.services for name in service.begins}
    boxes = [_box(catalogue, fact, round_box=fact.name in begins) for fact in story]
    arrows = [_arrow(fact, leads_to) for fact in story for leads_to in _after(catalogue, fact)]
    return ["flowchart LR", *boxes, *arrows]


def _box(catalogue: Catalogue, fact: Fact, *, round_box: bool = False) -> str:
    left, right = ("([", "])") if round_box else ("[", "]")
    return f'{fact.event}{left}"{fact.event}<br><i>{catalogue.announcer(fact.name).name}</i>"{right}'


def _after(catalogue: Catalogue, fact: Fact) -> list[Fact]:
    """The facts that this one may lead to."""
    names = {name for _, reaction in catalogue.reactions_to(fact.name) for name in reaction.leads_to}
    return [each for each in catalogue.story() if each.name in names]


def _arrow(fact: Fact, leads_to: Fact) -> str:
    return f"{fact.event} {'-.->' if leads_to.undoes else '-->'} {leads_to.event}"


def _longest(catalogue: Catalogue) -> str:
    """The longest way that a story can take: what one call can set off ends there."""
    ways: dict[str, list[str]] = {}
    for fact in catalogue.story():
        before = [ways[name] for name in catalogue.before(fact.name)]
        ways[fact.name] = [*max(before, key=len, default=()), fact.event]
    longest = max(ways.values(), key=len)
    return f"No fact leads back to itself. The longest way has {len(longest)} facts: {' → '.join(longest)}."


def _lines(catalogue: Catalogue) -> Iterable[tuple[str, ...]]:
    """A line per reaction; a fact is only named in the first of its own."""
    for fact in catalogue.story():
        announcer = catalogue.announcer(fact.name).name
        first = (f"**{fact.event}**: {fact.comment}", f"[{announcer}]({announcer}.md)")
        for service, reaction in catalogue.reactions_to(fact.name):
            reactor = f"[{service.name}]({service.name}.md)"
            yield (*first, reactor, f"`{reaction.durable}`", _names(catalogue, reaction.leads_to))
            first = ("", "")
        if all(first):
            yield (*first, "-", "-", "-")


def page(catalogue: Catalogue, service: Service) -> str:
    """One service's canvas."""
    return "\n\n".join(
        [
            f"# {service.name}",
            GENERATED,
            f"Owns {service.owns}. Its contract is the package `{service.package}`.",
            *_reactions(catalogue, service),
            *_announces(catalogue, service),
            f"## Answers\n\nCalls of `{service.service}`.",
            _table(("method", "what it does"), ((f"`{each.name}`", each.does) for each in service.answers)),
            "## May do on NATS",
            _rights(service) + "\n",
        ]
    )


def _reactions(catalogue: Catalogue, service: Service) -> list[str]:
    if not service.reactions:
        return ["## Reacts to", "Nothing."]
    lines = (
        (
            catalogue.fact(reaction.fact).event,
            catalogue.announcer(reaction.fact).name,
            reaction.does,
            _names(catalogue, reaction.leads_to),
            f"`{reaction.durable}`",
        )
        for reaction in service.reactions
    )
    return [
        "## Reacts to",
        _mermaid(_neighbours(catalogue, service)),
        _table(("fact", "of", "what it does", "leads to", "durable"), lines),
    ]


def _neighbours(catalogue: Catalogue, service: Service) -> list[str]:
    """What comes in from whom, and what it leads to here."""
    own = [catalogue.fact(name) for name in service.announces]
    learned = [catalogue.fact(reaction.fact) for reaction in service.reactions]
    return [
        "flowchart LR",
        *(_box(catalogue, fact) for fact in learned),
        f"subgraph {service.name}",
        *(f"{fact.event}" for fact in own),
        "end",
        *(arrow for reaction in service.reactions for arrow in _arrows(catalogue, service, reaction)),
    ]


def _arrows(catalogue: Catalogue, service: Service, reaction: Reaction) -> list[str]:
    fact = catalogue.fact(reaction.fact)
    if not reaction.leads_to:
        return [f"{fact.event} --> {service.name}"]
    return [_arrow(fact, catalogue.fact(name)) for name in reaction.leads_to]


def _announces(catalogue: Catalogue, service: Service) -> list[str]:
    if not service.announces:
        return ["## Announces", "Nothing."]
    lines = (
        (
            fact.event,
            fact.comment,
            "a call or a timer" if fact.name in service.begins else _names(catalogue, catalogue.before(fact.name)),
            ", ".join(reactor.name for reactor, _ in catalogue.reactions_to(fact.name)) or "-",
        )
        for fact in map(catalogue.fact, service.announces)
    )
    return ["## Announces", _table(("fact", "what has happened", "follows", "who reacts"), lines)]


def _rights(service: Service) -> str:
    """What its NATS user may do, in words. The same catalogue gives it the rights."""
    name, own = service.name, [reaction.durable for reaction in service.reactions]
    can = [f"publish its facts: `{service.package}.>`"] if service.announces else []
    if own:
        durables = ", ".join(f"`{durable}`" for durable in (*own, f"{name}_again", f"{name}_alone"))
        can += [
            f"pull and acknowledge by its own durables: {durables}",
            f"send itself a fact once more: `again.{name}.>`",
            "bury what it cannot handle: `dead.<durable>.>`",
        ]
    lines = "\n".join(f"- {each}" for each in (*can, f"subscribe to its own inbox: `_INBOX_{name}.>`"))
    return f"The user `{name}` may\n\n{lines}\n\nand neither announce for another service nor read what is not for it."


def _names(catalogue: Catalogue, facts: Iterable[str]) -> str:
    return ", ".join(catalogue.fact(name).event for name in facts) or "-"


def _mermaid(lines: Iterable[str]) -> str:
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [head, tuple("---" for _ in head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
