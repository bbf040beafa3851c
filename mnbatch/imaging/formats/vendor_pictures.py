"""Pictures of microscopes' own files: which are read is decided as for the pages of a TIFF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from math import prod

from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import foreign, say
from mnbatch.imaging.formats.decoding import reraise_io
from mnbatch.imaging.formats.folder_images import folder_format
from mnbatch.imaging.formats.page_choice import Chosen, chosen_pictures, described
from mnbatch.imaging.formats.page_structure import Axis, Picture, Structure
from mnbatch.imaging.formats.picture_reading import put_together
from mnbatch.imaging.formats.pixels import Decoded, check_size, checked
from mnbatch.imaging.formats.registry import VENDORS
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.vendor_files import INSTALL, VendorContent, VendorFile, VendorFormat

MOST_PICTURES = 1_000_000
_AXES: tuple[Axis, ...] = ("positions", "times", "channels", "planes")


def vendor_format(path: str) -> VendorFormat | None:
    """The format of a file by its extension, or of a well of a plate by that of the plate's folder.

    None for one that none of these readers reads.
    """
    name = path.replace(os.sep, "/").rpartition("/")[2]
    extension = name.rpartition(".")[2].lower() if "." in name else folder_format(path)
    return next((known for known in VENDORS if extension in known.extensions), None)


def vendor_pictures(
    path: str, known: VendorFormat, options: PageOptions
) -> Iterator[tuple[int | None, Decoded | UndecodableError, VendorContent]]:
    """Number, pixels (or why they cannot be had) and the file's own description of each position that is read.

    Raises:
        UnclearError: a channel, plane or time has to be chosen.
        UndecodableError: the file cannot be opened.
    """
    if not known.installed:
        raise UndecodableError(say("no-reader", name=known.name, install=INSTALL))
    try:
        with known.open(path) as file:
            found = _structure(file.content, known.name)
            chosen = chosen_pictures(found, options)
            for number, one in enumerate(chosen):
                pixels = _read(file, one, found, options.planes, known.name)
                yield None if len(chosen) == 1 else number, pixels, file.content
    except UndecodableError:
        raise
    except Exception as error:
        reraise_io(error)
        raise UndecodableError(say("damaged", kind=known.name, error=foreign(error))) from error


def vendor_described(path: str, known: VendorFormat, options: PageOptions) -> tuple[str, int]:
    """What a file holds and what of it is read, in words, and the number of fields; raises as `vendor_pictures`."""
    if not known.installed:
        raise UndecodableError(say("no-reader", name=known.name, install=INSTALL))
    try:
        with known.open(path) as file:
            found = _structure(file.content, known.name)
            chosen = chosen_pictures(found, options)
            return described(found, chosen), len(chosen)
    except UndecodableError:
        raise
    except Exception as error:
        reraise_io(error)
        raise UndecodableError(say("damaged", kind=known.name, error=foreign(error))) from error


def _structure(content: VendorContent, name: str) -> Structure:
    lengths = (content.positions, content.times, content.channels, content.planes)
    if min(lengths) < 1 or prod(lengths) > MOST_PICTURES:
        raise UndecodableError(say("many-planes", count=prod(lengths)))
    axes = tuple((axis, length) for axis, length in zip(_AXES, lengths, strict=True) if length > 1)
    places = product(*(range(length) for _, length in axes))
    pictures = tuple(Picture(index, at=at) for index, at in enumerate(places))
    return Structure(axes, pictures, name, content.names, directories=len(pictures))


def _read(file: VendorFile, one: Chosen, found: Structure, planes: str | None, name: str) -> Decoded | UndecodableError:
    """One field; a picture that cannot be read leaves the others."""
    try:
        stack = [_picture(file, picture, found) for picture in one.pictures]
        return stack[0] if len(stack) == 1 else put_together(stack, planes or "sharpest")
    except UndecodableError as error:
        return error
    except Exception as error:  # noqa: BLE001 - as above
        reraise_io(error)
        return UndecodableError(say("damaged", kind=name, error=foreign(error)))


def _picture(file: VendorFile, picture: Picture, found: Structure) -> Decoded:
    at = {axis: place for (axis, _), place in zip(found.axes, picture.at, strict=True)}
    position, time, channel, plane = (at.get(axis, 0) for axis in _AXES)
    check_size(*file.size(position, channel))
    return checked(file.read(position, time, channel, plane))
