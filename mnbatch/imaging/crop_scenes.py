"""Crops of one slide that show the same cells in turn: planes or stains in files of their own, whatever their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellCrop, ReadItem
from mnbatch.assay.field_records import InputKind
from mnbatch.assay.near_copies import SIDE, Likeness, is_near_copy
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
_AT_ONCE = 256

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


@dataclass(slots=True)
class CropScenes:
    """The crops of a slide as they pass by, in the order of their files; they are compared when all have."""

    kind: InputKind
    _likenesses: list[Likeness] = field(default_factory=list)
    _digests: list[str] = field(default_factory=list)
    _sources: list[str] = field(default_factory=list)

    def once(self, items: Sequence[ReadItem]) -> Sequence[ReadItem]:
        """The items as they are; pictures are remembered of files with one crop."""
        if self.kind == "crops":
            for item in items:
                if isinstance(item, CellCrop) and item.page is None and item.likeness is not None:
                    self._likenesses.append(item.likeness)
                    self._digests.append(item.digest)
                    self._sources.append(item.source)
        return items

    def warnings(self) -> tuple[str, ...]:
        """Nothing; as of fields."""
        return ()

    def trouble(self) -> SlideError | None:
        """Why the slide cannot be counted: its crops show the same cells in turn."""
        count = len(self._sources)
        turns = [turn for turn in _TURNS if count % turn == 0 and count >= turn * _FEWEST]
        if not turns:
            return None
        digests, rows = np.array(self._digests), self._coarse()
        spectra = np.frombuffer(b"".join(one.spectrum for one in self._likenesses), np.uint8).reshape(count, -1)
        for turn in turns:
            for step, starts in ((1, np.arange(0, count, turn)), (count // turn, np.arange(count // turn))):
                first = starts[digests[starts] != digests[starts + step]]
                second = first + step
                if len(first) < max(_FEWEST, count // turn // 2):
                    continue
                alike = float(np.median(np.einsum("ij,ij->i", rows[first], rows[second])))
                if alike < _ALIKE and not self._of_two_stains(spectra, first, second):
                    continue
                looked_at = list(zip(first.tolist(), second.tolist(), strict=True))[:_LOOKED_AT]
                if 2 * sum(self._is_copy(*pair) for pair in looked_at) < len(looked_at):
                    return self._error(looked_at[0], turn)
        return None

    def _is_copy(self, one: int, other: int) -> bool:
        """Saved again, with the same noise: counted once by another rule."""
        return is_near_copy(self._likenesses[one].thumbnail, self._likenesses[other].thumbnail)

    def _of_two_stains(self, spectra: npt.NDArray[np.uint8], first: Places, second: Places) -> bool:
        """Whether forms agree pair by pair, as those of two slides that show the same cells."""
        if len(first) < FEWEST_STAINED:
            return False
        told = [places[spectra[places].any(axis=1)] for places in (first, second)]
        return bool(same_cells(*(SlideCells(places, spectra[places], self._thumbnail) for places in told)))

    def _thumbnail(self, place: int) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self._likenesses[place].thumbnail, np.uint8).reshape(SIDE, SIDE)

    def _error(self, pair: tuple[int, int], turn: int) -> SlideError:
        file, other = (Named("file", self._sources[i]) for i in pair)
        why = say("same-cells", crops=len(self._sources), turn=turn, file=file, other=other)
        return SlideError(why, say("same-cells-do"))

    def _coarse(self) -> Floats:
        """What each crop shows in 16 x 16 means, less their mean, as unit vectors (crops, 256)."""
        count = len(self._likenesses)
        return np.concatenate([self._coarse_of(start) for start in range(0, count, _AT_ONCE)])

    def _coarse_of(self, start: int) -> Floats:
        some = b"".join(one.thumbnail for one in self._likenesses[start : start + _AT_ONCE])
        # Sums of few whole numbers, rows first, and of columns by plain additions: much faster than over short rows.
        rows = np.frombuffer(some, np.uint8).reshape(-1, _SMALL, _EACH, SIDE).sum(axis=2, dtype=np.uint16)
        columns = rows.reshape(-1, _SMALL**2, _EACH)
        sums = sum(columns[..., place] for place in range(1, _EACH)) + columns[..., 0]
        values = np.asarray(sums / np.float32(_EACH**2), np.float32)
        values -= values.mean(axis=1, keepdims=True)
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6), np.float32)
