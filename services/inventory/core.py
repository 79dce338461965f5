"""What inventory decides. Both doors call these functions; none of them knows which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from mesh.errors import Kind, Refusal, not_found, refused


@dataclass(frozen=True)
class Line:
    """So many of one SKU."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class StockItem:
    """One item of the catalogue. The price is in the smallest unit of its currency."""

    sku: str
    name: str
    currency: str
    price_minor: int
    available: int


class State(Enum):
    """Of a reservation."""

    RESERVED = "RESERVED"
    RELEASED = "RELEASED"


@dataclass(frozen=True)
class Reservation:
    """Stock set aside for an order; a RELEASED one without lines is a tombstone."""

    reservation_id: str
    order_id: str
    state: State
    lines: tuple[Line, ...] = ()
    currency: str = ""
    total_minor: int = 0


class Shelf(Protocol):
    """What the decisions need to know and to change, within one transaction."""

    async def reservation(self, reservation_id: str) -> Reservation | None:
        """The reservation, held until the transaction ends."""
        ...

    async def stock(self, skus: Sequence[str]) -> Mapping[str, StockItem]:
        """The items that exist, held until the transaction ends, in an order that cannot deadlock."""
        ...

    async def take(self, reservation: Reservation) -> None:
        """Store a new reservation and take its lines, if it has any, from stock."""
        ...

    async def put_back(self, reservation: Reservation) -> None:
        """Store that a reservation is released and put its lines back."""
        ...

    async def add_item(self, item: StockItem) -> None:
        """Store a new item."""
        ...

    async def save_item(self, item: StockItem) -> None:
        """Store an item as it is now."""
        ...


async def reserve_stock(shelf: Shelf, reservation_id: str, order_id: str, lines: Sequence[Line]) -> Reservation:
    """Set stock aside, all lines or none, at the catalogue's prices.

    Refused: OUT_OF_STOCK, UNKNOWN_SKU, MIXED_CURRENCIES, RESERVATION_RELEASED. ALREADY_EXISTS: RESERVATION_ID_REUSED.
    """
    existing = await shelf.reservation(reservation_id)
    if existing is not None:
        _check_order(existing, order_id)
        if existing.state is State.RELEASED:
            message = f"reservation {reservation_id} is released, and can never be made"
            raise refused("RESERVATION_RELEASED", message, reservation_id=reservation_id)
        if set(existing.lines) != set(lines):
            raise _reused(reservation_id)
        return existing
    stock = await shelf.stock([line.sku for line in lines])
    for line in lines:
        _check(line, stock)
    currencies = {stock[line.sku].currency for line in lines}
    if len(currencies) > 1:
        raise refused("MIXED_CURRENCIES", "the items are priced in different currencies")
    total = sum(stock[line.sku].price_minor * line.quantity for line in lines)
    reservation = Reservation(reservation_id, order_id, State.RESERVED, tuple(lines), currencies.pop(), total)
    await shelf.take(reservation)
    return reservation


async def release_stock(shelf: Shelf, reservation_id: str, order_id: str) -> Reservation:
    """Put a reservation back. One that never was leaves a tombstone, which refuses it later.

    ALREADY_EXISTS: RESERVATION_ID_REUSED.
    """
    existing = await shelf.reservation(reservation_id)
    if existing is None:
        tombstone = Reservation(reservation_id, order_id, State.RELEASED)
        await shelf.take(tombstone)
        return tombstone
    _check_order(existing, order_id)
    if existing.state is State.RELEASED:
        return existing
    released = replace(existing, state=State.RELEASED)
    await shelf.put_back(released)
    return released


async def adjust_stock(shelf: Shelf, sku: str, delta: int, name: str, price: tuple[str, int] | None) -> StockItem:
    """Add to stock or take from it, and set name and price (currency, minor units) where given.

    Refused: OUT_OF_STOCK if less than nothing would be left; NOT_FOUND: UNKNOWN_SKU if it is new and has no price.
    """
    existing = (await shelf.stock([sku])).get(sku)
    if existing is None and (price is None or not name):
        raise _unknown(sku)
    item = existing or StockItem(sku, name, "", 0, 0)
    if item.available + delta < 0:
        raise _out_of_stock(Line(sku, -delta), item.available)
    currency, price_minor = price or (item.currency, item.price_minor)
    item = StockItem(sku, name or item.name, currency, price_minor, item.available + delta)
    await (shelf.add_item(item) if existing is None else shelf.save_item(item))
    return item


def _check_order(reservation: Reservation, order_id: str) -> None:
    if reservation.order_id != order_id:
        raise _reused(reservation.reservation_id)


def _check(line: Line, stock: Mapping[str, StockItem]) -> None:
    item = stock.get(line.sku)
    if item is None:
        raise refused("UNKNOWN_SKU", f"there is no item {line.sku}", sku=line.sku)
    if item.available < line.quantity:
        raise _out_of_stock(line, item.available)


def _out_of_stock(line: Line, available: int) -> Refusal:
    message = f"{line.quantity} of {line.sku} wanted, {available} available"
    return refused("OUT_OF_STOCK", message, sku=line.sku, wanted=str(line.quantity), available=str(available))


def _reused(reservation_id: str) -> Refusal:
    message = f"there is another reservation {reservation_id}; choose a new id"
    return Refusal(Kind.ALREADY_EXISTS, "RESERVATION_ID_REUSED", message, reservation_id=reservation_id)


def _unknown(sku: str) -> Refusal:
    return not_found("UNKNOWN_SKU", f"there is no item {sku}; a new one needs a name and a price", sku=sku)
