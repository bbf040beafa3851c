"""What an export holds: crops of cells, camera fields, or whole slides; recognised from a small sample.

Crops are what is assumed; fields and whole slides must show what they are. So an export of crops that was read
before fields were known is read as before.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.field_records import InputKind
from mnbatch.assay.reasons import Named, say
from mnbatch.imaging.companions import field_of_mask, is_mask_folder
from mnbatch.imaging.foreign_files import readable_field_files
from mnbatch.imaging.formats.decoding import decode_plain, kind_of, page_values
from mnbatch.imaging.formats.folder_images import is_folder_image
from mnbatch.imaging.formats.loading import read_whole
from mnbatch.imaging.formats.pixels import DECODING_ERRORS
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_headers import TiffHeader, open_tiff, read_header
from mnbatch.imaging.layouts import EXTENSIONS, WHOLE_SLIDES, parse_layout
from mnbatch.imaging.litter import litter_reason, overviews_among
from mnbatch.imaging.walk import natural_key

KINDS: dict[InputKind, str] = {
    "crops": "each file (or page) is the crop of one cell",
    "fields": "each file is a camera field with many cells",
    "wsi": "each file is a whole slide",
}

LEAST_FIELD_SIDE = 800
"""Pixels. No scanner exports crops of single cells with a shorter side of this many."""

LARGEST_CROP_SIDE = 400
"""Pixels. An image whose longer side is at most this is taken for the crop of a cell."""

_LEAST_NUCLEI = 7
"""Between those two sizes, an image with at least this many nuclei is a field; a crop has two, and few neighbours."""

_WHOLE_SLIDE_PIXELS = 100_000_000
_SAMPLE, _PER_FOLDER, _ENTRIES = 24, 3, 5000

Vote = Literal["crops", "fields", "wsi"]


@dataclass(frozen=True, slots=True)
class Recognised:
    """What an export holds, and by what that was recognised (one sentence)."""

    kind: InputKind
    why: str


def recognise_input(root: Path, layout: str, vote: Callable[[str], Vote | None] | None = None) -> Recognised:
    """Look at up to 24 image files of an export, three a folder, and say what it holds.

    Whole slides: files with an extension of their own, or tiled TIFFs with reduced versions or more than 100
    megapixels. Fields: most images have a shorter side of 800 pixels, or more than 400 and seven nuclei. Everything
    else, and TIFFs of many pages, holds crops.

    Args:
        vote: examines a file, as `vote_on`; decoding a file is better done where it can be ended.
    """
    vote = vote or vote_on
    votes: Counter[Vote] = Counter()
    whole: list[str] = []
    beside: set[str] = set()
    for path in _sample(root):
        if path.rpartition(".")[2].lower() in WHOLE_SLIDES:
            whole.append(path)
            beside.add(os.path.dirname(path))
        elif (seen := None if os.path.dirname(path) in beside else vote(path)) is not None:
            votes[seen] += 1
    looked = votes.total()
    if whole and votes["crops"] + votes["fields"] <= len(whole):
        return Recognised("wsi", say("kind-whole", file=Named("file", os.path.basename(whole[0]))))
    if votes["wsi"] * 2 > looked:
        return Recognised("wsi", say("kind-tiled", count=votes["wsi"], looked=looked))
    if votes["fields"] * 2 > looked and parse_layout(layout).has_cell:
        return Recognised("fields", say("kind-fields", count=votes["fields"], looked=looked))
    return Recognised("crops", say("kind-crops", looked=looked) if looked else say("kind-unknown"))


def _sample(root: Path) -> Iterator[str]:
    """Whole slides of a folder before its images, so that a picture beside them is known for one."""
    found = entries = 0
    for folder, folders, files in os.walk(root):
        files = [*files, *filter(is_folder_image, folders)]
        folders[:] = sorted((n for n in folders if not _is_left_out(n)), key=natural_key)
        taken = 0
        entries += len(files)
        for name in _candidates(files):
            yield os.path.join(folder, name)
            taken, found = taken + 1, found + 1
            if taken == _PER_FOLDER or found == _SAMPLE:
                break
        if found >= _SAMPLE or entries > _ENTRIES:
            return


def _is_left_out(folder: str) -> bool:
    return is_folder_image(folder) or litter_reason(folder, folder=True) != "" or is_mask_folder(folder)


def _candidates(files: list[str]) -> list[str]:
    known = (*EXTENSIONS, *WHOLE_SLIDES, *readable_field_files())
    images = [n for n in files if n.rpartition(".")[2].lower() in known and not litter_reason(n, folder=False)]
    shown = overviews_among(images)
    images = [name for name in images if name not in shown and field_of_mask(name) is None]
    return sorted(images, key=lambda name: (name.rpartition(".")[2].lower() not in WHOLE_SLIDES, natural_key(name)))


def vote_on(path: str) -> Vote | None:
    """What one image is; None for one that cannot be read within the limits of every reader."""
    if path.rpartition(".")[2].lower() in readable_field_files():
        return "fields"
    try:
        if path.lower().endswith((".tif", ".tiff")):
            return _vote_on_tiff(path)
        with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
            size = image.size
        if max(size) <= LARGEST_CROP_SIDE:
            return "crops"
        if (vote := _by_size(*size)) is not None:
            return vote
        data = read_whole(path)
        return _by_nuclei(decode_plain(data, kind_of(data)))
    except (*DECODING_ERRORS, UndecodableError):
        return None


def _vote_on_tiff(path: str) -> Vote | None:
    with open(path, "rb") as stream:
        header = read_header(stream)
        if not header.directories:
            return None
        first = header.directories[0]
        if first.tiled and (_has_reduced(header) or first.width * first.height > _WHOLE_SLIDE_PIXELS):
            return "wsi"
        if max(first.width, first.height) <= LARGEST_CROP_SIDE:
            return "crops"
        if (vote := _by_size(first.width, first.height)) is not None:
            return vote
        with open_tiff(stream, header)[0] as tiff:
            page = tiff.pages.first
            values = page_values(page, header.size)
            return _by_nuclei(np.moveaxis(values, 0, -1) if page.axes == "SYX" else values)


def _has_reduced(header: TiffHeader) -> bool:
    first, *others = header.directories
    return bool(first.children) or any(other.subfile & 1 for other in others)


def _by_size(width: int, height: int) -> Vote | None:
    return "fields" if min(width, height) >= LEAST_FIELD_SIDE else None


def _by_nuclei(values: npt.NDArray[Any]) -> Vote:
    return "fields" if count_nuclei(values) >= _LEAST_NUCLEI else "crops"


def count_nuclei(values: npt.NDArray[Any]) -> int:
    """Roughly how many main nuclei an image holds: bodies of at least 0.3 of the largest, by Otsu's threshold.

    Args:
        values: (height, width) or (height, width, channels).
    """
    from scipy import ndimage

    grey = values.astype(np.float32)
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    grey = ndimage.uniform_filter(grey, 3)[::2, ::2]
    low, high = np.percentile(grey, [0.5, 99.5])
    if not high > low:
        return 0
    levels = np.clip((grey - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    if np.median(levels) > 127:
        levels = 255 - levels
    labels, _ = ndimage.label(levels > _otsu(levels))
    areas = np.bincount(labels.ravel())[1:]
    return int(np.count_nonzero(areas >= max(0.3 * areas.max(initial=0), 2e-4 * grey.size, 12)))


def _otsu(levels: npt.NDArray[np.uint8]) -> int:
    counts = np.bincount(levels.ravel(), minlength=256).astype(np.float64)
    below, weighted = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    between = (weighted[-1] * below / below[-1] - weighted) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return int(between.argmax())
