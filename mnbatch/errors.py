"""Every error that a person may see: what happened, to which slide, what to do now.

Each class carries the exit code of `mnbatch`. The codes are a contract with cron jobs (see docs/operations.md):
0 all slides done, 1 internal, 2 usage, 3 some slides (cases, a curve) failed, 4 no input, 5 things that do not belong
together, 10 unreadable or disk full, 11 lock held, 12 model missing or altered, 130/143 interrupted. `status` alone:
6 the latest run did not finish, 7 it is too old, 8 slides wait for files.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_SLIDES_FAILED = 3
EXIT_RUN_FAILED = 6
EXIT_OVERDUE = 7
EXIT_WAITING = 8


class MnbatchError(Exception):
    """Base of all expected errors: a message for the reader, and the next step to take.

    Args:
        message: what happened, to which file, slide or option; one line.
        next_step: what the reader should do now; one line, may be empty.
    """

    exit_code: ClassVar[int] = EXIT_INTERNAL

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class UsageError(MnbatchError):
    """An option, setting, layout or sample sheet that cannot be acted on."""

    exit_code = 2


class NoInputError(MnbatchError):
    """The export holds no slide (or does not exist)."""

    exit_code = 4


class MismatchError(MnbatchError):
    """Things that do not belong together: an OUT of another export, a review of another result."""

    exit_code = 5


class CurveError(MnbatchError):
    """Calibration data, a curve or a case from which no dose can be had; nothing is guessed in its place."""

    exit_code = EXIT_SLIDES_FAILED


EXTRAS = {
    **dict.fromkeys(("matplotlib", "sklearn"), "train"),
    **dict.fromkeys(("openslide", "pylibCZIrw", "nd2", "liffile", "zarr"), "vendor"),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    **dict.fromkeys(("dask", "distributed", "dask_jobqueue"), "cluster"),
}
"""Packages that only some commands need -> the extra that brings them."""


def missing_extra(error: ModuleNotFoundError) -> UsageError | None:
    """What to install where a package of an extra is absent; None for any other module."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return UsageError(
        f"This needs {package}, which is not installed here.", f"Install it: pip install 'mnbatch[{EXTRAS[package]}]'."
    )


class StorageError(MnbatchError):
    """A path that cannot be read or written, or a full disk."""

    exit_code = 10


class ClusterError(MnbatchError):
    """A cluster without workers that could be used, or whose scheduler is gone; what was committed is kept."""

    exit_code = 10


class LockHeldError(MnbatchError):
    """Another run holds OUT."""

    exit_code = 11


class ModelError(MnbatchError):
    """A model directory that is missing, altered or does not fit the program."""

    exit_code = 12


class TrainingError(MnbatchError):
    """Training data or recipe that cannot give a model (a class without images, NaN loss)."""

    exit_code = 2


class Interrupted(MnbatchError):
    """The run was asked to stop; what was whole is committed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("Interrupted; finished slides are kept.", "Run the same command again to go on.")
        self.signal_number = signal_number

    @property
    def code(self) -> int:
        """Shell convention: 128 + signal number (130 for SIGINT, 143 for SIGTERM)."""
        return 128 + self.signal_number


class SlideError(MnbatchError):
    """One slide cannot be processed; the others go on.

    Args:
        transient: True when a later attempt may succeed with unchanged files (an I/O error), False when the
            content itself is at fault and a retry would only fail again.
    """

    exit_code = EXIT_SLIDES_FAILED

    def __init__(self, message: str, next_step: str = "", *, transient: bool = False) -> None:
        super().__init__(message, next_step)
        self.transient = transient
