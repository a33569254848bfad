"""The container engine that is here, for the tests of images."""

from tests.support.needs import client

__all__ = ["client"]
