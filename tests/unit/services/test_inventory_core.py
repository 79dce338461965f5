"""What inventory decides: all or nothing, at the catalogue's prices, once per reservation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from mesh.errors import Kind, Refusal
from services.inventory import core
from services.inventory.core import Line, Reservation, State, StockItem

MUG = StockItem("MUG", "Blue mug", "EUR", 500, 10)
KETTLE = StockItem("KETTLE", "Kettle", "EUR", 2000, 1)
DOLLAR = StockItem("DOLLAR", "Priced in dollars", "USD", 100, 10)
LINES = (Line("MUG", 2), Line("KETTLE", 1))
RESERVED = Reservation("r-1", "order-1", State.RESERVED, LINES, "EUR", 3000)


class MemoryShelf:
    """The shelf, in dicts."""

    def __init__(self, *reservations: Reservation) -> None:
        self.items = {item.sku: item for item in (MUG, KETTLE, DOLLAR)}
        self.reservations = {each.reservation_id: each for each in reservations}

    async def reservation(self, reservation_id: str) -> Reservation | None:
        return self.reservations.get(reservation_id)

    async def stock(self, skus: Sequence[str]) -> Mapping[str, StockItem]:
        return {sku: self.items[sku] for sku in skus if sku in self.items}

    async def take(self, reservation: Reservation) -> None:
        assert reservation.reservation_id not in self.reservations
        self._put(reservation, -1)

    async def put_back(self, reservation: Reservation) -> None:
        assert reservation.reservation_id in self.reservations
        self._put(reservation, 1)

    async def add_item(self, item: StockItem) -> None:
        assert item.sku not in self.items
        self.items[item.sku] = item

    async def save_item(self, item: StockItem) -> None:
        self.items[item.sku] = item

    def available(self) -> dict[str, int]:
        return {item.sku: item.available for item in self.items.values()}

    def _put(self, reservation: Reservation, sign: int) -> None:
        self.reservations[reservation.reservation_id] = reservation
        for line in reservation.lines:
            item = self.items[line.sku]
            self.items[line.sku] = replace(item, available=item.available + sign * line.quantity)


UNTOUCHED = MemoryShelf().available()


async def reserve(shelf: MemoryShelf, lines: Sequence[Line] = LINES, order_id: str = "order-1") -> Reservation:
    return await core.reserve_stock(shelf, "r-1", order_id, lines)


async def release(shelf: MemoryShelf, order_id: str = "order-1") -> Reservation:
    return await core.release_stock(shelf, "r-1", order_id)


async def test_items_are_set_aside_at_the_catalogues_prices() -> None:
    shelf = MemoryShelf()

    assert await reserve(shelf) == RESERVED
    assert shelf.available() == {**UNTOUCHED, "MUG": 8, "KETTLE": 0}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((Line("MUG", 1), Line("KETTLE", 2)), "OUT_OF_STOCK"),
        ((Line("MUG", 1), Line("NOTHING", 1)), "UNKNOWN_SKU"),
        ((Line("MUG", 1), Line("DOLLAR", 1)), "MIXED_CURRENCIES"),
    ],
)
async def test_all_items_are_set_aside_or_none(lines: tuple[Line, ...], reason: str) -> None:
    shelf = MemoryShelf()

    with pytest.raises(Refusal) as refusal:
        await reserve(shelf, lines)

    assert refusal.value.reason == reason
    assert shelf.available() == UNTOUCHED
    assert shelf.reservations == {}


async def test_repeated_reservation_takes_nothing_more() -> None:
    shelf = MemoryShelf()
    await reserve(shelf)

    assert await reserve(shelf, tuple(reversed(LINES))) == RESERVED
    assert shelf.available()["MUG"] == 8


async def test_release_puts_everything_back_once() -> None:
    shelf = MemoryShelf()
    await reserve(shelf)

    released = [await release(shelf), await release(shelf)]

    assert released == [replace(RESERVED, state=State.RELEASED)] * 2
    assert shelf.available() == UNTOUCHED


async def test_release_that_comes_first_refuses_the_reservation_for_ever() -> None:
    shelf = MemoryShelf()

    assert await release(shelf) == Reservation("r-1", "order-1", State.RELEASED)
    with pytest.raises(Refusal) as refusal:
        await reserve(shelf)

    assert refusal.value.reason == "RESERVATION_RELEASED"
    assert shelf.available() == UNTOUCHED


async def test_released_reservation_is_not_made_again() -> None:
    shelf = MemoryShelf()
    await reserve(shelf)
    await release(shelf)

    with pytest.raises(Refusal) as refusal:
        await reserve(shelf)

    assert refusal.value.reason == "RESERVATION_RELEASED"
    assert shelf.available() == UNTOUCHED


@pytest.mark.parametrize(
    ("lines", "order_id"), [(LINES, "order-2"), ((Line("MUG", 2),), "order-1"), ((Line("MUG", 3), LINES[1]), "order-1")]
)
async def test_id_of_another_reservation_is_refused(lines: tuple[Line, ...], order_id: str) -> None:
    shelf = MemoryShelf(RESERVED)

    with pytest.raises(Refusal) as refusal:
        await reserve(shelf, lines, order_id)

    assert refusal.value.reason == "RESERVATION_ID_REUSED"
    assert refusal.value.kind is Kind.ALREADY_EXISTS
    assert shelf.available() == UNTOUCHED


@pytest.mark.parametrize("before", [RESERVED, Reservation("r-1", "order-1", State.RELEASED)])
async def test_release_for_another_order_puts_nothing_back(before: Reservation) -> None:
    shelf = MemoryShelf(before)

    with pytest.raises(Refusal) as refusal:
        await release(shelf, "order-2")

    assert refusal.value.reason == "RESERVATION_ID_REUSED"
    assert shelf.reservations["r-1"] == before


async def test_stock_is_adjusted_and_priced() -> None:
    shelf = MemoryShelf()
    red = StockItem("MUG", "Red mug", "EUR", 600, 3)
    new = StockItem("NEW", "New", "EUR", 1, 1)

    assert await core.adjust_stock(shelf, "MUG", -10, "", None) == replace(MUG, available=0)
    assert await core.adjust_stock(shelf, "MUG", 3, "Red mug", ("EUR", 600)) == red
    assert await core.adjust_stock(shelf, "NEW", 1, "New", ("EUR", 1)) == new


@pytest.mark.parametrize(
    ("sku", "delta", "name", "price", "reason"),
    [
        ("MUG", -11, "", None, "OUT_OF_STOCK"),
        ("NEW", 1, "New", None, "UNKNOWN_SKU"),
        ("NEW", 1, "", ("EUR", 1), "UNKNOWN_SKU"),
        ("NEW", -1, "New", ("EUR", 1), "OUT_OF_STOCK"),
    ],
)
async def test_stock_is_never_negative_and_new_items_need_name_and_price(
    sku: str, delta: int, name: str, price: tuple[str, int] | None, reason: str
) -> None:
    shelf = MemoryShelf()

    with pytest.raises(Refusal) as refusal:
        await core.adjust_stock(shelf, sku, delta, name, price)

    assert refusal.value.reason == reason
    assert shelf.available() == UNTOUCHED
