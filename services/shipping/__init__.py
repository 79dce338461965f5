"""Shipping.

Owns: the shipments, and the dealings with the carrier.
Answers: CreateShipment, CancelShipment, GetShipment.
Reacts to: PaymentProcessed, OrderCancelRequested.
Announces: OrderShipped, ShippingFailed, ShipmentCancelled, ShipmentCancelRefused.
"""
