"""What an OUT belongs to: one export, scored openly or under pseudonyms."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from mnbatch.assay.cells import CellCrop, Slide, UnreadableCell
from mnbatch.assay.fields import FieldReport, InputKind
from mnbatch.errors import MismatchError, StorageError, UsageError
from mnbatch.results.files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths


@dataclass(frozen=True, slots=True)
class Batch:
    """The identity of an OUT.

    Attributes:
        export: absolute path of the export that was scored into it.
        layout: layout the slides were found by.
        pseudonymised: ids and names are codes.
        kind: what the export holds; recognised once, so that a later run reads it in the same way.
    """

    export: str
    layout: str
    pseudonymised: bool
    kind: InputKind = "gallery"


def refuse_out_in_export(export: Path, out: Path) -> None:
    """Outputs under the input would be found as input by the next crawl.

    Raises:
        UsageError: when OUT lies in the export or is the export.
    """
    if out.resolve().is_relative_to(export.resolve()):
        raise UsageError(f"The output {out} lies inside the export {export}.", "Choose an --out outside of it.")


def open_batch(paths: OutPaths, batch: Batch, *, moved: bool) -> None:
    """Bind OUT to `batch`, or check that it is bound to it already.

    Raises:
        MismatchError: OUT belongs to another export, or was made with (without) pseudonyms.
        StorageError: OUT cannot be written.
    """
    with storage_errors(paths.root):
        for folder in (paths.root, paths.slides, paths.runs, paths.annotations):
            folder.mkdir(parents=True, exist_ok=True)
    known = read_batch(paths)
    if known is not None:
        _check_same(known, batch, paths, moved)
    if known != batch:
        known_as = {
            "export": batch.export,
            "layout": batch.layout,
            "pseudonymised": batch.pseudonymised,
            "input": batch.kind,
        }
        write_atomically(paths.batch, json.dumps(known_as, indent=1).encode() + b"\n", durable=True)


def read_batch(paths: OutPaths) -> Batch | None:
    """What OUT belongs to; None for a new one.

    Raises:
        StorageError: when batch.json is torn or not ours.
    """
    try:
        data = json.loads(paths.batch.read_bytes())
        kind = data.get("input", "gallery")
        return Batch(str(data["export"]), str(data["layout"]), bool(data["pseudonymised"]), kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{paths.batch} cannot be understood ({error}).", "Restore it, or choose a new --out."
        ) from error


def _check_same(known: Batch, batch: Batch, paths: OutPaths, moved: bool) -> None:
    if known.export != batch.export and not moved:
        raise MismatchError(
            f"{paths.root} holds the results of the export {known.export}, not of {batch.export}.",
            "Choose another --out; if the same export has only moved, add --export-moved.",
        )
    if known.layout != batch.layout:
        raise MismatchError(
            f"{paths.root} was made with --layout {known.layout}, this run asks for {batch.layout}: "
            "slides would be counted twice.",
            "Use the same layout, or choose another --out.",
        )
    if known.kind != batch.kind:
        raise MismatchError(
            f"{paths.root} was made from {known.kind} input, this run reads the export as {batch.kind}.",
            "Use the same --input, or choose another --out.",
        )
    if known.pseudonymised != batch.pseudonymised:
        raise MismatchError(
            f"{paths.root} was made {'with' if known.pseudonymised else 'without'} --pseudonymise.",
            "Use the same setting, or choose another --out.",
        )


class Pseudonyms:
    """Codes in place of names, from a key that stays in OUT/private.

    Args:
        paths: of OUT; key and mapping are made on first use.
    """

    def __init__(self, paths: OutPaths) -> None:
        self._folder = paths.private
        with storage_errors(paths.private):
            paths.private.mkdir(mode=0o700, exist_ok=True)
            key_file = paths.private / "key"
            if not key_file.exists():
                write_atomically(key_file, secrets.token_hex(32).encode(), durable=True)
                key_file.chmod(0o600)
            self._key = bytes.fromhex(key_file.read_text())
        self.names: dict[str, str] = {}

    def code(self, kind: str, name: str) -> str:
        """The code of a name: `<kind>-` and 10 hex digits; the same name always gets the same code."""
        message = f"{kind}:{name}".encode("utf-8", "surrogateescape")
        code = f"{kind}-{hmac.new(self._key, message, hashlib.sha256).hexdigest()[:10]}"
        self.names[code] = name
        return code

    def slide_code(self, slide_id: str) -> str:
        """The code that stands for a slide_id."""
        return self.code("slide", slide_id)

    def slide(self, slide: Slide) -> Slide:
        """The slide under its code; its files keep their names, which are needed to read them."""
        code = self.slide_code(slide.slide_id)
        donor = None if slide.donor is None else self.code("donor", slide.donor)
        copy_of = None if slide.copy_of is None else self.slide_code(slide.copy_of)
        return replace(slide, slide_id=code, name=code, path=code, donor=donor, copy_of=copy_of, skipped=())

    def coded(self, item: CellCrop | UnreadableCell | FieldReport) -> CellCrop | UnreadableCell | FieldReport:
        """The cell or field under its code."""
        if isinstance(item, FieldReport):
            return replace(item, source=self.code("field", item.source))
        code = self.code("cell" if item.found is None else "field", item.source)
        page = "" if item.page is None else f"#{item.page}"
        mark = "" if item.found is None else item.found.mark
        return replace(item, cell_id=f"{item.slide_id}:{code}{page}{mark}", source=code)

    def save(self) -> None:
        """Write the mapping of codes to names, for the laboratory's own use."""
        path = self._folder / "names.json"
        known = json.loads(path.read_bytes()) if path.exists() else {}
        text = json.dumps(known | self.names, indent=1, sort_keys=True)
        write_atomically(path, text.encode() + b"\n", durable=True)
        path.chmod(0o600)
