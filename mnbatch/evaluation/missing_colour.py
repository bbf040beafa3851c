"""A word on stained cells without colour (grey files), for a network that tells stains apart by their colour."""

from __future__ import annotations

from collections.abc import Sequence

from mnbatch.assay.cells import UInt8Array
from mnbatch.assay.reasons import say
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.stain_channels import colourless
from mnbatch.imaging.stain_recognition import background_of, thinned


def evaluation_colour_note(missing: int, cells: int) -> str:
    """What a run says of cells without the colour that its model needs; "" where all have it."""
    return f"{say('colourless', colourless=missing, cells=cells)}." if missing else ""


def training_colour_note(crops: Sequence[UInt8Array], preparation: Preparation) -> str:
    """What the reader of a card should know of training and validation cells without colour.

    Args:
        crops: prepared as `preparation` says, (size, size, 3) each.

    Returns:
        "" where no cell lacks colour, and for a network that is not given stains by their colour.
    """
    if preparation.polarity != "stains":
        return ""
    missing = sum(colourless(crop, background_of(thinned(crop))) for crop in crops)
    if not missing:
        return ""
    return (
        f"{missing} of {len(crops)} labelled cells have no colour (grey files): nothing is learnt from them of the "
        "colour by which this model tells stain precipitate from micronuclei. Export in colour."
    )
