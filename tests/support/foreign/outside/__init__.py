"""Strategies that the table does not have at all. Whoever meets one must say how far it got, and claim nothing."""
