"""One picture in two files whose bytes differ (another format, packed anew): known once the cells were decoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mnbatch.errors import TrainingError
from mnbatch.evaluation.cell_scoring import ScoredCells
from mnbatch.evaluation.evaluation_set import LabelledSet

_SHOWN = 3


def repeated_pictures(data: LabelledSet, scored: ScoredCells) -> dict[int, str]:
    """Scored cells with the pixels of an earlier scored one: place to the reason why it is not counted again.

    Raises:
        TrainingError: one picture is labelled with and without micronuclei.
    """
    first: dict[str, int] = {}
    found: dict[int, str] = {}
    contradicting: list[tuple[Path, Path]] = []
    for place in np.flatnonzero(~np.isnan(scored.scores)).tolist():
        other = first.setdefault(scored.digests[place], place)
        if other == place:
            continue
        found[place] = f"it shows the same pixels as {data.files[other]}, which is counted"
        if data.cells[other].has_mn != data.cells[place].has_mn:
            contradicting.append((data.cells[other].path, data.cells[place].path))
    if contradicting:
        raise TrainingError(_contradiction(contradicting), "Decide which label is right and take the other out.")
    return found


def repeated_note(repeated: Mapping[int, str], data: LabelledSet) -> str:
    """What a person should know of pictures that came again; "" where none did."""
    if not repeated:
        return ""
    names = [data.files[place] for place in repeated]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"{len(names)} of {len(data.cells)} cells show the same pixels as another file and are counted once: "
        f"{', '.join(names[:_SHOWN])}{more}."
    )


def _contradiction(pairs: list[tuple[Path, Path]]) -> str:
    shown = "; ".join(f"{first} and {again}" for first, again in pairs[:_SHOWN])
    more = f"; and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return f"The same picture is labelled once with and once without micronuclei: {shown}{more}."
