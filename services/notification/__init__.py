"""Notification.

Owns: the notifications, and the dealings with the mail server.
Answers: SendNotification, ListNotifications.
Reacts to: OrderShipped.
Announces: NotificationSent.
"""
