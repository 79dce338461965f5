"""What a fresh stack has in stock."""

from dataclasses import dataclass

from shop.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.type.v1.money_pb2 import Money

PLENTY = 1_000_000
LIMITED, LIMITED_PIECES = "LIMITED-1", 5


@dataclass(frozen=True)
class Article:
    sku: str
    name: str
    cents: int
    pieces: int = PLENTY


ARTICLES = (
    Article("KETTLE-1", "Kettle, 1 litre", 2490),
    Article("MUG-BLUE", "Mug, blue", 850),
    Article("MUG-RED", "Mug, red", 850),
    Article("TEA-GREEN", "Green tea, 100 g", 690),
    Article("TEAPOT-2", "Teapot, 2 litres", 3900),
    Article(LIMITED, "Teapot, signed edition", 19900, LIMITED_PIECES),
)


async def deliver(inventory: InventoryServiceStub) -> None:
    """Put the catalogue into stock; once, however often it is called. Raises AioRpcError."""
    for article in ARTICLES:
        await inventory.AdjustStock(
            AdjustStockRequest(
                request_id=f"catalogue/{article.sku}",
                sku=article.sku,
                delta=article.pieces,
                name=article.name,
                price=Money(currency="EUR", amount_minor=article.cents),
            )
        )
