"""`python -m services.shipping`."""

from contextlib import AsyncExitStack
from functools import partial

from mesh.database import Database
from mesh.service import Doors, ServiceSettings, run
from mesh.sweeper import swept
from services.shipping.events import ShippingListener
from services.shipping.outside import HttpCarrier, settle_orphans
from services.shipping.rpc import SERVICE, ShippingServicer

SWEEP_SECONDS = 10.0


class Settings(ServiceSettings):
    """What the shipping service is told besides."""

    carrier_url: str
    """Where the carrier is: `http://host:port`."""


async def build(settings: Settings, database: Database, stack: AsyncExitStack) -> Doors:
    """Both doors over one database and one carrier, and the sweeper."""
    carrier = await stack.enter_async_context(HttpCarrier.open(settings.carrier_url))
    await stack.enter_async_context(swept(SWEEP_SECONDS, partial(settle_orphans, database, carrier)))
    return Doors(SERVICE, ShippingServicer(database, carrier), ShippingListener(database, carrier).reactions())


if __name__ == "__main__":
    run("shipping", Settings, build)
