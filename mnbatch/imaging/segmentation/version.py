"""Version of segmentation: raised when the same field would give other cells."""

SEGMENTATION_VERSION = "2"
