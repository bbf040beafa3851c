"""Quality flags: what a person should know of a cell; a flag never excludes it."""

from __future__ import annotations

from dataclasses import dataclass

from mnbatch.assay.cells import Quality

FLAGS: tuple[str, ...] = ("blurred", "weak_stain", "several_cells", "no_nucleus", "saturated")


@dataclass(frozen=True, slots=True)
class QualityRules:
    """Thresholds of the flags.

    Attributes:
        version: changes with any threshold or with the way the measures are taken; part of the call key.
        least_sharpness: below it `blurred`.
        least_contrast: below it `weak_stain` (share of the file's full range).
        most_nuclei: above it `several_cells`; a binucleated cell has two.
        least_nucleus_fraction: below it `no_nucleus` (share of the crop).
        most_nucleus_fraction: above it `no_nucleus`: what was found is no nucleus but the ground.
        most_saturated: above it `saturated` (share of nuclear pixels).
    """

    version: int = 1
    least_sharpness: float = 0.001
    least_contrast: float = 0.08
    most_nuclei: int = 2
    least_nucleus_fraction: float = 0.01
    most_nucleus_fraction: float = 0.7
    most_saturated: float = 0.25


def quality_flags(quality: Quality, rules: QualityRules) -> tuple[str, ...]:
    """Flags of one cell in the order of `FLAGS`; empty for an ordinary cell."""
    fraction = quality.nucleus_fraction
    no_nucleus = (
        not quality.nuclei or not rules.least_nucleus_fraction <= fraction <= rules.most_nucleus_fraction
    )
    raised = (
        quality.sharpness < rules.least_sharpness,
        quality.contrast < rules.least_contrast,
        quality.nuclei > rules.most_nuclei,
        no_nucleus,
        quality.saturated_fraction > rules.most_saturated,
    )
    return tuple(flag for flag, is_raised in zip(FLAGS, raised, strict=True) if is_raised)
