"""What is required of a peer: one module per chapter, one coroutine per case.

What this package knows: the sentences, and how to check each.
"""

from .base import CHAPTERS, PREFLIGHT, SESSIONS, Case, all_cases, case
from .requirements import DOCUMENTS, REQUIREMENTS, Requirement

__all__ = ["CHAPTERS", "DOCUMENTS", "PREFLIGHT", "REQUIREMENTS", "SESSIONS", "Case", "Requirement", "all_cases", "case"]
