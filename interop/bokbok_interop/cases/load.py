"""Load (to be filled)."""
