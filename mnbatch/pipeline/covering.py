"""What a pseudonymised run says when it ends with an error: no name of the export reaches a terminal or a cron mail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from mnbatch.errors import Interrupted, MnbatchError
from mnbatch.files import as_storage_error
from mnbatch.results.manifest import RunLog
from mnbatch.results.paths import OutPaths
from mnbatch.results.pseudonyms import Pseudonyms, covered_error, names_of_path
from mnbatch.settings import RunSettings


@dataclass(slots=True)
class Cover:
    """The names that must not be said.

    Attributes:
        of_path: the export's path and folders, each with its replacement.
        pseudonyms: of the run, once OUT is bound to the export; None before, and in a run without them.
        logged: the run's log has the end of the run.
    """

    of_path: dict[str, str] = field(default_factory=dict)
    pseudonyms: Pseudonyms | None = None
    logged: bool = False

    def error(self, error: MnbatchError) -> MnbatchError:
        """The error as it may be printed."""
        known = {} if self.pseudonyms is None else self.pseudonyms.every_name
        return covered_error(error, self.of_path | known, self.code)

    def code(self, kind: str, name: str) -> str:
        """The code of a name; before there is a key, the word for what it names."""
        return f"({kind})" if self.pseudonyms is None else self.pseudonyms.code(kind, name)


@contextlib.contextmanager
def covering(settings: RunSettings) -> Iterator[Cover]:
    """Run a block whose errors are reported without names, where the run is one under pseudonyms.

    An unexpected exception, whose text may hold anything, is named by its class only; its traceback is
    in the run's log.
    """
    if not settings.pseudonymise:
        yield Cover()
        return
    out = settings.out.resolve()
    cover = Cover(names_of_path(str(settings.export), out.parts))
    if "{" in settings.layout:
        cover.of_path[settings.layout] = "LAYOUT"
    try:
        yield cover
    except Interrupted:
        raise
    except MnbatchError as error:
        raise cover.error(error) from None
    except Exception as error:  # noqa: BLE001 - as the net of the command line, but without the text
        storage = as_storage_error(error)
        if storage is not None:
            raise cover.error(storage) from None
        if not cover.logged:
            _log(OutPaths(out), error)
        raise MnbatchError(
            f"internal error: {type(error).__name__}. This is a fault of mnbatch.",
            "The newest log in OUT/runs has the traceback; it may hold names. Please report it.",
        ) from None


def _log(paths: OutPaths, error: Exception) -> None:
    with contextlib.suppress(OSError, MnbatchError):
        paths.runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = RunLog.start(paths)
        log.write("failed", level="error", error=error)
        log.close()
