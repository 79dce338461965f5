"""What the orchestrator costs, measured in one run on one machine: `make bench`.

Read in this order: `chain` and `orchestrated` (the same order, without and with the orchestrator), `steady` (what one
round is), `rounds` (how the two are compared), `waiting` (among sagas that wait), `failover` (when a replica is
killed), `report`. Both clients are processes of their own, `worker`.
"""
