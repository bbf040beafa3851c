"""Points of a calibration curve from what people decided on the slides of an OUT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mnbatch.assay.count_kinds import PLURAL, CountKind
from mnbatch.dosimetry.calibration_curve import Endpoint
from mnbatch.dosimetry.dose_estimation import FEWEST_BACKGROUND
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.errors import CurveError
from mnbatch.results.store import Store
from mnbatch.review.person_counts import PersonCounts, person_counts, why_no_counts
from mnbatch.review.review_import import queues_of
from mnbatch.review.review_status import SlideReview, review_without_result, slide_review
from mnbatch.review.trail import read_trail


def person_points(store: Store, automatic: Sequence[DosePoint], endpoint: Endpoint, kind: CountKind) -> list[DosePoint]:
    """The same slides and doses, with the counts that people made.

    Args:
        automatic: points of slides, named by slide_id.

    Raises:
        CurveError: a slide whose review or confirmation is not complete, or without typed numbers of micronuclei where
            these are asked for; all are named.
    """
    points, faults = [], []
    reviews = _reviews(store, [point.name for point in automatic])
    for point in automatic:
        review = reviews[point.name]
        found = person_counts(review, kind)
        fault = why_no_counts(review, kind) if found is None else found.no_classes if endpoint == "mn" else ""
        if found is None or fault:
            faults.append(f"{point.name}: {fault}")
        else:
            points.append(_point(point, found, endpoint))
    if faults:
        raise CurveError(
            f"{len(faults)} of {len(automatic)} slides with a dose have no {kind} count: {'; '.join(faults)}.",
            "Complete them (mnbatch review serve OUT); automatic counts of some slides are never mixed in.",
        )
    return points


def refuse_thin_background(points: Sequence[DosePoint], kind: CountKind) -> None:
    """A curve of a person's counts needs a background: its doses are only as good as what was found at 0 Gy.

    Raises:
        CurveError: too few events or cells at 0 Gy.
    """
    zero = [point for point in points if point.dose == 0]
    events, cells = sum(p.events for p in zero), sum(p.cells for p in zero)
    least, of_cells = FEWEST_BACKGROUND
    if events < least or cells < of_cells:
        raise CurveError(
            f"The curve of {PLURAL[kind]} would rest on {events} events in {cells} cells at 0 Gy; {least} events in "
            f"{of_cells} cells are needed.",
            "Score and confirm more unexposed slides: unexposed donors would get doses otherwise.",
        )


def unsure_notes(store: Store, names: Sequence[str], kind: CountKind) -> list[str]:
    """Slides of a curve with called cells that are unsure, which count as the model called them."""
    found = ((name, person_counts(review, kind)) for name, review in _reviews(store, names).items())
    return [f"{name}: {counts.note}" for name, counts in found if counts is not None and counts.note]


def _reviews(store: Store, names: Sequence[str]) -> dict[str, SlideReview]:
    found = {}
    for slide_id, queue in queues_of(store, dict.fromkeys(names)).items():
        trail = read_trail(store.paths, slide_id)
        found[slide_id] = review_without_result(trail) if queue is None else slide_review(queue, trail)
    return found


def _point(point: DosePoint, found: PersonCounts, endpoint: Endpoint) -> DosePoint:
    if endpoint == "mn":
        return replace(point, cells=found.cells, events=found.micronuclei, counts=found.classes)
    return replace(point, cells=found.cells, events=found.mnbn, counts=())
