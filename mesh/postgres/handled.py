"""The table `handled`: what was answered to a request, and which facts have been reacted to."""

import hashlib
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesh import fence
from mesh.errors import Kind, Refusal
from mesh.fence import Fence
from mesh.postgres.lockstep import Connection

Response = TypeVar("Response", bound=Message)

ANNOUNCE = """
INSERT INTO outbox (key, stream, subject, headers, payload)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[], $5::bytea[])
"""
MARK = f"""
WITH {fence.RAISED}, fresh AS (
    INSERT INTO handled (key, fingerprint, answer, refusal) VALUES ($3, $4, $5, $6)
    ON CONFLICT DO NOTHING RETURNING true
), announced AS (
    INSERT INTO outbox (key, stream, subject, headers, payload)
    SELECT * FROM unnest($7::text[], $8::text[], $9::text[], $10::jsonb[], $11::bytea[])
)
SELECT {fence.NEWEST} AS newest_epoch, EXISTS (SELECT FROM fresh) AS fresh
"""
"""Fence, mark, answer and announce in one statement. Where the epoch is stale, or the mark not fresh because it was
handled before, all this is to be rolled back.
"""
MARK_EVENTS = """
WITH fresh AS (
    INSERT INTO handled (key, fingerprint, answer) SELECT key, '', '' FROM unnest($1::text[]) AS event (key)
    ON CONFLICT DO NOTHING RETURNING key
), announced AS (
    INSERT INTO outbox (key, stream, subject, headers, payload)
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::bytea[])
)
SELECT key FROM fresh
"""
"""The same for several events at once; a row for each that is fresh."""
HANDLED = f"""
WITH {fence.RAISED}
SELECT newest_epoch, fingerprint, answer, refusal
FROM (SELECT {fence.NEWEST}) AS heard (newest_epoch) LEFT JOIN handled ON key = $3
"""
"""Always one row; without a fingerprint where the key was not handled."""


def fingerprint(request: Message) -> bytes:
    """Tells a repeat from another request with the same id."""
    content = request.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + content).digest()


def columns(outcome: Message | Refusal) -> tuple[bytes | None, dict[str, Any] | None]:
    """`answer` and `refusal`: one of them is set."""
    if not isinstance(outcome, Refusal):
        return outcome.SerializeToString(), None
    return None, {
        "kind": outcome.kind.name,
        "reason": outcome.reason,
        "message": outcome.message,
        "metadata": outcome.metadata,
    }


async def mark(
    connection: Connection,
    by: Fence | None,
    key: str,
    fingerprint: bytes,
    outcome: Message | Refusal,
    facts: tuple[list[Any], ...],
) -> bool:
    """Mark a key as handled, with its outcome and its facts: the last statement of a transaction.

    False if it was handled before: the caller rolls back. Raises Refusal STALE_EPOCH.
    """
    (row,) = await connection.fetch(MARK, *fence.columns(by), key, fingerprint, *columns(outcome), *facts)
    fence.check(by, row["newest_epoch"])
    return row["fresh"]


async def mark_events(connection: Connection, keys: list[str], facts: tuple[list[Any], ...]) -> set[str]:
    """Mark events as handled, with the facts they led to. Returns those that were before: the caller rolls back."""
    return set(keys) - {row["key"] for row in await connection.fetch(MARK_EVENTS, keys, *facts)}


async def answer_to(
    connection: Connection, by: Fence | None, request_id: str, request: Message, response: type[Response]
) -> Response | None:
    """The stored answer, if the request was handled before. An epoch above 1 has raised the fence from here on.

    Raises the stored Refusal; Refusal ALREADY_EXISTS if the id was used for another request; Refusal STALE_EPOCH.
    """
    (row,) = await connection.fetch(HANDLED, *fence.columns(by), f"request/{request_id}")
    fence.check(by, row["newest_epoch"])
    if row["fingerprint"] is None:
        return None
    if row["fingerprint"] != fingerprint(request):
        message = f"request_id {request_id} was used for another request; choose a new one"
        raise Refusal(Kind.ALREADY_EXISTS, "REQUEST_ID_REUSED", message, request_id=request_id)
    if row["refusal"] is not None:
        stored: dict[str, Any] = row["refusal"]
        raise Refusal(Kind[stored["kind"]], stored["reason"], stored["message"], **stored["metadata"])
    return response.FromString(row["answer"])
