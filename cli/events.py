"""`ensemble events`: what the services announce, how far it got, and what is left to be done."""

import typer

from cli import dlq, republish, setup, status
from cli.running import EXIT_CODES

app = typer.Typer(
    no_args_is_help=True,
    epilog=EXIT_CODES,
    help="See to the facts that services announce: what waits, what is dead, what is to be sent again.",
)
app.command(epilog=EXIT_CODES)(status.status)
app.add_typer(dlq.app, name="dlq")
app.command(epilog=EXIT_CODES)(republish.republish)
app.command(epilog=EXIT_CODES)(setup.setup)
