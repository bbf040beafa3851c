"""What a training run does, in one frozen record: built-in recipes by name, or a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from mnbatch.errors import TrainingError
from mnbatch.intake import is_there, read_text, reason

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Augmentation(BaseModel):
    """How far training cells are changed; every number is the end of a drawn range.

    Attributes:
        scale_low, scale_high: zoom of the crop (above 1: larger cell).
        shift: of the centre, share of the crop's width.
        gamma: exponent between 1 / gamma and gamma.
        contrast, brightness: factor 1 +- contrast, offset +- brightness (0..1).
        blur: largest Gaussian sigma, pixels; noise: largest standard deviation (0..1).
        coarse: chance of sampling the crop down (to no less than `coarsest` of its width) and up again.
        clean: chance of neither blur nor noise, coarse sampling or compression.
        jpeg: chance of JPEG compression (quality `jpeg_worst` to 95).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    scale_low: float = Field(default=0.7, gt=0.3, le=1.0)
    scale_high: float = Field(default=1.35, ge=1.0, lt=3.0)
    shift: float = Field(default=0.05, ge=0.0, lt=0.3)
    gamma: float = Field(default=1.35, ge=1.0)
    contrast: float = Field(default=0.25, ge=0.0, lt=1.0)
    brightness: float = Field(default=0.08, ge=0.0, lt=0.5)
    blur: float = Field(default=1.2, ge=0.0)
    noise: float = Field(default=0.04, ge=0.0)
    coarse: Share = 0.2
    coarsest: float = Field(default=0.4, gt=0.05, le=0.9)
    clean: Share = 0.4
    jpeg: Share = 0.2
    jpeg_worst: int = Field(default=40, ge=1, le=95)


class Recipe(BaseModel):
    """Everything but the data that decides a training run.

    Attributes:
        epochs, cells_per_epoch, minibatch: size of the run.
        optimiser, learning_rate, momentum, weight_decay: of the weights; `schedule` `cosine` decays to 2 % of
            the rate after one warming epoch, `steps` divides it by 10 after each third of the epochs.
        head_factor: learning rate of the weights that start at random (all but the convolutions of the backbone) /
            `learning_rate`.
        averaging: decay a step of the exponential average of weights that is validated and kept; 0: none.
        loss: `focal` with `gamma`, or `cross_entropy`.
        labelled, dressed, composite, smear, simulated, hard: shares of an epoch drawn from the laboratory's own crops,
            from its fluorescence crops drawn as stained cells, from composite cells, from smears, from the simulator,
            and from the simulator with hard look-alikes (`mnbatch.simulate.hard_look_alikes`).
        with_mn: share of an epoch's cells that have micronuclei.
        stained: share of Giemsa among simulated and hard cells; stained_composites: among composite ones.
        synthetic_cells: number of cells that are drawn for each synthetic source.
        fresh: epochs that one drawing of them serves (as many cells as an epoch needs, `synthetic_cells` at most);
            the next is drawn beside the network. 0: one drawing serves all.
        specificity_weight: of the rule that picks the threshold.
        bf16: mixed precision.
        size, polarity, contrast, zoom, zoom_below, zoom_to: of the preparation, see `mnbatch.imaging.preparation`.
        colour_shares: the network sees this mixture of red, green and blue in each of its channels (its first layer is
            tied); None, or nothing in a TOML file (`[]`), leaves the colours apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = Field(default=30, ge=1)
    cells_per_epoch: int = Field(default=3000, ge=4)
    minibatch: int = Field(default=32, ge=2)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=3e-4, gt=0)
    head_factor: float = Field(default=6.0, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.02, ge=0)
    schedule: Literal["cosine", "steps"] = "cosine"
    averaging: float = Field(default=0.998, ge=0, lt=1)
    loss: Literal["focal", "cross_entropy"] = "focal"
    gamma: float = Field(default=2.0, ge=0)
    labelled: Share = 0.42
    dressed: Share = 0.14
    composite: Share = 0.19
    smear: Share = 0.07
    simulated: Share = 0.18
    hard: Share = 0.0
    with_mn: float = Field(default=0.5, gt=0, lt=1)
    stained: Share = 0.75
    stained_composites: Share = 0.8
    fresh: int = Field(default=0, ge=0)
    # A recipe of a version before 0.3 says "made_cells".
    synthetic_cells: int = Field(default=7000, ge=2, validation_alias=AliasChoices("synthetic_cells", "made_cells"))
    specificity_weight: float = Field(default=2.0, gt=0)
    bf16: bool = True
    size: int = Field(default=224, ge=64, le=1024)
    polarity: Literal["as_is", "density", "stains"] = "density"
    contrast: Literal["none", "per_crop", "deep_per_crop"] = "deep_per_crop"
    zoom: Literal["as_cut", "main_nucleus"] = "main_nucleus"
    zoom_below: float = Field(default=0.22, gt=0, lt=1)
    zoom_to: float = Field(default=0.29, gt=0, lt=1)
    colour_shares: tuple[float, float, float] | None = (0.4, 0.4, 0.2)
    augmentation: Augmentation = Augmentation()

    @field_validator("colour_shares", mode="before")
    @classmethod
    def _none_in_toml(cls, value: object) -> object:
        return None if value == [] else value

    @property
    def coloured(self) -> bool:
        """Whether the network sees the three channels of `mnbatch.imaging.stain_channels` apart."""
        return self.polarity == "stains" and self.colour_shares is None

    @property
    def has_synthetic_stained(self) -> bool:
        """Whether cells in the Giemsa stain are made for training."""
        return self.dressed + self.composite + self.smear + self.simulated + self.hard > 0


PAPER = Recipe(
    epochs=60,
    optimiser="sgd",
    learning_rate=0.01,
    head_factor=1.0,
    weight_decay=0.0,
    schedule="steps",
    averaging=0.0,
    labelled=1.0,
    dressed=0.0,
    composite=0.0,
    smear=0.0,
    simulated=0.0,
    bf16=False,
    polarity="as_is",
    contrast="per_crop",
    zoom="as_cut",
    colour_shares=None,
    augmentation=Augmentation(gamma=1, contrast=0, brightness=0, blur=0, noise=0, coarse=0, jpeg=0, shift=0),
)
"""Wei et al. 2022: 60 epochs, rate 0.01 divided by 10 every 20, focal loss; rotation, flips and scale only."""

_STAGE_SHARES = {"labelled": 0.3, "dressed": 0.17, "composite": 0.23, "smear": 0.08, "simulated": 0.22}
FIRST_STAGE = Recipe(
    epochs=14,
    synthetic_cells=3000,
    averaging=0.995,
    augmentation=Augmentation(coarse=0.3, coarsest=0.3, jpeg=0.3, jpeg_worst=30, clean=0.0),
    **_STAGE_SHARES,
)
SECOND_STAGE = Recipe(epochs=16, averaging=0.995, augmentation=Augmentation(clean=0.0), **_STAGE_SHARES)
"""First stages of the bundled model; the third is `default`, each going on from the last (docs/training-log.md)."""

RECIPES: dict[str, Recipe] = {"default": Recipe(), "paper": PAPER, "stage-1": FIRST_STAGE, "stage-2": SECOND_STAGE}


def load_recipe(name_or_file: str) -> Recipe:
    """A built-in recipe by name, or one read from a TOML file with the fields of `Recipe`.

    Raises:
        TrainingError: no such recipe or file, or the file has unknown fields or values out of range.
    """
    if name_or_file in RECIPES:
        return RECIPES[name_or_file]
    file = Path(name_or_file)
    if not is_there(file):
        raise TrainingError(
            f"There is no recipe {name_or_file!r}.", f"Give a TOML file, or one of: {', '.join(RECIPES)}."
        )
    try:
        return Recipe.model_validate(tomllib.loads(read_text(file)))
    except ValidationError as error:
        raise TrainingError(f"The recipe {file} is not valid: {error}", "Correct the field it names.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"The recipe {file} is not valid: {reason(error)}.", "Give a TOML file.") from error
