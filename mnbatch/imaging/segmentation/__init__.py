"""Fields to cells: nuclei found and told apart, paired within their cytoplasm, and every cell given a class.

`segment_field` is the way in; `segment_tile` the same for overlapping tiles,
`segment_from_labels` with another program's labels.
"""

from mnbatch.imaging.segmentation.field_segmentation import (
    cells_in_core,
    problem_of_pixels,
    segment_field,
    segment_from_labels,
    segment_tile,
)
from mnbatch.imaging.segmentation.segmentation_settings import (
    Box,
    FoundCell,
    Labels,
    SegmentationSettings,
    SegmentedField,
)
from mnbatch.imaging.segmentation.stain_signal import KnownStain, recognise_field_stain

__all__ = [
    "Box",
    "FieldGround",
    "FoundCell",
    "Labels",
    "SegmentationSettings",
    "SegmentedField",
    "cells_in_core",
    "problem_of_pixels",
    "recognise_ground",
    "segment_field",
    "segment_from_labels",
    "segment_tile",
]
