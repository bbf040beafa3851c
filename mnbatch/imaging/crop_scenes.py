"""Crops of one slide that show the same cells in turn: planes or stains in files of their own, whatever their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellCrop, ReadItem
from mnbatch.assay.field_records import InputKind
from mnbatch.assay.near_copies import SIDE, SPECTRUM_BYTES, is_near_copy
from mnbatch.assay.reasons import Named, say
from mnbatch.assay.same_scene_slides import FEWEST_STAINED, SlideCells, same_cells
from mnbatch.errors import SlideError

_SMALL = 16
_EACH = SIDE // _SMALL
_TURNS = (2, 3, 4, 5)
_FEWEST = 3
"""Cells. With fewer, crops in turn may be alike by chance."""

_ALIKE = 0.93
"""Median correlation of crops that would be of one cell. Of simulated cells, focal planes of one reach 0.96, one after
the other 0.85 at most."""

_LOOKED_AT = 50

Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class CropScenes:
    """The crops of a slide as they pass by, in the order of their files."""

    kind: InputKind
    _rows: list[Floats] = field(default_factory=list)
    _spectra: list[bytes] = field(default_factory=list)
    _digests: list[str] = field(default_factory=list)
    _thumbnails: list[bytes] = field(default_factory=list)
    _sources: list[str] = field(default_factory=list)

    def once(self, items: Sequence[ReadItem]) -> Sequence[ReadItem]:
        """The items as they are; pictures are remembered of files with one crop."""
        if self.kind == "crops":
            for item in items:
                if isinstance(item, CellCrop) and item.page is None and item.likeness is not None:
                    self._rows.append(_coarse(item.likeness.thumbnail))
                    self._spectra.append(item.likeness.spectrum)
                    self._digests.append(item.digest)
                    self._thumbnails.append(item.likeness.thumbnail)
                    self._sources.append(item.source)
        return items

    def warnings(self) -> tuple[str, ...]:
        """Nothing; as of fields."""
        return ()

    def trouble(self) -> SlideError | None:
        """Why the slide cannot be counted: its crops show the same cells in turn."""
        count = len(self._rows)
        for turn in _TURNS:
            if count % turn or count < turn * _FEWEST:
                continue
            for step, starts in ((1, range(0, count, turn)), (count // turn, range(count // turn))):
                pairs = [(i, i + step) for i in starts if self._digests[i] != self._digests[i + step]]
                if len(pairs) < max(_FEWEST, count // turn // 2):
                    continue
                if self._alike(pairs) < _ALIKE and not self._of_two_stains(pairs):
                    continue
                if 2 * sum(self._is_copy(*pair) for pair in pairs[:_LOOKED_AT]) < len(pairs[:_LOOKED_AT]):
                    return self._error(pairs[0], turn)
        return None

    def _is_copy(self, one: int, other: int) -> bool:
        """Saved again, with the same noise: counted once by another rule."""
        return is_near_copy(self._thumbnails[one], self._thumbnails[other])

    def _alike(self, pairs: Sequence[tuple[int, int]]) -> float:
        return float(np.median([float(self._rows[i] @ self._rows[j]) for i, j in pairs]))

    def _of_two_stains(self, pairs: Sequence[tuple[int, int]]) -> bool:
        """Whether forms agree pair by pair, as those of two slides that show the same cells."""
        if len(pairs) < FEWEST_STAINED:
            return False
        return bool(same_cells(*(self._as_slide([pair[side] for pair in pairs]) for side in (0, 1))))

    def _as_slide(self, places: Sequence[int]) -> SlideCells:
        rows = np.array([place for place in places if any(self._spectra[place])], np.int64)
        spectra = np.array([np.frombuffer(self._spectra[place], np.uint8) for place in rows.tolist()], np.uint8)
        return SlideCells(rows, spectra.reshape(len(rows), SPECTRUM_BYTES), self._thumbnail)

    def _thumbnail(self, place: int) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self._thumbnails[place], np.uint8).reshape(SIDE, SIDE)

    def _error(self, pair: tuple[int, int], turn: int) -> SlideError:
        file, other = (Named("file", self._sources[i]) for i in pair)
        why = say("same-cells", crops=len(self._rows), turn=turn, file=file, other=other)
        return SlideError(why, say("same-cells-do"))


def _coarse(thumbnail: bytes) -> Floats:
    # Sums of few whole numbers, rows first, so that every step runs over long rows.
    rows = np.frombuffer(thumbnail, np.uint8).reshape(_SMALL, _EACH, SIDE).sum(axis=1, dtype=np.uint16)
    values = (rows.reshape(_SMALL, _SMALL, _EACH).sum(axis=2, dtype=np.uint16) / np.float32(_EACH**2)).ravel()
    values -= values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), np.float32)
