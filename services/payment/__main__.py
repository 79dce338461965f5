"""`python -m services.payment`."""

from functools import partial

from mesh.service import Doors, Kit, ServiceSettings, run
from mesh.sweeper import swept
from services.payment.events import PaymentListener
from services.payment.outside import HttpGateway, settle_orphans
from services.payment.rpc import SERVICE, PaymentServicer

SWEEP_SECONDS = 10.0


class Settings(ServiceSettings):
    """What the payment service is told besides."""

    gateway_url: str
    """Where the payment gateway is: `http://host:port`."""


async def build(kit: Kit[Settings]) -> Doors:
    """Both doors over one database and one gateway, and the sweeper."""
    gateway = await kit.stack.enter_async_context(HttpGateway.open(kit.settings.gateway_url))
    await kit.stack.enter_async_context(swept(SWEEP_SECONDS, partial(settle_orphans, kit.database, gateway)))
    return Doors(SERVICE, PaymentServicer(kit.database, gateway), PaymentListener(kit.database, gateway).reactions())


if __name__ == "__main__":
    run("payment", Settings, build)
