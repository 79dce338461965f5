"""What is in the outbox, and sending again what was sent: every service answers `ensemble.mesh.v1.OutboxService`.

A row that is marked as unsent goes the way of any other: the relay sends it, in its place among those of its key.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
from ensemble.mesh.v1 import outbox_service_pb2 as pb
from ensemble.mesh.v1.outbox_service_pb2_grpc import OutboxServiceServicer
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.errors import Kind, Outage, Refusal
from mesh.postgres.database import Database, Transaction
from mesh.postgres.lockstep import Session
from mesh.rpc.paging import Page, page_of

SERVICE = pb.DESCRIPTOR.services_by_name["OutboxService"]

Context = grpc.aio.ServicerContext[Any, Any]

UNSENT = "SELECT count(*) FROM (SELECT FROM outbox WHERE sent_at IS NULL LIMIT $1) AS unsent"
OLDEST_UNSENT = "SELECT announced_at FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1"
OLDEST_SENT = "SELECT announced_at FROM outbox WHERE sent_at IS NOT NULL ORDER BY id LIMIT 1"
CHOSEN = """
SELECT id FROM outbox
WHERE sent_at IS NOT NULL AND id > $1
    AND ($2 = '' OR key = $2)
    AND ($3::timestamptz IS NULL OR announced_at >= $3)
    AND ($4::timestamptz IS NULL OR announced_at < $4)
    AND ($5 = '' OR headers->>'ce-type' = $5)
ORDER BY id LIMIT $6 FOR UPDATE
"""
MARK_UNSENT = """
UPDATE outbox SET sent_at = NULL, headers = headers || jsonb_build_object('Nats-Msg-Id', (headers->>'ce-id') || $2)
WHERE id = ANY($1)
"""


class OutboxServicer(OutboxServiceServicer):
    """Answers for the outbox of one database."""

    def __init__(self, database: Database, limit: int) -> None:
        """`limit` is how many facts may wait in it."""
        self._database = database
        self._limit = limit

    async def GetOutbox(self, request: pb.GetOutboxRequest, context: Context) -> pb.GetOutboxResponse:
        async with self._database.connection() as connection:
            return pb.GetOutboxResponse(
                unsent=await connection.fetchval(UNSENT, self._limit),
                oldest_unsent_at=_timestamp(await connection.fetchval(OLDEST_UNSENT)),
                oldest_kept_at=_timestamp(await connection.fetchval(OLDEST_SENT)),
                limit=self._limit,
            )

    async def Republish(self, request: pb.RepublishRequest, context: Context) -> pb.RepublishResponse:
        wanted = _Wanted(request)

        async def work(tx: Transaction) -> pb.RepublishResponse:
            page = replace(wanted.page, size=min(wanted.page.size, await self._room(tx.connection)))
            chosen = await wanted.choose(tx.connection, page)
            await tx.connection.execute(MARK_UNSENT, chosen, f"/{request.request_id}")
            return _answer(page, chosen)

        if request.validate_only:
            async with self._database.transaction() as connection:
                return _answer(wanted.page, await wanted.choose(connection, wanted.page))
        response = await self._database.once(request, pb.RepublishResponse, work)
        self._database.announced.set()
        return response

    async def _room(self, connection: Session) -> int:
        """How many more may wait, so that what the service has to announce finds room, too. Raises Outage for none."""
        room = self._limit // 2 - await connection.fetchval(UNSENT, self._limit)
        if room < 1:
            raise Outage("half of what the outbox may hold is waiting to be sent; ask again when it is")
        return room


class _Wanted:
    """Which facts a request asks for. Raises Refusal for times and tokens that are none."""

    def __init__(self, request: pb.RepublishRequest) -> None:
        self.page = page_of(request)
        if self.page.after and not re.fullmatch(r"\d{1,18}", self.page.after):
            raise Refusal(Kind.INVALID, "INVALID_PAGE_TOKEN", "page_token is not one that a page has returned")
        since, until = _time(request, "since"), _time(request, "until")
        self._conditions = (request.key, since, until, request.fact)

    async def choose(self, connection: Session, page: Page) -> list[int]:
        """The ids of a page of the rows, held until the transaction ends."""
        rows = await connection.fetch(CHOSEN, int(page.after or 0), *self._conditions, page.size)
        return [row["id"] for row in rows]


def _answer(page: Page, chosen: list[int]) -> pb.RepublishResponse:
    return pb.RepublishResponse(count=len(chosen), next_page_token=page.next_token([str(number) for number in chosen]))


def _time(request: pb.RepublishRequest, field: str) -> datetime | None:
    if not request.HasField(field):  # pyright: ignore[reportArgumentType] - the stubs take literals only
        return None
    try:
        return getattr(request, field).ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise Refusal(Kind.INVALID, "INVALID_REQUEST", f"{field} is not a time", field=field) from error


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
