"""The store at the other end of a network, as PostgreSQL is: starts and appends wait for it, all else is an Outage."""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from mesh.errors import Outage
from orchestrator.clock import Clock
from orchestrator.memory import MemoryStore, MemoryTables, Row
from orchestrator.store import Append, Appended, Listing, NewSaga, Record
from tests.at_once import at_once
from tests.simulation.invariants import Watch
from tests.simulation.loop import Loop
from tests.simulation.network import STORE, Network

WAIT_S = 1.0
"""After which an answer is not waited for any more, seconds."""
RETRY_S = 0.1


class WatchedStore(MemoryStore):
    """The store itself; the invariants see what it does."""

    def __init__(
        self, tables: MemoryTables, replica_id: str, versions: Collection[str], watch: Watch, clock: Clock
    ) -> None:
        """`clock`: the replica's own, by which nothing may be decided here."""
        super().__init__(tables, replica_id, versions)
        self.clock = clock
        self.tables = tables
        self.watch = watch

    async def start(self, new: NewSaga, *, owned: bool = True) -> Record:
        record = await super().start(new, owned=owned)
        self.watch.started(self.replica_id, record)
        return record

    async def append(self, append: Append) -> Appended:
        before = self.tables.rows[append.saga_id].record
        appended = await super().append(append)
        self.watch.appended(append, before, self.tables.rows[append.saga_id].record)
        return appended

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        record = await super().cancel(saga_id, reason)
        self.watch.cancelled(self.replica_id, record)
        return record

    async def release(self) -> None:
        await super().release()
        self.watch.released(self.replica_id)

    def _claimed(self, row: Row) -> Record:
        self.watch.adopted(self.replica_id, row.record)
        return super()._claimed(row)


class RemoteStore:
    """A SagaStore, and the lease, across the network."""

    def __init__(self, store: WatchedStore, network: Network, asker: Loop) -> None:
        self._store = store
        self._network = network
        self._asker = asker
        self.replica_id = store.replica_id

    async def start(self, new: NewSaga, *, owned: bool = True) -> Record:
        return await self._covered(partial(self._store.start, new, owned=owned))

    async def append(self, append: Append) -> Appended:
        return await self._covered(partial(self._store.append, append))

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        return await self._ask(partial(self._store.cancel, saga_id, reason))

    async def resume(self, saga_id: str) -> Record | None:
        return await self._ask(partial(self._store.resume, saga_id))

    async def get(self, saga_id: str) -> Record | None:
        return await self._ask(partial(self._store.get, saga_id))

    async def list(self, listing: Listing) -> Sequence[Record]:
        return await self._ask(partial(self._store.list, listing))

    async def claim(self, limit: int) -> Sequence[Record]:
        return await self._ask(partial(self._store.claim, limit))

    async def owned(self) -> Sequence[str]:
        return await self._ask(self._store.owned)

    async def put_down(self, saga_id: str, epoch: int, seconds: float) -> None:
        await self._ask(partial(self._store.put_down, saga_id, epoch, seconds))

    async def renew(self) -> None:
        await self._ask(self._store.renew)

    async def release(self) -> None:
        await self._ask(self._store.release)

    async def _covered(self, work: Any) -> Any:
        """As the group commit does: sent again until an answer comes, also where nobody waits for it any more."""
        return await asyncio.shield(asyncio.create_task(self._sent_again(work)))

    async def _sent_again(self, work: Any) -> Any:
        while True:
            try:
                return await self._ask(work)
            except Outage:
                await asyncio.sleep(RETRY_S)

    def _ask(self, work: Any) -> Any:
        return self._network.ask(self._asker, STORE, lambda: at_once(work()), WAIT_S)
