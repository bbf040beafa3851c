"""Room that an OUT takes a cell, by what it is for: python benchmarks/room.py OUT..."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

from mnbatch.results.store import Store

KINDS = (
    *("scores", "crops", "maps", "near copies", "gallery pictures", "gallery data", "pages and tables", "logs", "rest"),
)
STORED = {"crops.bin": "crops", "maps.bin": "maps", "spectra.bin": "near copies", "thumbnails.bin": "near copies"}
GENERATION = re.compile(r"slides/[^/]+/g\d+/")


def kind(path: Path) -> str:
    """What a file of OUT, given by its path below it, is for."""
    if GENERATION.match(path.as_posix()):
        return STORED.get(path.name, "scores")
    if "gallery" in path.parts[:-1]:
        return "gallery pictures" if path.suffix == ".jpg" else "gallery data"
    if path.suffix in (".html", ".csv"):
        return "pages and tables"
    return "logs" if path.parts[0] == "runs" else "rest"


def main() -> None:
    """Print a table for each OUT."""
    for out in map(Path, sys.argv[1:]):
        cells = sum(record.cells for record in Store(out).records() if record.status == "scored")
        room: Counter[str] = Counter()
        for path in out.rglob("*"):
            if path.is_file():
                room[kind(path.relative_to(out))] += path.stat().st_size
        whole, each = sum(room.values()), sum(room.values()) / max(1, cells)
        print(f"{out}: {cells} cells, {whole / 1e6:.1f} MB, {each / 1e3:.1f} kB a cell")
        for name in KINDS:
            print(f"  {name:18} {room[name] / max(1, cells) / 1e3:7.2f} kB")


if __name__ == "__main__":
    main()
