"""Damaged files: hardly one with wrong pixels is counted; undamaged ones all are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mnbatch.assay.cells import ReadTask, SourceFile
from mnbatch.errors import SlideError
from mnbatch.imaging.formats.loading import DecodedPage, load
from tests.campaign import mutations

WRONG = 0.02
UNKNOWABLE = ("bit flips", "swapped pages", "duplicated page", "header field")
"""Kinds of damage that leave a file in order: what they change is seen only where it breaks a rule of the format."""


def read(folder: Path, data: bytes) -> list[DecodedPage] | None:
    """Pages of a file; None where its slide would fail."""
    (folder / "cell").write_bytes(data)
    try:
        return list(load(ReadTask("s", folder, SourceFile("cell", len(data), 0)))[1])
    except SlideError:
        return None


@pytest.mark.parametrize("encoding", mutations.ENCODINGS)
def test_undamaged_files_are_read(tmp_path: Path, encoding: str) -> None:
    for number in range(2):
        data = mutations.original(encoding, number)
        pages = read(tmp_path, data)
        assert pages is not None
        found = [page.decoded for page in pages if page.decoded is not None]
        assert len(found) == len(pages)
        assert mutations.wrong_share(mutations.decoded(data), found) == 0


def test_files_with_wrong_pixels_are_hardly_ever_counted(tmp_path: Path) -> None:
    """Before: 300 of 341."""
    damaged: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for mutant in mutations.mutants(seed=7, count=532):
        pages = read(tmp_path, mutant.data)
        found = [page.decoded for page in pages or () if page.decoded is not None]
        said = pages is None or len(found) < len(pages)
        if said or mutations.wrong_share(mutant.reference, found) > WRONG:
            damaged[mutant.mutation] += 1
            counted[mutant.mutation] += not said
    sure = [name for name in damaged if name not in UNKNOWABLE]
    assert damaged.total() > 400
    assert counted.total() <= 0.08 * damaged.total(), counted
    assert sum(counted[name] for name in sure) <= 0.05 * sum(damaged[name] for name in sure), counted
