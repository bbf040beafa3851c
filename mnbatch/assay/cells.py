"""The records that travel along the pipeline: Slide -> ReadTask -> CellCrop -> CellScore."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from mnbatch.assay.field_records import FieldReport, FoundAt, InputKind
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import SlideError

if TYPE_CHECKING:
    from mnbatch.assay.near_copies import Likeness

# The records that travel along the pipeline: Slide -> ReadTask -> CellCrop -> CellScore.
#
# Arrays never travel without the identity of their cell. A cell that cannot be read travels too, as an
# `UnreadableCell`, so that it is counted and never silently missing.


Stain = Literal["fluorescence", "giemsa", "unknown"]
"""Stain and polarity of a crop: bright nuclei on dark background, dark nuclei on light background, or neither."""

KnownStain = Literal["fluorescence", "giemsa"]
"""A stain that a model can serve, or that a person names."""

STAINS: tuple[KnownStain, ...] = ("fluorescence", "giemsa")

UInt8Array = npt.NDArray[np.uint8]

RowText = tuple[str, str, str]
"""What a cell's row in scores.csv holds but its score, as text: its names, what was measured of it, what it shows (see
`mnbatch.results.score_rows`)."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of an export as the crawl saw it.

    Attributes:
        path: relative to the export root, with forward slashes, exactly as the file system spells it.
        size: bytes.
        mtime_ns: modification time, nanoseconds since the epoch.
    """

    path: str
    size: int
    mtime_ns: int

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """By its values: as a frozen record is pickled otherwise, each of a slide's files costs several times that."""
        return SourceFile, (self.path, self.size, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that was found and not taken, and why (`reason` is a short sentence)."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Companion:
    """A file that belongs to another one: the label image of a field, the data files of a whole slide.

    Attributes:
        of: path of the file it belongs to.
        plane: it is another focal plane of that file's scene.
        cytoplasm: it is the cytoplasm channel of that file's scene, or one of its focal planes.
    """

    of: str
    file: SourceFile
    plane: bool = False
    cytoplasm: bool = False


@dataclass(frozen=True, slots=True)
class SceneNames:
    """What the names of a slide's files say of them, where several files show one scene or a well is a slide.

    Attributes:
        by: instrument, or pattern, whose names they are.
        scenes: cells or fields.
        channels, planes, times: in the names, in order; empty or one where the names know no such thing.
        channel, time: of these, what is read; "" where nothing had to be chosen.
        cytoplasm: of the channels, the one by which nuclei are paired; "" where none was asked for.
        well: of the plate; "" where the names have none.
    """

    by: str
    scenes: int
    channels: tuple[str, ...] = ()
    planes: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    channel: str = ""
    time: str = ""
    well: str = ""
    cytoplasm: str = ""

    def described(self) -> str:
        """In words, for a person."""
        parts = [f"well {self.well}"] if self.well else []
        parts.append(f"{self.scenes} scenes")
        for name, values in (("channels", self.channels), ("planes", self.planes), ("times", self.times)):
            if len(values) > 1:
                shown = ", ".join(values[:6]) + (", ..." if len(values) > 6 else "")
                parts.append(f"{len(values)} {name} ({shown})")
        read = [f"channel {self.channel}"] if self.channel else []
        read += [f"channel {self.cytoplasm} for the cytoplasm"] if self.cytoplasm else []
        read += [f"time {self.time}"] if self.time else []
        return f"{' x '.join(parts)} by names ({self.by})" + (f"; read: {', '.join(read)}" if read else "")


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a slide is left to a later run.

    Attributes:
        why: a reason (one sentence without a full stop).
        state: digest over its files as they were seen.
        rests: it is scored once a later run sees the same state, however its files are dated.
    """

    why: str
    state: str
    rests: bool = False


@dataclass(frozen=True, slots=True)
class Slide:
    """One slide of an export, known by its files.

    Attributes:
        slide_id: readable, unique, safe on every file system; stable from run to run.
        name: what the laboratory calls it (folder name, file stem or layout field).
        path: folder or file that holds it, relative to the export root.
        donor: donor code from the path, or None where the layout knows none.
        root: the export root (absolute).
        files: image files in natural order; one or more.
        layout: name of the layout (or the pattern) that found it.
        skipped: what is in the slide's place and was not taken (previews, hidden files, copies).
        copy_of: slide_id of an earlier slide with byte-identical files, else None; a copy is not scored.
        waits: why it is left to a later run (the scanner may still be writing to it); None for a slide that is not.
        unfinished: copies in its place that are not finished by their names.
        kind: whether its files are crops, fields or whole slides.
        companions: files that are no images of cells by themselves and on which its cells depend.
        namesakes: images that differ from one of the files in their extension alone; they are not counted, and fail the
            slide where they show something else.
        um_per_pixel: pixel size that a person gave; None takes what the files say.
        refused: why it is failed unread, and what to do; None for a slide that is read.
        named: what the names of its files say; None where each is a cell or field by itself.
    """

    slide_id: str
    name: str
    path: str
    donor: str | None
    root: Path
    files: tuple[SourceFile, ...]
    layout: str
    skipped: tuple[Skipped, ...] = ()
    copy_of: str | None = None
    waits: Waits | None = None
    unfinished: tuple[SourceFile, ...] = ()
    kind: InputKind = "crops"
    companions: tuple[Companion, ...] = ()
    namesakes: tuple[Companion, ...] = ()
    um_per_pixel: float | None = None
    refused: tuple[str, str] | None = None
    named: SceneNames | None = None

    def within_files(self, options: PageOptions) -> PageOptions:
        """What a person said of pages without what was said of files: a channel that chose files chooses no page."""
        if self.named is None:
            return options
        channel = None if self.named.channel else options.channel
        time = None if self.named.time else options.time
        planes = None if len(self.named.planes) > 1 and (options.planes or "").isdigit() else options.planes
        return replace(options, channel=channel, time=time, planes=planes)

    def beside(self, what: Literal["plane", "cytoplasm"]) -> dict[str, tuple[SourceFile, ...]]:
        """Further files of a scene, by the file of it that is read: other focal planes, or its cytoplasm channel."""
        found: dict[str, tuple[SourceFile, ...]] = {}
        for one in self.companions:
            if one.plane if what == "plane" else one.cytoplasm:
                found[one.of] = (*found.get(one.of, ()), one.file)
        return found

    @property
    def settled(self) -> bool:
        """Whether it can be scored now."""
        return self.waits is None

    @property
    def everything(self) -> tuple[SourceFile, ...]:
        """All files that its result depends on."""
        return (*self.files, *(one.file for one in (*self.companions, *self.namesakes)))


@dataclass(frozen=True, slots=True)
class ReadTask:
    """One unit of decoding: a file, or a run of pages of a multi-page file.

    Attributes:
        pages: page indices, counted from 0; None for the only page of a single-page file.
        hash_file: the reader also hashes the file's bytes (once a file).
        options: what a person said of pages.
        planes: further files that show the same cells in other focal planes.
    """

    slide_id: str
    root: Path
    file: SourceFile
    pages: tuple[int, ...] | None = None
    hash_file: bool = True
    options: PageOptions = NO_OPTIONS
    planes: tuple[SourceFile, ...] = ()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """By its values, as a `SourceFile`."""
        known = (self.slide_id, self.root, self.file, self.pages, self.hash_file, self.options, self.planes)
        return ReadTask, known


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of a crop before it was scored; flags are derived from it by stated rules.

    Attributes:
        sharpness: steepness of the nuclear outline, in contrasts per nuclear diameter (see `imaging.quality`).
        contrast: distance of nucleus and background grey level, 0..1 of the file's full range.
        saturated_fraction: share of nuclear pixels at the file's highest (lowest) value.
        nuclei: number of separate main nuclei that are wholly inside the crop.
        nucleus_fraction: nuclear area / crop area.
    """

    sharpness: float
    contrast: float
    saturated_fraction: float
    nuclei: int
    nucleus_fraction: float


@dataclass(frozen=True, slots=True, eq=False)
class CellCrop:
    """One cell, ready for a network.

    Attributes:
        cell_id: stable identity (see `mnbatch.imaging.identity`).
        source: path of the file relative to the export root.
        page: page of a multi-page file, counted from 0; None otherwise.
        pixels: uint8 RGB, (size, size, 3), padded to square, resized and contrast-adjusted as the model's card says.
        digest: 32 hex digits over the decoded pixels as they are in the file: equal for a copy under another name.
        stain: stain and polarity of this crop alone.
        file_digest: SHA-256 of the file's bytes, or "" when another task of the same file carries it.
        jpeg: the crop as it is kept; b"" where none is.
        zoom: width of the crop in the file / width of the part that `pixels` shows, about the middle.
        found: where it was found in its field; None for a crop that came as a file.
        likeness: what its picture is found by when it comes again with other pixels; None where nobody looks.
        size: (height, width) in the file, pixels; None where nobody looks.
        labels: its values are numbers of objects, no picture.
        colourless: a stained cell without colour (a grey file), for a network that sees stains by their colour.
        row: its row but the score, made where it was read; None where it is still to be made.
    """

    slide_id: str
    cell_id: str
    source: str
    page: int | None
    pixels: UInt8Array
    digest: str
    stain: Stain
    quality: Quality
    file_digest: str = ""
    jpeg: bytes | memoryview = b""
    zoom: float = 1.0
    found: FoundAt | None = None
    likeness: Likeness | None = None
    size: tuple[int, int] | None = None
    labels: bool = False
    colourless: bool = False
    row: RowText | None = None


@dataclass(frozen=True, slots=True)
class UnreadableCell:
    """A cell that could not be read: recorded, counted, out of the denominator.

    Attributes:
        reason: short sentence for the `reason` column.
        transient: an I/O error that a later attempt may not meet.
    """

    slide_id: str
    cell_id: str
    source: str
    page: int | None
    reason: str
    transient: bool = False
    file_digest: str = ""
    found: FoundAt | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CellScore:
    """A scored cell with what is kept of it.

    Attributes:
        p_mn: probability that the cell has a micronucleus, 0..1.
        maps: float32 (3, 13, 13): attention of layer 5, of layer 6 (0..1), and the exact evidence for MN in
            logits; position i is centred at pixel 15 + 16 i of the 224-pixel input. NaN where the model gives no such
            map.
        ratios: P(2 or more MN | 1 or more) and P(3 or more | 2 or more), see `mnbatch.assay.mn_counts`; None from a
            model that answers yes or no.
    """

    crop: CellCrop
    p_mn: float
    maps: npt.NDArray[np.float32]
    ratios: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class SlideEnd:
    """Follows the last cell of a slide through the stream.

    Attributes:
        error: why the slide as a whole cannot be used, or None.
    """

    slide_id: str
    error: SlideError | None = None


@dataclass(frozen=True, slots=True)
class FileDigest:
    """SHA-256 of a companion file; goes no further than the reading."""

    source: str
    file_digest: str


ReadItem = CellCrop | UnreadableCell | FieldReport | FileDigest
StreamItem = CellCrop | UnreadableCell | FieldReport | SlideEnd
ScoredItem = CellScore | UnreadableCell | FieldReport | SlideEnd


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What the store keeps of one cell: everything a call is made from, nothing that a threshold changes.

    Attributes:
        p_mn: probability of at least one micronucleus; None for a cell that could not be read.
        reason: why it could not be read; "" for a scored cell.
        quality: measured before scoring; None for a cell that could not be read.
        ratios: as in `CellScore`; None for a cell that could not be read, too.
        zoom: as in `CellCrop`.
        found: where it was found in its field; None for a crop that came as a file.
        stain: as in `CellCrop`; "unknown", too, for a cell that could not be read.
        crop_px: longer side of the crop in its file, pixels; None where it was not kept.
    """

    cell_id: str
    source: str
    page: int | None
    p_mn: float | None
    reason: str
    quality: Quality | None
    ratios: tuple[float, float] | None = None
    zoom: float = 1.0
    found: FoundAt | None = None
    stain: Stain = "unknown"
    crop_px: int | None = None


# How an evidence map is shown: one definition for the pages and for the figures about it.


def spread(evidence: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Evidence (..., H, W) spread by one grid step (3 x 3 binomial kernel, mirrored edges); its sum is unchanged.

    Evidence is credited to single positions, but a receptive field is several grid steps wide: what is seen at a
    position is somewhere round it. Spread by one step, the strongest point of the map is more often on the
    micronucleus (docs/models.md has the figures).
    """
    edges = [(0, 0)] * (evidence.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(evidence.astype(np.float64), edges, mode="symmetric")
    rows = (padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]) / 4
    spread_both: npt.NDArray[np.float64] = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    return spread_both
