"""`python -m services.notification`."""

from functools import partial

from mesh.service import Doors, Kit, ServiceSettings, run
from mesh.sweeper import swept
from services.notification.events import NotificationListener
from services.notification.outside import SmtpMailer, settle_orphans
from services.notification.rpc import SERVICE, NotificationServicer

SWEEP_SECONDS = 10.0


class Settings(ServiceSettings):
    """What the notification service is told besides."""

    smtp_url: str
    """Where the mail server is: `smtp://host:port`."""


async def build(kit: Kit[Settings]) -> Doors:
    """Both doors over one database and one mail server, and the sweeper."""
    mailer = await kit.stack.enter_async_context(SmtpMailer.open(kit.settings.smtp_url))
    await kit.stack.enter_async_context(swept(SWEEP_SECONDS, partial(settle_orphans, kit.database, mailer)))
    listener = NotificationListener(kit.database, mailer)
    return Doors(SERVICE, NotificationServicer(kit.database, mailer), listener.reactions())


if __name__ == "__main__":
    run("notification", Settings, build)
