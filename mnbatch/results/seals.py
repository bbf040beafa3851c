"""What the annotations of OUT must hold, kept apart from them: `annotations/checksums.json`.

Checksums of the files that are replaced as a whole (sample sheet, validation, curve, plan), and the heads of the
trails that are only appended to. It is switched together with what it is about (`mnbatch.results.journal`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mnbatch.intake import parse_json
from mnbatch.results.chain import Head
from mnbatch.results.checksums import content_checksum

CHECKSUM = "checksum"


@dataclass(frozen=True, slots=True)
class Seals:
    """By a file's path below annotations, with forward slashes.

    Attributes:
        damaged: why it cannot be relied on; "" where it can, or where there is none.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    trails: Mapping[str, Head] = field(default_factory=dict)
    damaged: str = ""

    def to_bytes(self) -> bytes:
        """As the file holds them."""
        trails = {name: asdict(head) for name, head in sorted(self.trails.items())}
        content: dict[str, Any] = {"files": dict(sorted(self.files.items())), "trails": trails}
        content[CHECKSUM] = content_checksum(content)
        return json.dumps(content, indent=1).encode() + b"\n"


def parse_seals(data: bytes | None) -> Seals:
    """Seals from the bytes of their file; none without one."""
    return Seals() if data is None else _parse(data)


@functools.lru_cache(maxsize=4)
def _parse(data: bytes) -> Seals:
    try:
        content = parse_json(data)
        stated = content.pop(CHECKSUM)
        if stated != content_checksum(content):
            return Seals(damaged="its content does not give its checksum")
        trails = {str(name): Head(int(head["lines"]), str(head["last"])) for name, head in content["trails"].items()}
        return Seals({str(name): str(value) for name, value in content["files"].items()}, trails)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Seals(damaged="it cannot be understood")


def name_of(annotations: Path, path: Path) -> str:
    """A file's name in the seals."""
    return path.relative_to(annotations).as_posix()
