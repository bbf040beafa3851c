"""Figures of models on simulated validation slides: AP, F1, AUC, specificity at sensitivity 0.9, and by slide.

    python benchmarks/validation_slides.py draw FOLDER --stain giemsa
    python benchmarks/validation_slides.py measure FOLDER MODEL_DIR [--sheet errors.png] [--most-slides 12]
    python benchmarks/validation_slides.py calibrate FOLDER MODEL_DIR --specificity 0.995 [--look-again 0.2]

`calibrate` sets temperature and threshold of the model on the slides, and writes its card again with the figures on
them.

Slides are those of `mnbatch simulate` with variety 0.8 and seed 70000, on which no bundled model was trained; on
average 6.5 % of their cells have a micronucleus. The pictures are kept in FOLDER, so that every model is measured on
the same ones.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from sklearn.metrics import average_precision_score, roc_auc_score

from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.cell_plan import MAX_MN
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.slide_appearance import draw_slide_appearance

if TYPE_CHECKING:
    from mnbatch.inference.model_directory import LoadedModel

SEED = 70000
"""Slides of seed 70000 choose epochs, thresholds and temperatures; slides of other seeds show what came of it."""
VIEWS = ({"quarter_turns": 2}, {"quarter_turns": 1, "zoom": 1.18}, {"quarter_turns": 3, "zoom": 0.85})
"""Of a second look: three, within what a cell may cost; larger and smaller, so that neither is preferred."""
FIRST = ", first look alone"
"""Of metrics that the training measured."""
MNBN = (6.5, 6.5, 15.0, 25.0, 40.0, 60.0, 67.0, 300.0)
"""MNBN cells per 1000 of the slides in turn; their mean is 65."""


def draw(folder: Path, stain: str, slides: int, cells: int, seed: int = SEED) -> None:
    """Draw the slides that are not there yet; one .npz each."""
    plan = ExportPlan(donors=slides, slides=1, cells=cells, seed=seed, mnbn=MNBN, variety=0.8)
    folder.mkdir(parents=True, exist_ok=True)
    for donor in range(slides):
        file = folder / f"{stain}-{donor:02d}.npz"
        if file.exists():
            continue
        key = [seed, donor, 0]
        slide = draw_slide_appearance(np.random.default_rng([*key, 0]), stain, plan.variety)
        images, counts, names = [], [], []
        for number in range(cells):
            rng = np.random.default_rng([*key, number + 1])
            wanted = min(MAX_MN, int(rng.poisson(plan.mean_mn(donor))))
            rng.random(2)  # as `mnbatch simulate` draws the kind of the cell
            cell = simulate_cell(rng, CellSpec(stain, wanted, "binucleated", plan.size, bits=16), slide)
            images.append(cell.image)
            counts.append(cell.n_mn)
            names.append(";".join(cell.artefacts))
        part = file.with_suffix(".part.npz")
        np.savez_compressed(part, images=np.stack(images), n_mn=np.array(counts), artefacts=np.array(names))
        part.rename(file)
        print(file.name, sum(n > 0 for n in counts), flush=True)


def scored(
    folder: Path, model: LoadedModel, stain: str, most: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Scores and truths of each slide, as a run scores them, and the pictures."""
    from mnbatch.imaging.preparation import prepare_crop
    from mnbatch.inference.classifier import Classifier

    scores, truths, pictures = [], [], []
    with Classifier(model, device="cpu") as classifier:
        for file in sorted(folder.glob(f"{stain}-*.npz"))[:most]:
            held = np.load(file)
            images = held["images"]
            prepared = np.stack([prepare_crop(image, model.card.preparation) for image in images])
            scores.append(classifier.score(prepared).p_mn)
            truths.append(held["n_mn"] > 0)
            pictures.append(images)
    return scores, truths, pictures


def figures(scores: list[np.ndarray], truths: list[np.ndarray], threshold: float) -> dict[str, float]:
    """Pooled figures, and mean and worst tenth over slides at the threshold."""
    p, y = np.concatenate(scores), np.concatenate(truths)
    called = p >= threshold
    hit = (called & y).sum()
    spec = np.array([(~(s >= threshold) & ~t).sum() / (~t).sum() for s, t in zip(scores, truths, strict=True)])
    sens = np.array(
        [((s >= threshold) & t).sum() / t.sum() for s, t in zip(scores, truths, strict=True) if t.sum() >= 3]
    )
    at90 = np.quantile(p[y], 0.1)
    f1s = [2 * ((p >= t) & y).sum() / ((p >= t).sum() + y.sum()) for t in np.unique(p[y])]
    return {
        "cells": len(y),
        "mn": int(y.sum()),
        "AP": average_precision_score(y, p),
        "AUC": roc_auc_score(y, p),
        "F1": 2 * hit / (called.sum() + y.sum()),
        "best F1": max(f1s),
        "spec at sens 0.9": float((p[~y] < at90).mean()),
        "spec": float((~called & ~y).sum() / (~y).sum()),
        "worst tenth spec": float(np.quantile(spec, 0.1)),
        "sens": float(hit / y.sum()),
        "worst tenth sens": float(np.quantile(sens, 0.1)) if len(sens) else float("nan"),
    }


def intervals(
    scores: list[np.ndarray], truths: list[np.ndarray], threshold: float, times: int = 1000
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the pooled figures, from slides drawn again."""
    rng, found = np.random.default_rng(1), []
    for _ in range(times):
        chosen = rng.integers(len(scores), size=len(scores))
        p, y = (np.concatenate([part[k] for k in chosen]) for part in (scores, truths))
        called = p >= threshold
        sens, spec = (called & y).sum() / y.sum(), (~called & ~y).sum() / (~y).sum()
        f1 = 2 * (called & y).sum() / (called.sum() + y.sum())
        found.append((average_precision_score(y, p), roc_auc_score(y, p), f1, sens, spec))
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return {name: (float(low[k]), float(high[k])) for k, name in enumerate(("AP", "AUC", "F1", "sens", "spec"))}


def sheet(scores: list[np.ndarray], truths: list[np.ndarray], pictures: list, file: Path, each: int = 40) -> None:
    """The highest-scoring cells without and, below, the lowest-scoring ones with a micronucleus."""
    p, y = np.concatenate(scores), np.concatenate(truths)
    where = [(s, i) for s, t in enumerate(truths) for i in range(len(t))]
    order = np.argsort(p)
    false = [int(i) for i in order[::-1] if not y[i]][:each]
    missed = [int(i) for i in order if y[i]][:each]
    side, columns = 150, 10
    rows = -(-len(false) // columns) + -(-len(missed) // columns)
    canvas = Image.new("RGB", (columns * side, rows * side + 8), "red")
    pen = ImageDraw.Draw(canvas)
    for k, index in enumerate([*false, *missed]):
        slide, cell = where[index]
        pixels = pictures[slide][cell]
        if pixels.dtype == np.uint16:
            low, high = np.percentile(pixels, (0.5, 99.8))
            pixels = (np.clip((pixels - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8)
        place = k if k < len(false) else k - len(false) + columns * -(-len(false) // columns)
        x, top = place % columns * side, place // columns * side + (8 if k >= len(false) else 0)
        canvas.paste(Image.fromarray(pixels).convert("RGB").resize((side - 2, side - 2)), (x, top))
        pen.text((x + 3, top + 2), f"{p[index]:.2f}", fill="yellow" if pixels.ndim == 2 else "black")
    canvas.save(file)


def calibrate(folder: Path, model_dir: Path, stain: str, specificity: float, look_again: float | None) -> None:
    """Write the card again, with temperature and threshold set on all slides.

    Args:
        look_again: score of the first look (at the temperature that the card has now) from which a cell gets a second;
            None leaves the card's.
    """
    from mnbatch.evaluation.metrics import with_temperature
    from mnbatch.evaluation.slide_threshold import ScoredSlide, calibrated
    from mnbatch.inference.card import SecondLook, View
    from mnbatch.inference.model_directory import load_model, write_model_directory

    model = load_model(model_dir)
    old = model.card
    if look_again is not None:
        views = tuple(View.model_validate(view) for view in VIEWS)
        model = replace(
            model, card=old.model_copy(update={"second_look": SecondLook(from_score=look_again, views=views)})
        )
    scores, truths, _ = scored(folder, model, stain, 10**6)
    plain = [with_temperature(p, 1 / old.temperature) for p in scores]
    slides = [ScoredSlide(f"{stain}-{k:02d}", p, y) for k, (p, y) in enumerate(zip(plain, truths, strict=True))]
    data = f"{len(slides)} simulated slides, variety 0.8, seed {SEED}, 6.5 to 300 MNBN per 1000"
    fields = calibrated(slides, specificity, data)
    kept = old.model_dump(exclude={"schema_version", "weights_sha256", "created", "software", "validation_scores"})
    others = [metric for metric in kept["metrics"] if metric["data"] != data]
    if (second_look := model.card.second_look) is not None:
        # The same cells get a second look, whatever the new temperature makes of their scores.
        again = np.array([second_look.from_score])
        fields["second_look"] = second_look.model_copy(
            update={"from_score": float(with_temperature(again, float(fields["temperature"]) / old.temperature)[0])}
        )
        others = [{**metric, "data": f"{metric['data'].removesuffix(FIRST)}{FIRST}"} for metric in others]
    fields["metrics"] = [*others, *fields["metrics"]]
    card = write_model_directory(model_dir, model.network, {**kept, **fields})
    print(card.threshold, card.temperature, [(m.name, m.value) for m in card.metrics if m.data == data])


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["draw", "measure", "calibrate"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--stain", choices=["giemsa", "fluorescence"], default="giemsa")
    parser.add_argument("--slides", type=int, default=40)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED, help="of the slides that `draw` draws")
    parser.add_argument("--most-slides", type=int, default=40)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--specificity", type=float, default=0.995)
    parser.add_argument("--look-again", type=float, metavar="SCORE", help="calibrate with a second look from there on")
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    if asked.command == "draw":
        draw(asked.folder, asked.stain, asked.slides, asked.cells, asked.seed)
        return
    if asked.command == "calibrate":
        calibrate(asked.folder, asked.model, asked.stain, asked.specificity, asked.look_again)
        return
    from mnbatch.inference.model_directory import load_model

    scores, truths, pictures = scored(asked.folder, load_model(asked.model), asked.stain, asked.most_slides)
    threshold = asked.threshold
    if threshold is None:
        threshold = json.loads((asked.model / "model.json").read_text())["threshold"]
    print(json.dumps({k: round(float(v), 4) for k, v in figures(scores, truths, threshold).items()}))
    found = intervals(scores, truths, threshold)
    print("; ".join(f"{name} {low:.4f} to {high:.4f}" for name, (low, high) in found.items()), "(slides drawn again)")
    if asked.sheet is not None:
        sheet(scores, truths, pictures, asked.sheet)


if __name__ == "__main__":
    main()
