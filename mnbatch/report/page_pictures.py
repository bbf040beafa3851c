"""Which cells a page or contact sheet shows, and their pictures: crop as scored, map that explains the score."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mnbatch.assay.calls import CalledCell
from mnbatch.assay.cells import spread
from mnbatch.report import wording
from mnbatch.report.derived_files import write_if_changed
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store
from mnbatch.results.stored_crops import MAPS, StoredCrops

# Maps of 13 x 13 positions as tiny PNGs that a page stretches over exactly the right part of the crop.
#
# Position i is centred at pixel 15 + 16 i of the 224-pixel input, so 13 positions of 16 pixels cover the box
# [7, 215): drawn there, each value is at the centre of its receptive field. The browser interpolates
# between positions.


INPUT_SIZE = 224
BOX_START = 7
BOX_SIZE = 208
"""The maps' place on the crop, pixels of the network's input."""

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

FOR_MN = ((255, 196, 61), (230, 57, 24))
AGAINST_MN = ((120, 180, 255), (28, 86, 200))
ATTENTION = ((94, 234, 212), (13, 148, 136))
"""Colours at no and at full magnitude; opacity grows with magnitude too."""

MAX_OPACITY = 0.66

ZOOM = 4
LEVELS = 65
"""Colours of a map; odd, so that no evidence is exactly clear."""


def evidence_limit(grids: list[FloatArray]) -> float:
    """Full colour of one page, logits a position: near the cells' highest peaks, two significant digits.

    One scale for a page, so that its cells can be compared with each other.
    """
    return limit_of_peaks(np.array([float(np.abs(spread(grid)).max()) for grid in grids]))


def limit_of_peaks(peaks: npt.NDArray[np.floating]) -> float:
    """As `evidence_limit`, from the largest absolute value of each cell's spread map."""
    # One outlier does not pale the others, and the one MN among a few cells is no mere outlier.
    limit = max(float(np.percentile(peaks, 95)), float(peaks.max()) / 2) if len(peaks) else 1.0
    return float(f"{limit:.2g}") or 1.0


def evidence_png(grid: FloatArray, limit: float) -> str:
    """Evidence (13, 13), logits, as a data URI: amber to red for MN, blue against, clear at 0."""
    return _png(spread(grid) / limit, evidence_colours(np.linspace(-1, 1, LEVELS)), -1.0)


def attention_png(grid: FloatArray) -> str:
    """Attention (13, 13) in 0..1 as a data URI: clear at 0, deep teal at 1."""
    return _png(grid.astype(np.float64), attention_colours(np.linspace(0, 1, LEVELS)), 0.0)


def evidence_colours(values: npt.NDArray[np.float64]) -> ByteArray:
    """RGBA of evidence relative to the page's limit; beyond -1..1 the colour stays."""
    colours: ByteArray = np.where((values > 0)[..., None], _blend(values, FOR_MN), _blend(-values, AGAINST_MN))
    return colours


def attention_colours(values: npt.NDArray[np.float64]) -> ByteArray:
    """RGBA of attention, 0..1."""
    return _blend(values, ATTENTION)


def jpeg_uri(data: bytes) -> str:
    """A crop as stored, as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _blend(magnitude: npt.NDArray[np.float64], colours: tuple[tuple[int, ...], ...]) -> ByteArray:
    weight = np.clip(magnitude, 0.0, 1.0)[..., None]
    low, high = (np.array(colour, dtype=float) for colour in colours)
    rgb = low + (high - low) * weight
    alpha = 255 * MAX_OPACITY * weight**1.2
    rgba: ByteArray = np.rint(np.concatenate([rgb, alpha], axis=-1)).astype(np.uint8)
    return rgba


def enlarged(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each position as `ZOOM` x `ZOOM` points, bilinear between the positions' centres, flat beyond the
    outer ones.

    The grid still fills the same box. Browsers smooth an enlarged image on the screen, but not all do in
    print.
    """
    size = len(values)
    centres = np.clip((np.arange(size * ZOOM) + 0.5) / ZOOM - 0.5, 0, size - 1)
    low = np.minimum(centres.astype(int), size - 2)
    share = centres - low
    rows = values[low] * (1 - share)[:, None] + values[low + 1] * share[:, None]
    enlarged_: npt.NDArray[np.float64] = rows[:, low] * (1 - share) + rows[:, low + 1] * share
    return enlarged_


def _png(values: npt.NDArray[np.float64], colours: ByteArray, lowest: float) -> str:
    """`values` between `lowest` and 1 as a palette image of `colours` (LEVELS, 4)."""
    relative = (np.clip(enlarged(values), lowest, 1.0) - lowest) / (1.0 - lowest)
    image = Image.fromarray(np.rint(relative * (LEVELS - 1)).astype(np.uint8), mode="P")
    image.putpalette(colours[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=colours[:, 3].tobytes(), optimize=False, compress_level=9)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


# Which cells a page shows, and their pictures: crop as scored and the map that explains the score.


MAP_KINDS = (("evidence", "Evidence"), ("attention5", "Attention 5"), ("attention6", "Attention 6"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A counted cell of a slide whose pictures may be shown.

    Attributes:
        row: its row in the slide's generation.
        pictures: the slide's crops and maps; None where none were kept.
        threshold: the slide's, of which "uncertain" is the distance.
        slide_name, slide_href: empty on the slide's own page.
    """

    cell: CalledCell
    row: int
    pictures: StoredCrops | None
    threshold: float
    slide_name: str = ""
    slide_href: str = ""

    @property
    def p_mn(self) -> float:
        """Score of the cell; a candidate is counted, so it has one."""
        return self.cell.p_mn if self.cell.p_mn is not None else 0.0


@dataclass(frozen=True, slots=True)
class MapPicture:
    """One map as a data URI; `kind` is its name in `MAP_KINDS`."""

    kind: str
    uri: str


@dataclass(frozen=True, slots=True)
class Card:
    """One cell as a page shows it; `maps` are those that its model gives, which may be none."""

    cell_id: str
    label: str
    p_mn: float
    called: bool
    qc: tuple[str, ...]
    crop: str
    maps: tuple[MapPicture, ...]
    slide_name: str
    slide_href: str


@dataclass(frozen=True, slots=True)
class Stop:
    """One colour stop of a legend's ramp."""

    offset: str
    colour: str
    opacity: float


@dataclass(frozen=True, slots=True)
class LimitText:
    """The ends of the evidence scale as text."""

    negative: str
    positive: str


@dataclass(frozen=True, slots=True)
class GalleryView:
    """The gallery of a slide's or donor's page; `kinds` are the maps that some cell of the page has."""

    called: tuple[Card, ...]
    uncertain: tuple[Card, ...]
    called_text: str
    uncertain_text: str
    limit_text: LimitText
    kinds: tuple[tuple[str, str], ...]
    evidence_stops: tuple[Stop, ...] = ()
    attention_stops: tuple[Stop, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether there is any cell to show."""
        return bool(self.called or self.uncertain)


def choose(cells: Sequence[Candidate], number: int) -> tuple[list[Candidate], list[Candidate]]:
    """The `number` highest cells that are called MN, and the `number` nearest to the threshold among the
    rest.

    Ties keep the order of the cells, so that a page is the same each time it is made.
    """
    order = range(len(cells))
    called = sorted((i for i in order if cells[i].cell.mn), key=lambda i: (-cells[i].p_mn, i))[:number]
    rest = set(order) - set(called)
    nearest = sorted(rest, key=lambda i: (abs(cells[i].p_mn - cells[i].threshold), i))[:number]
    return [cells[i] for i in called], [cells[i] for i in nearest]


def gallery_view(cells: Sequence[Candidate], number: int) -> GalleryView | None:
    """Draw the gallery of a page; None where none is wanted (`number` 0) or no cell was counted."""
    if number == 0 or not cells:
        return None
    called, uncertain = choose(cells, number)
    maps = [_maps(candidate) for candidate in [*called, *uncertain]]
    limit = evidence_limit([grid[2] for grid in maps if grid is not None and not np.isnan(grid[2]).any()])
    cards = [_card(candidate, grid, limit) for candidate, grid in zip([*called, *uncertain], maps, strict=True)]
    total = sum(bool(candidate.cell.mn) for candidate in cells)
    return GalleryView(
        called=tuple(cards[: len(called)]),
        uncertain=tuple(cards[len(called) :]),
        called_text=_called_text(len(called), total),
        uncertain_text=f"{wording.plural(len(uncertain), 'other cell')}, nearest first; on either side.",
        limit_text=LimitText(f"−{limit:g}", f"+{limit:g}"),
        kinds=tuple(kind for kind in MAP_KINDS if any(map.kind == kind[0] for card in cards for map in card.maps)),
        evidence_stops=_ramp(evidence_colours(np.linspace(-1, 1, 17)), 17),
        attention_stops=_ramp(attention_colours(np.linspace(0, 1, 9)), 9),
    )


def _called_text(shown: int, total: int) -> str:
    if total == 0:
        return "No cell was called MN."
    if shown == total:
        return f"{'The one cell' if total == 1 else f'All {wording.whole(total)} cells'} called MN."
    return f"{wording.whole(shown)} of {wording.whole(total)} cells called MN; cells.csv has the others."


def _maps(candidate: Candidate) -> npt.NDArray[np.float32] | None:
    return None if candidate.pictures is None else candidate.pictures.cell_maps(candidate.row)


def _card(candidate: Candidate, maps: npt.NDArray[np.float32] | None, limit: float) -> Card:
    jpeg = None if candidate.pictures is None else candidate.pictures.jpeg(candidate.row)
    cell = candidate.cell
    return Card(
        cell_id=cell.cell_id,
        label=wording.cell_label(cell.source, cell.page) + (cell.found.mark if cell.found else ""),
        p_mn=candidate.p_mn,
        called=bool(cell.mn),
        qc=cell.qc,
        crop=jpeg_uri(jpeg) if jpeg else "",
        maps=_map_pictures(maps, limit) if maps is not None else (),
        slide_name=candidate.slide_name,
        slide_href=candidate.slide_href,
    )


def _map_pictures(maps: npt.NDArray[np.float32], limit: float) -> tuple[MapPicture, ...]:
    """Pictures of the maps that are there: a missing map must not look like an empty one."""
    found = []
    for kind, grid in zip(MAPS, maps, strict=True):
        if not np.isnan(grid).any():
            uri = evidence_png(grid, limit) if kind == "evidence" else attention_png(grid)
            found.append(MapPicture(kind, uri))
    return tuple(found)


def _ramp(colours: npt.NDArray[np.uint8], number: int) -> tuple[Stop, ...]:
    return tuple(
        Stop(f"{100 * i / (number - 1):g}%", f"rgb({r} {g} {b})", round(int(a) / 255, 3))
        for i, (r, g, b, a) in enumerate(colours)
    )


# Contact sheets: the most relevant cells of a slide as one PNG, for slides and talks.


NAME = "contact-sheet.png"
COLUMNS = 8
SIDE = 168
CAPTION = 18
EDGE = 6
PAPER, INK, CALLED = "#ffffff", "#1a1f24", "#0b6b6b"


def contact_sheet(cells: Sequence[Candidate], number: int, title: str) -> bytes | None:
    """Up to `number` cells called MN, highest score first, then the `number` nearest to the threshold, as a PNG.

    The title says slide and cells; below each crop are its score and its call.

    Returns:
        None where no cell has a picture.
    """
    called, nearest = choose(cells, number)
    shown = [(cell, jpeg) for cell in [*called, *nearest] if (jpeg := _jpeg(cell)) is not None]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    pitch = SIDE + EDGE
    sheet = Image.new("RGB", (COLUMNS * pitch + EDGE, rows * (pitch + CAPTION) + CAPTION + 3 * EDGE), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text(
        (EDGE, EDGE), _latin(f"{title}: {len(called)} called MN, {len(nearest)} nearest to the threshold"), fill=INK
    )
    for place, (cell, jpeg) in enumerate(shown):
        x = EDGE + place % COLUMNS * pitch
        y = CAPTION + 2 * EDGE + place // COLUMNS * (pitch + CAPTION)
        sheet.paste(Image.open(io.BytesIO(jpeg)).convert("RGB").resize((SIDE, SIDE)), (x, y))
        text = f"{wording.probability(cell.p_mn)} {'called MN' if cell.cell.mn else 'not called'}"
        pen.text((x, y + SIDE + 2), text, fill=CALLED if cell.cell.mn else INK)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_contact_sheets(store: Store, number: int) -> list[Path]:
    """`contact-sheet.png` next to each slide's page, of slides that are counted and keep pictures.

    Raises:
        StorageError: a file cannot be written, or a slide's stored result is damaged.
    """
    roster, written = open_roster(store), []
    for record in roster.records:
        call, _ = roster.call(record, pictures=True)
        if call.frequency is None or record.call is None:
            continue
        pictures = store.crops(record)
        cells = [
            Candidate(cell, row, pictures, record.call.threshold)
            for row, cell in enumerate(call.cells)
            if cell.mn is not None
        ]
        sheet = contact_sheet(cells, number, record.name)
        if sheet is not None:
            path = store.paths.slide(record.slide_id).root / NAME
            write_if_changed(path, sheet)
            written.append(path)
    return written


def _jpeg(cell: Candidate) -> bytes | None:
    return None if cell.pictures is None else cell.pictures.jpeg(cell.row)


def _latin(text: str) -> str:
    """What the built-in font can draw; other letters are spelled out."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")
