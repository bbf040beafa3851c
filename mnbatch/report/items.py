"""Slides and donors as every page and table knows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from mnbatch.assay.alike_names import alike_warning
from mnbatch.assay.calls import DonorCall, SlideCall
from mnbatch.assay.estimates import NO_ESTIMATES, Estimates
from mnbatch.assay.field_records import FieldCounts
from mnbatch.assay.heterogeneity import Heterogeneity
from mnbatch.assay.laboratory import NO_LABORATORY, Laboratory
from mnbatch.assay.reader_slips import NO_SLIPS, Slips
from mnbatch.assay.sheet_contradictions import Contradiction, contradictions
from mnbatch.assay.sheet_doubts import Doubt
from mnbatch.report.confirmation import ConfirmedFrequency
from mnbatch.report.control_samples import NO_CONTROLS, BatchControls
from mnbatch.report.dose_report import DonorDose
from mnbatch.report.headline import Headline, headline_of
from mnbatch.report.statistics import Statistics, disagreement, division_warnings
from mnbatch.results.record_view import PLANNED
from mnbatch.results.records import SlideRecord
from mnbatch.review.estimate import with_slips
from mnbatch.review.review_status import NO_REVIEW, SlideReview, pool
from mnbatch.review.sign_offs import Basis, Signed

CHECK_SLIDE = (
    "Check the excluded cells and their reasons. If the files are damaged, export the slide again, "
    "and run the same command again."
)


# No slots: what a page and three tables ask for is worked out once.


@dataclass(frozen=True)
class SlideItem:
    """A slide as every page knows it: its record, its call (without cells) and its row of the sample sheet.

    Attributes:
        donor: code, from the sample sheet or the path; None where not known.
        also_found: names of slides that are byte-identical to this one and were not counted.
        call_next_step: what to do where the call failed for a reason that the record does not know.
        review: the state of a person's review of the slide.
        estimates, statistics: what accompanies the counted frequency; None where there is no frequency.
        controls: the batch's control samples against their ranges.
        confirmed: what a complete confirmation of its called cells says; None without one.
    """

    record: SlideRecord
    call: SlideCall
    donor: str | None
    donor_folder: str
    sample: Mapping[str, str]
    also_found: tuple[str, ...] = ()
    call_next_step: str = ""
    review: SlideReview = NO_REVIEW
    estimates: Estimates = NO_ESTIMATES
    statistics: Statistics | None = None
    controls: BatchControls = NO_CONTROLS
    confirmed: ConfirmedFrequency | None = None

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the scoring, of the call, of the statistics, and of what was taken once."""
        twice = (f"also found as {name}; counted once" for name in self.also_found)
        stated = self.statistics.warnings if self.statistics else ()
        return (*self.behind, *self.record.warnings, *self.call.warnings, *stated, *twice)

    @cached_property
    def behind(self) -> tuple[str, ...]:
        """What is waiting to be counted of a slide that has a count."""
        waits = self.record.waiting
        return () if waits is None or self.record.status == "waiting" else (waits.text,)

    @cached_property
    def headline(self) -> Headline | None:
        """The frequency for the top of its page; None where nothing was counted."""
        return headline_of(self.call.frequency, self.estimates, self.review, self.confirmed)

    @cached_property
    def fields(self) -> FieldCounts | None:
        """What its fields held; None for crops."""
        return None if self.record.fields is None else self.record.fields.counts()

    @cached_property
    def excluded_cells(self) -> int | None:
        """Cells that left the denominator; None for a slide of which no cell was read."""
        return self.call.excluded_cells if self.record.status == "scored" else None

    @cached_property
    def next_step(self) -> str:
        """What to do about a failure, or a slide that waits; "" for one that is done."""
        if self.call.status not in ("failed", "waiting"):
            return ""
        return self.record.next_step or self.call_next_step or CHECK_SLIDE


@dataclass(frozen=True)
class DonorItem:
    """A donor with the pooled call and its slides, failed ones too.

    Attributes:
        statistics: what accompanies the pooled frequency; None where there is none.
        heterogeneity: comparison of the slides with status done; None for fewer than two.
        dose: from the curve in force; None where there is none.
        basis: what a sign-off of the donor would be about; None until it is needed.
        signatures: who signed the donor's result, in the order in which they did.
        alike: codes of other donors that are hardly told from this one (`mnbatch.assay.alike_names`).
        doubts: what of its code and of the sample sheet can hardly be true (`mnbatch.assay.sheet_doubts`).
        confirmed: what complete confirmations of its slides say; None without them.
        slips: what double readings in the whole OUT say of the reviewers' slips.
        torn_signatures: lines of OUT's trail of sign-offs that cannot be read, whosever they were.
        controls: the batch's control samples against their ranges.
        laboratory: what the laboratory states for its reports.
    """

    call: DonorCall
    folder: str
    slides: tuple[SlideItem, ...]
    statistics: Statistics | None = None
    heterogeneity: Heterogeneity | None = None
    dose: DonorDose | None = None
    basis: Basis | None = None
    signatures: tuple[Signed, ...] = ()
    torn_signatures: int = 0
    alike: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    controls: BatchControls = NO_CONTROLS
    laboratory: Laboratory = NO_LABORATORY
    confirmed: ConfirmedFrequency | None = None
    slips: Slips = NO_SLIPS

    @cached_property
    def done(self) -> tuple[SlideItem, ...]:
        """The slides that were counted, in the order of `heterogeneity`."""
        return tuple(slide for slide in self.slides if slide.call.frequency is not None)

    @cached_property
    def disagreeing(self) -> tuple[SlideItem, ...]:
        """Slides that disagree with the donor's others."""
        return tuple(self.done[i] for i in self.heterogeneity.disagreeing) if self.heterogeneity else ()

    @cached_property
    def contradictions(self) -> tuple[Contradiction, ...]:
        """What the sample sheet says in several ways of the donor's slides."""
        names = Counter(slide.record.name for slide in self.slides)
        known = ((slide.record, slide.sample) for slide in self.slides)
        return contradictions([(r.slide_id if names[r.name] > 1 else r.name, sample) for r, sample in known])

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the sample sheet, of the pooling, of the statistics and of slides that disagree."""
        stated = self.statistics.warnings if self.statistics else ()
        odd = [slide.record.name for slide in self.disagreeing]
        known = self.heterogeneity is not None and self.heterogeneity.spread_known
        same = (alike_warning(self.call.donor, self.alike),) if self.alike else ()
        counts = self.fields
        return (
            *same,
            *(one.warning for one in self.contradictions),
            *(one.warning for one in self.doubts),
            *self.call.warnings,
            *self.behind,
            *stated,
            *((disagreement(odd, len(self.done), known),) if odd else ()),
            *(division_warnings(counts) if counts else ()),
        )

    @cached_property
    def behind(self) -> tuple[str, ...]:
        """Which slides have a count that something is waiting to change."""
        left = [slide.record for slide in self.slides if slide.behind]
        newer = [r.slide_id for r in left if r.waiting and r.waiting.state != PLANNED]
        again = [r.slide_id for r in left if r.waiting and r.waiting.state == PLANNED]
        what = {"newer files of these slides wait to be scored": newer}
        what["these slides were to be scored or called again, and have not been"] = again
        return tuple(f"{said}: {', '.join(slides)}" for said, slides in what.items() if slides)

    @cached_property
    def fields(self) -> FieldCounts | None:
        """What the fields of its slides held; None for crops."""
        known = [slide.fields for slide in self.slides if slide.fields is not None]
        return FieldCounts.pooled(known) if known else None

    @cached_property
    def headline(self) -> Headline | None:
        """The frequency for the top of its pages; None where nothing was counted."""
        estimates = self.statistics.estimates if self.statistics else None
        return headline_of(self.call.frequency, estimates, self.review, self.confirmed, self.slips)

    @cached_property
    def review(self) -> SlideReview:
        """The review of the slides that are counted, pooled; its interval holds the reviewers' slips."""
        found = pool([slide.review for slide in self.slides if slide.call.frequency is not None])
        if found.estimate is None or not self.slips.any_known:
            return found
        return replace(found, estimate=with_slips(found.estimate, found.tallies, self.slips))

    @cached_property
    def excluded_cells(self) -> int | None:
        """Cells that left the denominator; None where no slide was ever read."""
        return self.call.excluded_cells if any(slide.excluded_cells is not None for slide in self.slides) else None
