"""What a case of the campaign showed, and where that is kept: JSON lines, so that a killed campaign goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one case.

    Attributes:
        part: kills, disk, images, ...
        case: unique in its part; says how to make it again together with the seed.
        word: what it showed; the words that are wrong are the part's `WRONG`.
        detail: what a person needs who looks into it.
    """

    part: str
    case: str
    word: str
    detail: str = ""


class Part(Protocol):
    """A part of the campaign, open in a folder of its own.

    Attributes:
        name: as in `Verdict.part`.
        wrong: words that are faults.
    """

    name: str
    wrong: frozenset[str]

    def cases(self) -> Sequence[str]:
        """All cases, in an order that only the seed decides."""

    def check(self, case: str) -> Verdict:
        """Do it."""

    def close(self) -> None:
        """End what was started."""


class Ledger:
    """Verdicts in a file; a torn last line is dropped.

    Args:
        path: file of this process; the folder's other files are read, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict."""
        line = (json.dumps(asdict(verdict)) + "\n").encode()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


def kept(folder: Path) -> Iterator[Verdict]:
    """All verdicts in a folder; the last of a case counts."""
    found: dict[tuple[str, str], Verdict] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").split("\n"):
            try:
                verdict = Verdict(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[verdict.part, verdict.case] = verdict
    return iter(found.values())
