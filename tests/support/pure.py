"""A context in which codec and wire run in Python, even if the accelerator is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bokbok.sexpr import native, reader, writer
from bokbok.wire import _native
from bokbok.wire.messages import forget_codecs


@contextmanager
def pure() -> Iterator[None]:
    modules: list[tuple[Any, str]] = [(native, "READER"), (reader, "READER"), (writer, "WRITE"), (_native, "READER")]
    kept = [getattr(module, name) for module, name in modules]
    for module, name in modules:
        setattr(module, name, None)
    forget_codecs()
    try:
        yield
    finally:
        for (module, name), value in zip(modules, kept, strict=True):
            setattr(module, name, value)
        forget_codecs()
