"""From pending slides to committed ones: reading, packing, the network and committing, joined into one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mnbatch.assay.cells import CellScore, Stain, UnreadableCell
from mnbatch.console import RunProgress
from mnbatch.inference.catalogue import ModelSet
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.packing import score_stream
from mnbatch.pipeline.committing import Committer
from mnbatch.pipeline.planning import Plan, Stamps
from mnbatch.pipeline.reading import Reading, SlideJob, default_workers
from mnbatch.pipeline.workers import WorkerPool
from mnbatch.results.pseudonyms import Pseudonyms
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store
from mnbatch.settings import RunSettings


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run lends to its scoring.

    Attributes:
        pseudonyms: codes in place of names, or None.
        stop: asked before each piece of work.
        pool: the processes that decode.
        on_classifier: told of each model that is put on a device.
        classifiers: models that stay on their device from call to call; None opens them and closes them.
    """

    progress: RunProgress
    pseudonyms: Pseudonyms | None
    stop: Callable[[], bool]
    on_classifier: Callable[[Classifier], None]
    pool: WorkerPool
    classifiers: Classifiers | None = None


def score_slides(
    pending: list[Plan], store: Store, stamps: Stamps, tools: Tools
) -> Iterator[tuple[SlideJob, SlideRecord]]:
    """Score slides and commit each when its last cell has come back; yields each finished slide with its record."""
    models, settings = stamps.models, stamps.settings
    known = all(plan.slide.kind == "crops" for plan in pending)
    tools.progress.start(len(pending), sum(len(plan.slide.files) for plan in pending) if known else None)
    jobs: dict[str, SlideJob] = {}
    committer = Committer(store, stamps, jobs, tools.pseudonyms)
    classifiers = tools.classifiers or Classifiers(models, settings, tools.on_classifier)
    reading = Reading(
        preparation=models.preparation,
        classifier_for=classifiers.for_stain,
        any_stain=models.members[0].card.stains[0],
        stain=settings.stain,
        keep_crops=settings.keep_crops,
        pseudonyms=tools.pseudonyms,
        workers=settings.workers or default_workers(),
        stop=tools.stop,
        kind=pending[0].slide.kind,
        fields=stamps.fields,
        pool=tools.pool,
    )
    todo: Iterable[SlideJob] = (SlideJob(plan.slide, plan.why) for plan in pending)
    try:
        while todo:
            pieces = ((job.classifier, items) for job, items in reading.stream(_opened(todo, jobs)))
            for ready in score_stream(pieces, stop=tools.stop):
                tools.progress.cells(sum(isinstance(item, CellScore | UnreadableCell) for item in ready))
                for item in ready:
                    finished = committer.take(item)
                    if finished is not None:
                        yield finished
            # Few: slides whose first cells showed another stain than the slide.
            todo = committer.again()
    finally:
        committer.abandon()
        if tools.classifiers is None:
            classifiers.close()


class Classifiers:
    """Each model on the device once, and only those that some slide needs."""

    def __init__(
        self,
        models: ModelSet,
        settings: RunSettings,
        on_new: Callable[[Classifier], None],
        threads: int | None = None,
    ) -> None:
        self._threads = threads
        self._models = models
        self._settings = settings
        self._on_new = on_new
        self._by_digest: dict[str, Classifier] = {}

    def for_stain(self, stain: Stain) -> Classifier:
        """The classifier of a stain; raises SlideError where no model serves it."""
        digest = self._models.digest_for(stain)
        if digest not in self._by_digest:
            model, settings = self._models.load(stain), self._settings
            self._by_digest[digest] = Classifier(
                model,
                device=settings.device,
                minibatch=settings.minibatch,
                threads=self._threads,
                precision=settings.precision,
            )
            self._on_new(self._by_digest[digest])
        return self._by_digest[digest]

    def close(self) -> None:
        """Free the devices' workers."""
        for classifier in self._by_digest.values():
            classifier.close()


def _opened(todo: Iterable[SlideJob], jobs: dict[str, SlideJob]) -> Iterator[SlideJob]:
    for job in todo:
        jobs[job.slide.slide_id] = job
        yield job
