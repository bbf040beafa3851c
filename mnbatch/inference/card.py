"""The model card: what `model.json` must say before the weights next to it may score a cell.

The card is part of every result: its preparation decides what the network sees, its threshold what is
called MN, and its metrics, licence and limitations are printed in the reports. Unknown fields are refused, so
that a misspelt one is never silently ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, model_validator

from mnbatch.assay.cells import KnownStain
from mnbatch.assay.score_mixture import ScoreHistogram
from mnbatch.imaging.preparation import Preparation

SCHEMA_VERSION: Literal[1] = 1

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
CountRow = tuple[Whole, Whole, Whole, Whole]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


UNFINISHED = "unfinished training"
"""In the version and the recipe of a card that was written before its training ended."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Scale(_Frozen):
    """How large a cell is in the crops that the model was made for; None where it is not known.

    Attributes:
        um_per_pixel: micrometres a pixel of the crop as it is in the file, before it is resized.
        crop_width_in_nucleus_diameters: width of the crop / diameter of one main nucleus (scale-free).
    """

    um_per_pixel: Positive | None = None
    crop_width_in_nucleus_diameters: Positive | None = None


class Normalisation(_Frozen):
    """`(pixel / 255 - mean) / std`, channel by channel (R, G, B)."""

    mean: tuple[Finite, Finite, Finite] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)


class View(_Frozen):
    """One way in which a cell is shown to the network once more.

    Attributes:
        quarter_turns: counter-clockwise.
        zoom: about the middle of the crop; below 1 the crop's rim is continued outwards.
    """

    quarter_turns: Literal[0, 1, 2, 3] = 0
    zoom: Annotated[float, Field(ge=0.5, le=2.0, allow_inf_nan=False)] = 1.0


class SecondLook(_Frozen):
    """Cells that are shown to the network again in other views; the logits of all looks are averaged.

    Attributes:
        from_score: p_mn of the first look at or above which a cell is looked at again; not above the threshold, so that
            every call rests on all looks.
        views: one more look each.
    """

    from_score: Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)]
    views: Annotated[tuple[View, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_view_once(self) -> Self:
        if len({View(), *self.views}) <= len(self.views):
            raise ValueError("views names one twice, or the first look")
        return self


class TrainingData(_Frozen):
    """One set of crops that the weights were fitted on.

    Attributes:
        name: short name of the set.
        description: where it comes from, stain, objective; what was done to it.
        n: crops; n_mn: of these, crops with a micronucleus.
        licence: terms of the data, "" where none is stated.
    """

    name: Text
    description: Text
    n: Annotated[int, Field(ge=0)]
    n_mn: Annotated[int, Field(ge=0)]
    licence: str = ""


class Metric(_Frozen):
    """One measured figure with its interval.

    Attributes:
        data: the set it was measured on (never the training set without saying so).
        n: cells; n_mn: of these, cells with a micronucleus.
        name: `auc`, `average_precision`, `f1`, ...
        ci_low, ci_high: 95 % interval; None where none was computed.
    """

    data: Text
    n: Annotated[int, Field(ge=1)]
    n_mn: Annotated[int, Field(ge=0)]
    name: Text
    value: Finite
    ci_low: Finite | None = None
    ci_high: Finite | None = None


class Rate(_Frozen):
    """Sensitivity or specificity at the card's threshold, as counts, so that its uncertainty goes with it.

    Attributes:
        data: the set it was measured on.
        right: cells called rightly, of `total` cells of that class.
    """

    data: Text
    right: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=1)]

    @property
    def value(self) -> float:
        """`right / total`."""
        return self.right / self.total

    @model_validator(mode="after")
    def _right_within_total(self) -> Self:
        if self.right > self.total:
            raise ValueError(f"right ({self.right}) is larger than total ({self.total})")
        return self


class CountCheck(_Frozen):
    """Counts of a counting model on cells whose micronuclei were counted.

    Attributes:
        data: the set it was measured on; n: its cells.
        confusion: cells by true number (rows: 0, 1, 2, 3 or more) and by the number called (columns, likewise).
        mean_absolute_error: of the number called, micronuclei a cell, over all cells; a truth of 3 or more is 3.
        ci_low, ci_high: its 95 % interval.
        by_one: the same error if every cell called MN had one micronucleus; by_mean_count: if it had the mean count of
            the training cells with MN (under `Counting.prior`). What a yes/no model and a constant would reach.
        mn_per_cell, true_mn_per_cell: sum of the numbers called, and of the true ones (3 for 3 or more), a cell.
    """

    data: Text
    n: Annotated[int, Field(ge=1)]
    confusion: tuple[CountRow, CountRow, CountRow, CountRow]
    mean_absolute_error: Finite
    ci_low: Finite | None = None
    ci_high: Finite | None = None
    by_one: Finite
    by_mean_count: Finite
    mn_per_cell: Finite
    true_mn_per_cell: Finite


class Counting(_Frozen):
    """What a counting model gives in addition to yes or no: continuation ratios of the number of micronuclei.

    Attributes:
        count_classes: numbers that are told apart.
        mean_3plus: mean number of micronuclei of the training cells with 3 or more, used in expected counts.
        prior: shares of 1, 2 and 3 or more among cells with MN that the training was weighted to.
        training_data: sets the counter was fitted on (`n` cells with MN of known number).
        recipe: how it was fitted (free JSON values by name).
        checks: on data that the counter was not fitted on.
    """

    count_classes: tuple[Literal["0"], Literal["1"], Literal["2"], Literal["3+"]] = ("0", "1", "2", "3+")
    mean_3plus: Annotated[float, Field(ge=3.0, allow_inf_nan=False)]
    prior: tuple[Fraction, Fraction, Fraction]
    training_data: tuple[TrainingData, ...]
    recipe: dict[str, JsonValue]
    checks: tuple[CountCheck, ...]


class ScoreCounts(_Frozen):
    """Validation cells by score, apart for each true class: from it a slide's scores are read as a mixture.

    Attributes:
        data: the set that was scored.
        edges: limits of the bins of p_mn, rising from 0 to 1.
        mn, nomn: cells with and without a micronucleus in each bin.
    """

    data: Text
    edges: tuple[Fraction, ...]
    mn: tuple[Annotated[int, Field(ge=0)], ...]
    nomn: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _a_histogram(self) -> Self:
        ScoreHistogram(self.edges, self.mn, self.nomn, self.data)
        return self


class SlideCounts(_Frozen):
    """Calls on one validation slide at the card's threshold: errors differ between slides, and this says how much.

    Attributes:
        slide: its name; n: its cells; n_mn: of these, cells with a micronucleus.
        called: cells called MN; right: of these, cells with a micronucleus.
        mn_scores, nomn_scores: its cells with and without a micronucleus in the bins of `validation_scores`; empty on
            cards of earlier versions.
    """

    slide: Text
    n: Annotated[int, Field(ge=1)]
    n_mn: Whole
    called: Whole
    right: Whole
    mn_scores: tuple[Whole, ...] = ()
    nomn_scores: tuple[Whole, ...] = ()

    @model_validator(mode="after")
    def _parts_within_the_whole(self) -> Self:
        if not self.right <= min(self.called, self.n_mn) or max(self.called, self.n_mn) > self.n:
            raise ValueError(
                f"{self.slide}: {self.right} right of {self.called} called and {self.n_mn} with MN of {self.n}"
            )
        if self.mn_scores and (sum(self.mn_scores), sum(self.nomn_scores)) != (self.n_mn, self.n - self.n_mn):
            raise ValueError(f"{self.slide}: its scores are not those of {self.n_mn} cells with MN of {self.n}")
        return self


class ModelCard(_Frozen):
    """Everything that `model.json` says about the weights next to it.

    Attributes:
        name: lower-case letters, digits and hyphens; version: of these weights.
        architecture: a name in `mnbatch.networks.ARCHITECTURES`.
        classes: meaning of the two logits.
        endpoint: `mnbn`: a yes or no for each cell, not a count of micronuclei; `mn`: a count too, see `counting`.
        preparation: how a crop becomes network input; scale: how large cells are in it.
        stains: which the model serves; a slide of another stain is refused.
        threshold: p_mn at or above which a cell is called MN; threshold_rule: how it was chosen.
        temperature: divides the MN margin (logit of MN - logit of no MN) before the sigmoid.
        second_look: which cells the network is shown again; None for one look at every cell.
        training_data, recipe: what the weights were fitted on, and how (free JSON values by name).
        metrics, sensitivity, specificity: measured on data that was not trained on; the two rates hold at `threshold`.
        validation_scores: scores of cells that were not trained on, by true class.
        validation_slides: calls on each slide of the set that the threshold was chosen on; empty where it was chosen on
            cells.
        licence, intended_use, limitations, how_to_train_own: sentences for the reader of a report.
        weights_sha256: SHA-256 of `model.safetensors`.
        created: time with its zone; software: versions by name.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    version: Text
    architecture: Text
    classes: tuple[Literal["nomn"], Literal["mn"]] = ("nomn", "mn")
    endpoint: Literal["mnbn", "mn"] = "mnbn"
    preparation: Preparation
    scale: Scale = Scale()
    normalisation: Normalisation = Normalisation()
    # A card of a version before 0.3 says "looks".
    stains: Annotated[tuple[KnownStain, ...], Field(min_length=1, validation_alias=AliasChoices("stains", "looks"))]
    threshold: Fraction
    threshold_rule: Text
    temperature: Positive = 1.0
    second_look: SecondLook | None = None
    training_data: tuple[TrainingData, ...]
    recipe: dict[str, JsonValue]
    metrics: tuple[Metric, ...]
    sensitivity: Rate | None = None
    specificity: Rate | None = None
    counting: Counting | None = None
    validation_scores: ScoreCounts | None = None
    validation_slides: tuple[SlideCounts, ...] = ()
    licence: Text
    intended_use: Text
    limitations: Text
    how_to_train_own: Text
    weights_sha256: Sha256
    created: AwareDatetime
    software: dict[str, str]

    @property
    def unfinished(self) -> bool:
        """Whether the training of these weights goes on, or was broken off; the version says after which epoch."""
        return UNFINISHED in self.recipe

    @model_validator(mode="after")
    def _slides_in_the_bins_of_all(self) -> Self:
        bins = {len(scores) for slide in self.validation_slides for scores in (slide.mn_scores, slide.nomn_scores)} - {
            0
        }
        if bins and (self.validation_scores is None or bins != {len(self.validation_scores.mn)}):
            raise ValueError("the scores of each validation slide are counted in the bins of validation_scores")
        return self

    @model_validator(mode="after")
    def _calls_rest_on_all_looks(self) -> Self:
        if self.second_look is not None and self.second_look.from_score > self.threshold:
            raise ValueError("second_look.from_score is above the threshold")
        return self

    @model_validator(mode="after")
    def _counting_with_its_endpoint(self) -> Self:
        if (self.endpoint == "mn") != (self.counting is not None):
            raise ValueError("the endpoint mn and the field counting belong together")
        return self
