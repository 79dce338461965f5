"""Customer, the front door.

Owns: which orders were accepted, in which mode, and whether they are handed over.
Answers: PlaceOrder, CancelOrder, GetOrder, WatchOrder.
Reacts to: nothing.
Announces: nothing.
"""
