"""What an OUT belongs to: one export, scored openly or under pseudonyms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from mnbatch.assay.field_records import InputKind
from mnbatch.errors import MismatchError, StorageError, UsageError
from mnbatch.files import TEMPORARY_PREFIX
from mnbatch.intake import read_json, reason
from mnbatch.renamed import stored_input
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths


@dataclass(frozen=True, slots=True)
class Batch:
    """The identity of an OUT.

    Attributes:
        export: absolute path of the export that was scored into it; under pseudonyms a code.
        layout: layout the slides were found by; under pseudonyms a code for a pattern.
        pseudonymised: ids and names are codes.
        kind: what the export holds; recognised once, so that a later run reads it in the same way.
    """

    export: str
    layout: str
    pseudonymised: bool
    kind: InputKind = "crops"


_BATCH = TypeAdapter(Batch)


def refuse_out_in_export(export: Path, out: Path) -> None:
    """Outputs under the input would be found as input by the next crawl.

    Raises:
        UsageError: when OUT is in the export or is the export.
    """
    if out.resolve().is_relative_to(export.resolve()):
        raise UsageError(f"The output {out} is inside the export {export}.", "Choose an --out outside of it.")


def open_batch(paths: OutPaths, batch: Batch, *, moved: bool, private: bool = False) -> None:
    """Bind OUT to `batch`, or check that it is bound to it already.

    One that holds neither a slide nor a person's work is bound anew to another layout or kind of input, and where its
    names are open to another export: under pseudonyms it holds a key, and codes of names.

    Args:
        moved: the export may have another path than before.
        private: only the owner may read the logs.

    Raises:
        MismatchError: OUT belongs to another export, or was made with (without) pseudonyms.
        StorageError: OUT cannot be written.
    """
    with storage_errors(paths.root):
        for folder in (paths.root, paths.slides, paths.runs, paths.annotations):
            folder.mkdir(parents=True, exist_ok=True)
        if private:
            paths.runs.chmod(0o700)
    known = read_batch(paths)
    if known is not None:
        used = _is_used(paths)
        _check_same(known, batch, paths, moved=moved or not (used or known.pseudonymised), used=used)
    if known != batch:
        write_batch(paths, batch)


def write_batch(paths: OutPaths, batch: Batch) -> None:
    """Write down what OUT belongs to."""
    known_as = {
        "export": batch.export,
        "layout": batch.layout,
        "pseudonymised": batch.pseudonymised,
        "input": batch.kind,
    }
    write_atomically(paths.batch, json.dumps(known_as, indent=1).encode() + b"\n", durable=True)


def bound_to(paths: OutPaths) -> Batch | None:
    """What OUT belongs to; None also where it holds neither a slide nor a person's work.

    A run that was refused before its first slide must not bind OUT to a layout that nobody wants (see `open_batch`).

    Raises:
        StorageError: as `read_batch`.
    """
    known = read_batch(paths)
    return known if known is not None and _is_used(paths) else None


def _is_used(paths: OutPaths) -> bool:
    with storage_errors(paths.root):
        slides = paths.slides.is_dir() and any(paths.slides.iterdir())
        return slides or (paths.annotations.is_dir() and any(map(_is_work, paths.annotations.iterdir())))


def _is_work(path: Path) -> bool:
    # The checksums are of the other files, and the lock is of the moment.
    return path.name not in ("lock.json", "checksums.json") and not path.name.startswith(TEMPORARY_PREFIX)


def read_batch(paths: OutPaths) -> Batch | None:
    """What OUT belongs to; None for a new one.

    Raises:
        StorageError: when batch.json is torn or not ours.
    """
    try:
        data = read_json(paths.batch)
        if not isinstance(data, dict):
            raise ValueError("it is not a JSON object")
        known = {name: data[name] for name in ("export", "layout", "pseudonymised") if name in data}
        # As JSON: strict about types, and still makes the record of an object.
        return _BATCH.validate_json(json.dumps(known | {"kind": stored_input(data.get("input", "crops"))}), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{paths.batch} cannot be understood: {reason(error)}.", "Restore it, or choose a new --out."
        ) from error


def _check_same(known: Batch, batch: Batch, paths: OutPaths, *, moved: bool, used: bool) -> None:
    if known.pseudonymised != batch.pseudonymised:
        raise MismatchError(
            f"{paths.root} was made {'with' if known.pseudonymised else 'without'} --pseudonymise.",
            "Use the same setting, or choose another --out.",
        )
    if known.export != batch.export and not moved:
        raise MismatchError(
            f"{paths.root} holds the results of the export {known.export}, not of {batch.export}.",
            "Choose another --out; if the same export has only moved, add --export-moved.",
        )
    if used and known.layout != batch.layout:
        raise MismatchError(
            f"{paths.root} was made with --layout {known.layout}, this run asks for {batch.layout}: "
            "slides would be counted twice.",
            "Use the same layout, or choose another --out.",
        )
    if used and known.kind != batch.kind:
        raise MismatchError(
            f"{paths.root} was made from {known.kind} input, this run reads the export as {batch.kind}.",
            "Use the same --input, or choose another --out.",
        )
