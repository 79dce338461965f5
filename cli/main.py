"""`ensemble`: the commands, wired together."""

import typer

from cli import demo, events, order, place, rebuild, saga, show, stock, tail, trace, up
from cli.running import EXIT_CODES

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    help="One business, two ways for its services to work together: orchestrated and choreographed.",
)
app.command(epilog=EXIT_CODES)(up.up)
app.command(epilog=EXIT_CODES)(demo.demo)
order.app.command(epilog=EXIT_CODES)(place.place)
order.app.command(epilog=EXIT_CODES)(show.show)
order.app.command(epilog=EXIT_CODES)(rebuild.rebuild)
app.add_typer(order.app, name="order")
app.add_typer(saga.app, name="saga")
events.app.command(epilog=EXIT_CODES)(tail.tail)
app.add_typer(events.app, name="events")
app.command(epilog=EXIT_CODES)(trace.trace)
app.add_typer(stock.app, name="stock")

if __name__ == "__main__":
    app()
