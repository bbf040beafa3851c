"""How a model does on a data set that it has never seen, and what 50, 100 and 200 labels of that set bring.

    python benchmarks/unseen_data_sets.py start --data ../shared/data --out FOLDER
    python benchmarks/unseen_data_sets.py hold-out --data ../shared/data --out FOLDER
    python benchmarks/unseen_data_sets.py adapt --data ../shared/data --out FOLDER
    python benchmarks/unseen_data_sets.py time --data ../shared/data --out FOLDER --threads 2

`start` trains on drawn and composite cells alone, from ImageNet's convolutions, so that it has seen none of the
labelled crops. `hold-out` goes on from there seven times, each time without one data set, and scores that one with the
averaged weights after the last epoch: the held-out cells choose nothing. `adapt` takes the models that never saw a set,
gives them labels of it with the recipe of `mnbatch adapt`, and scores the set's other cells. `time` is `mnbatch adapt`
of the bundled model on 400 cells: it has seen most of them, so only its minutes say something. Each step keeps what it
has finished in FOLDER and goes on there. Needs the mnfinder crops and the 2018 Data Science Bowl's nuclei under --data.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mnbatch.evaluation.labelled_cells import load_crops, told_cells
from mnbatch.evaluation.metrics import Labels, Scores, auc, bootstrap
from mnbatch.inference.catalogue import ModelSet
from mnbatch.networks import ARCHITECTURES
from mnbatch.training.adaptation import ADAPTING, KEPT_OF_OLD, AdaptRequest, between
from mnbatch.training.adaptation import adapt as adapt_model
from mnbatch.training.augmentation import normalise_for
from mnbatch.training.fresh_pools import FreshPools
from mnbatch.training.initial_weights import started
from mnbatch.training.pool_feed import Drawn, Pool, pool_trainer, score
from mnbatch.training.recipe import Augmentation, Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_pools import Labelled, PoolMaker, Sources
from mnbatch.training.training_run import preparation_of

INPUT = {"polarity": "stains", "zoom_below": 0.31, "zoom_to": 0.33, "stained": 0.0, "stained_composites": 0.0}
MILD = Augmentation(scale_low=0.8, scale_high=1.25, clean=0.5)
START = {
    "epochs": 8,
    "cells_per_epoch": 3000,
    "learning_rate": 3e-4,
    "head_factor": 3.0,
    "averaging": 0.99,
    "labelled": 0.0,
    "dressed": 0.0,
    "composite": 0.25,
    "smear": 0.0,
    "simulated": 0.3,
    "hard": 0.45,
    "with_mn": 0.45,
    "fresh": 4,
    "synthetic_cells": 1500,
    "augmentation": MILD,
}
HOLD_OUT = {
    "epochs": 3,
    "cells_per_epoch": 1400,
    "learning_rate": 1e-4,
    "head_factor": 2.0,
    "averaging": 0.99,
    "labelled": 0.75,
    "dressed": 0.0,
    "composite": 0.0,
    "smear": 0.0,
    "simulated": 0.1,
    "hard": 0.15,
    "with_mn": 0.5,
    "fresh": 0,
    "synthetic_cells": 400,
    "augmentation": MILD,
}
ADAPTED = ("2023-05-31", "2022-10-14")
LABELS = (50, 100, 200)
DRAWS = 5
SEED = 61


def say(text: str) -> None:
    """A line at once."""
    print(text, flush=True)


def recipe(fields: dict[str, object], size: int) -> Recipe:
    """A recipe with the input that all steps share."""
    return Recipe(**(INPUT | fields | {"size": size}))


def table_of(data: Path, out: Path) -> Path:
    """labels.csv of all crops, with the data set as the donor."""
    found = out / "labels.csv"
    crops = data / "mnfinder" / "crops"
    with (data / "mnfinder" / "labels.csv").open(newline="") as told, found.open("w", newline="") as written:
        rows = csv.writer(written)
        rows.writerow(["file", "label", "slide", "donor"])
        for row in csv.DictReader(told):
            if row["file"]:
                file = next(path for path in (crops / row["file"], crops.parent / row["file"]) if path.is_file())
                rows.writerow([file.resolve(), row["label"], f"{row['dataset']}-{row['field']}", row["dataset"]])
    return found


class Step:
    """What the three steps share: the cells, the ballast and one training."""

    def __init__(self, asked: argparse.Namespace, fields: dict[str, object]) -> None:
        self.out: Path = asked.out
        self.recipe = recipe(fields, asked.size)
        self.preparer = Preparer(preparation_of(self.recipe), None)
        self.maker = PoolMaker(
            self.recipe, Sources(asked.data / "dsb2018", None), self.preparer, SEED, asked.workers, say, None, 0.0
        )
        cells = told_cells(table_of(asked.data, asked.out), say)
        crops, self.labels = load_crops(cells, self.preparer.preparation)
        self.pixels = np.stack([self.preparer.crop(crop) for crop in crops])
        self.crops = crops
        self.sets = np.array([cell.group for cell in cells])
        second_look = ModelSet.open("attention-alexnet").for_stain("fluorescence").card.second_look
        if second_look is None:
            raise SystemExit("the bundled model has no second look")
        self.second_look = second_look

    def ballast(self) -> list[Pool]:
        """Made cells; none of them holds anything of the labelled crops."""
        return [
            pool for pool in self.maker.training(Labelled(self.crops[:8], self.labels[:8])) if pool.name != "labelled"
        ]

    def trained(self, init: Path, pools: Sequence[Pool] | Drawn, seed: int, what: str) -> nn.Module:
        """The averaged weights after the last epoch."""
        network, _ = started("attention-alexnet", str(init), SEED, None, coloured=True)
        begun = time.monotonic()
        done = pool_trainer(
            network=network,
            training=pools,
            validation=[],
            recipe=self.recipe,
            to_input=normalise_for(network, True),
            seed=seed,
            device=torch.device("cpu"),
            report=lambda epoch, _: say(
                f"  {what}, epoch {epoch.number}: loss {epoch.loss:.4f}, {time.monotonic() - begun:.0f} s"
            ),
        )
        done.run()
        averaged: nn.Module = done.averaged
        return averaged.eval()

    def scores(self, network: nn.Module, chosen: Labels) -> Scores:
        """p_mn of chosen cells, with the second look of the bundled models."""
        to_input, device, pixels = normalise_for(network, True), torch.device("cpu"), self.pixels[chosen]
        scores = score(network, pixels, to_input, device)
        again = scores >= self.second_look.from_score
        if again.any():
            scores[again] = score(network, pixels[again], to_input, device, self.second_look.views)
        return scores

    def labelled(self, chosen: Labels) -> Pool:
        """The chosen cells as a training pool."""
        return Pool("labelled", self.pixels[chosen], self.labels[chosen], self.recipe.labelled)

    def without(self, name: str) -> Path:
        """Weights of the model that never saw a data set."""
        return self.out / f"without-{name}.safetensors"


def start(asked: argparse.Namespace) -> None:
    """Train on made cells alone."""
    step = Step(asked, START)
    weights = asked.out / "start.safetensors"
    if not weights.is_file():
        pools = FreshPools(step.recipe, step.maker, step.preparer, Labelled(step.crops[:8], step.labels[:8]))
        network = step.trained(asked.data / "alexnet-imagenet-features", pools, SEED, "made cells")
        pools.close()
        keep(network, weights)
    network = of_file(weights)
    for name in sorted(set(step.sets)):
        here = step.sets == name
        say(f"{name}: {auc(step.scores(network, here), step.labels[here]):.3f} before any labelled crop")


def keep(network: nn.Module, weights: Path) -> None:
    """Write the weights; a training leaves them in an order of channels that the file does not hold."""
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights)


def of_file(weights: Path) -> nn.Module:
    """The network with these weights."""
    network = ARCHITECTURES["attention-alexnet"]()
    network.load_state_dict(load_file(weights))
    return network.eval()


def hold_out(asked: argparse.Namespace) -> None:
    """Every data set held out in turn."""
    step = Step(asked, HOLD_OUT)
    ballast = step.ballast()
    names = sorted(set(step.sets), key=lambda name: not name.startswith(ADAPTED))
    for name in names:
        weights, here = step.without(name), step.sets == name
        if not weights.is_file():
            pools = [step.labelled(~here), *ballast]
            keep(step.trained(asked.out / "start.safetensors", pools, SEED, f"without {name}"), weights)
        scores, labels = step.scores(of_file(weights), here), step.labels[here]
        found = bootstrap(auc, scores, labels)
        say(
            f"| {name} | {here.sum()} ({labels.sum()}) | {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) "
            f"| {specificity(scores, labels):.3f} |"
        )


def specificity(scores: Scores, labels: Labels) -> float:
    """At sensitivity 0.9."""
    return float((scores[~labels] < np.quantile(scores[labels], 0.1)).mean())


def adapt(asked: argparse.Namespace) -> None:
    """Labels of the set that was never seen; the rest of the set judges, before and after."""
    step = Step(asked, ADAPTING)
    ballast = step.ballast()
    kept = asked.out / "adapt.json"
    rows = json.loads(kept.read_text()) if kept.is_file() else []
    names = sorted({name for name in step.sets if name.startswith(ADAPTED)}, reverse=True)
    names = [name for name in names if step.without(name).is_file()]
    for draw in range(DRAWS):
        for name in names:
            order = np.random.default_rng([SEED, draw]).permutation(np.flatnonzero(step.sets == name))
            for number in LABELS:
                if number >= len(order) - 40 or any(
                    (r["set"], r["draw"], r["labels"]) == (name, draw, number) for r in rows
                ):
                    continue
                begun = time.monotonic()
                given, rest = (np.zeros(len(step.sets), bool) for _ in range(2))
                given[order[:number]], rest[order[number:]] = True, True
                pools = [step.labelled(given), *ballast]
                new = step.trained(step.without(name), pools, SEED + draw, f"{name}, {number} labels, draw {draw + 1}")
                new = between(of_file(step.without(name)).state_dict(), new, KEPT_OF_OLD)
                labels = step.labels[rest]
                before, after = (step.scores(network, rest) for network in (of_file(step.without(name)), new))
                rows.append(
                    {"set": name, "draw": draw, "labels": number, "seconds": time.monotonic() - begun}
                    | {"auc_before": auc(before, labels), "auc_after": auc(after, labels)}
                    | {
                        "specificity_before": specificity(before, labels),
                        "specificity_after": specificity(after, labels),
                    }
                )
                kept.write_text(json.dumps(rows, indent=1))
    for name in names:
        for number in LABELS:
            these = [row for row in rows if (row["set"], row["labels"]) == (name, number)]
            if not these:
                continue  # too few cells would be left to judge
            cells = []
            for what in ("auc", "specificity"):
                before, after = (np.array([row[f"{what}_{when}"] for row in these]) for when in ("before", "after"))
                cells.append(f"{before.mean():.3f} -> {after.mean():.3f} ({after.min():.3f} to {after.max():.3f})")
            say(f"| {name} | {number} | {len(these)} | {' | '.join(cells)} |")


def minutes(asked: argparse.Namespace) -> None:
    """The whole of an adaptation of the bundled model, on 400 cells."""
    rows = table_of(asked.data, asked.out).read_text().splitlines()
    chosen = np.random.default_rng(SEED).permutation(len(rows) - 1)[:400] + 1
    table = asked.out / "400.csv"
    table.write_text("\n".join([rows[0], *(rows[i] for i in chosen)]) + "\n")
    base = ModelSet.open("attention-alexnet").for_stain("fluorescence")
    out = asked.out / f"own-{time.time():.0f}"
    begun, used = time.monotonic(), time.process_time()
    done = adapt_model(
        AdaptRequest(table, base, "fluorescence", out, "own", workers=asked.workers, threads=asked.threads), say
    )
    clock, processor = (time.monotonic() - begun) / 60, (time.process_time() - used) / 60
    say(f"{done.cells} cells, {base.card.preparation.size} pixels: {clock:.1f} minutes, {processor:.1f} of a processor")
    say(f"AUC {done.old.auc:.3f} -> {done.new.auc:.3f}")


def main() -> None:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["start", "hold-out", "adapt", "time"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    {"start": start, "hold-out": hold_out, "adapt": adapt, "time": minutes}[asked.step](asked)


if __name__ == "__main__":
    main()
