"""What the two ways cost, measured in one run on one machine: `make bench`.

Read in this order: `chain`, `orchestrated` and `choreographed` (the same order, three ways), `steady` (what one round
is), `rounds` and `comparison` (how they are compared), `waiting` (among sagas that wait), `failover` (when a replica of
the orchestrator is killed), `tracing` (what it costs), `report`. The clients are processes of their own, `worker`. What
order per key costs is measured by `ordered`, a program of its own.
"""
