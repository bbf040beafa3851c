"""What a person asks of a training run, apart from the recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.training.training_pools import Sources


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for.

    Attributes:
        data: labelled crops to train on; validation: others, or None to hold out a part of `data`.
        validation_share: of `data`, where `validation` is None.
        out: model directory to write.
        sources: building blocks of synthetic cells.
        init: see `mnbatch.training.initial_weights.initialise`.
        name, version, licence, data_licence, note: for the card; the note opens its limitations.
        crop_width: width of the crops in diameters of a main nucleus, None where it is not known.
        serves: stains that the card states, for a set of models that each serve one; None: those it was trained on.
        seed: of everything that is drawn.
        workers: processes that make cells; threads: of torch (0: its own choice); device: as torch names it, or `auto`.
        network: a name in `mnbatch.networks.ARCHITECTURES`.
        restart: give up a training that is kept beside `out`.
        options: what a person said of channels, planes, times, pages and names of the labelled crops, as for a run.
    """

    data: Path
    out: Path
    validation: Path | None = None
    validation_share: float = 0.2
    sources: Sources = field(default_factory=Sources)
    init: str = "imagenet"
    name: str = "attention-alexnet"
    version: str = "1"
    licence: str = "not stated"
    data_licence: str = ""
    note: str = ""
    crop_width: float | None = None
    serves: tuple[str, ...] | None = None
    seed: int = 1
    workers: int = 0
    threads: int = 0
    device: str = "auto"
    network: str = "attention-alexnet"
    restart: bool = False
    options: PageOptions = NO_OPTIONS
