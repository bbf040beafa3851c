"""Labelled cells through the product's own path: reader, preparation, stain, model, as `mnbatch run` does it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mnbatch.assay.cells import CellCrop, Slide, SourceFile, Stain, UInt8Array
from mnbatch.assay.map_grid import positions
from mnbatch.assay.stains import SlideStain, likely_stain, mixture, slide_stain
from mnbatch.errors import ModelError, SlideError
from mnbatch.evaluation.labelled_cells import LabelledCell, task_of, why_no_cell
from mnbatch.imaging.pages_of_slide import check_pages
from mnbatch.imaging.preparation import Preparation, network_input
from mnbatch.imaging.readers import read_cells, slide_range
from mnbatch.inference.catalogue import ModelSet
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import Normaliser
from mnbatch.inference.prefetch import ordered_map
from mnbatch.networks.attention_alexnet import AttentionAlexNet

# Grad-CAM on the last convolution, as the baseline that other maps are held against.


_MINIBATCH = 16
_LAST_ACTIVATION = 11
"""Of `features`: the ReLU after conv5, (256, 13, 13), before pool5; its grid is that of layers 5 and 6."""


def grad_cam(model: LoadedModel, pixels: UInt8Array) -> npt.NDArray[np.float32]:
    """Grad-CAM of the MN margin: ReLU(sum_k a_k A_k), a_k the mean gradient over feature k.

    Selvaraju et al., ICCV 2017, equations 1 and 2. The score is the margin logit(MN) - logit(no MN), which the
    evidence map explains too.

    Args:
        model: its network must be attention-AlexNet.
        pixels: prepared crops, (n, size, size, 3), uint8.

    Returns:
        (n, s, s), s positions a side (`mnbatch.assay.map_grid`).

    Raises:
        ModelError: another network.
    """
    network = model.network
    if not isinstance(network, AttentionAlexNet):
        raise ModelError(
            f"Grad-CAM is available for attention-alexnet, not for {model.card.architecture}.", "Leave --masks out."
        )
    normalise = Normaliser(model.card, torch.device("cpu"))
    parts = []
    for first in range(0, len(pixels), _MINIBATCH):
        crops = network_input(pixels[first : first + _MINIBATCH], model.card.preparation)
        parts.append(_cam(network, normalise(torch.from_numpy(crops.copy()))))
    return np.concatenate(parts) if parts else np.zeros((0, *[positions(model.card.preparation.size)] * 2), np.float32)


def _cam(network: AttentionAlexNet, x: Tensor) -> npt.NDArray[np.float32]:
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept.append(output)

    handle = network.features[_LAST_ACTIVATION].register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = network(x)
    finally:
        handle.remove()
    feature = kept[0]
    # Cells do not meet in a network in evaluation mode, so the sum's gradient is each cell's own.
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), feature)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return np.asarray(torch.relu((weights * feature).sum(dim=1)).detach().numpy())


# Labelled cells through the product's own path: reader, preparation, stain, model, as `mnbatch run` does it.


STAIN_SAMPLE = 24
"""Readable cells by which a slide's stain is judged, as in a run."""
_AHEAD = 32
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class ScoredCells:
    """What a model says of labelled cells, in their order.

    Attributes:
        scores: p_mn, NaN where a cell was not scored, (n,).
        called: p_mn is at or above the threshold of the model that scored it, (n,).
        maps: float32 (n, 3, s, s), attention of layer 5, of layer 6, evidence; NaN where not scored.
        cams: float32 (n, s, s), Grad-CAM of the cells it was asked for; NaN elsewhere.
        zooms: see `CellCrop`, (n,); 1 where not scored.
        reasons: why a cell was not scored; "" for a scored one.
        thresholds: of the models that were used, by stain.
        ratios: continuation ratios of a counting model (n, 2); NaN where there are none.
        notes: what a person should know of stains.
        digests: of the pixels as they are in the file, equal for a copy in another format; "" where not scored.
        colourless: see `CellCrop`, (n,); False where not scored.
    """

    scores: npt.NDArray[np.float64]
    called: npt.NDArray[np.bool_]
    maps: npt.NDArray[np.float32]
    cams: npt.NDArray[np.float32]
    zooms: npt.NDArray[np.float64]
    reasons: tuple[str, ...]
    thresholds: dict[str, float]
    ratios: npt.NDArray[np.float64]
    digests: tuple[str, ...]
    colourless: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def without(self, reasons: Mapping[int, str]) -> ScoredCells:
        """The same with some scored cells taken for not scored.

        Args:
            reasons: place to why it is in no figure; a cell that was not scored anyway keeps its own reason.
        """
        left_out = {place: why for place, why in reasons.items() if not self.reasons[place]}
        places = list(left_out)
        blanked = {name: getattr(self, name).copy() for name in ("scores", "maps", "cams", "ratios")}
        for array in blanked.values():
            array[places] = np.nan
        called, colourless = self.called.copy(), self.colourless.copy()
        called[places] = colourless[places] = False
        kept = [left_out.get(place, why) for place, why in enumerate(self.reasons)]
        digests = tuple("" if place in left_out else digest for place, digest in enumerate(self.digests))
        return replace(self, **blanked, called=called, colourless=colourless, reasons=tuple(kept), digests=digests)


class Scorer:
    """Scores cells slide by slide with the member of a model set that serves each slide's stain.

    Cells without a slide are taken as one slide.

    Args:
        models: verified.
        stain: forced stain; None recognises it.
        device, threads: as for `Classifier`.
    """

    def __init__(self, models: ModelSet, stain: Stain | None, device: str, threads: int | None) -> None:
        self.models = models
        self._stain, self._device, self._threads = stain, device, threads
        self._classifiers: dict[str, Classifier] = {}

    def score(self, cells: Sequence[LabelledCell], cam_for: frozenset[int] = frozenset()) -> ScoredCells:
        """Read and score every cell; one that cannot be is kept with its reason.

        Args:
            cam_for: places of the cells for which Grad-CAM is wanted too.

        Raises:
            ModelError, UsageError: as `ModelSet.load` and `Classifier`.
        """
        slides: dict[str, list[int]] = defaultdict(list)
        for place, cell in enumerate(cells):
            slides[cell.slide].append(place)
        result = _Result(len(cells), cam_for, positions(self.models.preparation.size))
        for name, places in slides.items():
            self._score_slide(name, [cells[place] for place in places], places, result)
        thresholds = {stain: self._classifiers[stain].model.card.threshold for stain in self._classifiers}
        return ScoredCells(
            scores=result.scores,
            called=result.called,
            maps=result.maps,
            cams=result.cams,
            zooms=result.zooms,
            reasons=tuple(result.reasons),
            thresholds=thresholds,
            ratios=result.ratios,
            digests=tuple(result.digests),
            colourless=result.colourless,
            notes=tuple(result.notes),
        )

    def close(self) -> None:
        """Free the classifiers' workers."""
        for classifier in self._classifiers.values():
            classifier.close()

    def classifier(self, stain: Stain) -> Classifier:
        """The classifier of a stain.

        Raises:
            SlideError: no model serves it.
        """
        digest = self.models.digest_for(stain)
        for known in self._classifiers.values():
            if known.model.digest == digest:
                self._classifiers.setdefault(stain, known)
        if stain not in self._classifiers:
            self._classifiers[stain] = Classifier(self.models.load(stain), self._device, threads=self._threads)
        return self._classifiers[stain]

    def _score_slide(self, name: str, cells: list[LabelledCell], places: list[int], result: _Result) -> None:
        """All cells with the model of the slide's stain, as all of its cells together show it."""
        stains: dict[int, Stain] = {}
        first = self._pass(
            name=name, cells=cells, places=places, result=result, stains=stains, asked=lambda _: self._stain
        )
        counts = Counter(stains.values())
        if self._stain:
            result.note(_contradicting(name, counts, self._stain))
        elif seen := mixture(counts):
            if name:
                result.clear(list(stains), f"the slide holds two stains ({seen}): divide it, or give --stain")
                return
            result.note(f"The cells show two stains ({seen}); each is scored by the model for its stain.")
            others = likely_stain(counts)
            own = {place: others if stain == "unknown" else stain for place, stain in stains.items()}
            self._pass(name=name, cells=cells, places=places, result=result, stains={}, asked=own.get)
        elif first != (stain := slide_stain(counts)):
            result.clear(list(stains), "")
            self._pass(name=name, cells=cells, places=places, result=result, stains={}, asked=lambda _: stain)

    def _pass(
        self,
        name: str,
        cells: list[LabelledCell],
        places: list[int],
        result: _Result,
        stains: dict[int, Stain],
        asked: Callable[[int], Stain | None],
    ) -> Stain | None:
        """Read every cell once, and score it.

        Args:
            stains: gets what each readable cell shows.
            asked: stain by whose model the cell of a place is scored; None: what the first cells show.

        Returns:
            What the first cells showed, where it was not asked for.
        """
        shown: Stain | None = None
        waiting: list[tuple[int, CellCrop]] = []

        def score() -> Stain | None:
            chosen = shown or slide_stain(Counter(crop.stain for _, crop in waiting))
            self._score_waiting([(place, crop, asked(place) or chosen) for place, crop in waiting], result)
            waiting.clear()
            return chosen

        for place, item in zip(places, read_files(name, cells, self.models.preparation), strict=True):
            if isinstance(item, str):
                result.reasons[place] = item
                continue
            stains[place] = item.stain
            waiting.append((place, item))
            if len(waiting) >= (_AT_ONCE if shown else STAIN_SAMPLE):
                shown = score()
        return score() if waiting else shown

    def _score_waiting(self, waiting: Sequence[tuple[int, CellCrop, Stain]], result: _Result) -> None:
        by_stain: dict[Stain, list[tuple[int, CellCrop]]] = defaultdict(list)
        for place, crop, stain in waiting:
            by_stain[stain].append((place, crop))
        for stain, crops in by_stain.items():
            try:
                classifier = self.classifier(stain)
            except SlideError as error:
                for place, _ in crops:
                    result.reasons[place] = error.message
                continue
            result.add(classifier, crops)


def _contradicting(name: str, counts: Mapping[Stain, int], stain: Stain) -> str:
    """The note where a person forced a stain that cells do not show."""
    others = sum(count for other, count in counts.items() if SlideStain(stain, forced=True).contradicts(other))
    if not others:
        return ""
    where = f" of slide {name}" if name else ""
    return f"{others} of {sum(counts.values())} cells{where} show another stain than --stain {stain}."


class _Result:
    """Arrays that fill up as minibatches come back."""

    def __init__(self, count: int, cam_for: frozenset[int], side: int) -> None:
        self.scores = np.full(count, np.nan)
        self.called = np.zeros(count, bool)
        self.maps = np.full((count, 3, side, side), np.nan, np.float32)
        self.cams = np.full((count, side, side), np.nan, np.float32)
        self.zooms = np.ones(count)
        self.ratios = np.full((count, 2), np.nan)
        self.colourless = np.zeros(count, bool)
        self.digests = [""] * count
        self.cam_for = cam_for
        self.reasons = [""] * count
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if text:
            self.notes.append(text)

    def clear(self, places: Sequence[int], reason: str) -> None:
        """Forget the scores of cells, and say why."""
        for place in places:
            self.reasons[place], self.digests[place] = reason, ""
        self.colourless[list(places)] = False
        self.scores[list(places)] = np.nan
        self.called[list(places)] = False
        for array in (self.maps, self.cams, self.ratios):
            array[list(places)] = np.nan

    def add(self, classifier: Classifier, crops: Sequence[tuple[int, CellCrop]]) -> None:
        scores = classifier.score(np.stack([crop.pixels for _, crop in crops]))
        places = [place for place, _ in crops]
        for place, crop in crops:
            self.reasons[place], self.digests[place] = "", crop.digest
        self.colourless[places] = [crop.colourless for _, crop in crops]
        self.scores[places] = scores.p_mn
        self.called[places] = scores.p_mn >= classifier.model.card.threshold
        self.maps[places] = scores.maps
        if scores.ratios is not None:
            self.ratios[places] = scores.ratios
        self.zooms[places] = [crop.zoom for _, crop in crops]
        asked = [(place, crop.pixels) for place, crop in crops if place in self.cam_for]
        if asked:
            cams = grad_cam(classifier.model, np.stack([pixels for _, pixels in asked]))
            self.cams[[place for place, _ in asked]] = cams


def read_files(name: str, cells: Sequence[LabelledCell], preparation: Preparation) -> Iterator[CellCrop | str]:
    """Crops of labelled cells in their order, prepared as in a run; the reason where a file is not one readable crop.

    Args:
        name: of their slide; with the contrast rule `per_slide` all files are taken as this slide.

    Raises:
        SlideError: what the pages of the files are has to be said by a person, as in a run.
    """
    root = Path(cells[0].path.anchor or ".").resolve()
    files = tuple(SourceFile(os.path.abspath(cell.path), 0, 0) for cell in cells)
    slide = Slide(
        slide_id=name or "evaluation", name=name, path="", donor=None, root=root, files=files, layout="labels"
    )
    options = cells[0].options
    check_pages(slide, options)
    limits = slide_range(slide, preparation, options)

    def read(cell: LabelledCell) -> CellCrop | str:
        found = read_cells(replace(task_of(cell), slide_id=slide.slide_id), preparation, limits)
        return found[0] if len(found) == 1 and isinstance(found[0], CellCrop) else why_no_cell(found)

    return ordered_map(read, iter(cells), 2, _AHEAD)
