"""The second sheet of a donor's page for print: what laboratories state of sample, method, curve and limits.

The items are those that reports of biological dosimetry usually have. What the laboratory did not give is listed as
not given. No conformity with a standard is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnbatch.assay.laboratory import Laboratory
from mnbatch.dosimetry.calibration_curve import IRRADIATION
from mnbatch.report import wording
from mnbatch.report.dose_report import DonorDose
from mnbatch.report.headline import Headline
from mnbatch.results.records import SlideRecord
from mnbatch.review.review_status import SlideReview

Pairs = tuple[tuple[str, str], ...]
LONGEST = 400


@dataclass(frozen=True, slots=True)
class Particulars:
    """The second sheet.

    Attributes:
        sections: title, and label and text of what is given.
        not_given: labels of items that are not, with their section.
        uncertainty, limits: sentences; the laboratory's own come last.
        signatures: roles of those who sign.
    """

    sections: tuple[tuple[str, Pairs], ...]
    not_given: tuple[str, ...]
    uncertainty: tuple[str, ...]
    limits: tuple[str, ...]
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParticularsSource:
    """What it is made from.

    Attributes:
        samples: stored rows of the sample sheet of all slides of the donor.
        done: records of the slides that were counted.
    """

    laboratory: Laboratory
    samples: Sequence[Mapping[str, str]]
    done: Sequence[SlideRecord]
    review: SlideReview
    dose: DonorDose | None
    headline: Headline | None


def particulars(source: ParticularsSource) -> Particulars:
    """The second sheet of one donor."""
    stated = [
        ("Laboratory", _laboratory(source)),
        ("Report", _from_sheet(source, _REPORT)),
        ("Donor and sample", _from_sheet(source, _SAMPLE)),
        ("Culture and slides", _method(source)),
        ("Scoring", _scoring(source)),
    ]
    if source.dose is not None:
        stated.append(("Curve", _curve(source.dose)))
    return Particulars(
        sections=tuple((title, given) for title, pairs in stated if (given := tuple(p for p in pairs if p[1]))),
        not_given=tuple(
            f"{title.lower()}: {', '.join(missing)}"
            for title, pairs in stated
            if (missing := [label.lower() for label, text in pairs if not text])
        ),
        uncertainty=tuple(filter(None, (*_uncertainty(source), source.laboratory.text("report.uncertainty")))),
        limits=tuple(filter(None, (*_limits(source), source.laboratory.text("report.limits")))),
        signatures=source.laboratory.signatures,
    )


_REPORT = (
    *(("report_number", "Report number"), ("request_number", "Request number"), ("requester", "Requested by")),
    ("report_date", "Date of the report"),
)
_SAMPLE = (
    *(("exposure_date", "Exposure"), ("sampling_date", "Sampling"), ("arrival_date", "Arrival")),
    *(("sex", "Sex"), ("age", "Age"), ("smoking", "Smoking"), ("clinical_history", "Clinical history")),
)


def _from_sheet(source: ParticularsSource, columns: Sequence[tuple[str, str]]) -> Pairs:
    return tuple((label, _known(source.samples, name)) for name, label in columns)


def _known(samples: Sequence[Mapping[str, str]], name: str) -> str:
    """Each value of the donor's slides once; two that differ are both shown."""
    values = dict.fromkeys(sample[name] for sample in samples if sample.get(name))
    text = ", ".join(map(wording.sex, values) if name == "sex" else values)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _laboratory(source: ParticularsSource) -> Pairs:
    texts = source.laboratory.text
    return (
        ("Name", texts("laboratory.name")),
        ("Address", texts("laboratory.address")),
        ("Contact", texts("laboratory.contact")),
        ("Accreditation, as the laboratory states it", texts("laboratory.accreditation")),
    )


def _method(source: ParticularsSource) -> Pairs:
    texts = source.laboratory.text
    stains = ", ".join(dict.fromkeys(record.stain for record in source.done if record.stain))
    own = texts("method.stain")
    return (
        ("Protocol", texts("method.protocol")),
        ("Date of culture", _known(source.samples, "culture_date")),
        ("Culture", texts("method.culture")),
        ("Replicates", _known(source.samples, "culture")),
        ("Cytochalasin B", texts("method.cytochalasin")),
        ("Stain", own or (f"{stains}, as recognised" if stains else "")),
        ("Cultured and prepared by", _known(source.samples, "operator")),
    )


def _scoring(source: ParticularsSource) -> Pairs:
    people = ", ".join(state.reviewer for state in source.review.reviewers)
    looked = wording.plural(source.review.looked, "cell")
    models = ", ".join(dict.fromkeys(f"{r.model.name} {r.model.version}" for r in source.done if r.model))
    return (
        ("Cells called by", f"a network ({models}), automatically" if models else ""),
        ("Calls reviewed by", f"{people} ({looked}, {source.review.status})" if people else ""),
        ("Responsible for the scoring", _known(source.samples, "scored_by")),
    )


def _curve(dose: DonorDose) -> Pairs:
    given = dose.dosing.curve.about.get("irradiation")
    stated = given if isinstance(given, Mapping) else {}
    return tuple((label, str(stated.get(name) or "")[:LONGEST]) for name, label in IRRADIATION.items())


_OF_HEADLINE = {
    "reviewed": "The frequency's interval holds counting, and the cells that no person looked at.",
    "estimated": "The frequency's interval holds counting, the model's errors, and how they differ between slides.",
    "none": "No interval of the frequency is given: how often the model errs on these slides is not known.",
}


def _uncertainty(source: ParticularsSource) -> tuple[str, ...]:
    """What the intervals hold and what they do not; nothing where nothing was counted."""
    if source.headline is None:
        return ()
    found = [_OF_HEADLINE.get(source.headline.kind, source.headline.trust)]
    if source.dose is not None and source.dose.result.status == "ok":
        r, curve = source.dose.result, source.dose.curve
        parts = ["the counting of this sample"]
        if curve.uncertainty != "none":
            parts.append("the uncertainty of the curve's coefficients")
        if curve.slide_scatter > 1:
            parts.append("how much slides of the curve scatter about it")
        found.append(f"The dose's {100 * r.level:g} % interval holds {', '.join(parts)}.")
        if curve.uncertainty == "none":
            found.append("It does not hold the uncertainty of the curve, which its file does not state.")
    found.append(
        "Not in any interval: how people differ in sensitivity and background, culture and harvest, time between "
        "exposure and sampling, and an exposure that was not uniform."
    )
    return tuple(found)


def _limits(source: ParticularsSource) -> tuple[str, ...]:
    found = []
    if source.dose is not None:
        hours = source.dose.dosing.settings.exposure_hours
        how = f"an exposure over {hours:g} h" if hours else "an acute exposure"
        found.append(
            f"The dose is the mean to the blood of the whole body, for {how} shortly before sampling. A part of the "
            "body, other radiation than the curve's, and weeks between exposure and sampling make it wrong."
        )
        span = source.dose.curve.dose_range
        if span is not None:
            found.append(f"The curve was measured from {span[0]:g} to {span[1]:g} Gy; nothing is known beyond.")
    found.append(
        "Micronuclei are not specific to radiation: age, sex, smoking, medicines and other agents raise their number."
    )
    found.append("Cells were called by a program. ISO 17099:2024 leaves automated scoring out.")
    return tuple(found)
