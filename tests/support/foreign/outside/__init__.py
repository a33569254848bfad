"""Strategies that the table does not have at all. A calibrator that meets one must say how far it got, and claim
nothing."""
