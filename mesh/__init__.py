"""The kit every process stands on: settings, life cycle, RPC, events, database, telemetry.

It names no service and no business word: adding a service never edits this package.
"""
