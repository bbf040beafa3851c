"""Focal planes in files of their own, put together to the one picture of their scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mnbatch.assay.reasons import reason_in, reason_of, say
from mnbatch.imaging.fields.field_images import FieldImage
from mnbatch.imaging.formats.picture_reading import put_together
from mnbatch.imaging.formats.size_limits import UndecodableError


def joined_fields(files: Sequence[Sequence[FieldImage]], which: str | None) -> FieldImage:
    """One field of the files of its planes; one with the problem of the first of them that cannot be used.

    Args:
        files: of each file its fields, which must be one.
        which: `max` for the values that stand out most; else the sharpest plane is taken (mean squared slope of the
            plane, smoothed by a pixel).
    """
    first = files[0][0]
    for images in files:
        if len(images) != 1:
            return replace(first, pixels=None, problem=say("plane-of-many", count=len(images)))
        if images[0].pixels is None:
            why = say("plane-unusable", why=reason_in(images[0].problem))
            return replace(images[0], page=None, problem=why if images[0] is not first else first.problem)
    try:
        stack = [images[0].pixels for images in files if images[0].pixels is not None]
        pixels = put_together(stack, "max" if which == "max" else "sharpest")
    except UndecodableError as error:
        return replace(first, pixels=None, problem=reason_of(error))
    return replace(first, pixels=pixels)
