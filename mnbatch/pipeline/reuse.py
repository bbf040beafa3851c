"""Scores of another OUT are taken over: same slide, same contents, same model and settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mnbatch.assay.cells import Slide
from mnbatch.errors import NoInputError, StorageError, UsageError
from mnbatch.pipeline.committing import unscored_record
from mnbatch.pipeline.planning import Plan, Stamps, read_content_key
from mnbatch.results.archiving import commit_copy
from mnbatch.results.batch import read_batch
from mnbatch.results.paths import GenerationPaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store


class Reuse:
    """Takes slides over from an OUT that this one knows nothing of otherwise.

    Args:
        old: its folder; only read.

    Raises:
        UsageError: it is this OUT itself, or either is under pseudonyms, whose codes differ.
        NoInputError: it holds no results.
    """

    def __init__(self, old: Path, store: Store, stamps: Stamps) -> None:
        self._old, self._store, self._stamps = Store(old), store, stamps
        batch = read_batch(self._old.paths)
        if batch is None:
            raise NoInputError(f"{old} holds no results of mnbatch.", "Give the --out directory of an earlier run.")
        if self._old.paths.root == store.paths.root:
            raise UsageError(f"--reuse {old} is the output itself.", "Give another one, or leave --reuse out.")
        if batch.pseudonymised or stamps.settings.pseudonymise:
            raise UsageError(
                "--reuse and --pseudonymise do not go together: each OUT has codes of its own.",
                "Leave one of them out; under pseudonyms all slides are scored.",
            )

    def plan(self, plan: Plan) -> Plan:
        """The plan of a slide, done already where its scores could be taken over; a damaged result never is."""
        if plan.action != "score" or (plan.record is not None and plan.record.status == "scored"):
            return plan
        old = self._old.record(plan.slide.slide_id)
        if old is None or old.generation is None:
            return plan
        differs = self._difference(plan.slide, old)
        if differs:
            return replace(plan, why=f"{plan.why}; not taken over: {differs}")
        paths = self._store.paths.slide(plan.slide.slide_id)
        try:
            self._old.check(old, pictures=True)
            source = self._old.paths.slide(old.slide_id).generation(old.generation)
            record = commit_copy(paths, self._record(plan.slide, old), source, list(old.sizes))
        except StorageError:
            if not self._old.damage(old, pictures=True):
                raise
            return plan
        why = f"scores taken over from {self._old.paths.root}"
        return Plan(replace(plan.slide, files=()), "reuse", why, record)

    def _difference(self, slide: Slide, old: SlideRecord) -> str:
        """Why the old scores are not those that this run would make; "" where they are."""
        if old.status != "scored" or old.parts is None or old.unread or old.waiting is not None:
            return "it was not scored whole"
        if self._stamps.settings.keep_crops and GenerationPaths(Path()).crops.name not in old.sizes:
            return "its pictures were not kept"
        changed = self._stamps.changed_parts(old.parts, slide, old)
        if changed:
            return changed
        return "" if read_content_key(slide) == old.content_key else "its files changed"

    def _record(self, slide: Slide, old: SlideRecord) -> SlideRecord:
        """Where the slide is and whose it is now, and what was scored then."""
        here = unscored_record(slide, self._stamps.settings)
        names = ("slide_id", "name", "path", "donor", "layout", "stat_key", "input", "skipped", "pseudonymised")
        moved = old.model_copy(update={name: getattr(here, name) for name in names})
        return moved.model_copy(
            update={"call": self._stamps.call_of(moved), "model": self._stamps.model_of(moved), "waiting": None}
        )
