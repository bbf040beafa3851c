"""What people say about slides, kept apart from what the program found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from mnbatch.assay.samples import COLUMNS, REQUIRED, SampleRow
from mnbatch.csvfile import CsvError, csv_bytes, read_stored
from mnbatch.errors import StorageError
from mnbatch.intake import reason
from mnbatch.results.journal import change, read
from mnbatch.results.paths import OutPaths


def save_samples(paths: OutPaths, samples: Mapping[str, SampleRow]) -> None:
    """Keep the sample sheet in force, one row a slide, with the slide_id in place of what the sheet called it."""
    rows = []
    for slide_id, sample in sorted(samples.items()):
        fields = asdict(sample) | {"slide": slide_id, "control": "yes" if sample.control else ""}
        rows.append([fields[name] for name in COLUMNS])
    change(paths, replace={paths.samples: csv_bytes(COLUMNS, rows)})


def load_samples(paths: OutPaths) -> dict[str, dict[str, str]]:
    """The sample sheet in force: slide_id -> its other columns, as text, empty ones left out.

    Raises:
        StorageError: the sheet is there and cannot be read, or is not what `save_samples` wrote.
    """
    data = read(paths, paths.samples)
    if data is None:
        return {}
    try:
        # A version of mnbatch that came before wrote nothing at all for an empty sheet.
        rows = list(read_stored(data, REQUIRED)) if data else []
    except CsvError as error:
        raise StorageError(
            f"The sample sheet in force, {paths.samples}, cannot be read: {reason(error)}.",
            "Run again with --samples, which writes it anew, or restore OUT from a copy.",
        ) from error
    return {row["slide"]: {name: value for name, value in row.items() if name != "slide" and value} for row in rows}
