"""The option `--scheduler` of a command line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from .where import Where

__all__ = ["needing_dask", "scheduler_option"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _where(ctx: click.Context, param: click.Parameter, text: str | None) -> Where | None:
    try:
        return None if text is None else Where.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def scheduler_option(what: str, more: str = "") -> Callable[[_F], _F]:
    """The option `--scheduler`, as the argument `scheduler`.

    Args:
        what: what the workers do, such as `"play"`.
        more: what else the help text says of it, a sentence.
    """
    return click.option(
        "--scheduler",
        "scheduler",
        metavar="WHERE",
        callback=_where,
        help=f"Have the workers of a Dask scheduler {what}: tcp://HOST:PORT on this machine, tls://HOST:PORT anywhere, "
        f"or local:N for N processes. {more}{' ' * bool(more)}Needs bokbok[fleet].",
    )


@contextlib.contextmanager
def needing_dask() -> Iterator[None]:
    """For an import of something that imports Dask.

    Raises:
        click.UsageError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise click.UsageError(f"--scheduler needs the extra `fleet` (pip install 'bokbok[fleet]'): {error}") from None
