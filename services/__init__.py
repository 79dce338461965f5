"""The six services: each owns its data and has two doors, calls (`rpc.py`) and facts (`events.py`)."""
