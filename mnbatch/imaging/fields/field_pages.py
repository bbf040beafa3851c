"""What the pages of camera fields and whole slides are, in words, before anything of them is read."""

from __future__ import annotations

import os

from mnbatch.assay.cells import Slide, SourceFile
from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import Named, reason_of, say
from mnbatch.errors import SlideError
from mnbatch.imaging.fields.cytoplasm_channel import with_cytoplasm
from mnbatch.imaging.fields.field_images import load_fields
from mnbatch.imaging.formats.loading import unclear
from mnbatch.imaging.formats.page_choice import UnclearError
from mnbatch.imaging.formats.page_meaning import meaning_of
from mnbatch.imaging.formats.pixels import DECODING_ERRORS
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_headers import TIFF_STARTS, open_tiff
from mnbatch.imaging.formats.vendor_pictures import vendor_described, vendor_format
from mnbatch.imaging.formats.whole_slides import open_scans


def pages_of_fields(slide: Slide, file: SourceFile, options: PageOptions) -> str:
    """What the pages of a file of fields are; "" where it is one ordinary picture, or cannot be read.

    Raises:
        SlideError: a person has to say it, or a file of many fields cannot be opened.
    """
    path = os.path.join(slide.root, file.path)
    known = vendor_format(path)
    if options.cytoplasm is not None:
        # Read as a run reads it: whether there are two channels shows in the pixels alone for plain pictures.
        images = load_fields(path, options)[1]
        next(with_cytoplasm(images, slide, file, slide.beside("cytoplasm").get(file.path, ()), options), None)
    try:
        if known is not None:
            return vendor_described(path, known, options)[0]
        with open(path, "rb") as stream:
            if stream.read(4) not in TIFF_STARTS:
                return ""
            tiff, header = open_tiff(stream)
            header.check_total()
            return meaning_of(tiff, header, options, "positions").described()
    except UnclearError as error:
        raise unclear(file.path, error) from error
    except (*DECODING_ERRORS, UndecodableError) as error:
        if known is not None and isinstance(error, UndecodableError):
            why = say("file-lost", file=Named("file", file.path), why=reason_of(error))
            raise SlideError(why, say("file-lost-do")) from error
        return ""  # reading it will say what is wrong


def vendor_field_count(path: str, options: PageOptions) -> int:
    """Fields that are read of a microscope's own file; 1 for every other file, and where it cannot be opened."""
    known = vendor_format(path)
    try:
        return 1 if known is None else vendor_described(path, known, options)[1]
    except (*DECODING_ERRORS, UndecodableError):
        return 1


def check_no_cytoplasm(options: PageOptions) -> None:
    """Refuse a cytoplasm channel for a whole slide, of which one channel is read; raises SlideError."""
    if options.cytoplasm is not None:
        raise SlideError(say("cytoplasm-scans"), say("cytoplasm-scans-do"))


def pages_of_scans(slide: Slide, file: SourceFile, options: PageOptions) -> str:
    """The same of a whole slide; raises SlideError also where it cannot be opened."""
    check_no_cytoplasm(options)
    images = open_scans(os.path.join(slide.root, file.path), slide.name, options)
    return f"{len(images)} scans" if len(images) > 1 else ""
