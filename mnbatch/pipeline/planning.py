"""Which slides have to be scored, which only re-thresholded, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from mnbatch.assay.calls import CallRules
from mnbatch.assay.cells import Slide
from mnbatch.imaging.fields.field_options import CropScale, FieldOptions
from mnbatch.imaging.version import READER_VERSION
from mnbatch.inference.card import ModelCard
from mnbatch.inference.catalogue import ModelSet, VerifiedModel
from mnbatch.results.commit import is_damaged
from mnbatch.results.keys import content_key, stat_key
from mnbatch.results.out_files import hash_file
from mnbatch.results.record_view import PLANNED
from mnbatch.results.records import (
    CallStamp,
    ModelStamp,
    RateStamp,
    ScoreKeyParts,
    ScoresStamp,
    SlideCountsStamp,
    SlideRecord,
    ValidationStamp,
)
from mnbatch.results.store import Store
from mnbatch.settings import RunSettings

Action = Literal["score", "call", "touch", "keep", "wait", "copy", "reuse"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one slide.

    Attributes:
        slide: its files are dropped where they are not needed any more.
        action: `score` it; `call` it again from stored scores; `touch` its record (only times of its files changed);
            `keep` it; `wait` for the scanner; note a `copy`; `reuse`: its scores were
            taken over from another OUT.
        why: one line; "" for a kept slide.
        record: what is committed, or None.
    """

    slide: Slide
    action: Action
    why: str
    record: SlideRecord | None


def plan_slides(slides: Iterable[Slide], store: Store, stamps: Stamps) -> Iterable[Plan]:
    """Decide for each slide, streaming; the files of slides that are not scored are let go."""
    for slide in slides:
        plan = _plan(slide, store.record(slide.slide_id), stamps)
        kept = plan.record is not None and plan.action in ("call", "touch", "keep")
        if plan.record is not None and kept and store.damage(plan.record, pictures=stamps.settings.verify):
            plan = Plan(slide, "score", "its stored result is damaged", plan.record)
        yield (
            plan
            if plan.action in ("score", "touch", "wait")
            else replace(plan, slide=replace(slide, files=(), companions=()))
        )


@dataclass(frozen=True, slots=True)
class Stamps:
    """What a run would record of a slide: which model, which call, and everything that its scores depend on.

    A slide whose record says the same is not scored or called again.
    """

    models: ModelSet
    settings: RunSettings

    @property
    def fields(self) -> FieldOptions:
        """How cells are found in fields and cut from them: the run's settings, and the scale that the cards ask for."""
        return FieldOptions(
            cells=self.settings.cells,
            channel=self.settings.nuclear_channel,
            um_per_pixel=self.settings.um_per_pixel,
            scale=self._crop_scale(),
            stain=self.settings.stain,
            keep_overviews=self.settings.keep_crops,
            planes=self.settings.planes,
            time=self.settings.time,
            pages=self.settings.pages,
            names=self.settings.stated_names,
            cytoplasm=self.settings.cytoplasm_channel,
        )

    def parts(self, slide: Slide, content: str, model_digest: str) -> ScoreKeyParts:
        """What the scores of a slide depend on."""
        crops = slide.kind == "crops"
        return ScoreKeyParts(
            content=content,
            model=model_digest,
            reader=READER_VERSION,
            stain=self.settings.stain or "",
            crops=self.settings.keep_crops,
            fields=self.fields.page_options.key() if crops else self.fields.key(slide.um_per_pixel),
        )

    def rules(self, card: ModelCard) -> CallRules:
        """The rules of a call: the card's threshold unless another was asked for."""
        threshold = card.threshold if self.settings.threshold is None else self.settings.threshold
        return CallRules(threshold=threshold, max_bad_fraction=self.settings.max_bad_fraction)

    def call(self, score_key: str, card: ModelCard) -> CallStamp:
        """The call of scores of this model as it is recorded with a slide."""
        rules = self.rules(card)
        return CallStamp(
            key=rules.key(score_key),
            threshold=rules.threshold,
            max_bad_fraction=rules.max_bad_fraction,
            quality_rules=rules.quality.version,
        )

    def call_of(self, record: SlideRecord) -> CallStamp:
        """The call that this run makes of a slide's stored scores."""
        return self.call(record.score_key, self._model_of(record).card)

    def model_of(self, record: SlideRecord) -> ModelStamp:
        """The model of a slide's stored scores as this version records it."""
        member = self._model_of(record)
        return model_stamp(member.card, member.digest)

    def changed_parts(self, old: ScoreKeyParts, slide: Slide, record: SlideRecord) -> str:
        """What a slide's stored scores depend on and what is different now, in words; "" where nothing is."""
        new = self.parts(slide, old.content, self._expected_digest(record))
        reasons = {
            "model": "the model changed",
            "reader": "the reading code changed",
            "stain": "the forced stain changed",
            "crops": "--no-crops was given or left out",
            "fields": "the settings for fields or pages changed",
        }
        found = [text for part, text in reasons.items() if getattr(old, part) != getattr(new, part)]
        asked, known = self.settings.precision, record.scored
        # No part of the key, since auto takes what each device is good at; who asks for one gets all slides in it.
        if asked != "auto" and known is not None and known.precision != asked:
            found.append(f"--precision {asked} was asked for, it was scored in {known.precision}")
        return "; ".join(found)

    def _crop_scale(self) -> CropScale:
        """The one scale that all models of a set ask for; neither width is given where they state none, or several."""
        scales = {member.card.scale for member in self.models.members}
        if len(scales) != 1:
            return CropScale()
        (scale,) = scales
        width = None if scale.um_per_pixel is None else scale.um_per_pixel * self.models.preparation.size
        return CropScale(scale.crop_width_in_nucleus_diameters, width)

    def _expected_digest(self, record: SlideRecord) -> str:
        stain = self.settings.stain or record.stain
        # A slide that failed before it had a model may be served by a new set of models, whichever member it is.
        if record.model is None or (stain is not None and stain not in self.models.stains):
            return self.models.digest
        return self._model_of(record).digest

    def _model_of(self, record: SlideRecord) -> VerifiedModel:
        stain = self.settings.stain or record.stain
        # Without a readable cell no stain is known, and any model will do to say so.
        return self.models.members[0] if stain is None else self.models.for_stain(stain)


def model_stamp(card: ModelCard, digest: str) -> ModelStamp:
    """The model as it is recorded with a slide, with what its card says of its errors."""
    rates = {
        name: None if rate is None else RateStamp(data=rate.data, right=rate.right, total=rate.total)
        for name, rate in (("sensitivity", card.sensitivity), ("specificity", card.specificity))
    }
    scores = card.validation_scores
    return ModelStamp(
        name=card.name,
        version=card.version,
        digest=digest,
        architecture=card.architecture,
        mean_3plus=card.counting.mean_3plus if card.counting else None,
        validation=ValidationStamp(
            threshold=card.threshold,
            scores=ScoresStamp(**scores.model_dump()) if scores else None,
            slides=tuple(SlideCountsStamp(**s.model_dump(exclude={"slide"})) for s in card.validation_slides),
            **rates,
        ),
    )


def read_content_key(slide: Slide) -> str:
    """Hash the content of all files of a slide; a file that cannot be read counts as unread, as in scoring."""
    digests = {}
    for file in slide.everything:
        try:
            digests[file.path] = hash_file(slide.root / file.path)
        except OSError:
            digests[file.path] = ""
    return content_key(digests)


def _plan(slide: Slide, record: SlideRecord | None, stamps: Stamps) -> Plan:
    if slide.waits is not None and not _is_as_scored(slide, record):
        return Plan(slide, "wait", slide.waits.why, record)
    if slide.copy_of is not None:
        known = record is not None and record.status == "copy" and record.copy_of == slide.copy_of
        return Plan(slide, "keep" if known else "copy", f"copy of {slide.copy_of}", record)
    if record is None:
        return Plan(slide, "score", "new", None)
    if is_damaged(record):
        return Plan(slide, "score", "its record is damaged", record)
    if record.status == "waiting":
        planned = record.waiting is not None and record.waiting.state == PLANNED
        why = "it was to be scored before, and was not" if planned else "it waited until its files did not change"
        return Plan(slide, "score", why, record)
    if record.status == "copy":
        return Plan(slide, "score", "no longer a copy of another slide", record)
    if record.status == "failed" and (record.transient or stamps.settings.retry_failed):
        return Plan(slide, "score", "failed before, tried again", record)
    if record.parts is None:
        return Plan(slide, "score", "its record does not state what it depends on", record)
    why = stamps.changed_parts(record.parts, slide, record)
    if why:
        return Plan(slide, "score", why, record)
    return _plan_files(slide, record, stamps)


def _is_as_scored(slide: Slide, record: SlideRecord | None) -> bool:
    """Whether a slide has the very files of its record, so that there is nothing to wait for."""
    if record is None or record.status == "waiting" or is_damaged(record) or slide.unfinished:
        return False
    return stat_key(slide.everything) == record.stat_key


def _plan_files(slide: Slide, record: SlideRecord, stamps: Stamps) -> Plan:
    same_stat = stat_key(slide.everything) == record.stat_key
    if same_stat and _now_readable(slide, record):
        return Plan(slide, "score", "files that could not be read before can be read now", record)
    if (not same_stat or stamps.settings.verify) and read_content_key(slide) != record.content_key:
        return Plan(slide, "score", "its files changed", record)
    if record.status == "failed":
        return Plan(slide, "keep" if same_stat else "touch", "failed before and unchanged", record)
    if record.call != stamps.call_of(record):
        return Plan(slide, "call", "threshold or call rules changed", record)
    if record.model != stamps.model_of(record):
        return Plan(slide, "call", "its record does not yet state the model's error rates", record)
    return Plan(
        slide, "keep" if same_stat else "touch", "" if same_stat else "only the times of its files changed", record
    )


def _now_readable(slide: Slide, record: SlideRecord) -> bool:
    for index in record.unread:
        try:
            with (slide.root / slide.everything[index].path).open("rb") as file:
                file.read(1)
        except (OSError, IndexError):
            continue
        return True
    return False
