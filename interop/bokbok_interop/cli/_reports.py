"""Writing every report of a run, and reading results that were written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..report import document as documents
from ..report import html as page
from ..report import junit, terminal


def _write_json(document: dict[str, Any], path: str) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1, default=str).encode("utf-8", "backslashreplace")
    if path == "-":
        sys.stdout.buffer.write(text + b"\n")
    else:
        Path(path).write_bytes(text + b"\n")


def write_reports(
    document: dict[str, Any],
    console: Console,
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    *,
    matrix: bool = True,
) -> None:
    terminal.print_failures(console, document)
    if matrix:
        terminal.print_matrix(console, document)
        terminal.print_summary(console, document)
    try:
        if json_file:
            _write_json(document, json_file)
        if junit_file:
            junit.write(document, Path(junit_file))
        if html_file:
            page.write(document, Path(html_file))
    except OSError as error:
        raise click.ClickException(f"a report cannot be written: {error}") from None


def load(paths: Sequence[str]) -> list[dict[str, Any]]:
    try:
        return [documents.load(Path(path)) for path in paths]
    except documents.DocumentError as error:
        raise click.UsageError(str(error)) from None
