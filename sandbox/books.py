"""The ledger, read by a person or a test."""

import json
from typing import Any

from aiohttp import web

from sandbox.door import LEDGER

routes = web.RouteTableDef()


@routes.get("/ledger")
async def everything(request: web.Request) -> web.Response:
    """Each payment, shipment and mail. Takes as long as there are rows; a summary is quick."""
    ledger = request.app[LEDGER]
    return web.json_response(
        {
            "payments": ledger.rows("payments"),
            "shipments": [_shipment(row) for row in ledger.rows("shipments")],
            "mails": [_mail(row) for row in ledger.rows("mails")],
            "totals": ledger.totals(),
        }
    )


@routes.get("/ledger/summary")
async def summary(request: web.Request) -> web.Response:
    ledger = request.app[LEDGER]
    return web.json_response({"counts": ledger.counts(), "totals": ledger.totals()})


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    """200 when the ledger can be written; the ledger's error becomes 503 like everywhere."""
    request.app[LEDGER].check_writable()
    return web.json_response({"status": "ok"})


def _shipment(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"parcels": json.loads(row["parcels"] or "[]")}


def _mail(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"raw": row["raw"].decode("utf-8", errors="replace")}
