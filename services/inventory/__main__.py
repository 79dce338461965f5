"""`python -m services.inventory`."""

from functools import partial

from mesh.postgres.database import Database
from mesh.service import Doors, Kit, ServiceSettings, run
from mesh.telemetry.metrics import Gauge, Reading, gauged
from services.inventory import store
from services.inventory.events import InventoryListener
from services.inventory.rpc import SERVICE, InventoryServicer

PIECES = Gauge("shop.stock.pieces", "{piece}", "Pieces of stock, by state: available and reserved are all delivered.")


async def build(kit: Kit[ServiceSettings]) -> Doors:
    """Both doors over one database."""
    await kit.stack.enter_async_context(gauged([PIECES], partial(read_pieces, kit.database)))
    return Doors(SERVICE, InventoryServicer(kit.database), InventoryListener().reactions())


async def read_pieces(database: Database) -> list[Reading]:
    """The gauge of the stock."""
    async with database.connection() as connection:
        found = await store.pieces(connection)
    return [Reading(PIECES, count, {"shop.stock.state": state}) for state, count in found.items()]


if __name__ == "__main__":
    run("inventory", ServiceSettings, build)
