"""What a person should see of a slide before it is counted: forms, pixel size, and a strip of its pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.cells import ReadTask, Slide, SourceFile
from mnbatch.assay.page_options import PageOptions
from mnbatch.errors import SlideError
from mnbatch.imaging.formats.loading import load, page_count
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.pages_of_slide import said_of_pages

STRIP_PICTURES = 12
STRIP_SIDE = 128
_OVERVIEW_PIXELS = 4096
_GAP = 4
_LOW, _HIGH = 0.5, 99.5
_MANY_FILES = 3
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SlideLook:
    """What a few files of a slide show.

    Attributes:
        pages: what their pages are and what of them is read, in words; "" for ordinary pictures.
        cells: pictures that are read as cells or fields; of more than three files an estimate from three.
        estimated: whether it is one.
        width, height: of the first picture that can be read, pixels; 0 where none can.
        values: type and colours of its values, such as `uint16 grey`.
        um_per_pixel: what the file says; None where it says nothing, and for crops.
        placed: its fields state where the stage stood.
        unreadable: why the first picture that cannot be read cannot; "" for none.
    """

    pages: str = ""
    cells: int = 0
    estimated: bool = False
    width: int = 0
    height: int = 0
    values: str = ""
    um_per_pixel: float | None = None
    unreadable: str = ""
    placed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    pixels: Decoded | None
    width: int = 0
    height: int = 0
    um: float | None = None
    problem: str = ""
    placed: bool = False


def look_at_slide(slide: Slide, options: PageOptions) -> SlideLook:
    """Look into up to three files of a slide.

    Raises:
        SlideError: what its pages are has to be said by a person, or a whole slide cannot be opened.
    """
    pages = said_of_pages(slide, options)
    sample = _spread(slide.files, _MANY_FILES)
    counts = [_count(slide, file, options) for file in sample]
    cells = round(sum(counts) * len(slide.files) / max(1, len(sample)))
    seen = [next(iter(_pictures(slide, file, options)), _Seen(None)) for file in sample]
    first = next((one for one in seen if one.width), _Seen(None))
    return SlideLook(
        pages=pages,
        cells=cells,
        estimated=len(sample) < len(slide.files) and len(set(counts)) > 1,
        width=first.width,
        height=first.height,
        values="" if first.pixels is None else _described(first.pixels),
        um_per_pixel=first.um,
        unreadable=next((one.problem for one in seen if one.problem), ""),
        placed=bool(seen) and all(one.placed for one in seen),
    )


def contact_strip(slide: Slide, options: PageOptions) -> bytes:
    """Up to 12 pictures of a slide side by side, each stretched to its own range; a PNG. b"" where none can be read.

    Raises:
        SlideError: as `look_at_slide`.
    """
    shown: list[Grey] = []
    files = _spread(slide.files, STRIP_PICTURES)
    each = -(-STRIP_PICTURES // len(files))
    for file in files:
        for seen in _take(_pictures(slide, file, options), each):
            if seen.pixels is not None:
                shown.append(_small(seen.pixels))
    if not shown:
        return b""
    width = sum(picture.shape[1] for picture in shown) + _GAP * (len(shown) - 1)
    strip = Image.new("RGB", (width, STRIP_SIDE), "white")
    left = 0
    for picture in shown:
        strip.paste(Image.fromarray(picture).convert("RGB"), (left, 0))
        left += picture.shape[1] + _GAP
    stream = io.BytesIO()
    strip.save(stream, "PNG")
    return stream.getvalue()


def _take(pictures: Iterator[_Seen], number: int) -> Iterator[_Seen]:
    for _, seen in zip(range(number), pictures, strict=False):
        yield seen


def _spread(files: Sequence[SourceFile], number: int) -> list[SourceFile]:
    count = min(number, len(files))
    return [files[i * (len(files) - 1) // max(1, count - 1)] for i in range(count)]


def _count(slide: Slide, file: SourceFile, options: PageOptions) -> int:
    if slide.kind == "fields":
        from mnbatch.imaging.fields.field_pages import vendor_field_count

        return vendor_field_count(os.path.join(slide.root, file.path), options)
    if slide.kind != "crops":
        return 1
    try:
        return max(1, page_count(os.path.join(slide.root, file.path), file.path, options))
    except (*DECODING_ERRORS, UndecodableError):
        return 1


def _pictures(slide: Slide, file: SourceFile, options: PageOptions) -> Iterator[_Seen]:
    """Pictures of a file as they are read; one with its problem where it cannot be read."""
    path = os.path.join(slide.root, file.path)
    if slide.kind == "crops":
        for page in load(ReadTask(slide.slide_id, slide.root, file, hash_file=False, options=options))[1]:
            yield _Seen(None, problem=page.reason) if page.decoded is None else _of(page.decoded, None)
    elif slide.kind == "wsi":
        yield from _of_scans(slide, path, options)
    else:
        # What fields need takes a second to load.
        from mnbatch.imaging.fields.field_images import load_fields

        for image in load_fields(path, options)[1]:
            problem = image.problem
            seen = _Seen(None, problem=problem) if image.pixels is None else _of(image.pixels, image.um_per_pixel)
            yield replace(seen, placed=image.stage is not None)


def _of_scans(slide: Slide, path: str, options: PageOptions) -> Iterator[_Seen]:
    from mnbatch.imaging.formats.whole_slides import open_scans

    for scan in open_scans(path, slide.name, options):
        side = min(_OVERVIEW_PIXELS, scan.width, scan.height)
        left, top = (scan.width - side) // 2, (scan.height - side) // 2
        try:
            pixels = scan.read(left, top, side, side)
        except (UndecodableError, SlideError) as error:
            yield _Seen(None, scan.width, scan.height, scan.um, str(error))
            continue
        yield _Seen(pixels, scan.width, scan.height, scan.um)


def _of(pixels: Decoded, um: float | None) -> _Seen:
    return _Seen(pixels, pixels.shape[1], pixels.shape[0], um)


def _described(pixels: Decoded) -> str:
    return f"{pixels.dtype.name} {'grey' if pixels.ndim == 2 else 'RGB'}"


def _small(pixels: Decoded) -> Grey:
    """128 pixels high, 0..255, stretched from percentile to percentile."""
    values = pixels.astype(np.float32)
    low, high = np.percentile(values, (_LOW, _HIGH))
    scaled = np.clip((values - low) * (255 / max(float(high - low), 1e-6)), 0, 255).astype(np.uint8)
    width = max(1, round(STRIP_SIDE * scaled.shape[1] / scaled.shape[0]))
    return np.asarray(Image.fromarray(scaled).resize((min(width, 4 * STRIP_SIDE), STRIP_SIDE), Image.Resampling.BOX))
