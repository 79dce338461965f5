"""The saga `place_order`: reserve, pay, ship, confirm; or undo what was done."""

from shop.inventory.v1 import inventory_service_pb2 as inventory
from shop.notification.v1 import notification_service_pb2 as notification
from shop.orders.v1 import order_pb2
from shop.orders.v1 import orders_service_pb2 as orders
from shop.payment.v1 import payment_service_pb2 as payment
from shop.shipping.v1 import shipping_service_pb2 as shipping
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from mesh.identity import derived_id
from orchestrator.blocks import Cause, Known, Step
from orchestrator.saga import Saga

Order = Known[PlaceOrder]

REASONS = {
    "reserve_stock": order_pb2.CANCEL_REASON_OUT_OF_STOCK,
    "process_payment": order_pb2.CANCEL_REASON_PAYMENT_DECLINED,
    "create_shipment": order_pb2.CANCEL_REASON_SHIPPING_REFUSED,
}
"""Why an order is cancelled, by the step that was refused."""


def create(order: Order) -> orders.CreateOrderRequest:
    return orders.CreateOrderRequest(order_id=order.input.order_id, purchase=order.input.purchase)


def cancel(order: Order) -> orders.CancelOrderRequest:
    return orders.CancelOrderRequest(order_id=order.input.order_id, reason=reason(order))


def reserve(order: Order) -> inventory.ReserveStockRequest:
    return inventory.ReserveStockRequest(
        reservation_id=derived_id(order.input.order_id, "reserve_stock"),
        order_id=order.input.order_id,
        items=order.input.purchase.items,
    )


def release(order: Order) -> inventory.ReleaseStockRequest:
    return inventory.ReleaseStockRequest(
        reservation_id=derived_id(order.input.order_id, "reserve_stock"), order_id=order.input.order_id
    )


def charge(order: Order) -> payment.ProcessPaymentRequest:
    return payment.ProcessPaymentRequest(
        payment_id=derived_id(order.input.order_id, "process_payment"),
        order_id=order.input.order_id,
        amount=order.answer(RESERVE_STOCK).reservation.total,
        payment_token=order.input.purchase.payment_token,
    )


def refund(order: Order) -> payment.RefundPaymentRequest:
    return payment.RefundPaymentRequest(
        payment_id=derived_id(order.input.order_id, "process_payment"), order_id=order.input.order_id
    )


def ship(order: Order) -> shipping.CreateShipmentRequest:
    return shipping.CreateShipmentRequest(
        shipment_id=derived_id(order.input.order_id, "create_shipment"),
        order_id=order.input.order_id,
        items=order.input.purchase.items,
        ship_to=order.input.purchase.ship_to,
    )


def take_back(order: Order) -> shipping.CancelShipmentRequest:
    return shipping.CancelShipmentRequest(
        shipment_id=derived_id(order.input.order_id, "create_shipment"), order_id=order.input.order_id
    )


def complete(order: Order) -> orders.CompleteOrderRequest:
    return orders.CompleteOrderRequest(
        order_id=order.input.order_id,
        total=order.answer(RESERVE_STOCK).reservation.total,
        tracking=order.answer(CREATE_SHIPMENT).shipment.tracking,
    )


def confirm(order: Order) -> notification.SendNotificationRequest:
    return notification.SendNotificationRequest(
        notification_id=derived_id(order.input.order_id, "send_notification"),
        order_id=order.input.order_id,
        email=order.input.purchase.email,
        total=order.answer(RESERVE_STOCK).reservation.total,
        tracking=order.answer(CREATE_SHIPMENT).shipment.tracking,
    )


def reason(order: Order) -> order_pb2.CancelReason.ValueType:
    """Why the order is cancelled. A step that nobody answered in time has timed out."""
    failure = order.failure
    if failure is None or failure.cause is Cause.UNKNOWN:
        return order_pb2.CANCEL_REASON_TIMED_OUT
    if failure.cause is Cause.CANCELLED:
        return order_pb2.CANCEL_REASON_CUSTOMER_REQUEST
    return REASONS.get(failure.path, order_pb2.CANCEL_REASON_TIMED_OUT)


CREATE_ORDER = Step(
    "create_order", "shop.orders.v1.OrderService/CreateOrder", orders.CreateOrderResponse, create, undo=cancel
)
RESERVE_STOCK = Step(
    "reserve_stock",
    "shop.inventory.v1.InventoryService/ReserveStock",
    inventory.ReserveStockResponse,
    reserve,
    undo=release,
)
PROCESS_PAYMENT = Step(
    "process_payment",
    "shop.payment.v1.PaymentService/ProcessPayment",
    payment.ProcessPaymentResponse,
    charge,
    undo=refund,
)
CREATE_SHIPMENT = Step(
    "create_shipment",
    "shop.shipping.v1.ShippingService/CreateShipment",
    shipping.CreateShipmentResponse,
    ship,
    undo=take_back,
    pivot=True,
)
COMPLETE_ORDER = Step(
    "complete_order", "shop.orders.v1.OrderService/CompleteOrder", orders.CompleteOrderResponse, complete
)
SEND_NOTIFICATION = Step(
    "send_notification",
    "shop.notification.v1.NotificationService/SendNotification",
    notification.SendNotificationResponse,
    confirm,
    optional=True,  # a mailbox that refuses the confirmation does not hold up the order
)

PLACE_ORDER = Saga(
    "place_order",
    PlaceOrder,
    "order_id",
    (CREATE_ORDER, RESERVE_STOCK, PROCESS_PAYMENT, CREATE_SHIPMENT, COMPLETE_ORDER, SEND_NOTIFICATION),
)
