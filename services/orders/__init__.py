"""Orders.

Owns: the orders, their outcome and their timelines.
Answers: SubmitOrder, RequestCancel, CreateOrder, CompleteOrder, CancelOrder, GetOrder, ListOrders, RebuildTimelines,
    WatchOrder.
Reacts to: InventoryReserved, InventoryReservationFailed, InventoryReleased, PaymentProcessed, PaymentFailed,
    PaymentRefunded, OrderShipped, ShippingFailed, ShipmentCancelled, ShipmentCancelRefused, NotificationSent.
Announces: OrderCreated, OrderCancelRequested, OrderCompleted, OrderCancelled.
"""
