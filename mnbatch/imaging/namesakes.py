"""Images of one folder that differ in their extension alone: one picture, or two that a person has to name apart.

Many scanners write a preview next to each image (`0.jpg` next to `0.tif`). A name proves nothing, so the pictures are
compared: a preview is the same picture, perhaps smaller, compressed, brighter or in one colour of three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.cells import FileDigest, SourceFile
from mnbatch.assay.reasons import Named, Reason, foreign, foreign_os, reason_in, say
from mnbatch.errors import SlideError
from mnbatch.imaging.formats.decoding import decode_plain, kind_of
from mnbatch.imaging.formats.loading import read_whole, retried
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError

SIDE = 64
LEAST_CORRELATION = 0.9
"""Of the fine structure of both, each 64 pixels wide. Of two different cells it is 0.89 at most, with the best turn and
shift (see `mnbatch.assay.near_copies`); here nothing is turned or shifted."""

_FINE = 2.0
_ASPECT = 0.03
_FLAT = 0.03
"""Of the brightest part: where both differ less over the whole picture, there is nothing to compare."""

_TWO_LEVELS = 2 / 255

_TINY = 1e-9
Floats = npt.NDArray[np.float64]


def check_namesake(root: Path, file: SourceFile, original: SourceFile, pictures: Iterable[Decoded]) -> FileDigest:
    """Whether an image shows what the one shows that is counted.

    Args:
        file: it differs from `original` in its extension alone.
        pictures: those of `original`.

    Returns:
        The digest of its content, on which the slide's result depends.

    Raises:
        SlideError: it shows something else, or cannot be compared.
    """
    try:
        data = retried(lambda: read_whole(str(root / file.path)))
        kind = kind_of(data)
        shown = None if kind == "tiff" else decode_plain(data, kind)
    except UndecodableError as error:
        raise _trouble(file, original, say("namesake-unreadable", error=reason_in(error.args[0]))) from error
    except OSError as error:
        problem = say("namesake-unreadable", error=foreign_os(error))
        raise _trouble(file, original, problem, transient=True) from error
    except DECODING_ERRORS as error:
        raise _trouble(file, original, say("namesake-unreadable", error=foreign(error))) from error
    if shown is None or not any(shows_the_same(picture, shown) for picture in pictures):
        raise _trouble(file, original, say("namesake-other"))
    return FileDigest(file.path, hashlib.sha256(data).hexdigest())


def shows_the_same(one: Decoded, other: Decoded) -> bool:
    """Whether two pictures are one scene; their size, brightness, contrast and colours may differ.

    Args:
        one, other: (height, width) or (height, width, 3).
    """
    if one.shape == other.shape and np.array_equal(one, other):
        return True
    ratios = [picture.shape[1] / picture.shape[0] for picture in (one, other)]
    if abs(ratios[0] / ratios[1] - 1) > _ASPECT:
        return False
    ours, theirs = list(_small(one)), list(_small(other))
    if all(_is_flat(a) for a in (*ours, *theirs)):
        return True
    return any(_alike(a, b) for a in ours for b in theirs)


def _small(picture: Decoded) -> Iterator[Floats]:
    """Means over parts, 0..1 of the type's range, of the grey picture and of each colour that shows something."""
    values = picture.astype(np.float64)
    top = float(np.iinfo(picture.dtype).max) if picture.dtype.kind in "iu" else max(_TINY, float(values.max()))
    planes = [values] if values.ndim == 2 else [values.mean(axis=2), *np.moveaxis(values, 2, 0)]
    for plane in planes:
        image = Image.fromarray((plane / top).astype(np.float32))
        yield np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)


def _is_flat(small: Floats) -> bool:
    top = float(small.max())
    return bool(top - float(small.min()) <= max(_FLAT * top, _TWO_LEVELS * min(1.0, 2 * top)))


def _alike(one: Floats, other: Floats) -> bool:
    """Correlation of fine structure after the brightness of either was fitted to the other, whatever its curve."""
    return max(_correlation(_fitted(one, other), other), _correlation(_fitted(other, one), one)) >= LEAST_CORRELATION


def _fitted(one: Floats, other: Floats) -> Floats:
    """`one` with the values of `other`, in its own order."""
    _, places, counts = np.unique(one, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles = (ends - counts / 2) / one.size
    values = np.quantile(other, middles)
    return np.asarray(values[places].reshape(one.shape), np.float64)


def _fine(small: Floats) -> Floats:
    from scipy import ndimage

    return np.asarray(small - ndimage.gaussian_filter(small, _FINE), np.float64)


def _correlation(one: Floats, other: Floats) -> float:
    a, b = (_fine(values).ravel() for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b) / (float(np.linalg.norm(a) * np.linalg.norm(b)) + _TINY)


def _trouble(file: SourceFile, original: SourceFile, problem: Reason, *, transient: bool = False) -> SlideError:
    why = say("namesake", file=Named("file", file.path), other=Named("file", original.path), problem=problem)
    return SlideError(why, say("same-name-do"), transient=transient)
