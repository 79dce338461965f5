"""`python -m services.notification`."""

from contextlib import AsyncExitStack
from functools import partial

from mesh.database import Database
from mesh.service import Doors, ServiceSettings, run
from mesh.sweeper import swept
from services.notification.events import NotificationListener
from services.notification.outside import SmtpMailer, settle_orphans
from services.notification.rpc import SERVICE, NotificationServicer

SWEEP_SECONDS = 10.0


class Settings(ServiceSettings):
    """What the notification service is told besides."""

    smtp_url: str
    """Where the mail server is: `smtp://host:port`."""


async def build(settings: Settings, database: Database, stack: AsyncExitStack) -> Doors:
    """Both doors over one database and one mail server, and the sweeper."""
    mailer = await stack.enter_async_context(SmtpMailer.open(settings.smtp_url))
    await stack.enter_async_context(swept(SWEEP_SECONDS, partial(settle_orphans, database, mailer)))
    return Doors(SERVICE, NotificationServicer(database, mailer), NotificationListener(database, mailer).reactions())


if __name__ == "__main__":
    run("notification", Settings, build)
