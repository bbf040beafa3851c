"""Bytes a cell in the files of a stored result, for who only compares sizes: the modules that make them load much."""

from __future__ import annotations

DIGEST_BYTES = 16
"""As `mnbatch.assay.copies.DIGEST_BYTES`; a test compares."""

SPECTRUM_BYTES = 59
THUMBNAIL_BYTES = 64 * 64
"""As in `mnbatch.assay.near_copies`."""
