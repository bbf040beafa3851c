"""Does it help? The same Giemsa cells, start and number of steps for every way to prepare a cell or to pool a network.

    python benchmarks/validation_slides.py draw FOLDER --stain giemsa
    python benchmarks/equal_training.py --slides FOLDER --init ../shared/data/alexnet-imagenet-features

Training: hard simulated and composite cells (drawn bodies only), from ImageNet's convolutions. Judged on the averaged
weights after the last epoch: hard simulated cells of another seed, and validation slides. Every way is trained with as
many seeds as asked for, so that the spread of the training itself is seen; finished trainings are kept in --out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from mnbatch.imaging.preparation import ContrastRule, Preparation, ZoomRule, prepare_crop
from mnbatch.training.augmentation import normalise_for
from mnbatch.training.hard_cells import hard_cells
from mnbatch.training.initial_weights import started
from mnbatch.training.pool_feed import Pool, pool_trainer, score
from mnbatch.training.real_pieces import PatchLibrary
from mnbatch.training.recipe import Augmentation, Recipe
from mnbatch.training.synthetic_cells import Preparer, composites

ZOOM = ZoomRule(rule="main_nucleus", smallest=0.31, wanted=0.33)
CONTRAST = ContrastRule(rule="deep_per_crop")
MIXTURE = (0.4, 0.4, 0.2)
WAYS = {
    "mixture": ("attention-alexnet", "density", 224),
    "colour": ("attention-alexnet", "stains", 224),
    "normalised": ("attention-alexnet-normalised", "stains", 224),
    "lme": ("attention-alexnet-lme", "stains", 224),
    "320": ("attention-alexnet", "stains", 320),
    "384": ("attention-alexnet", "stains", 384),
}


def main() -> None:
    """Train every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ways", default="mixture,colour,normalised,lme", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cells", type=int, default=2400, help="training cells; a quarter are composites")
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16, where the processor has it")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    drawn = range(asked.cells - asked.cells // 4)
    made = composites(range(asked.cells // 4), 501, PatchLibrary(), stained=1.0)
    own = [*hard_cells(drawn, 501, giemsa=1.0), *made]
    hard = list(hard_cells(range(500), 901, giemsa=1.0))
    slides: list[tuple[np.ndarray, int]] = []
    for file in sorted(asked.slides.glob("giemsa-*.npz")):
        held = np.load(file)
        slides += list(zip(held["images"], held["n_mn"], strict=True))
    with_mn = sum(n > 0 for _, n in slides)
    print(f"{len(own)} cells, {asked.epochs} epochs; {len(slides)} slide cells, {with_mn} with MN", flush=True)
    for seed in range(1, asked.seeds + 1):
        for way in asked.ways.split(","):
            kept = asked.out / f"{way}-{asked.epochs}-{asked.cells}-{seed}.json"
            if not kept.is_file():
                kept.write_text(json.dumps(_trained(way, seed, asked, (own, hard, slides))))
            for name, figures in json.loads(kept.read_text()).items():
                print(f"| {way} | {seed} | {name} | {' | '.join(f'{value:.4f}' for value in figures)} |", flush=True)


def _trained(way: str, seed: int, asked: argparse.Namespace, cells: tuple[list, list, list]) -> dict[str, list[float]]:
    """AUC, AP, specificity at sensitivity 0.9 and milliseconds a cell, on each set."""
    name, polarity, size = WAYS[way]
    shares = None if polarity == "stains" else MIXTURE
    preparer = Preparer(Preparation(size=size, polarity=polarity, contrast=CONTRAST, zoom=ZOOM), shares)
    own, *judging = (_pool(what, part, preparer) for what, part in zip(("own", "hard", "slides"), cells, strict=True))
    recipe = Recipe(
        epochs=asked.epochs,
        cells_per_epoch=asked.cells,
        learning_rate=3e-4,
        head_factor=3.0,
        averaging=0.99,
        polarity=polarity,
        colour_shares=shares,
        size=size,
        bf16=asked.bf16,
        augmentation=Augmentation(scale_low=0.8, scale_high=1.25, clean=0.5),
    )
    network, _ = started(name, str(asked.init), seed, shares, recipe.coloured)
    to_input = normalise_for(network, recipe.coloured)
    trainer = pool_trainer(network, [own], [], recipe, to_input, seed, torch.device("cpu"))
    trainer.run()
    table = {}
    for pool in judging:
        begun = time.process_time()
        p, y = score(trainer.averaged, pool.pixels, to_input, torch.device("cpu")), pool.labels
        ms = 1000 * (time.process_time() - begun) / len(y)
        kept = float((p[~y] < np.quantile(p[y], 0.1)).mean())
        table[pool.name] = [float(roc_auc_score(y, p)), float(average_precision_score(y, p)), kept, ms]
    return table


def _pool(name: str, cells: list, preparer: Preparer) -> Pool:
    pixels = np.stack([preparer.crop(prepare_crop(picture, preparer.preparation)) for picture, _ in cells])
    return Pool(name, pixels, np.array([n > 0 for _, n in cells]))


if __name__ == "__main__":
    main()
