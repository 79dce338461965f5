"""Payment.

Owns: the payments, and the dealings with the payment gateway.
Answers: ProcessPayment, RefundPayment, GetPayment.
Reacts to: InventoryReserved, ShippingFailed, ShipmentCancelled.
Announces: PaymentProcessed, PaymentFailed, PaymentRefunded.
"""
