"""Whether a slide's stored result is what was written: sizes, checksums and numbers of rows.

Loaded by `mnbatch status`, which is asked often: neither pydantic nor numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from mnbatch.assay.row_sizes import DIGEST_BYTES, SPECTRUM_BYTES, THUMBNAIL_BYTES
from mnbatch.csvfile import CsvError, count_rows
from mnbatch.intake import read_bytes, reason
from mnbatch.results.checksums import file_checksum
from mnbatch.results.paths import GenerationPaths, SlidePaths

PICTURES = ("crops.bin", "maps.bin", "overviews.bin")
"""Files of a generation that no number comes from."""


class Stored(Protocol):
    """What a record says of its generation (see `SlideRecord`)."""

    @property
    def generation(self) -> str | None:
        """Name of the folder."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """File -> bytes."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """File -> BLAKE2b."""

    @property
    def cells(self) -> int:
        """Rows."""


def damage(paths: SlidePaths, record: Stored, names: Iterable[str]) -> str:
    """What is wrong with a scored slide's generation; "" where nothing is.

    All files must have the sizes that were written.

    Args:
        names: files whose bytes must give their checksums, too; of a record of a version that made none, sizes must do.
    """
    if record.generation is None:
        return ""
    folder = paths.generation(record.generation).root
    for name, size in record.sizes.items():
        try:
            actual = (folder / name).stat().st_size
        except OSError as error:
            return f"{folder / name} cannot be read ({error.strerror})"
        if actual != size:
            return f"{folder / name} has {actual} bytes, {size} were written"
    for name in names:
        wrong = altered(folder / name, record.checksums.get(name, ""))
        if wrong:
            return wrong
    return _torn(paths.generation(record.generation), record)


def _torn(generation: GenerationPaths, record: Stored) -> str:
    """Whether files of two writers, or a part of one, are in the place of a slide's; "" where all have its cells."""
    for path, bytes_a_cell in (
        (generation.digests, DIGEST_BYTES),
        (generation.spectra, SPECTRUM_BYTES),
        (generation.thumbnails, THUMBNAIL_BYTES),
    ):
        size = record.sizes.get(path.name)
        if size is not None and size != record.cells * bytes_a_cell:
            return f"{path} has the size of {size / bytes_a_cell:g} cells, its record says {record.cells}"
    if generation.scores.name not in record.sizes:
        return ""
    try:
        rows = count_rows(read_bytes(generation.scores))
    except OSError as error:
        return f"{generation.scores} cannot be read ({reason(error)})"
    except CsvError:
        # Whoever reads it says what is wrong.
        return ""
    return "" if rows == record.cells else f"{generation.scores} has {rows} rows, its record says {record.cells} cells"


def altered(path: Path, stated: str) -> str:
    """How a file differs from its checksum, in words; "" where it does not, or has none."""
    if not stated:
        return ""
    try:
        found = file_checksum(path)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return "" if found == stated else f"{path} was altered after it was written: its bytes do not give its checksum"
