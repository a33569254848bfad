"""A scheduler with workers of its own."""

from tests.support.clusters import cluster

__all__ = ["cluster"]
