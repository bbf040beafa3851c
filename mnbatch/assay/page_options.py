"""What a person says of pages and files of one scene: which channel, which focal plane, what they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What files do not say of themselves; None takes what they say, and asks where they say nothing.

    Attributes:
        channel: nuclear channel, a number from 1 or a name.
        planes: `sharpest`, `max` (brightest of all planes, pixel by pixel) or the number of a focal plane from 1.
        time: number of a point in time, from 1.
        pages: what pages are that do not say it: cells, positions, channels or planes; several for several axes, the
            slowest first, with commas. `cells,channels:2`: pages of two channels of each cell in turn.
        names: how files are named: an instrument, a pattern of their names, or `plain` (each file is a cell or field of
            its own); None recognises it.
        cytoplasm: of fields, the channel by whose cytoplasm nuclei are paired, as `channel`; None for none.
    """

    channel: str | None = None
    planes: str | None = None
    time: int | None = None
    pages: str | None = None
    names: str | None = None
    cytoplasm: str | None = None

    def key(self) -> str:
        """Digest (16 hex digits) of what was said of crops; "" where nothing was, so that older results stay valid."""
        known = {name: value for name, value in asdict(self).items() if value is not None and name != "cytoplasm"}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16] if known else ""


NO_OPTIONS = PageOptions()
