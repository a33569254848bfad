"""`--handler MODULE:FUNCTION`: how a user's own Python function is found, and what can be wrong with it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

__all__ = ["load_handler"]

_log = logging.getLogger("bokbok.cli")


def load_handler(spec: str) -> Callable[[Any, Any], Any]:
    """Import a request handler.

    Args:
        spec: `package.module:function`; the function may be an attribute of an object, `module:app.answer`. The
            current folder is put in front of `sys.path`, as gunicorn and uvicorn do.

    Raises:
        click.BadParameter: it cannot be imported, is not there, or is not a plain function.
    """
    module_name, _, attribute = spec.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise _bad(f"{spec!r}: expected MODULE:FUNCTION, such as mypackage.handlers:answer")
    try:
        folder = os.getcwd()
    except OSError:  # removed; then nothing can be imported from there
        folder = ""
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        # What it prints must not come before the first line of `bokbok serve`.
        with contextlib.redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Not if it is the module itself that imports a module that is not there.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_failed(module_name, error) from None
        raise _bad(f"module {error.name!r} was not found in {folder or 'sys.path'} or on Python's path") from None
    except (Exception, SystemExit) as error:
        raise _import_failed(module_name, error) from None
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise _bad(f"module {module_name!r} does not have {attribute!r}; expected MODULE:FUNCTION")
        found = getattr(found, name)
    if not callable(found):
        raise _bad(f"{spec!r} is a {type(found).__name__}; expected a function(connection, message)")
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__):
        raise _bad(
            f"{spec!r} is a coroutine function; expected a plain one, which is called in a thread of its own "
            "(a program of your own can serve coroutines: bokbok.asyncio.start_server)"
        )
    handler: Callable[[Any, Any], Any] = found
    return handler


def _bad(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="'--handler'")


def _import_failed(module_name: str, error: BaseException) -> click.BadParameter:
    _log.debug("importing %s failed", module_name, exc_info=error)
    text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}, line {error.lineno})"
    return _bad(f"importing {module_name!r} failed: {text}{where}")
