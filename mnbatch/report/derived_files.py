"""What is kept with a slide's pages, and the stamps that say whether a derived file still holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from mnbatch import __version__
from mnbatch.assay.calls import Frequency, SlideCall, SlideStatus
from mnbatch.assay.estimates import Estimates
from mnbatch.assay.mn_counts import MnFrequency
from mnbatch.intake import read_bytes, read_json
from mnbatch.report.confirmation import ConfirmedFrequency
from mnbatch.results.checksums import content_checksum, file_checksum
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.review.review_status import SlideReview

REPORT_VERSION = 18
"""Part of every stamp: raised when the same results are to give other pages or tables."""

CHECKSUM = "checksum"
"""Of summary.json, over all of its other fields: reports take numbers from it."""

_STAMP = re.compile(rb'<meta name="mnbatch-stamp" content="([0-9a-f]+)">')
_STAMP_WITHIN = 4096
_REVIEW = TypeAdapter(SlideReview)
_ESTIMATES = TypeAdapter(Estimates)
_CONFIRMED: TypeAdapter[ConfirmedFrequency | None] = TypeAdapter(ConfirmedFrequency | None)


@dataclass(frozen=True, slots=True)
class SlideSummary:
    """The counts of one slide and what they were made from.

    Attributes:
        stamp: digest of everything that the derived files depend on.
        sizes: name -> bytes of the derived files as written; one that was torn, edited or deleted is made
            again.
        checksums: name -> checksum of the same files.
    """

    stamp: str
    status: SlideStatus
    reason: str
    next_step: str
    frequency: Frequency | None
    excluded_cells: int
    flagged_cells: int
    warnings: tuple[str, ...]
    mn: MnFrequency | None
    mn_reason: str
    sizes: dict[str, int]
    review: SlideReview
    estimates: Estimates
    confirmed: ConfirmedFrequency | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    acknowledged: bool = False

    def call(self) -> SlideCall:
        """The call without its cells: all that pooling needs."""
        return SlideCall(
            status=self.status,
            reason=self.reason,
            cells=(),
            frequency=self.frequency,
            excluded_cells=self.excluded_cells,
            flagged_cells=self.flagged_cells,
            warnings=self.warnings,
            mn=self.mn,
            mn_reason=self.mn_reason,
            acknowledged=self.acknowledged,
        )

    @classmethod
    def of(
        cls,
        stamp: str,
        call: SlideCall,
        next_step: str,
        sizes: dict[str, int],
        review: SlideReview,
        estimates: Estimates,
        confirmed: ConfirmedFrequency | None = None,
    ) -> SlideSummary:
        """Summary of a call whose derived files were just written."""
        return cls(
            stamp,
            call.status,
            call.reason,
            next_step,
            call.frequency,
            call.excluded_cells,
            call.flagged_cells,
            call.warnings,
            call.mn,
            call.mn_reason,
            sizes,
            review,
            estimates,
            confirmed,
            acknowledged=call.acknowledged,
        )

    def to_bytes(self) -> bytes:
        """As summary.json holds it."""
        content = json.loads(json.dumps(asdict(self), ensure_ascii=True))
        if not self.acknowledged:
            del content["acknowledged"]
        return (json.dumps(content | {CHECKSUM: content_checksum(content)}, indent=1) + "\n").encode()


def read_summary(path: Path) -> SlideSummary | None:
    """The summary at `path`; None where there is none that this version understands: it is made again."""
    try:
        data = read_json(path, finite=False)
        if data.pop(CHECKSUM, "") != content_checksum(data):
            return None
        frequency = Frequency(**data["frequency"]) if data["frequency"] is not None else None
        if data["mn"] is not None:
            data["mn"] = MnFrequency(**data["mn"] | {"cells": tuple(data["mn"]["cells"])})
        data |= {"frequency": frequency, "warnings": tuple(data["warnings"]), "sizes": dict(data["sizes"])}
        data |= {"review": _REVIEW.validate_python(data["review"])}
        data |= {"estimates": _ESTIMATES.validate_python(data["estimates"])}
        data |= {"confirmed": _CONFIRMED.validate_python(data["confirmed"])}
        return SlideSummary(**data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def digest(*parts: Any) -> str:
    """Stamp (32 hex digits) over JSON values, the program's version and the report's."""
    text = json.dumps([REPORT_VERSION, __version__, *parts], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def files_match(folder: Path, sizes: Mapping[str, int], checksums: Mapping[str, str]) -> bool:
    """Whether all derived files are there with the sizes that they were written with, and tables with their bytes."""
    try:
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
        return whole and all(
            file_checksum(folder / name) == stated for name, stated in checksums.items() if name.endswith(".csv")
        )
    except OSError:
        return False


def page_stamp(path: Path) -> str:
    """The stamp in a page's head; "" where there is no such page."""
    try:
        with path.open("rb") as file:
            found = _STAMP.search(file.read(_STAMP_WITHIN))
    except OSError:
        return ""
    return found[1].decode("ascii") if found else ""


def write_if_changed(path: Path, data: bytes) -> bool:
    """Replace `path` unless it holds these bytes already; says whether it was replaced."""
    try:
        if read_bytes(path) == data:
            return False
    except OSError:
        pass
    write_atomically(path, data)
    return True


def remove_files(folder: Path, names: Sequence[str]) -> None:
    """Remove derived files that no longer belong in `folder`, and the folder if nothing else is in it."""
    with storage_errors(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
