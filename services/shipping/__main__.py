"""`python -m services.shipping`."""

from functools import partial

from mesh.service import Doors, Kit, ServiceSettings, run
from mesh.sweeper import swept
from services.shipping.events import ShippingListener
from services.shipping.outside import HttpCarrier, settle_orphans
from services.shipping.rpc import SERVICE, ShippingServicer

SWEEP_SECONDS = 10.0


class Settings(ServiceSettings):
    """What the shipping service is told besides."""

    carrier_url: str
    """Where the carrier is: `http://host:port`."""


async def build(kit: Kit[Settings]) -> Doors:
    """Both doors over one database and one carrier, and the sweeper."""
    carrier = await kit.stack.enter_async_context(HttpCarrier.open(kit.settings.carrier_url))
    await kit.stack.enter_async_context(swept(SWEEP_SECONDS, partial(settle_orphans, kit.database, carrier)))
    return Doors(SERVICE, ShippingServicer(kit.database, carrier), ShippingListener(kit.database, carrier).reactions())


if __name__ == "__main__":
    run("shipping", Settings, build)
