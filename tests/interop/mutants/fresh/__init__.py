"""Faults that were thought up at one sitting: those that somebody may make who writes a peer from the documents.

The list was made before it was known which cases notice them. `docs/topics/mutants.md` says how many went unnoticed.
"""
