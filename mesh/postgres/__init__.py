"""The database: transactions, what was handled before, and works that share a round trip."""
