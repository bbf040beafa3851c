"""What people say about slides, kept apart from what the program found."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict

from mnbatch.assay.samples import SampleRow
from mnbatch.results.journal import change, read
from mnbatch.results.paths import OutPaths


def save_samples(paths: OutPaths, samples: Mapping[str, SampleRow]) -> None:
    """Keep the sample sheet in force, one row a slide, with the slide_id in place of what the sheet called it."""
    buffer = io.StringIO(newline="")
    rows = csv.writer(buffer, lineterminator="\n")
    for number, (slide_id, sample) in enumerate(sorted(samples.items())):
        fields = asdict(sample) | {"slide": slide_id, "control": "yes" if sample.control else ""}
        del fields["line"]  # of a file that is not kept
        if number == 0:
            rows.writerow(fields)
        rows.writerow("" if value is None else value for value in fields.values())
    change(paths, replace={paths.samples: buffer.getvalue().encode("utf-8", "backslashreplace")})


def load_samples(paths: OutPaths) -> dict[str, dict[str, str]]:
    """The sample sheet in force: slide_id -> its other columns, as text, empty ones left out.

    Raises:
        StorageError: the sheet is there and cannot be read.
    """
    data = read(paths, paths.samples)
    if data is None:
        return {}
    rows = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
    return {row["slide"]: {name: value for name, value in row.items() if name != "slide" and value} for row in rows}
