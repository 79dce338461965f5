"""The orchestrator in a world of its own: replicas, store, network and clocks in one process, under one seed."""
