"""`python -m services.payment`."""

from contextlib import AsyncExitStack
from functools import partial

from mesh.database import Database
from mesh.service import Doors, ServiceSettings, run
from mesh.sweeper import swept
from services.payment.events import PaymentListener
from services.payment.outside import HttpGateway, settle_orphans
from services.payment.rpc import SERVICE, PaymentServicer

SWEEP_SECONDS = 10.0


class Settings(ServiceSettings):
    """What the payment service is told besides."""

    gateway_url: str
    """Where the payment gateway is: `http://host:port`."""


async def build(settings: Settings, database: Database, stack: AsyncExitStack) -> Doors:
    """Both doors over one database and one gateway, and the sweeper."""
    gateway = await stack.enter_async_context(HttpGateway.open(settings.gateway_url))
    await stack.enter_async_context(swept(SWEEP_SECONDS, partial(settle_orphans, database, gateway)))
    return Doors(SERVICE, PaymentServicer(database, gateway), PaymentListener(database, gateway).reactions())


if __name__ == "__main__":
    run("payment", Settings, build)
