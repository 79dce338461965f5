"""`ensemble events republish`: services send again what they have announced."""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer
from ensemble.mesh.v1.outbox_service_pb2 import GetOutboxRequest, RepublishRequest
from ensemble.mesh.v1.outbox_service_pb2_grpc import OutboxServiceStub

from catalogue import model
from cli.client import DEFAULT_DATA, RETRY_SECONDS, Address, Data, Json, Where, connected
from cli.moment import Since, Until
from cli.output import console, progress
from cli.running import USAGE, CommandError, run
from cli.stated import Fact, Order
from mesh.identity import new_id

PAGE = 1000
"""Facts that are marked at a time; the next come when less than that is left to be sent."""


@dataclass(frozen=True)
class Wanted:
    """Which facts are sent again, or counted only."""

    key: str | None
    fact: str | None
    since: datetime | None
    until: datetime | None
    dry_run: bool

    def request(self, page_token: str) -> RepublishRequest:
        """For one page of them."""
        request = RepublishRequest(
            request_id=new_id(),
            key=self.key or "",
            fact=self.fact or "",
            page_size=PAGE,
            page_token=page_token,
            validate_only=self.dry_run,
        )
        if self.since is not None:
            request.since.FromDatetime(self.since)
        if self.until is not None:
            request.until.FromDatetime(self.until)
        return request


def republish(  # noqa: PLR0913, PLR0917 - an option each
    service: Annotated[list[str], typer.Option(help="Of this service; may be repeated.")],
    order: Order = None,
    fact: Fact = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Have services send again the facts of the last seven days, in their order: after a stream was lost, say.

    Who has reacted to a fact before does nothing.
    """
    wanted = Wanted(order, fact, since, until, dry_run)
    run(_republish(Where(data, address), service, wanted, as_json))


async def _republish(where: Where, services: list[str], wanted: Wanted, as_json: bool) -> None:
    packages = {each.name: each.package for each in model.read().services}
    if unknown := [name for name in services if name not in packages]:
        raise CommandError(f"no service {', '.join(unknown)}; there are {', '.join(packages)}", USAGE)
    if where.address and len(services) > 1:
        raise CommandError("--address is that of one service; name no other", USAGE)
    for name in services:
        async with connected(where, packages[name]) as channel:
            count = await _every_page(OutboxServiceStub(channel), wanted)
        if as_json:
            typer.echo(json.dumps({"service": name, "facts": count, "dry_run": wanted.dry_run}))
        else:
            console.print(f"{name}: {count:,} facts {'would be' if wanted.dry_run else 'are'} sent again")


async def _every_page(outbox: OutboxServiceStub, wanted: Wanted) -> int:
    count, token = 0, ""
    while True:
        page = await outbox.Republish(wanted.request(token))
        count += page.count
        token = page.next_page_token
        if not token:
            return count
        if not wanted.dry_run:
            await _sent(outbox, count)


async def _sent(outbox: OutboxServiceStub, count: int) -> None:
    """Returns once there is room for another page: what the service announces meanwhile must not wait long."""
    while (left := (await outbox.GetOutbox(GetOutboxRequest())).unsent) >= PAGE:
        progress.print(f"{count:,} facts so far; {left:,} wait for the broker")
        await asyncio.sleep(RETRY_SECONDS)
