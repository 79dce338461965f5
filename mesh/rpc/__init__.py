"""gRPC, both sides: only the kit makes servers and channels."""
