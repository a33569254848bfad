"""Strategies of a user's own, from Python files that an explicit option names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from ...errors import ProfileError
from ._layers import LAYERS

__all__ = ["load_strategies", "read_bounded"]

MOST_BYTES = 1 << 20
"""Bytes of a profile file or a file of strategies. The longest profile of our tests has 2 KiB."""

_loaded: dict[str, str] = {}
"""The files that were run: the digest of the text, and the path."""


def read_bounded(path: str | os.PathLike[str], what: str) -> bytes:
    """A file's bytes.

    Args:
        path: of the file.
        what: what it is, for errors.

    Raises:
        ProfileError: it cannot be read, or is longer than any such file.
    """
    shown = f"{what} {os.fspath(path)!r}"
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"{shown}: {error.strerror}") from None
    except ValueError as error:
        raise ProfileError(f"{shown}: expected a path: {error}") from None
    if len(data) > MOST_BYTES:
        raise ProfileError(f"{shown}: expected {MOST_BYTES} bytes at most; it is longer")
    return data


def load_strategies(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Run Python files that register strategies of your own (see `register`).

    A text that was run before is not run again. **This runs the files' code**: name only files that you would run.

    Args:
        paths: of the files.

    Raises:
        ProfileError: a file cannot be read, fails, or registers nothing.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise ProfileError(f"strategies: expected a list of paths; got {paths!r}")
    for path in paths:
        data = read_bounded(path, "strategies")
        import hashlib  # only here: OpenSSL comes with it

        digest = hashlib.sha256(data).hexdigest()
        if digest not in _loaded:
            _run(os.fspath(path), data, f"bokbok_strategies_{digest[:16]}")
            _loaded[digest] = os.fspath(path)


def _run(path: str, data: bytes, name: str) -> None:
    import importlib.util  # only here: most programs have no strategies of their own

    before = {table: dict(layer.strategies) for table, layer in LAYERS.items()}
    spec = importlib.util.spec_from_loader(name, loader=None, origin=path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    sys.modules[name] = module  # dataclasses look their annotations up there
    try:
        exec(compile(data, path, "exec"), vars(module))  # noqa: S102 - that is what the option asks for
        if all(before[table] == layer.strategies for table, layer in LAYERS.items()):
            raise ProfileError("it registers no strategy; expected a class decorated with @register(LAYER)")
    except Exception as error:  # whatever that code does
        del sys.modules[name]
        for table, layer in LAYERS.items():
            layer.strategies.clear()
            layer.strategies.update(before[table])
        text = str(error) if isinstance(error, ProfileError) else f"{type(error).__name__}: {error}"
        raise ProfileError(f"strategies {path!r}: {text}") from None
