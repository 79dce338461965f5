"""Inventory.

Owns: the catalogue with its prices, the stock, and what is reserved of it.
Answers: ReserveStock, ReleaseStock, GetStock, ListStock, AdjustStock.
Reacts to: OrderCreated, PaymentFailed, ShippingFailed, ShipmentCancelled.
Announces: InventoryReserved, InventoryReservationFailed, InventoryReleased.
"""
