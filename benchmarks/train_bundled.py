"""Train a bundled model of one stain; give the same command again to go on.

It starts from the model that shipped before it, or from ImageNet's convolutions.

    python benchmarks/train_bundled.py giemsa --data ../shared/data --slides FOLDER --init
    models/attention-alexnet/giemsa --out DIR

FOLDER holds validation slides as `benchmarks/validation_slides.py draw` makes them. Everything is kept in
DIR.training every four minutes. Needs the mnfinder crops, the 2018 Data Science Bowl's nuclei and the BCCD smears
under --data.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import numpy as np
import torch

from mnbatch.evaluation.labelled_cells import load_crops, told_cells
from mnbatch.imaging.preparation import prepare_crop
from mnbatch.training.checkpoint import Checkpoint, made_key, training_key
from mnbatch.training.fresh_pools import FreshPools
from mnbatch.training.initial_weights import started
from mnbatch.training.pool_feed import Pool
from mnbatch.training.recipe import Augmentation, Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_pools import Labelled, PoolMaker, Sources
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import fit, preparation_of

COMMON = {
    "epochs": 12,
    "cells_per_epoch": 4000,
    "minibatch": 32,
    "learning_rate": 2e-4,
    "head_factor": 3.0,
    "averaging": 0.996,
    "size": 384,
    "polarity": "stains",
    "zoom_below": 0.31,
    "zoom_to": 0.33,
    "with_mn": 0.4,
    "fresh": 3,
    "specificity_weight": 4.0,
}
RECIPES = {
    "giemsa": Recipe(
        **COMMON,
        labelled=0.0,
        dressed=0.17,
        composite=0.2,
        smear=0.06,
        simulated=0.15,
        hard=0.42,
        stained=1.0,
        stained_composites=1.0,
        colour_shares=None,
        augmentation=Augmentation(scale_low=0.8, scale_high=1.25, clean=0.5, coarse=0.1),
    ),
    "fluorescence": Recipe(
        **COMMON | {"epochs": 30, "averaging": 0.998, "head_factor": 2.0, "with_mn": 0.3, "fresh": 5},
        labelled=0.25,
        dressed=0.0,
        composite=0.1,
        smear=0.0,
        simulated=0.37,
        hard=0.28,
        stained=0.0,
        stained_composites=0.0,
        augmentation=Augmentation(scale_low=0.8, scale_high=1.25, clean=0.5),
    ),
}

CROP_WIDTH = 3.2
"""Of cells that are cut from fields, in diameters of a main nucleus: it takes 0.31 of the width, as in the cells that
`zoom_below` and `zoom_to` prepare. Without it a model scores no fields."""

LICENCE = (
    "MIT for these weights; they started from ImageNet weights of torchvision's AlexNet (BSD; ImageNet's terms apply)"
)
NOTES = {
    "giemsa": (
        "Trained on synthetic cells alone (drawn, dressed and composite; nuclei and micronuclei of cell lines, pieces "
        "of real blood smears); no real Giemsa-stained micronucleus and no cytokinesis-blocked lymphocyte was among "
        "the training or validation cells. Threshold, temperature and the errors by slide are of simulated slides: the "
        "errors on real slides are not measured."
    ),
    "fluorescence": (
        "Trained on cultured adherent cell lines (RPE-1, U2OS, HeLa, MCC13; DAPI or H2B) and on synthetic cells; no "
        "lymphocyte was among the training or validation cells. Threshold, temperature and the errors by slide are of "
        "simulated slides: the errors on real slides are not measured."
    ),
}


def slides_pool(folder: Path, stain: str, preparer: Preparer, slides: int) -> Pool:
    """Cells of the first validation slides."""
    held = [np.load(file) for file in sorted(folder.glob(f"{stain}-*.npz"))[:slides]]
    pixels = [preparer.crop(prepare_crop(image, preparer.preparation)) for part in held for image in part["images"]]
    counts = np.concatenate([part["n_mn"] for part in held]).astype(np.int16)
    return Pool("slides", np.stack(pixels), counts > 0, 1.0, counts)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stain", choices=list(RECIPES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slides", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", default="attention-alexnet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw cells beside the network")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--cells", type=int)
    parser.add_argument("--size", type=int, help="width of the network's input, pixels")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="other changes of it (TOML)")
    parser.add_argument("--validation-cells", type=int, default=120)
    parser.add_argument("--validation-slides", type=int, default=12)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    recipe = RECIPES[asked.stain]
    changes = {"epochs": asked.epochs, "cells_per_epoch": asked.cells, "size": asked.size}
    other = tomllib.loads("\n".join(asked.set))
    recipe = Recipe.model_validate(recipe.model_dump() | {k: v for k, v in changes.items() if v} | other)
    preparation, say = preparation_of(recipe), lambda text: print(text, flush=True)
    crops = asked.data / "mnfinder" / "crops"
    request = Request(
        crops / "training",
        asked.out,
        crops / "validation",
        sources=Sources(asked.data / "dsb2018", asked.data / "bccd"),
        init=str(asked.init),
        name=f"attention-alexnet-{asked.stain}",
        crop_width=CROP_WIDTH,
        version="7",
        serves=(asked.stain,),
        seed=31,
        network=asked.network,
        licence=LICENCE,
        note=NOTES[asked.stain],
        data_licence="mnfinder crops: MIT; nuclei of the 2018 Data Science Bowl: CC0; BCCD smears: MIT",
    )
    network, words = started(asked.network, request.init, request.seed, recipe.colour_shares, recipe.coloured)
    own, held_out = (
        Labelled(*load_crops(told_cells(part, say), preparation)) for part in (request.data, request.validation)
    )
    preparer = Preparer(preparation, recipe.colour_shares)
    maker = PoolMaker(
        recipe, request.sources, preparer, request.seed, asked.workers, say, asked.validation_cells, recipe.stained
    )
    validation = [slides_pool(asked.slides, asked.stain, preparer, asked.validation_slides)]
    labelled, *made = maker.validation(held_out)
    validation += made if asked.stain == "giemsa" else [labelled, *made]
    key = training_key(request, recipe, network, own, held_out) | made_key([], validation)
    checkpoint = Checkpoint(asked.out)
    checkpoint.check(key)
    pools = FreshPools(recipe, maker, preparer, own)
    say(f"training {asked.stain} from {words}")
    fit(request, recipe, network, pools, validation, (asked.stain,), words, say, (checkpoint, key), (asked.stain,))
    pools.close()


if __name__ == "__main__":
    main()
