"""Fields to cells: nuclei found and told apart, paired within their cytoplasm, and every cell given a class.

`segment_field` is the way in; `segment_tile` the same for overlapping tiles,
`segment_from_labels` with another program's labels.
"""

from mnbatch.imaging.segmentation.field import cells_in_core, segment_field, segment_tile
from mnbatch.imaging.segmentation.found import Box, FoundCell, Labels, SegmentedField
from mnbatch.imaging.segmentation.labelled import segment_from_labels
from mnbatch.imaging.segmentation.problems import problem_of_pixels
from mnbatch.imaging.segmentation.settings import SegmentationSettings
from mnbatch.imaging.segmentation.signal import FieldGround, recognise_ground

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
