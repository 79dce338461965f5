"""`python -m services.orders`."""

from contextlib import AsyncExitStack

from mesh.changes import Changes
from mesh.database import Database
from mesh.service import Doors, ServiceSettings, run
from mesh.sweeper import swept
from services.orders.events import OrderListener
from services.orders.rpc import SERVICE, OrderServicer, cancel_overdue

WATCH_SECONDS = 1.0


class Settings(ServiceSettings):
    """What the Order service is told besides."""

    fulfilment_seconds: float = 300
    """How long a choreographed order may take before the watchdog asks for a cancel."""


async def build(settings: Settings, database: Database, stack: AsyncExitStack) -> Doors:
    """Both doors over one database, and the watchdog."""
    changes = Changes()

    async def watch() -> None:
        await cancel_overdue(database)

    await stack.enter_async_context(swept(WATCH_SECONDS, watch))
    servicer = OrderServicer(database, changes, settings.fulfilment_seconds)
    return Doors(SERVICE, servicer, OrderListener(changes).reactions())


if __name__ == "__main__":
    run("orders", Settings, build)
