"""Contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mnbatch.simulate import CellSpec, contact_sheet, draw_slide_appearance, simulate_cell


def test_sheet_holds_every_crop_and_marks_the_truth(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    slide = draw_slide_appearance(rng, "fluorescence")
    cells = [simulate_cell(rng, CellSpec("fluorescence", n_mn=1, bits=16), slide) for _ in range(3)]
    contact_sheet(cells, tmp_path / "plain.png", columns=2, size=100)
    contact_sheet(cells, tmp_path / "marked.png", columns=2, size=100, mark=True)
    plain, marked = (np.asarray(Image.open(tmp_path / name)) for name in ("plain.png", "marked.png"))
    assert plain.shape == (204, 204, 3)
    assert plain[:100, :100].std() > 5
    green = (marked == (0, 220, 0)).all(axis=2)
    assert green[:100, :100].any()
    assert green[104:, :100].any()
    assert not (plain == (0, 220, 0)).all(axis=2).any()
