"""Which cells a page shows, and their pictures: crop as scored beside the map that explains the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.calls import CalledCell
from mnbatch.report import heatmap, words
from mnbatch.results.gallery import MAPS, Gallery

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
    pictures: Gallery | None
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
    limit = heatmap.evidence_limit([grid[2] for grid in maps if grid is not None and not np.isnan(grid[2]).any()])
    cards = [_card(candidate, grid, limit) for candidate, grid in zip([*called, *uncertain], maps, strict=True)]
    total = sum(bool(candidate.cell.mn) for candidate in cells)
    return GalleryView(
        called=tuple(cards[: len(called)]),
        uncertain=tuple(cards[len(called) :]),
        called_text=_called_text(len(called), total),
        uncertain_text=f"{words.plural(len(uncertain), 'other cell')}, nearest first; on either side.",
        limit_text=LimitText(f"−{limit:g}", f"+{limit:g}"),
        kinds=tuple(kind for kind in MAP_KINDS if any(map.kind == kind[0] for card in cards for map in card.maps)),
        evidence_stops=_ramp(heatmap.evidence_colours(np.linspace(-1, 1, 17)), 17),
        attention_stops=_ramp(heatmap.attention_colours(np.linspace(0, 1, 9)), 9),
    )


def _called_text(shown: int, total: int) -> str:
    if total == 0:
        return "No cell was called MN."
    if shown == total:
        return f"{'The one cell' if total == 1 else f'All {words.whole(total)} cells'} called MN."
    return f"{words.whole(shown)} of {words.whole(total)} cells called MN; cells.csv has the others."


def _maps(candidate: Candidate) -> npt.NDArray[np.float32] | None:
    return None if candidate.pictures is None else candidate.pictures.cell_maps(candidate.row)


def _card(candidate: Candidate, maps: npt.NDArray[np.float32] | None, limit: float) -> Card:
    jpeg = None if candidate.pictures is None else candidate.pictures.jpeg(candidate.row)
    cell = candidate.cell
    return Card(
        cell_id=cell.cell_id,
        label=words.cell_label(cell.source, cell.page) + (cell.found.mark if cell.found else ""),
        p_mn=candidate.p_mn,
        called=bool(cell.mn),
        qc=cell.qc,
        crop=heatmap.jpeg_uri(jpeg) if jpeg else "",
        maps=_map_pictures(maps, limit) if maps is not None else (),
        slide_name=candidate.slide_name,
        slide_href=candidate.slide_href,
    )


def _map_pictures(maps: npt.NDArray[np.float32], limit: float) -> tuple[MapPicture, ...]:
    """Pictures of the maps that are there: one that is not must not look like one that is empty."""
    found = []
    for kind, grid in zip(MAPS, maps, strict=True):
        if not np.isnan(grid).any():
            uri = heatmap.evidence_png(grid, limit) if kind == "evidence" else heatmap.attention_png(grid)
            found.append(MapPicture(kind, uri))
    return tuple(found)


def _ramp(colours: npt.NDArray[np.uint8], number: int) -> tuple[Stop, ...]:
    return tuple(
        Stop(f"{100 * i / (number - 1):g}%", f"rgb({r} {g} {b})", round(int(a) / 255, 3))
        for i, (r, g, b, a) in enumerate(colours)
    )
