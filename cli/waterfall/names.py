"""How a line calls what a span is about."""

from collections.abc import Sequence

from catalogue import model
from cli.waterfall.span import Kind, Span

STEPS = ("step ", "undo ")
LOST = "lost: died with its process, or yet to be reported"


UNDOING = {fact.name for fact in model.read().facts if fact.undoes}
"""Full names of the facts that tell of an undo."""


def what(chain: Sequence[Span], facts: Sequence[Span]) -> str:
    """What the spans of one line do, and the facts that they announce: `OrderCreated → InventoryReserved`."""
    announced = ", ".join(_announced(fact_of(each)) for each in facts)
    done = "" if chain[0] in facts else _done(chain)
    return f"{done} → {announced}".strip() if announced else done


def fact_of(span: Span) -> str:
    """The full name of the fact that a span is about: of `create shop.orders.v1.OrderCreated.*`, without the rest."""
    return span.name.rpartition(" ")[2].removesuffix(".*")


def event(fact: str) -> str:
    """The name of a fact without its package: `OrderCreated`."""
    return fact.rpartition(".")[2]


def _announced(fact: str) -> str:
    return f"{event(fact)} (undo)" if fact in UNDOING else event(fact)


def _done(chain: Sequence[Span]) -> str:
    first, last = chain[0], chain[-1]
    if first.name.startswith(STEPS):
        return _step(first.name, last)
    if first.kind is Kind.CONSUMER:
        return event(fact_of(first))
    if first.name.startswith("end "):
        return f"saga {first.name.removeprefix('end ')}"
    called = _method(last) or last.name
    is_unanswered = last.kind is Kind.CLIENT and _method(last)
    return f"{called} of {last.name.split('.')[1]}" if is_unanswered else called


def _step(name: str, call: Span) -> str:
    """`undo process_payment (RefundPayment)`; without the method, where it is called like the step."""
    verb, _, path = name.partition(" ")
    path, method = path.partition("/")[2], _method(call)
    is_same = path.rpartition("/")[2].replace("_", "") == method.lower()
    return f"{verb} {path} ({method})" if method and not is_same else f"{verb} {path}"


def _method(span: Span) -> str:
    """Of a gRPC call."""
    return span.name.rpartition("/")[2] if "rpc.system.name" in span.attributes else ""
