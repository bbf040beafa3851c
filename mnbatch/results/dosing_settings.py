"""The calibration curve in force for an OUT, with how doses are read from it: one file, replaced by one rename."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from mnbatch.assay.classifier_error import CountedRate
from mnbatch.dosimetry.calibration_curve import Curve, CurveFile, dump_curve, protraction_factor
from mnbatch.dosimetry.dose_estimation import DoseOptions
from mnbatch.dosimetry.scorer_error import curve_seen_by
from mnbatch.errors import StorageError
from mnbatch.intake import parse_json, reason
from mnbatch.results.annotations import change, read
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord

METHODS = ("automatic", "profile", "components", "merkle", "delta")
MODE = "automated (mnbatch)"
MODE_ALL_CELLS = "automated (mnbatch --cells all)"
"""The scoring modes of what mnbatch counts itself: binucleated cells, or every nucleus."""


@dataclass(frozen=True, slots=True)
class DoseSettings:
    """What a person asked for in addition to the curve.

    Attributes:
        source: name of the file or example that the curve was given as; no path, an OUT is passed on.
        exposure_hours: duration of the exposure; 0 is acute.
        sensitivity, specificity: (right, total) of the scorer, for a curve that has not its errors; else None.
    """

    source: str
    method: str = "profile"
    level: float = 0.95
    exposure_hours: float = 0.0
    allow_mismatch: bool = False
    sensitivity: tuple[int, int] | None = None
    specificity: tuple[int, int] | None = None

    def refuse_impossible(self) -> None:
        """Raise a ValueError for settings that no command accepts."""
        if self.method not in METHODS or not 0 < self.level < 1 or not 0 <= self.exposure_hours < math.inf:
            raise ValueError("its settings cannot be")
        if any(pair is not None and not 0 <= pair[0] <= pair[1] for pair in (self.sensitivity, self.specificity)):
            raise ValueError("its sensitivity or specificity cannot be")


_SETTINGS = TypeAdapter(DoseSettings)


@dataclass(frozen=True, slots=True, eq=False)
class Dosing:
    """The curve as given and the settings."""

    curve: Curve
    settings: DoseSettings

    @property
    def key(self) -> str:
        """Everything that doses depend on, as text: part of the stamps of pages."""
        return dump_curve(self.curve).decode() + json.dumps(asdict(self.settings))

    @property
    def corrected(self) -> bool:
        """Whether the scorer's errors are taken into account with stated rates."""
        return self.settings.sensitivity is not None and self.settings.specificity is not None

    @property
    def seen(self) -> Curve:
        """The curve that cases are put on: as given, or as a scorer with the stated errors sees it."""
        se, sp = self.settings.sensitivity, self.settings.specificity
        if se is None or sp is None:
            return self.curve
        return curve_seen_by(self.curve, CountedRate(*se), CountedRate(*sp))

    @property
    def options(self) -> DoseOptions:
        """For `assess`.

        Stated error rates do not make a curve one of another scoring: they are rates of all cells together, and a
        model's errors differ from slide to slide.
        """
        s = self.settings
        g = protraction_factor(s.exposure_hours)
        return DoseOptions(s.method, s.level, g, s.allow_mismatch)  # type: ignore[arg-type]


def scoring_mode(record: SlideRecord) -> str:
    """How the cells of a slide were chosen, in the words of a curve's `scoring`."""
    return MODE_ALL_CELLS if record.fields is not None and record.fields.cells == "all" else MODE


def save_dosing(paths: OutPaths, dosing: Dosing) -> None:
    """Put a curve into force; `mnbatch report` reads it from now on."""
    content = {"settings": asdict(dosing.settings), "curve": json.loads(dump_curve(dosing.curve))}
    change(paths, replace={paths.dosing: (json.dumps(content, indent=1) + "\n").encode()})


def load_dosing(paths: OutPaths) -> Dosing | None:
    """The curve in force; None where there is none.

    Raises:
        StorageError: the file is there and is not what was written.
    """
    data = read(paths, paths.dosing)
    if data is None:
        return None
    try:
        content = parse_json(data)
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        settings = _SETTINGS.validate_python(content["settings"])
        settings.refuse_impossible()
        return Dosing(CurveFile.model_validate(content["curve"]).curve(), settings)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise StorageError(
            f"{paths.dosing} is damaged: {reason(error)}.", "Give the curve again with `mnbatch dose OUT --curve`."
        ) from error
