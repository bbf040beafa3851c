"""Codes in place of the names of an export, and the net under them.

The design is that reasons are data (`mnbatch.assay.reasons`): names in them say that they are names, and are coded.
Under it there is a net: before a text leaves the run, the real names of its slide and file are looked for in it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mnbatch.assay.cells import CellCrop, Slide, UnreadableCell
from mnbatch.assay.field_records import FieldReport, InputKind
from mnbatch.assay.reasons import TEXTS, Coder, Reason, shareable
from mnbatch.assay.sample_sheet import DATES, SampleRow
from mnbatch.errors import MnbatchError, SlideError, StorageError
from mnbatch.intake import parse_json, read_bytes, read_text, reason
from mnbatch.results.batch import Batch
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths

SOURCE_KINDS: dict[InputKind, str] = {"crops": "cell", "fields": "field", "wsi": "field"}
"""What a file is called in the column `source`."""

KEY_BYTES = 32

EXPORT = "EXPORT"
"""Text in messages in place of the export's path."""

_SHORTEST = 4
"""Letters. A shorter name, such as `A1`, is part of too many words and numbers to be looked for in a text."""

_EXPORT_CODE = re.compile(r"export-[0-9a-f]{10}")
_WORD = re.compile(r"[^\W_]+")
_OWN_WORDS = frozenset(word.casefold() for text in TEXTS.values() for word in _WORD.findall(text))
"""Words of our own sentences say nothing of the export, even where a folder has that name."""


class Pseudonyms:
    """Codes in place of names, from a key that stays in OUT/private.

    Args:
        paths: of OUT; key and mapping are made on first use.

    Attributes:
        names: code -> name, of all codes that were given.
        tell: is told the code of a slide or file and the whole text of a reason that is shared in part; for the log.

    Raises:
        StorageError: the key is gone from an OUT that has results under it: other codes would count every slide twice.
    """

    def __init__(self, paths: OutPaths) -> None:
        self._folder = paths.private
        with storage_errors(paths.private):
            paths.private.mkdir(mode=0o700, exist_ok=True)
            paths.private.chmod(0o700)
            key_file = paths.private / "key"
            if not key_file.exists():
                _refuse_without_key(paths)
                write_atomically(key_file, secrets.token_hex(KEY_BYTES).encode(), durable=True, private=True)
            self._key = _key_in(key_file)
        self.names: dict[str, str] = {}
        self.tell: Callable[[str, str], None] = _ignore
        self._of_slide: dict[str, dict[str, str]] = {}
        self._saved = 0

    def code(self, kind: str, name: str) -> str:
        """The code of a name: `<kind>-` and 10 hex digits; the same name always gets the same code, a code itself."""
        if name in self.names:
            return name
        message = f"{kind}:{name}".encode("utf-8", "surrogateescape")
        code = f"{kind}-{hmac.new(self._key, message, hashlib.sha256).hexdigest()[:10]}"
        self.names[code] = name
        return code

    def slide_code(self, slide_id: str) -> str:
        """The code that replaces a slide_id."""
        return self.code("slide", slide_id)

    def slide(self, slide: Slide) -> Slide:
        """The slide under its code; its files keep their names, which are needed to read them."""
        code = self.slide_code(slide.slide_id)
        donor = None if slide.donor is None else self.code("donor", slide.donor)
        copy_of = None if slide.copy_of is None else self.slide_code(slide.copy_of)
        self._of_slide[code] = self._names_of(slide, code, donor)
        return replace(
            slide,
            slide_id=code,
            name=code,
            path=code,
            donor=donor,
            copy_of=copy_of,
            layout=self.layout(slide.layout),
            skipped=(),
        )

    def layout(self, layout: str) -> str:
        """A preset by its name; a pattern, which may spell out folders of the export, as a code."""
        return self.code("layout", layout) if "{" in layout else layout

    def batch(self, batch: Batch) -> Batch:
        """What OUT belongs to, without the path of the export; unchanged where that is a code already."""
        export = batch.export if _EXPORT_CODE.fullmatch(batch.export) else self.code("export", batch.export)
        return replace(batch, export=export, layout=self.layout(batch.layout))

    def coded(self, item: CellCrop | UnreadableCell | FieldReport) -> CellCrop | UnreadableCell | FieldReport:
        """The cell or field under its code, with a reason that holds no name."""
        if isinstance(item, FieldReport):
            problem, emptiness = self._text(item, item.problem), self._text(item, item.emptiness)
            return replace(item, source=self.code("field", item.source), problem=problem, emptiness=emptiness)
        code = self.code("cell" if item.found is None else "field", item.source)
        page = "" if item.page is None else f"#{item.page}"
        mark = "" if item.found is None else item.found.mark
        identity = f"{item.slide_id}:{code}{page}{mark}"
        if isinstance(item, UnreadableCell):
            return replace(item, cell_id=identity, source=code, reason=self._text(item, item.reason))
        # Its row holds its name.
        return replace(item, cell_id=identity, source=code, row=None)

    def failure(self, slide: Slide, error: SlideError) -> SlideError:
        """The message on a slide that failed, without names; the log has the error itself."""
        names, kind = dict(self._of_slide.get(slide.slide_id, {})), SOURCE_KINDS[slide.kind]
        for file in slide.everything:
            names |= self._names_of_file(file.path, self.code(kind, file.path))
        message, advice = (self._said(slide.slide_id, kind, text, names) for text in (error.message, error.next_step))
        return SlideError(message, advice, transient=error.transient)

    def sample(self, slide_id: str, row: SampleRow) -> SampleRow:
        """A line of the sample sheet as OUT keeps it: without the note and other free text, which may hold any name."""
        names = self._of_slide.get(self.slide_code(slide_id), {})
        days = {name: text for name, text in row.details.items() if name in DATES}
        return replace(row, note="", culture=covered(row.culture, names), details=days)

    def save(self) -> None:
        """Write the mapping of codes to names, for the laboratory's own use."""
        path = self._folder / "names.json"
        known = _mapping_in(path)
        text = json.dumps(known | self.names, indent=1, sort_keys=True)
        write_atomically(path, text.encode() + b"\n", durable=True, private=True)
        self._saved = len(self.names)

    def keep(self) -> None:
        """Write the mapping where it has grown by a quarter since it was written: a kill loses little of it."""
        if len(self.names) > 1.25 * self._saved:
            self.save()

    @property
    def every_name(self) -> dict[str, str]:
        """Real name -> code, of all slides that were seen."""
        return {name: code for names in self._of_slide.values() for name, code in names.items()}

    def _text(self, item: UnreadableCell | FieldReport, reason: str) -> str:
        if not reason:
            return ""
        kind = "cell" if isinstance(item, UnreadableCell) and item.found is None else "field"
        code = self.code(kind, item.source)
        names = self._of_slide.get(item.slide_id, {}) | self._names_of_file(item.source, code)
        return self._said(code, kind, reason, names)

    def _said(self, of: str, source: str, text: str, names: Mapping[str, str]) -> str:
        """A reason without names; a file that it names has the code of the column `source`, whose kind is given."""
        said = covered(shareable(text, lambda kind, name: self.code(source if kind == "file" else kind, name)), names)
        if said != text:
            self.tell(of, text)
        return said

    def _names_of(self, slide: Slide, code: str, donor: str | None) -> dict[str, str]:
        folders = {part: self.code("folder", part) for part in PurePosixPath(slide.path).parts}
        own = {slide.slide_id: code, slide.name: code, slide.path: code}
        return folders | ({slide.donor: donor} if slide.donor and donor else {}) | own

    def _names_of_file(self, path: str, code: str) -> dict[str, str]:
        name = PurePosixPath(path)
        return dict.fromkeys((path, name.name, name.stem), code)


def covered(text: str, names: Mapping[str, str]) -> str:
    """A text with codes in place of the names that are in it; longer names are looked for first."""
    for name in sorted(names, key=len, reverse=True):
        if name in text and len(name) >= _SHORTEST and name.casefold() not in _OWN_WORDS:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda _, code=names[name]: code, text)  # type: ignore[misc]
    return text


def covered_error(error: MnbatchError, names: Mapping[str, str], coder: Coder) -> MnbatchError:
    """An error that ends a run as it may be printed: of the same kind, without names of the export."""
    texts = (t.coded(coder) if isinstance(t, Reason) else t for t in (error.message, error.next_step))
    message, advice = (covered(text, names) for text in texts)
    made = type(error).__new__(type(error))
    MnbatchError.__init__(made, message, advice)
    return made


def names_of_path(export: str, but_not: Iterable[str]) -> dict[str, str]:
    """The export's path, and its folders that are not on the way to OUT too, each with the word that replaces it."""
    shared = set(but_not)
    parts = {part for part in os.path.abspath(export).split(os.sep) if part and part not in shared}
    return dict.fromkeys((*parts, export, os.path.abspath(export), os.path.realpath(export)), EXPORT)


def _key_in(path: Path) -> bytes:
    try:
        key = bytes.fromhex(read_text(path))
    except ValueError as error:
        raise _damaged(path) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(key) != KEY_BYTES:
        raise _damaged(path)
    return key


def _damaged(path: Path) -> StorageError:
    return StorageError(f"{path} is damaged: it is not a key.", "Put it back from a copy, or choose a new --out.")


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be read: {reason(error)}.", "Put it back from a copy, or correct its permissions."
    )


def _mapping_in(path: Path) -> dict[str, str]:
    """The mapping so far; one that cannot be read is kept under another name, and a new one is begun."""
    try:
        known = parse_json(read_bytes(path))
        if isinstance(known, dict) and all(isinstance(name, str) for name in known.values()):
            return known
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError:
        pass
    with storage_errors(path):
        path.replace(path.with_name("names.damaged.json"))
    return {}


def _ignore(of: str, text: str) -> None:
    """Nobody keeps the whole texts."""


def _refuse_without_key(paths: OutPaths) -> None:
    if paths.slides.is_dir() and any(os.scandir(paths.slides)):
        raise StorageError(
            f"{paths.private / 'key'} is missing, so the codes of {paths.root} cannot be made again.",
            "Put the folder private/ of this OUT back, or choose a new --out.",
        )
