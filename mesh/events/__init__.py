"""Facts: announced with the change that they tell of, sent, stored, and reacted to."""
