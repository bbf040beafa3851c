"""Every path in OUT, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PRIVATE = ("private", "runs", "manifest.json", ".forgetting.json", "serve.json")
"""What of OUT may hold real names where the rest of it has codes, or a token; everything else may be shared."""

STAGING_PREFIX = ".staging-"
GENERATION_PREFIX = "g"


def is_private(relative: str) -> bool:
    """Whether a path below OUT may hold names that `--pseudonymise` hides; also what leads out of OUT.

    Told whatever the spelling: a share may know no case, and drop dots and blanks at the end of a name.

    Args:
        relative: with slashes or backslashes.
    """
    parts = [part.casefold().rstrip(" .") for part in relative.replace("\\", "/").split("/") if part != "."]
    return not parts or "" in parts or parts[0] in PRIVATE or ":" in parts[0]


@dataclass(frozen=True, slots=True)
class OutPaths:
    """The layout of an output directory.

    Attributes:
        root: OUT, absolute.
    """

    root: Path

    @property
    def batch(self) -> Path:
        """Which export this OUT belongs to."""
        return self.root / "batch.json"

    @property
    def lock(self) -> Path:
        """Who holds OUT."""
        return self.root / "lock.json"

    @property
    def serve(self) -> Path:
        """Where the review server is found: port, token, and whether a report is due."""
        return self.root / "serve.json"

    @property
    def manifest(self) -> Path:
        """The latest run."""
        return self.root / "manifest.json"

    @property
    def night(self) -> Path:
        """What the latest run did, what failed and what to do, for a person."""
        return self.root / "summary.md"

    @property
    def archived(self) -> Path:
        """That `archive` folded this OUT, and how; absent from others, and after the next run."""
        return self.root / "archive.json"

    @property
    def runs(self) -> Path:
        """One JSON-lines log a run."""
        return self.root / "runs"

    @property
    def false_start(self) -> Path:
        """Why the latest run ended before it could take OUT; absent where it could."""
        return self.runs / "false-start.json"

    @property
    def annotations(self) -> Path:
        """A person's work: sample sheet, reviews, curves."""
        return self.root / "annotations"

    @property
    def annotations_lock(self) -> Path:
        """Who changes annotations; held for a moment."""
        return self.annotations / "lock.json"

    @property
    def journal(self) -> Path:
        """A change of annotations that is true and not yet in its place."""
        return self.annotations / ".journal"

    @property
    def checksums(self) -> Path:
        """What the annotations must hold (see `mnbatch.results.checksums`)."""
        return self.annotations / "checksums.json"

    @property
    def samples(self) -> Path:
        """The sample sheet in force."""
        return self.annotations / "samples.csv"

    @property
    def validation(self) -> Path:
        """The laboratory's own scored cells in force, with their scores."""
        return self.annotations / "validation.csv"

    @property
    def laboratory(self) -> Path:
        """What the laboratory states of itself and its method for reports."""
        return self.annotations / "laboratory.toml"

    @property
    def dosing(self) -> Path:
        """The calibration curve in force, with how doses are read from it."""
        return self.annotations / "dosing.json"

    @property
    def reviews(self) -> Path:
        """A person's decisions on cells: the plan, and one trail a slide that is only ever appended to."""
        return self.annotations / "reviews"

    @property
    def review_plan(self) -> Path:
        """How much a review covers; absent for the default."""
        return self.reviews / "plan.json"

    @property
    def review_lock(self) -> Path:
        """Who writes to the trails."""
        return self.reviews / "lock.json"

    @property
    def signatures(self) -> Path:
        """Every sign-off of a donor's result, one JSON line each; only ever appended to."""
        return self.annotations / "signatures.jsonl"

    @property
    def forgotten(self) -> Path:
        """When how much was removed, one JSON line each, without names; only ever appended to."""
        return self.annotations / "forgotten.jsonl"

    @property
    def forgetting(self) -> Path:
        """What `forget` has begun to remove and not completed yet; seldom there."""
        return self.root / ".forgetting.json"

    @property
    def acknowledged(self) -> Path:
        """What was said of slides that failed for good, one JSON line each; only ever appended to."""
        return self.annotations / "acknowledged.jsonl"

    def review_trail(self, slide_id: str) -> Path:
        """Every decision ever saved on a slide's cells, one JSON line each."""
        return self.reviews / f"{slide_id}.jsonl"

    @property
    def private(self) -> Path:
        """Key and mapping of a pseudonymised batch; not to be shared."""
        return self.root / "private"

    @property
    def index(self) -> Path:
        """The batch page."""
        return self.root / "index.html"

    @property
    def slides_csv(self) -> Path:
        """Table of slides."""
        return self.root / "slides.csv"

    @property
    def donors_csv(self) -> Path:
        """Table of donors."""
        return self.root / "donors.csv"

    @property
    def donors_xlsx(self) -> Path:
        """The same for a spreadsheet, in the order in which people read."""
        return self.root / "donors.xlsx"

    @property
    def report_seal(self) -> Path:
        """Checksums of the tables and pages of the whole batch, as the latest report wrote them."""
        return self.root / "report.json"

    @property
    def plan_notes(self) -> list[Path]:
        """Slides that jobs of `mnbatch score` were given, a file a plan, named by its token; empty once settled."""
        return sorted(self.runs.glob("planned-*.jsonl"))

    @property
    def report_state(self) -> Path:
        """The states of all files when the latest report ended; of this machine alone, and no part of the results."""
        return self.runs / "report-state.json"

    @property
    def compared(self) -> Path:
        """Which slides were compared with each other; no part of the results."""
        return self.runs / "compared-slides.json"

    @property
    def near_cells(self) -> Path:
        """Which cells are the nearest of each other, and were compared; no part of the results."""
        return self.runs / "near-cells.bin"

    @property
    def whole_files(self) -> Path:
        """States of files that were found whole; of this machine alone, and no part of the results."""
        return self.runs / "whole-files.json"

    @property
    def report_rows(self) -> Path:
        """Rows of tables and pages as the latest report made them; no part of the results."""
        return self.runs / "report-rows.json"

    @property
    def slides(self) -> Path:
        """One directory a slide."""
        return self.root / "slides"

    @property
    def donors(self) -> Path:
        """One directory a donor."""
        return self.root / "donors"

    def slide(self, slide_id: str) -> SlidePaths:
        """Paths of one slide."""
        return _slide_paths(self.root, slide_id)


# Reports of thousands of slides ask for each several times, and joining paths takes a tenth of their time.
@lru_cache(maxsize=16_384)
def _slide_paths(root: Path, slide_id: str) -> SlidePaths:
    return SlidePaths(root / "slides" / slide_id)


@dataclass(frozen=True, slots=True)
class SlidePaths:
    """The layout of one slide's directory."""

    root: Path

    @property
    def record(self) -> Path:
        """The commit record."""
        return self.root / "record.json"

    @property
    def lock(self) -> Path:
        """Who holds the OUT that the slide is in."""
        return self.root.parent.parent / "lock.json"

    @property
    def cells_csv(self) -> Path:
        """Derived: one row a cell, as called."""
        return self.root / "cells.csv"

    @property
    def page(self) -> Path:
        """Derived: the slide's page."""
        return self.root / "index.html"

    @property
    def summary(self) -> Path:
        """Derived: the slide's counts and the stamp of what its derived files were made from."""
        return self.root / "summary.json"

    def generation(self, name: str) -> GenerationPaths:
        """Paths of a generation (a committed or a staged one)."""
        return GenerationPaths(self.root / name)


@dataclass(frozen=True, slots=True)
class GenerationPaths:
    """The files of one generation: what the network said."""

    root: Path

    @property
    def scores(self) -> Path:
        """One row a cell."""
        return self.root / "scores.csv"

    @property
    def digests(self) -> Path:
        """16 bytes a cell over its pixels, zeros for an unreadable one."""
        return self.root / "digests.bin"

    @property
    def spectra(self) -> Path:
        """What near copies are found by, of each cell (see `mnbatch.assay.near_copies`); zeros for an unreadable one.

        Absent from results of versions that did not look for them.
        """
        return self.root / "spectra.bin"

    @property
    def thumbnails(self) -> Path:
        """64 x 64 grey pixels a cell, by which near copies are told; zeros for an unreadable one.

        Absent where crops are kept: they are examined instead.
        """
        return self.root / "thumbnails.bin"

    @property
    def crops(self) -> Path:
        """JPEGs of the readable cells, one after the other; their lengths are in scores.csv."""
        return self.root / "crops.bin"

    @property
    def fields(self) -> Path:
        """One row a field (or region of a whole slide); absent for crops."""
        return self.root / "fields.csv"

    @property
    def found(self) -> Path:
        """One row a cell that was found in a field, scored or not; absent for crops."""
        return self.root / "found.csv"

    @property
    def overviews(self) -> Path:
        """Small JPEGs of the fields, one after the other; their lengths are in fields.csv."""
        return self.root / "overviews.bin"

    @property
    def maps(self) -> Path:
        """One fixed-size record a readable cell (see `mnbatch.results.stored_crops`)."""
        return self.root / "maps.bin"
