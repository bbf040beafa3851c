"""Which slide of an OUT a person means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnbatch.errors import UsageError
from mnbatch.intake import nearest, short

if TYPE_CHECKING:
    from mnbatch.results.records import SlideRecord


def slide_of(records: Sequence[SlideRecord], name: str) -> SlideRecord:
    """The slide with this id, else the one with this path or name.

    Raises:
        UsageError: there is none, or there are several.
    """
    for known in (
        [record for record in records if record.slide_id == name],
        [record for record in records if record.path == name],
        [record for record in records if record.name == name],
    ):
        if len(known) == 1:
            return known[0]
        if known:
            ids = ", ".join(record.slide_id for record in known[:5])
            raise UsageError(f"{len(known)} slides are called {short(name)}.", f"Give the slide_id: {ids}.")
    like = nearest(name, [word for record in records for word in (record.slide_id, record.name, record.path)])
    raise UsageError(
        f"OUT has no slide {short(name)}.",
        f"Did you mean {like}?" if like else "slides.csv lists them; give slide_id, path or name.",
    )
