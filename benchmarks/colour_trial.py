"""Does colour help? The same Giemsa cells, weights and budget, once as `density` of one mixture and once as `stains`.

    python benchmarks/colour_trial.py --slides FOLDER --init models/attention-alexnet/giemsa

Training: hard simulated and composite cells (drawn bodies only). Judged on the averaged weights after the last epoch:
    hard simulated
cells of another seed, and validation slides (`benchmarks/validation_slides.py draw`).
"""

from __future__ import annotations

import argparse
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


def main() -> None:
    """Train both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    own = [*hard_cells(range(900), 501, giemsa=1.0), *composites(range(400), 501, PatchLibrary(), stained=1.0)]
    hard = list(hard_cells(range(260), 901, giemsa=1.0))
    files = sorted(asked.slides.glob("giemsa-*.npz"))[2:8]
    slides = [
        (image, n) for file in files for image, n in zip(*(np.load(file)[k] for k in ("images", "n_mn")), strict=True)
    ]
    print(
        f"{len(own)} cells, {asked.epochs} epochs; {len(slides)} slide cells, {sum(n > 0 for _, n in slides)} with MN",
        flush=True,
    )
    for polarity, shares in (("density", (0.4, 0.4, 0.2)), ("stains", None)):
        preparer = Preparer(Preparation(size=asked.size, polarity=polarity, contrast=CONTRAST, zoom=ZOOM), shares)
        pools = [_pool(name, cells, preparer) for name, cells in (("own", own), ("hard", hard), ("slides", slides))]
        recipe = Recipe(
            epochs=asked.epochs,
            cells_per_epoch=1300,
            learning_rate=2e-4,
            head_factor=3.0,
            averaging=0.98,
            polarity=polarity,
            colour_shares=shares,
            size=asked.size,
            bf16=False,
            augmentation=Augmentation(scale_low=0.8, scale_high=1.25, clean=0.5),
        )
        network, _ = started("attention-alexnet", str(asked.init / "model.safetensors"), 1, shares, recipe.coloured)
        to_input = normalise_for(network, recipe.coloured)
        _say(polarity, "before", network, pools, to_input)
        trainer = pool_trainer(network, pools[:1], [], recipe, to_input, 1, torch.device("cpu"))
        trainer.run()
        _say(polarity, "after", trainer.averaged, pools, to_input)


def _pool(name: str, cells: list, preparer: Preparer) -> Pool:
    pixels = np.stack([preparer.crop(prepare_crop(picture, preparer.preparation)) for picture, _ in cells])
    return Pool(name, pixels, np.array([n > 0 for _, n in cells]))


def _say(polarity: str, when: str, network: torch.nn.Module, pools: list[Pool], to_input: object) -> None:
    for pool in pools[1:]:
        p, y = score(network, pool.pixels, to_input, torch.device("cpu")), pool.labels
        at90 = np.quantile(p[y], 0.1)
        auc, ap = roc_auc_score(y, p), average_precision_score(y, p)
        figures = f"AUC {auc:.4f}, AP {ap:.4f}, specificity at 0.9 {(p[~y] < at90).mean():.4f}"
        print(f"{polarity}, {when}, {pool.name} ({len(y)}, {y.sum()} with MN): {figures}", flush=True)


if __name__ == "__main__":
    main()
