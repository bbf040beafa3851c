"""Rows of tables and pages of the batch as earlier reports made them: those whose slide or donor did not change.

A row is kept under a digest of all that it shows, so that one that is found is the one that would be made. Kept in
`runs/`: no part of the results, and made anew by `report --force`, `run --verify`, `dose` and sign-offs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mnbatch.errors import StorageError
from mnbatch.intake import parse_json, read_bytes
from mnbatch.report.derived_files import digest
from mnbatch.results.checksums import DIGEST_SIZE
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, stream_if_changed
from mnbatch.results.paths import OutPaths


@dataclass(slots=True)
class KeptRows:
    """What is known of rows.

    Attributes:
        before: digest of what a row shows -> the row, from earlier reports.
        now: the same, of the rows of this one.
    """

    before: Mapping[str, str] = field(default_factory=dict)
    now: dict[str, str] = field(default_factory=dict)

    def row(self, shows: tuple[object, ...], make: Callable[[], str]) -> str:
        """A row.

        Args:
            shows: all that it depends on, as plain values; the first one says of which table it is.
            make: makes it.
        """
        key = digest(*shows)
        text = self.now.get(key)
        if text is None:
            text = self.before.get(key)
            self.now[key] = text = make() if text is None else text
        return text

    def keep(self, paths: OutPaths) -> None:
        """Write the rows of this report, where they changed. The caller holds OUT."""
        if self.now.keys() == self.before.keys():
            return
        check_still_held(paths.lock)
        # Without them the next report takes longer; that is no reason to fail this one.
        with contextlib.suppress(StorageError), storage_errors(paths.runs):
            paths.runs.mkdir(exist_ok=True)
            stream_if_changed(paths.report_rows, self._lines())

    def _lines(self) -> Iterator[bytes]:
        """One row a line, so that thousands are never in memory twice; the last line is a checksum over the others."""
        hashed = hashlib.blake2b(digest_size=DIGEST_SIZE)
        for row in self.now.items():
            line = json.dumps(row).encode() + b"\n"
            hashed.update(line)
            yield line
        yield hashed.hexdigest().encode() + b"\n"


def read_rows(paths: OutPaths) -> KeptRows:
    """What is kept; nothing where there is none, or it is not what was written."""
    hashed = hashlib.blake2b(digest_size=DIGEST_SIZE)
    rows: dict[str, str] = {}
    last = b""
    try:
        for line in io.BytesIO(read_bytes(paths.report_rows)):
            if last:
                hashed.update(last)
                key, text = parse_json(last)
                rows[key] = text
            last = line
    except (OSError, ValueError, TypeError):
        return KeptRows()
    return KeptRows(rows if last == hashed.hexdigest().encode() + b"\n" else {})
