"""The choreography under any schedule: the real services on real databases, and a bus that does its worst.

Hypothesis draws some orders (`plans`), each with what happens to it and when: facts that arrive late, twice or after
months, deliveries that overlap or die before they commit, cancels by the customer and by the watchdog. They are all
fulfilled side by side (`crowd`, `case`, `attempt`) by the services (`shop`), each by its own plan alone, so that a
plan replays exactly. What is announced and what is left in the end has to be true (`verdict`).
"""
