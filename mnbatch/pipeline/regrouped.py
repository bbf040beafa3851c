"""Slides of an OUT whose files are now grouped in another way: their cells would be counted under two names."""

from __future__ import annotations

import os
from collections.abc import Callable

from mnbatch.assay.cells import Slide
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import MismatchError
from mnbatch.imaging.identity import slide_id
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store


class Regrouped:
    """Watches the slides of a crawl for those that an earlier run knew under other names, by `--names` or new wells.

    Args:
        code: the code of a slide_id under pseudonyms; itself where there are none.
    """

    def __init__(self, store: Store, code: Callable[[str], str]) -> None:
        self._store = store
        self._code = code
        self._found: set[str] = set()
        self._wholes: dict[str, str] = {}
        self._parents: set[str] = set()
        self._above: set[str] = set()

    def note(self, slide: Slide) -> Slide:
        """Remember a slide as the crawl found it."""
        self._found.add(self._code(slide.slide_id))
        parent = os.path.dirname(slide.path) or "."
        if slide.named is not None and slide.named.well and slide.path != ".":
            self._wholes[self._code(slide_id(parent))] = parent
        else:
            self._parents.add(slide.path)
        self._note_above(parent)
        return slide

    def _note_above(self, folder: str) -> None:
        while folder not in ("", ".") and folder not in self._above:
            self._above.add(folder)
            folder = os.path.dirname(folder)

    def settle(self, root: str) -> None:
        """Forget failed slides that are others now, and what stood for slides of a folder that could not be read then.

        Args:
            root: of the export.

        Raises:
            MismatchError: one of them has results, which would be counted in addition.
        """
        records = list(self._store.records())
        failed = {record.slide_id for record in records if record.status == "failed" and record.generation is None}
        # Codes are made, and kept, for what may have to go alone.
        stood = {self._code(slide_id(folder)) for folder in self._above} if failed - self._found else set()
        for record in records:
            if record.slide_id in failed & stood - self._found:
                self._store.forget(record.slide_id)
                continue
            if record.slide_id in self._found or not self._is_other_now(record, root):
                continue
            if record.status == "scored":
                why = say("regrouped", slide=Named("slide", record.name))
                raise MismatchError(why, say("regrouped-do"))
            self._store.forget(record.slide_id)

    def _is_other_now(self, record: SlideRecord, root: str) -> bool:
        if record.slide_id in self._wholes:
            return True
        parent, well = os.path.split(record.path)
        was_well = not record.pseudonymised and record.name.endswith(f"_{well}")
        return was_well and (parent or ".") in self._parents and not os.path.lexists(os.path.join(root, record.path))
