"""The story of a training run: check, read, make, train, measure, write the model directory."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import nn

from mnbatch.errors import ModelError
from mnbatch.evaluation.labelled_cells import (
    LabelledCell,
    in_both,
    load_crops,
    people_in_both,
    split_cells,
    told_cells,
)
from mnbatch.evaluation.missing_colour import training_colour_note
from mnbatch.evaluation.people import people_of
from mnbatch.files import write_files
from mnbatch.imaging.preparation import ContrastRule, Preparation, ZoomRule
from mnbatch.inference.card import ModelCard
from mnbatch.inference.catalogue import verify_model
from mnbatch.inference.classifier import pick_device
from mnbatch.inference.model_directory import refuse_other_content, write_model_directory
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.training.augmentation import Normalise, normalise_for
from mnbatch.training.card_writing import asked_stains, card_fields, check_card_words, served_stains, unfinished
from mnbatch.training.checkpoint import Checkpoint, Key, card_only, made_key, training_key
from mnbatch.training.fresh_pools import FreshPools
from mnbatch.training.held_out_groups import tell_people
from mnbatch.training.initial_weights import started, tie_colours
from mnbatch.training.pool_feed import Pool, pool_trainer, score
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_curves import history_files
from mnbatch.training.training_loop import Trained, Trainer, has_bf16
from mnbatch.training.training_pools import Labelled, PoolMaker
from mnbatch.training.training_request import Request
from mnbatch.training.training_state import Epoch

MEAN, STD = AttentionAlexNet.alike_mean, AttentionAlexNet.alike_std
"""Of all three channels alike (ImageNet's means over the colours), so that their mixture can be tied exactly."""

to_input = Normalise(MEAN, STD)
"""Of attention-AlexNet; other networks may need another (`normalise_for`)."""


def train_model(request: Request, recipe: Recipe, say: Callable[[str], None]) -> ModelCard:
    """Train a network as asked and write its model directory.

    The directory is written again whenever an epoch is the best so far (its card then says that the training is not
    finished), and the whole training is kept beside it after every epoch (see `mnbatch.training.checkpoint`): the same
    call goes on from there and ends with the same weights.

    Raises:
        TrainingError: data, recipe or weights that cannot give a model, found before training where possible.
        MismatchError: another training is kept beside the model directory.
        StorageError: the folder beside it is of something else.
        UsageError: a device that is not there, or a name that no card may have.
    """
    pick_device(request.device)
    refuse_other_content(request.out)
    # Without a name the model has the network's; one that is not known is refused with the names that are.
    check_card_words(request.name if request.name != request.network else "", request.version, request.licence)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    if request.threads:
        torch.set_num_threads(request.threads)
    preparation = preparation_of(recipe)
    training_cells, validation_cells = _cells(request, say)
    for flattering in (
        _split_warning(request, [*training_cells, *validation_cells]),
        # What was divided here has each picture and each person once.
        in_both(training_cells, validation_cells) if request.validation is not None else "",
        people_in_both(training_cells, validation_cells) if request.validation is not None else "",
    ):
        if flattering:
            say(f"warning: {flattering}")
            request = replace(request, note=f"{request.note} {flattering}".strip())
    own = Labelled(*load_crops(training_cells, preparation))
    held_out = Labelled(*load_crops(validation_cells, preparation))
    if grey := training_colour_note([*own.crops, *held_out.crops], preparation):
        say(f"warning: {grey}")
        request = replace(request, note=f"{request.note} {grey}".strip())
    network, started_from = started(request.network, request.init, request.seed, recipe.colour_shares, recipe.coloured)
    stains = asked_stains(request.serves, served_stains(list(own.crops), recipe.has_synthetic_stained))
    checkpoint, key = Checkpoint(request.out, request.restart), training_key(request, recipe, network, own, held_out)
    checkpoint.check(key)
    if (card := _finished_before(request, checkpoint)) is not None:
        say(f"{request.out} comes from {checkpoint.described()}: nothing is left to train (--restart trains anew)")
        return card
    preparer = Preparer(preparation, recipe.colour_shares)
    maker = PoolMaker(
        recipe=recipe, sources=request.sources, preparer=preparer, seed=request.seed, workers=request.workers, say=say
    )
    fresh = FreshPools(recipe, maker, preparer, own) if recipe.fresh else None
    training, validation = maker.training(own) if fresh is None else [], maker.validation(held_out)
    seen = served_stains(list(held_out.crops), synthetic_stained=False)
    key |= made_key(training, validation)
    checkpoint.check(key)
    say(f"training on {_numbers(training, fresh)}, starting from {started_from}")
    say(f"computing in {precision(recipe, pick_device(request.device))}")
    with fresh or nullcontext():
        pools = fresh or training
        return fit(
            request=request,
            recipe=recipe,
            network=network,
            training=pools,
            validation=validation,
            stains=stains,
            started_from=started_from,
            say=say,
            kept=(checkpoint, key),
            labelled_stains=seen,
        )


def _numbers(training: Sequence[Pool], fresh: FreshPools | None) -> str:
    if fresh is None:
        return f"{sum(len(pool.labels) for pool in training)} cells"
    return f"cells that are drawn anew every {fresh.recipe.fresh} epochs"


def precision(recipe: Recipe, device: torch.device) -> str:
    """In what a training computes, and why, in words."""
    if not recipe.bf16:
        return "float32"
    return "bfloat16" if has_bf16(device) else "float32 (this processor has no bfloat16)"


def fit(
    request: Request,
    recipe: Recipe,
    network: nn.Module,
    training: Sequence[Pool] | FreshPools,
    validation: Sequence[Pool],
    stains: Sequence[str],
    started_from: str,
    say: Callable[[str], None],
    kept: tuple[Checkpoint, Key] | None = None,
    labelled_stains: Sequence[str] = (),
) -> ModelCard:
    """Train on pools, and write the model directory whenever an epoch is the best so far.

    Args:
        kept: where the training is kept after every epoch, and gone on from, and its key; None keeps nothing.
        labelled_looks: of the labelled validation crops, see `card_fields`.
    """
    device = pick_device(request.device)
    normalise = normalise_for(network, recipe.coloured)
    clock = Clock(recipe, say)

    def keep(trained: Trained, last: bool) -> ModelCard:
        finished = finished_network(trained.network, recipe)
        scores = {pool.name: score(trained.network, pool.pixels, normalise, device) for pool in validation}
        fields = card_fields(
            request=request,
            recipe=recipe,
            preparation=preparation_of(recipe),
            training=training.described(len(trained.history)) if isinstance(training, FreshPools) else training,
            validation=validation,
            stains=stains,
            scores=scores,
            trained=trained,
            started_from=started_from,
            normalisation=(normalise.mean, normalise.std),
            labelled_stains=labelled_stains,
        )
        if not last:
            fields |= unfinished(fields, len(trained.history), recipe.epochs)
        return write_model_directory(request.out, finished, fields)

    def report(epoch: Epoch, so_far: Trained) -> None:
        if so_far.best is epoch:
            keep(so_far, last=False)
        if kept is not None:
            kept[0].save(trainer.snapshot(), kept[1], card_only(request))
            write_files(kept[0].folder, history_files(so_far.history, so_far.best, recipe.epochs, request.name))
        say(describe(epoch, recipe.epochs))

    def progress(number: int, cells: int, seconds: float) -> None:
        if clock.due(number, cells, seconds) and kept is not None:
            kept[0].save(trainer.snapshot(), kept[1], card_only(request))

    trainer = pool_trainer(
        network=network,
        training=training,
        validation=validation,
        recipe=recipe,
        to_input=normalise,
        seed=request.seed,
        device=device,
        report=report,
        progress=progress,
    )
    if kept is not None:
        _go_on(trainer, kept[0], recipe, say)
    card = keep(trainer.run(), last=True)
    if kept is not None:
        kept[0].finish(card.weights_sha256, card_only(request))
    return card


class Clock:
    """Says every few minutes how fast a training is and what is left, and when to keep it.

    Args:
        every: seconds between two checkpoints within an epoch.
    """

    def __init__(self, recipe: Recipe, say: Callable[[str], None], every: float = 240.0) -> None:
        self.recipe, self.say, self.every = recipe, say, every
        self._last = time.monotonic()

    def due(self, number: int, cells: int, seconds: float) -> bool:
        """Whether it is time to keep the training; says so then.

        Args:
            number: of the epoch; cells: of it, done in `seconds`.
        """
        if time.monotonic() - self._last < self.every:
            return False
        self._last = time.monotonic()
        speed = cells / max(seconds, 1e-9)
        left = (self.recipe.epochs - number + 1) * self.recipe.cells_per_epoch - cells
        self.say(f"  epoch {number}: {cells} cells, {speed:.1f} cells/s, {left / speed / 60:.0f} min left")
        return True


def _go_on(trainer: Trainer, checkpoint: Checkpoint, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Start where the last call stopped, or give up what is there when that was asked for."""
    if checkpoint.record is None:
        checkpoint.discard()
        return
    try:
        trainer.restore(checkpoint.load())
    except (RuntimeError, LookupError, ValueError, TypeError) as error:
        raise checkpoint.damaged(error) from error
    record = checkpoint.record
    within = f" and {record.minibatches} minibatches" if record.minibatches else ""
    best = f"; the best so far is epoch {record.best}" if record.best else ""
    say(f"going on after epoch {len(record.history)}{within} of {recipe.epochs}{best}")


def _finished_before(request: Request, checkpoint: Checkpoint) -> ModelCard | None:
    """The card of the finished model, where it is there and as it was asked for."""
    record = checkpoint.record
    if record is None or not record.finished or record.card != card_only(request):
        return None
    try:
        card = verify_model(request.out).card
    except ModelError:
        return None
    return card if card.weights_sha256 == record.model else None


def preparation_of(recipe: Recipe) -> Preparation:
    """How crops are prepared for a model that is trained by this recipe."""
    contrast = ContrastRule(rule=recipe.contrast)
    zoom = ZoomRule(rule=recipe.zoom, smallest=recipe.zoom_below, wanted=recipe.zoom_to)
    return Preparation(size=recipe.size, polarity=recipe.polarity, contrast=contrast, zoom=zoom)


def describe(epoch: Epoch, epochs: int) -> str:
    """One line on an epoch."""
    aucs = ", ".join(f"{name} {value:.3f}" for name, value in epoch.aucs.items())
    left = epoch.seconds * (epochs - epoch.number) / 60
    return (
        f"epoch {epoch.number}/{epochs}: loss {epoch.loss:.4f}, AUC {aucs} ({epoch.seconds:.0f} s; {left:.0f} min left)"
    )


def _cells(request: Request, say: Callable[[str], None]) -> tuple[list[LabelledCell], list[LabelledCell]]:
    cells = told_cells(request.data, say, request.options)
    if request.validation is not None:
        return cells, told_cells(request.validation, say, request.options)
    tell_people(cells, say)
    return split_cells(cells, request.validation_share, request.seed)


def _split_warning(request: Request, cells: Sequence[LabelledCell]) -> str:
    """Why validation figures of this split flatter, for the reader of the card; "" where they do not."""
    alone = people_of(cells).names.count("")
    if request.validation is not None or alone == 0:
        return ""
    return (
        f"{alone} of {len(cells)} labelled cells have no donor or slide and were divided at random between training "
        "and validation: cells of one slide are alike, so the validation figures are higher than on a new slide."
    )


def finished_network(network: nn.Module, recipe: Recipe) -> nn.Module:
    """The network for three-channel input: trained on one channel, it is the same with its colours tied."""
    finished = copy.deepcopy(network).cpu().float().to(memory_format=torch.contiguous_format)
    if recipe.colour_shares is not None:
        tie_colours(finished, recipe.colour_shares)
    return finished
