"""Quality flags: what a person should know of a cell; a flag never excludes it."""

from __future__ import annotations

from dataclasses import dataclass

from mnbatch.assay.cells import Quality

FLAGS: tuple[str, ...] = ("blurred", "weak_stain", "several_cells", "no_nucleus", "saturated")

BORDER_FLAG = "border"
"""Of a cell of a field that reaches the field's edge; only scored with --cells all, in a crop that is filled up."""


@dataclass(frozen=True, slots=True)
class QualityRules:
    """Thresholds of the flags; how often each is raised on real crops stands in docs/layouts.md.

    Attributes:
        version: changes with any threshold or with the way the measures are taken; part of the call key.
        least_sharpness: below it `blurred`. 8 is an edge blurred by 5 % of the nuclear diameter (Gaussian
            sigma, 1 / (8 sqrt(2 pi))), which smears the smallest micronuclei (a sixteenth of it) away.
        least_contrast: below it `weak_stain` (share of the file's full range).
        most_nuclei: above it `several_cells`; a binucleated cell has two, and neighbours that the crop's
            border cuts are not counted.
        least_nucleus_fraction: below it `no_nucleus` (share of the crop).
        most_nucleus_fraction: above it `no_nucleus` too: what was found is the ground.
        most_saturated: above it `saturated` (share of nuclear pixels).
    """

    version: int = 1
    least_sharpness: float = 8.0
    least_contrast: float = 0.18
    most_nuclei: int = 2
    least_nucleus_fraction: float = 0.01
    most_nucleus_fraction: float = 0.8
    most_saturated: float = 0.4


def quality_flags(quality: Quality, rules: QualityRules) -> tuple[str, ...]:
    """Flags of one cell in the order of `FLAGS`; empty for an ordinary cell.

    Without a nucleus there is no outline whose sharpness could be judged, so `blurred` is not raised then.
    """
    has_nucleus = rules.least_nucleus_fraction <= quality.nucleus_fraction <= rules.most_nucleus_fraction
    raised = (
        has_nucleus and quality.sharpness < rules.least_sharpness,
        quality.contrast < rules.least_contrast,
        quality.nuclei > rules.most_nuclei,
        not has_nucleus,
        quality.saturated_fraction > rules.most_saturated,
    )
    return tuple(flag for flag, is_raised in zip(FLAGS, raised, strict=True) if is_raised)
