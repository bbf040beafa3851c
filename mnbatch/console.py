"""What a person sees while a run goes on: messages and a bar on stderr; results alone go to stdout."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class RunProgress(Protocol):
    """What the pipeline tells the world; it knows nothing of terminals."""

    def start(self, slides: int, cells: int | None) -> None:
        """Scoring begins: slides that are pending and cells (files) in them; None where they are still to be found."""

    def cells(self, count: int) -> None:
        """`count` more cells came back."""

    def slide(self, name: str, outcome: str) -> None:
        """A slide is finished; `outcome` is one line."""

    def message(self, text: str) -> None:
        """Something a person should know."""

    def warning(self, text: str) -> None:
        """Something a person should check."""


class SilentProgress:
    """Says nothing (for calls from Python)."""

    def start(self, slides: int, cells: int | None) -> None:
        """Ignore."""

    def cells(self, count: int) -> None:
        """Ignore."""

    def slide(self, name: str, outcome: str) -> None:
        """Ignore."""

    def message(self, text: str) -> None:
        """Ignore."""

    def warning(self, text: str) -> None:
        """Ignore."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} cells/s" if task.speed else "")


class ConsoleProgress:
    """Messages on stderr, with a bar on a terminal and none in a log file.

    Args:
        quiet: only warnings.
        verbose: one line a slide also off a terminal.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self._quiet = quiet
        self._verbose = verbose
        self._bar: Progress | None = None
        self._task: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, slides: int, cells: int | None) -> None:
        """Show the bar on a terminal."""
        if self._quiet or not self._console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task(f"{slides} slides", total=cells)
        self._bar.start()

    def cells(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)  # type: ignore[arg-type]

    def slide(self, name: str, outcome: str) -> None:
        """One line a slide."""
        if self._verbose or self._console.is_terminal:
            self.message(f"{name}: {outcome}")

    def message(self, text: str) -> None:
        """Plain line, unless quiet."""
        if not self._quiet:
            self._console.print(escape(text))

    def warning(self, text: str) -> None:
        """A line that is marked."""
        self._console.print(f"[yellow]warning:[/yellow] {escape(text)}")
