"""The directory of a simulated export: marked as ours, emptied of what an earlier simulation left in it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from mnbatch.errors import UsageError
from mnbatch.files import sweep_folder

MARKER = ".mnbatch-simulated.json"

_OWN_FILE = re.compile(
    r"(D\d+/)?D\d+-\d+/cell_\d+\.(tif|png|jpg)|D\d+_D\d+-\d+_\d+\.(tif|png|jpg)|D\d+-\d+\.tif"
    r"|D\d+/D\d+-\d+/field_\d+(_mask|_cells|_nuclei|_mn)?\.(tif|ome\.tif|png|jpg)"
)


def prepare(out: Path, seed: int, force: bool) -> None:
    """Make `out` ours: mark it, and take away what an earlier simulation left in it.

    Raises:
        UsageError: other things lie in it; with `force` they stay and are written beside.
        OSError: it cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file.", "Name a directory to write into.")
    occupied = out.is_dir() and any(out.iterdir())
    ours = (out / MARKER).is_file()
    if occupied and not ours and not force:
        raise UsageError(f"{out} is not empty and no simulated export.", "Choose a new directory, or --force.")
    foreign = (_clear_export(out / "export") or _clear_export(out / "masks")) if ours else None
    if foreign is not None and not force:
        raise UsageError(
            f"{out} holds files that the simulator did not make, such as {foreign}.",
            "Move them away, choose a new directory, or --force.",
        )
    sweep_folder(out)
    for leftover in out.glob(".pyramid-*") if ours else ():  # of earlier versions
        shutil.rmtree(leftover)
    (out / "export").mkdir(parents=True, exist_ok=True)
    note = {"made_by": "mnbatch simulate", "simulated": True, "seed": seed}
    (out / MARKER).write_text(json.dumps(note) + "\n", encoding="utf-8")


def _clear_export(export: Path) -> str | None:
    """Delete simulated crops of an earlier run; another file found is named, and nothing is deleted then."""
    if not export.is_dir():
        return None
    found = [path for path in sorted(export.rglob("*")) if not path.is_dir() or path.is_symlink()]
    for path in found:
        if not _OWN_FILE.fullmatch(path.relative_to(export).as_posix()):
            return path.relative_to(export).as_posix()
    for path in found:
        path.unlink()
    for folder in sorted((p for p in export.rglob("*") if p.is_dir()), reverse=True):
        folder.rmdir()
    return None
