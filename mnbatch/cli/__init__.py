"""What a person types. Each command lives in a small file of its own; torch and images are imported inside it."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnbatch.cli.status_text import quick_status
from mnbatch.errors import EXIT_INTERNAL, EXIT_OK, Interrupted, MnbatchError, StorageError, missing_extra
from mnbatch.files import as_storage_error
from mnbatch.renamed import RenamedWarning
from mnbatch.streams import CLOSED, guarded_streams, lost_outputs, lost_text, tell

COMMANDS: dict[str, str] = {
    "run": "run",
    "scan": "scan",
    "score": "score",
    "report": "report",
    "validate": "validate",
    "status": "status",
    "ack": "ack",
    "forget": "forget",
    "archive": "archive",
    "history": "history",
    "verify": "verify",
    "curve": "curve_app",
    "dose": "dose",
    "model": "model_app",
    "review": "review_app",
    "train": "train",
    "adapt": "adapt",
    "evaluate": "evaluate",
    "compare": "compare",
    "simulate": "simulate",
}
"""Command, also the name of its module -> what it is there: a function, or an app of several commands."""

if TYPE_CHECKING:
    from mnbatch.cli.common import App

    app: App


def __getattr__(name: str) -> App:
    """The whole command line as `app`, made when it is first asked for: a command needs its own module alone."""
    if name != "app":
        raise AttributeError(name)
    from mnbatch.cli.building import build

    globals()[name] = whole = build(COMMANDS, COMMANDS)
    return whole


def _needed(words: Sequence[str]) -> App:
    """What these arguments need: one command where the first word names it, and else everything."""
    if words and words[0] in COMMANDS and not any(name.endswith("_COMPLETE") for name in os.environ):
        from mnbatch.cli.building import build

        return build(COMMANDS, [words[0]])
    return __getattr__("app")


WORK_IS_KEPT = frozenset(
    {
        *(
            "run",
            "report",
            "validate",
            "history",
            "ack",
            "forget",
            "archive",
            "score",
            "train",
            "adapt",
            "evaluate",
            "compare",
            "simulate",
            "curve fit",
        ),
        *(
            "model export",
            "model average",
            "review import",
            "review export",
            "review plan",
            "review sign",
            "review serve",
        ),
    }
)
"""Commands whose result is in files; of all others it is what they print, and without that they have failed."""


def main() -> None:
    """Run the command line; every expected error becomes one clear line on stderr and its exit code."""
    with guarded_streams(), warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        shown = warnings.showwarning
        warnings.showwarning = lambda text, kind, *where: (
            tell(f"mnbatch: {text}") if issubclass(kind, RenamedWarning) else shown(text, kind, *where)
        )
        code = _after_prints(_run())
    raise SystemExit(code)


def _run() -> int:
    try:
        quick = quick_status(sys.argv[1:])
        if quick is not None:
            return quick
        _needed(sys.argv[1:])()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Interrupted as stop:
        return _say(stop, stop.code)
    except MnbatchError as error:
        return _say(error, error.exit_code)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the last net: exit code 1 instead of a bare traceback
        known = missing_extra(error) if isinstance(error, ModuleNotFoundError) else as_storage_error(error)
        if known is not None:
            return _say(known, known.exit_code)
        tell(f"mnbatch: internal error: {type(error).__name__}: {error}")
        tell("This is a fault of mnbatch; please report it with the lines below.")
        tell("".join(traceback.format_exception(error)).rstrip())
        return EXIT_INTERNAL
    return EXIT_OK


def _say(error: MnbatchError, code: int) -> int:
    tell(f"mnbatch: {error.message}")
    if error.next_step:
        tell(f"  {error.next_step}")
    return code


def _after_prints(code: int) -> int:
    """The exit code; it reports a lost result where stdout could not be written."""
    why = lost_outputs().get("stdout")
    if not why or why == CLOSED:
        return code
    words = [word for word in sys.argv[1:] if not word.startswith("-")][:2]
    kept = bool({" ".join(words[:1]), " ".join(words)} & WORK_IS_KEPT)
    tell(f"mnbatch: stdout cannot be written: {why}." + (" The work is done; it would have printed:" if kept else ""))
    if kept:
        tell(lost_text().rstrip())
    return code if kept or code else StorageError.exit_code
