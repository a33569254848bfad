"""Hostile peers (to be filled)."""
