"""The catalogue of facts: who announces what, who reacts, and what it leads to. Read from the code, never written."""
