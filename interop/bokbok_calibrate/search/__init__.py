"""The search: from a recording to the profiles that explain it."""
