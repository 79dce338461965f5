"""The fence: once a service has heard from a later owner of a saga, whatever an earlier one still sends is refused.

Each change of a saga's owner raises its epoch, which travels with each call. An owner that was replaced may not know
it yet: it was paused, or cut off. Its calls are told from the new owner's by their lower epoch.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from mesh.errors import Kind, Refusal
from mesh.validation import UUID, Violation

# The headers of a call that a saga makes. The first two are the fence; the others tell whoever is between, or reads a
# log, where it comes from. The key is also the request_id, by which participants dedupe.
SAGA_ID = "ensemble-saga-id"
EPOCH = "ensemble-epoch"
STEP = "ensemble-step"
ATTEMPT = "ensemble-attempt"
IDEMPOTENCY_KEY = "idempotency-key"

STALE_EPOCH = "STALE_EPOCH"
"""The reason of the refusal. Its metadata: saga_id, epoch, newest_epoch."""

LAST_EPOCH = 2**63 - 1


@dataclass(frozen=True)
class Fence:
    """Who makes a call: the owner of a saga in one epoch."""

    saga_id: str
    epoch: int
    """From 1, which is the owner that began it."""


current: ContextVar[Fence | None] = ContextVar("fence", default=None)
"""The fence of the call being served; None if no saga makes it."""

# $1 and $2 are `columns`. Only an epoch above 1 leaves a row: a saga that keeps its owner costs a look at nothing.
# Raising waits for whoever else is raising, and never lowers: of two epochs at the same time, the lower learns of the
# higher.
RAISED = """raised AS (
    INSERT INTO fence (saga_id, epoch) SELECT $1::uuid, $2::bigint WHERE $2 > 1
    ON CONFLICT (saga_id) DO UPDATE SET epoch = greatest(fence.epoch, excluded.epoch), raised_at = now()
    RETURNING epoch
)"""
NEWEST = "coalesce((SELECT epoch FROM raised), (SELECT epoch FROM fence WHERE saga_id = $1))"
"""The newest epoch heard, this call's included. Null if there was none above 1."""


def columns(fence: Fence | None) -> tuple[str | None, int | None]:
    """`saga_id` and `epoch`; for a call without a fence, nulls, which match and raise nothing."""
    return (None, None) if fence is None else (fence.saga_id, fence.epoch)


def check(fence: Fence | None, newest: int | None) -> None:
    """Raises Refusal STALE_EPOCH where a later owner was heard: then nothing may be done, and nothing told."""
    if fence is None or newest is None or fence.epoch >= newest:
        return
    message = (
        f"saga {fence.saga_id} is in epoch {newest} and this call is from epoch {fence.epoch}; its owner has changed"
    )
    metadata = {"saga_id": fence.saga_id, "epoch": str(fence.epoch), "newest_epoch": str(newest)}
    raise Refusal(Kind.ABORTED, STALE_EPOCH, message, **metadata)


def violations(headers: Mapping[str, str]) -> list[Violation]:
    """What is wrong with the fence in the headers of a call: it is there whole and well-formed, or not at all."""
    if headers.keys().isdisjoint(_FORMS):
        return []
    return [
        Violation(header, problem if header in headers else f"is missing: {SAGA_ID} and {EPOCH} come together")
        for header, (well_formed, problem) in _FORMS.items()
        if not well_formed(headers.get(header, ""))
    ]


def stated(headers: Mapping[str, str]) -> Fence | None:
    """The fence in headers that have no violations."""
    return Fence(headers[SAGA_ID], int(headers[EPOCH])) if SAGA_ID in headers else None


def _is_uuid(text: str) -> bool:
    return UUID.fullmatch(text) is not None


def _is_epoch(text: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,18}", text) is not None and int(text) <= LAST_EPOCH


_FORMS: dict[str, tuple[Callable[[str], bool], str]] = {
    SAGA_ID: (_is_uuid, "is not a UUID in its canonical form"),
    EPOCH: (_is_epoch, f"is not a whole number from 1 to {LAST_EPOCH}"),
}
