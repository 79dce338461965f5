"""The `ensemble` command: the local stack, and a client of the services that run in it."""
