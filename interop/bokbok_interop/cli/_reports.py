"""Writing all reports of a run, and reading results from files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ..model import Result
from ..report import document as documents
from ..report import html as page
from ..report import junit
from ..report.files import Journal, Target, TargetError, as_json
from ..report.screen import Screen
from ..runner import Observer

__all__ = ["Reports", "load", "report_options"]

F = TypeVar("F", bound=Callable[..., Any])


def report_options(command: F) -> F:
    """The options for the reports: the parameters `json_file`, `junit_file` and `html_file`."""
    for option, words in (
        ("html", "Write the results as one HTML page."),
        ("junit", "Write the results as JUnit XML."),
        ("json", "Write the results as JSON ('-': to standard output)."),
    ):
        command = click.option(f"--{option}", f"{option}_file", metavar="FILE", help=words)(command)
    return command


class _Noting(Observer):
    """Writes each result into the journal when its cell ends."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def finished(self, result: Result) -> None:
        self._journal.add(documents.describe_cell(result))


class Reports:
    """The files that a command was asked for. Each is checked in advance, and written independently of the others.

    Raises:
        click.UsageError: one of them could not be written.

    Attributes:
        screen: the terminal, or standard error if the JSON goes to standard output.
        evidence: which cells need evidence: those that passed only if a report will contain it.
        journal: the journal of the run, if its results become a file.
        problems: what could not be written, one line each.
    """

    def __init__(self, json_file: str | None, junit_file: str | None, html_file: str | None) -> None:
        self.screen = Screen(stderr=json_file == "-")
        self.evidence = "all" if json_file or html_file else "failures"
        self.journal: Journal | None = None
        self.problems: list[str] = []
        self._stdout = json_file == "-"
        self._targets: list[tuple[Target, Callable[[Mapping[str, Any]], bytes]]] = []
        wanted: list[tuple[str | None, Callable[[Mapping[str, Any]], bytes]]] = [
            (None if self._stdout else json_file, lambda document: as_json(document, indent=1)),
            (junit_file, junit.render),
            (html_file, page.render),
        ]
        paths = [os.path.realpath(path) for path, _ in wanted if path]
        if len(set(paths)) < len(paths):
            raise click.UsageError("two reports cannot be written to one file")
        for path, render in wanted:
            if path:
                try:
                    self._targets.append((Target(path), render))
                except TargetError as error:
                    self.problems.append(str(error))
        if self.problems:
            self.drop()
            raise click.UsageError("; ".join(self.problems))
        self._json_file = None if self._stdout else json_file

    def begin(self, header: Mapping[str, Any]) -> Observer:
        """Begin the journal. Returns the observer that writes it.

        Raises:
            click.UsageError: it cannot be written.
        """
        file = self._json_file
        if file is None or (os.path.exists(file) and not os.path.isfile(file)):  # a pipe, or `/dev/stdout`
            return Observer()
        try:
            self.journal = Journal(file)
        except TargetError as error:
            self.drop()
            raise click.UsageError(str(error)) from None
        self.journal.begin(header)
        return _Noting(self.journal)

    def write(self, document: Mapping[str, Any]) -> None:
        """Write all of them, before anything is shown, since the terminal may have gone."""
        if self._stdout:
            try:
                sys.stdout.buffer.write(as_json(document, indent=1))
                sys.stdout.buffer.flush()
            except (OSError, AttributeError) as error:
                self.problems.append(f"standard output cannot be written: {getattr(error, 'strerror', None) or error}")
        for target, render in self._targets:
            try:
                target.write(render(document))
            except TargetError as error:
                self.problems.append(str(error))
            except Exception as error:  # a fault in one report must not stop the others
                target.drop()
                self.problems.append(f"{target.path} cannot be written: {type(error).__name__}: {error}")
        lost = any(problem.startswith(f"{self._json_file} ") for problem in self.problems)
        if self.journal is not None:
            self.journal.end(keep=lost)
            if lost:
                self.problems.append(f"the results are in {self.journal.path}, which the other commands can read, too")

    def tell(self) -> None:
        """Say what could not be written."""
        ended = [self.journal.problem] if self.journal is not None and self.journal.problem else []
        for problem in [*ended, *self.problems]:
            with contextlib.suppress(OSError):
                click.echo(f"Error: {problem}", err=True)

    def drop(self) -> None:
        """Give up the reports: nothing is written."""
        for target, _ in self._targets:
            target.drop()


def load(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Read files of results, or journals.

    Raises:
        click.UsageError: a file does not contain results.
    """
    try:
        return [documents.load(Path(path)) for path in paths]
    except documents.DocumentError as error:
        raise click.UsageError(str(error)) from None
