"""Slides with simulated cells and made-up scores, for what is measured of pages and of the review without a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellCrop, CellScore, Quality
from mnbatch.results.records import CallStamp, ModelStamp, Scoring, SlideRecord
from mnbatch.results.store import Store
from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.slide_appearance import SlideAppearance, draw_slide_appearance

QUALITY = Quality(sharpness=1e6, contrast=0.4, saturated_fraction=0.0, nuclei=2, nucleus_fraction=0.2)
PICTURES = 60
"""Different pictures of a slide; the cells take them in turn, since drawing takes longer than all that is measured."""


def record(slide_id: str, donor: str, threshold: float = 0.5) -> SlideRecord:
    """A record as a run would leave it."""
    return SlideRecord(
        slide_id=slide_id,
        name=slide_id,
        path=f"{donor}/{slide_id}",
        donor=donor,
        layout="donor-slide-folders",
        status="scored",
        stat_key="simulated",
        score_key="simulated",
        stain="fluorescence",
        model=ModelStamp(name="simulated", version="1", digest="0" * 64, architecture="none"),
        call=CallStamp(key="simulated", threshold=threshold, max_bad_fraction=0.1, quality_rules=1),
        scored=Scoring(
            device="none",
            precision="none",
            minibatch=1,
            mnbatch="0",
            torch="0",
            started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:00:00+00:00",
            seconds=0.0,
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A crop, uint8 (224, 224, 3), and where on its map a network would see something (row, column of 13 x 13)."""

    pixels: npt.NDArray[np.uint8]
    at: tuple[int, int]


def pictures(stain: str, seed: int) -> dict[bool, list[Picture]]:
    """Crops of 224 px with and without micronuclei."""
    rng = np.random.default_rng(seed)
    slide_stain = draw_slide_appearance(rng, stain)
    return {
        has: [_picture(rng, CellSpec(stain=stain, n_mn=int(has), size=224), slide_stain) for _ in range(n)]
        for has, n in ((True, PICTURES // 3), (False, PICTURES))
    }


def _picture(rng: np.random.Generator, spec: CellSpec, slide_stain: SlideAppearance) -> Picture:
    """Its map points to the micronucleus; without one to any place on the cell, as false calls do."""
    cell = simulate_cell(rng, spec, slide_stain)
    if cell.micronuclei:
        y, x = cell.micronuclei[0].y, cell.micronuclei[0].x
    else:
        y, x = rng.choice(np.argwhere(cell.cell_mask))
    row, column = (int(np.clip(round(13 * value / 224), 1, 12)) for value in (y, x))
    return Picture(as_rgb(cell.image), (row, column))


def as_rgb(image: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """An image as the preparation hands it on: uint8 RGB, stretched to the full range."""
    pixels = image.astype(np.float64)
    low, high = np.percentile(pixels, (0.5, 99.8))
    scaled = np.clip((pixels - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    return scaled if scaled.ndim == 3 else np.repeat(scaled[..., None], 3, axis=2)


def add_slide(
    store: Store,
    slide_id: str,
    donor: str,
    scores: npt.NDArray[np.float64],
    truth: npt.NDArray[np.bool_],
    drawn: dict[bool, list[Picture]],
) -> None:
    """Commit a slide whose cell i has scores[i] and a picture with or without a micronucleus as truth[i] says."""
    rng = np.random.default_rng(len(scores))
    with store.writer(slide_id, keep_crops=True) as writer:
        for i, (p, has) in enumerate(zip(scores, truth, strict=True)):
            source = f"{donor}/{slide_id}/cell_{i:05d}.tif"
            picture = drawn[bool(has)][i % len(drawn[bool(has)])]
            pixels, (row, column) = picture.pixels, picture.at
            maps = np.abs(rng.normal(0, 0.05, (3, 13, 13))).astype(np.float32)
            maps[:, row - 1 : row + 1, column - 1 : column + 1] += np.float32(p)
            digest = f"{abs(hash((slide_id, i))):032x}"[-32:]
            crop = CellCrop(slide_id, f"{slide_id}:{source}", source, None, pixels, digest, "fluorescence", QUALITY)
            writer.add(CellScore(crop, float(p), maps))
        writer.commit(record(slide_id, donor))


def scores_of(truth: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Scores of a classifier that finds about 0.9 of the MNBN cells, with 2 to 3 false positives in 100."""
    logits = np.where(truth, rng.normal(2.6, 2.0, len(truth)), rng.normal(-4.4, 2.2, len(truth)))
    scores: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits))
    return scores
