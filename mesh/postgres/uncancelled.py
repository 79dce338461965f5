"""A connection on which whoever gives up waiting hangs up, instead of asking the server to stop."""

import asyncio

import asyncpg


class Uncancelled(asyncpg.Connection):
    """A statement that was sent runs to its end, whatever becomes of its caller.

    PostgreSQL takes a cancel in a COMMIT that waits for its second instance for an order to wait no longer: what only
    the first has is seen by all, a repeat is told that it is done, and a failover forgets it. asyncpg cancels for each
    deadline and each cancelled task, and has no setting for it: docs/adr/0017-no-statement-is-cancelled.md.
    """

    def _cancel_current_command(self, *_waiters: "asyncio.Future[None]") -> None:
        self._loop.call_soon(self._protocol.abort)  # not at once: the caller is yet to be told
