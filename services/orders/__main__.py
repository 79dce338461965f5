"""`python -m services.orders`."""

from functools import partial

from mesh.changes import Changes
from mesh.postgres.database import Database
from mesh.service import Doors, Kit, ServiceSettings, run
from mesh.sweeper import swept
from mesh.telemetry.metrics import Gauge, Reading, gauged
from services.orders import store
from services.orders.events import OrderListener
from services.orders.rpc import SERVICE, OrderServicer, cancel_overdue, report_not_undone

WATCH_SECONDS = 1.0
STATE = "shop.order.state"
COUNT = Gauge("shop.orders.open", "{order}", "Choreographed orders whose outcome is not decided yet, by state.")
AGE = Gauge("shop.orders.oldest.age", "s", "How long ago the oldest of them was made; 0 if there is none.")
PIECES = Gauge("shop.orders.completed.pieces", "{piece}", "Pieces of stock in completed orders.")
MONEY = Gauge("shop.orders.completed.money", "{minor_unit}", "Totals of completed orders, by currency.")


class Settings(ServiceSettings):
    """What the Order service is told besides."""

    fulfilment_seconds: float = 300
    """How long a choreographed order may take before the watchdog asks for a cancel."""


async def build(kit: Kit[Settings]) -> Doors:
    """Both doors over one database, and the watchdog."""
    changes = Changes()

    async def watch() -> None:
        await cancel_overdue(kit.database)
        await report_not_undone(kit.database)

    await kit.stack.enter_async_context(swept(WATCH_SECONDS, watch))
    await kit.stack.enter_async_context(gauged((COUNT, AGE), partial(read_open, kit.database)))
    await kit.stack.enter_async_context(gauged((PIECES, MONEY), partial(read_completed, kit.database)))
    servicer = OrderServicer(kit.database, kit.bus, changes, kit.settings.fulfilment_seconds)
    return Doors(SERVICE, servicer, OrderListener(changes).reactions())


async def read_open(database: Database) -> list[Reading]:
    """The gauges of the open orders."""
    async with database.connection() as connection:
        found = await store.open_orders(connection)
    counts = [Reading(COUNT, each.count, {STATE: each.state.value}) for each in found]
    return counts + [Reading(AGE, each.oldest_s, {STATE: each.state.value}) for each in found]


async def read_completed(database: Database) -> list[Reading]:
    """What stock and payments must come to, too."""
    async with database.connection() as connection:
        found = await store.completed(connection)
    money = [Reading(MONEY, each.money, {"shop.currency": each.currency}) for each in found]
    return [*money, Reading(PIECES, sum(each.pieces for each in found))]


if __name__ == "__main__":
    run("orders", Settings, build)
