"""The review of an OUT: decisions in, labels out, its state, its plan, and the local server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from mnbatch.app.confirmation_plan import changed_halfway, plan_confirmation
from mnbatch.app.deciding_service import served_verdicts
from mnbatch.app.learning_plan import LearningPlan, LearningRequest, choose_learning
from mnbatch.app.rebuild import Rebuilt, open_store, rebuild_after_change
from mnbatch.app.scoring_model import one_scoring
from mnbatch.app.signing_service import Signed, SignRequest, sign_donor
from mnbatch.assay.sequential_verdict import ERROR
from mnbatch.errors import StorageError, TrainingError, UsageError
from mnbatch.results.annotations import load_samples
from mnbatch.results.roster import Missing, Roster, open_roster
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, load_plan, save_plan
from mnbatch.review.review_export import Exported, ScoredBy, export_labels
from mnbatch.review.review_import import Imported, import_review, queues_of
from mnbatch.review.review_status import SlideReview, review_without_result, slide_review
from mnbatch.review.served_place import ServedPlace, check_writable, read_place, set_due, write_place
from mnbatch.review.server import DonorVerdicts, ReviewServer
from mnbatch.review.trail import read_trail

MODE_FIELDS = {"confirm": ("negatives",), "complete": ("band", "sample", "least_band", "least_sample")}
"""Fields of a plan that only one mode uses."""


@dataclass(frozen=True, slots=True)
class ReviewState:
    """The state of the review of an OUT.

    Attributes:
        reviews: slide_id -> its review, in the order of the tables.
        missing: slides that are not counted, so that they cannot be reviewed.
    """

    reviews: Mapping[str, SlideReview]
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of a review, whether it was changed just now, and what is to be said of the change.

    Attributes:
        learning: cells that were chosen for a model's training; None where nobody asked.
    """

    plan: ReviewPlan
    changed: bool
    notes: tuple[str, ...] = ()
    learning: LearningPlan | None = None


class Listener(Protocol):
    """Who is told what the local server did while it runs."""

    def heard(self, done: Rebuilt | Signed) -> None:
        """Something was done."""


class Silence:
    """Reports nothing."""

    def heard(self, done: Rebuilt | Signed) -> None:
        """Nothing."""


def import_decisions(out: Path, review: Path, *, keep_outdated: bool = False, replace_newer: bool = False) -> Imported:
    """Check that a review file belongs to OUT and append it to the trail; `rebuild_after_change` shows it.

    Args:
        review: review.csv or review.json as a gallery saved it.
        keep_outdated: also keep decisions on an earlier result; they count for nothing.
        replace_newer: take decisions that are older than those which hold.

    Raises:
        NoInputError: OUT holds no results.
        UsageError: broken rows, or an earlier save than what was imported.
        MismatchError: it is the review of another batch, model, plan or result.
        LockHeldError: another import did not end in time.
        StorageError: a file cannot be read or written.
    """
    return import_review(open_store(out), review, keep_outdated=keep_outdated, replace_newer=replace_newer)


def export_reviewed(out: Path, folder: Path, reviewer: str | None = None, stain: str | None = None) -> Exported:
    """Write the reviewed cells as a labelled set.

    Args:
        folder: a new one, for crops and labels.csv.
        reviewer: only this one's decisions.
        stain: only slides of this stain.

    Raises:
        NoInputError: OUT holds no results, or there is nothing to write.
        UsageError: the folder is there already.
        StorageError: a file cannot be read or written.
    """
    store = open_store(out)
    donors = {slide: row["donor"] for slide, row in load_samples(store.paths).items() if row.get("donor")}
    return export_labels(store, folder, donors, reviewer, stain)


def export_for_model(
    out: Path, folder: Path, stain: str | None = None, reviewer: str | None = None
) -> tuple[Exported, ScoredBy]:
    """Write the reviewed cells of one stain, to train the model further that scored them; and which that is.

    Raises:
        UsageError: slides of two stains were reviewed and none was named.
        MismatchError: the slides were scored by different models.
        TrainingError: the cells are all of one class.
        NoInputError, StorageError: as `export_reviewed`.
    """
    exported = export_reviewed(out, folder, reviewer, stain)
    for number, word in ((exported.mn, "with"), (exported.not_mn, "without")):
        if not number:
            raise TrainingError(
                f"The review of {out} has no cell {word} micronuclei ({exported.mn + exported.not_mn} cells in all).",
                "Both classes are needed to learn and to judge: review more cells.",
            )
    return exported, one_scoring(exported.scored_by, out)


def review_state(out: Path) -> ReviewState:
    """Of each slide what is reviewed, what is missing, and where reviewers differ.

    Raises:
        NoInputError: OUT holds no results.
        StorageError: a file cannot be read.
    """
    roster = open_roster(open_store(out))
    return ReviewState(_reviews(roster), tuple(roster.missing()))


def _reviews(roster: Roster) -> dict[str, SlideReview]:
    store = roster.store
    queues = queues_of(store, {record.slide_id: None for record in roster.records}, roster=roster)
    found = {}
    for slide_id, queue in queues.items():
        trail = read_trail(store.paths, slide_id)
        found[slide_id] = review_without_result(trail) if queue is None else slide_review(queue, trail)
    return found


def review_plan(
    out: Path, changes: Mapping[str, Any] | None = None, learning: LearningRequest | None = None
) -> Planned:
    """How much a review covers, after `changes` (fields of `ReviewPlan`) are kept; `rebuild_after_change` shows them.

    All of the change is kept, or nothing.

    Args:
        learning: cells for a model's training to be added.

    Raises:
        NoInputError: OUT holds no results, or no cell is left to choose for the training.
        UsageError: no review can be drawn so, or a field that the plan's mode does not use.
        MismatchError, ModelError: as `choose_learning`.
        StorageError: a file cannot be read or written.
    """
    store, typed = open_store(out), dict(changes or {})
    before = load_plan(store.paths)
    plan = replace(before, **typed)
    if not typed and learning is None:
        return Planned(plan, False)
    _refuse_other_mode(plan.mode, typed)
    notes: tuple[str, ...] = ()
    if typed:
        plan, notes = _laid(store, before, plan, typed)
    chosen = None
    if learning is not None:
        plan, chosen = choose_learning(store, plan, learning)
    save_plan(store.paths, plan)
    halfway = changed_halfway(store, before, replace(plan, learn=before.learn))
    return Planned(plan, True, (*_told_changes(before, plan), *notes, *halfway), chosen)


def _refuse_other_mode(mode: str, typed: Mapping[str, Any]) -> None:
    """A number that the plan does not use is no wish that was heard."""
    for of, names in MODE_FIELDS.items():
        options = ", ".join(f"--{name.replace('_', '-')}" for name in names if name in typed)
        if options and of != mode:
            raise UsageError(
                f"{options}: only with --mode {of}, and the mode of this plan is {mode}.",
                f"Leave it out, or add --mode {of}; the plan was not changed.",
            )


def _laid(
    store: Store, before: ReviewPlan, plan: ReviewPlan, typed: Mapping[str, Any]
) -> tuple[ReviewPlan, tuple[str, ...]]:
    """The plan with what follows from its mode; what was set before and is not changed now stays."""
    if plan.mode != "confirm":
        # Of a confirmation the share may have been proposed, and nobody asked for it here.
        return (replace(plan, quotas={}, double=typed.get("double", 0.0)) if before.mode == "confirm" else plan), ()
    if before.mode != "confirm":
        fresh = replace(plan, negatives=typed.get("negatives", ReviewPlan().negatives))
        laid = plan_confirmation(store, fresh, typed.get("negatives"), typed.get("double", before.double or None))
        return laid.plan, laid.notes
    laid = plan_confirmation(store, plan, plan.negatives, plan.double)
    if not {"mode", "negatives"} & typed.keys() and laid.plan.quotas.keys() == before.quotas.keys():
        # Donors of two models may have two numbers, of which `negatives` is the larger one.
        return replace(laid.plan, quotas=before.quotas), laid.notes
    return laid.plan, laid.notes


def _told_changes(before: ReviewPlan, plan: ReviewPlan) -> tuple[str, ...]:
    """Each number of the plan that is another one now: old -> new."""
    lines = []
    for field in fields(ReviewPlan):
        old, new = (_short(getattr(one, field.name)) for one in (before, plan))
        lines += [f"{field.name}: {old} -> {new}"] if old != new else []
    return tuple(lines)


def _short(value: Any) -> str:
    """A number, the sum of a slide's numbers, or how many cells."""
    if isinstance(value, dict):
        return str(sum(value.values()))
    return value if isinstance(value, str) else f"{len(value) if isinstance(value, tuple) else value:g}"


@dataclass(frozen=True, slots=True)
class StoreActions:
    """What pages may ask of the local server, done in an OUT; `listener` is told each time."""

    store: Store
    listener: Listener

    def rebuild(self) -> str:
        """Bring the reports up to date; says in a line what was done.

        Raises:
            StorageError: a file cannot be read or written.
        """
        return self._told(report_after_review(self.store))

    def sign(self, asked: Mapping[str, str]) -> str:
        """Sign as the form of a donor's page asked; says what was done.

        Raises:
            MnbatchError: as `sign_donor`.
        """
        return self._told(sign_donor(self.store, SignRequest(**asked)))

    def _told(self, done: Rebuilt | Signed) -> str:
        self.listener.heard(done)
        return done.text


def report_after_review(store: Store) -> Rebuilt:
    """Bring the reports up to date, and note that none is due; a run that holds OUT makes them when it ends.

    Raises:
        StorageError: a file cannot be read or written.
    """
    done = rebuild_after_change(store)
    if done.made is not None:
        set_due(store.paths, False)
    return done


def report_left_due(out: Path) -> Rebuilt | None:
    """The report that an earlier server could not make any more, made now; None where there is none.

    Raises:
        NoInputError: OUT holds no results.
        StorageError: OUT cannot be read or written: nothing could be saved in it either.
    """
    store = open_store(out)
    check_writable(store.paths)
    return report_after_review(store) if read_place(store.paths).due else None


def review_server(
    out: Path, port: int | None = None, listener: Listener | None = None, decide: str = "", error: float = ERROR
) -> ReviewServer:
    """A server that shows OUT on this machine and saves decisions into it; use it in a `with` statement.

    Args:
        port: 0 for any that is free; None for that of the latest server of this OUT, and any where it is taken.
        listener: is told of reports that were made and of sign-offs, from the server's threads.
        decide: a limit; donors' pages say whether they are above or below it; error: of a verdict, at most.

    Raises:
        NoInputError: OUT holds no results.
        UsageError: as `limit_of`.
        StorageError: the port that was given is taken, or OUT cannot be written.
        LockHeldError: another import did not end in time.
    """
    store = open_store(out)
    check_writable(store.paths)
    verdicts = served_verdicts(store, decide, error) if decide else None
    place, actions = read_place(store.paths), StoreActions(store, Silence() if listener is None else listener)
    server = _listening(store, actions, place, port, verdicts)
    if (place.port == 0 or port is not None) and server.server_port != place.port:
        write_place(store.paths, replace(place, port=server.server_port))
    return server


@contextlib.contextmanager
def served(out: Path) -> Iterator[ReviewServer]:
    """A server as `review_server` gives, that answers from a thread of its own while the `with` block runs.

    Raises:
        MnbatchError: as `review_server`.
    """
    with review_server(out) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _listening(
    store: Store, actions: StoreActions, place: ServedPlace, port: int | None, verdicts: DonorVerdicts | None
) -> ReviewServer:
    if port is not None or place.port == 0:
        return ReviewServer(store, actions, port or 0, place.token, verdicts)
    try:
        return ReviewServer(store, actions, place.port, place.token, verdicts)
    except StorageError:
        # Taken, perhaps for a moment: the port stays that of this OUT.
        return ReviewServer(store, actions, 0, place.token, verdicts)
