"""`mnbatch train`: labelled crops in, a model directory out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.cli.ended_by_signals import ended_by_signals
from mnbatch.cli.page_questions import Names, NuclearChannel, Pages, Planes, Time, page_options
from mnbatch.errors import UsageError

NETWORK, INIT, RECIPE = "attention-alexnet", "imagenet", "default"

if TYPE_CHECKING:
    from mnbatch.training.recipe import Recipe
    from mnbatch.training.training_request import Request


def train(
    data: Annotated[
        Path,
        typer.Argument(help="Folder with mn/ and nomn/, or a CSV: file, label or mn_count, slide, donor."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Model directory to write.")],
    validation: Annotated[
        Path | None,
        typer.Option("--validation", help="Labelled crops to validate on; without it a part of DATA is held out."),
    ] = None,
    validation_share: Annotated[
        float,
        typer.Option(
            "--validation-share",
            min=0.05,
            max=0.5,
            help="Share of DATA to hold out, whole donors or slides.",
        ),
    ] = 0.2,
    nuclear_channel: NuclearChannel = None,
    planes: Planes = None,
    time: Time = None,
    pages: Pages = None,
    names: Names = "auto",
    network: Annotated[
        str, typer.Option("--network", help="attention-alexnet, resnet18-att, ...: the names of docs/networks.md.")
    ] = NETWORK,
    init: Annotated[
        str,
        typer.Option(
            "--init", help="imagenet (torchvision's, fetched), random, or a file of weights (.pth, .safetensors)."
        ),
    ] = INIT,
    recipe: Annotated[str, typer.Option("--recipe", help="default, paper, or a TOML file.")] = RECIPE,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the recipe's.")] = None,
    synthetic_cells: Annotated[
        int | None,
        typer.Option("--made-cells", min=0, help="Synthetic cells of each source, instead of the recipe's number."),
    ] = None,
    nuclei: Annotated[
        Path | None,
        typer.Option("--nuclei", help="Fluorescence fields with masks (images/, labels/) for composite cells."),
    ] = None,
    smears: Annotated[
        Path | None,
        typer.Option("--smears", help="Stained smears with boxes (images/, annotations/) for composite cells."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model, for its card; without it the network's.")
    ] = None,
    counts: Annotated[
        bool,
        typer.Option(
            "--counts", help="Also fit a counter (0, 1, 2, 3+ MN) on DATA's mn_count, when the rest is trained."
        ),
    ] = False,
    extend: Annotated[
        Path | None,
        typer.Option(
            "--extend",
            help="Train no network: give the model in this directory a counter; its yes or no does not change.",
        ),
    ] = None,
    version: Annotated[str, typer.Option("--model-version", help="Version of the weights, for the card.")] = "1",
    licence: Annotated[str, typer.Option("--licence", help="Licence of the model, for the card.")] = "not stated",
    data_licence: Annotated[str, typer.Option("--data-licence", help="Licence of the data, for the card.")] = "",
    note: Annotated[str, typer.Option("--note", help="What the card should say first about the data's limits.")] = "",
    crop_width: Annotated[
        float | None,
        typer.Option("--crop-width", min=1.0, help="Width of the crops in nucleus diameters, for the card."),
    ] = None,
    serves: Annotated[
        list[str] | None,
        typer.Option("--serves", help="Stain that the card states (repeatable): for a set with a model a stain."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same device, same threads: same model.")] = 1,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that draw synthetic cells; 0: none besides the main one.")
    ] = 0,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Threads of the training; 0: torch's own choice.")
    ] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard the unfinished training next to --out, and start again.")
    ] = False,
    cross_validation: Annotated[
        bool,
        typer.Option(
            "--cross-validate",
            help="Write no model: hold out every donor (else slide) of DATA in turn and write their AUCs to --out.",
        ),
    ] = False,
) -> None:
    """Train a network on labelled crops and write a model directory.

    The training is kept in MODEL_DIR.training/ after every epoch: the same command again goes on from there.
    """
    from mnbatch.inference.classifier import pick_device
    from mnbatch.training.card_writing import check_card_words
    from mnbatch.training.checkpoint import RECORD
    from mnbatch.training.counting.counting_model import ExtendRequest, counted_cells, extend_model
    from mnbatch.training.kept_folder import folder_beside, full_disk_told
    from mnbatch.training.recipe import load_recipe
    from mnbatch.training.training_pools import FEWEST_MADE, Sources
    from mnbatch.training.training_request import Request
    from mnbatch.training.training_run import train_model

    of_a_training = {
        "--cross-validate": cross_validation,
        "--network": network != NETWORK,
        "--init": init != INIT,
        "--recipe": recipe != RECIPE,
        "--epochs": epochs is not None,
        "--restart": restart,
    }
    if extend is not None and any(of_a_training.values()):
        given = ", ".join(option for option, is_given in of_a_training.items() if is_given)
        raise UsageError(f"--extend trains no network, and {given} would be of a training.", "Leave one of them out.")
    if extend is None and synthetic_cells is not None and synthetic_cells < FEWEST_MADE:
        raise UsageError(
            f"--made-cells {synthetic_cells}: a training needs one with and one without micronuclei of each source.",
            "Give a larger number; a recipe whose shares are 0 takes none of a source.",
        )
    pick_device(device)
    check_card_words(name or "", version, licence)
    said = page_options(nuclear_channel, planes, time, pages, names)
    sources, counting = Sources(nuclei, smears), {} if synthetic_cells is None else {"synthetic_cells": synthetic_cells}
    extension = ExtendRequest(
        model=extend or out,
        data=data,
        out=out,
        validation=validation,
        validation_share=validation_share,
        sources=sources,
        data_licence=data_licence,
        seed=seed,
        threads=threads,
        options=said,
        **counting,
    )
    checkpoint = folder_beside(out) / RECORD
    goes_on = f"it goes on from the checkpoint in {folder_beside(out)}"
    if extend is not None:
        with full_disk_told(checkpoint, goes_on):
            card = extend_model(extension, lambda line: typer.echo(line, err=True))
        typer.echo(f"Model {card.name} {card.version} is in {out}; it counts, and calls the cells that {extend} calls.")
        return
    if counts:
        _check_network_counts(network)
        counted_cells(extension, lambda line: None)  # labels without counts are to be found before hours are spent
    changes = {"epochs": epochs, "synthetic_cells": synthetic_cells}
    chosen = load_recipe(recipe).model_copy(update={key: value for key, value in changes.items() if value is not None})
    request = Request(
        data=data,
        out=out,
        validation=validation,
        validation_share=validation_share,
        sources=sources,
        init=init,
        name=name or network,
        version=version,
        licence=licence,
        data_licence=data_licence,
        note=note,
        crop_width=crop_width,
        serves=tuple(serves) if serves else None,
        seed=seed,
        workers=workers,
        threads=threads,
        device=device,
        restart=restart,
        network=network,
        options=said,
    )
    if cross_validation:
        _cross_validate(request, chosen)
        return

    def kept() -> str:
        at = f"the training is kept in {checkpoint.parent}, as it was at its last checkpoint"
        return at if checkpoint.exists() else "the training had no checkpoint yet, and nothing of it is kept"

    with ended_by_signals(kept), full_disk_told(checkpoint, goes_on):
        card = train_model(request, chosen, lambda line: typer.echo(line, err=True))
        if counts:
            card = extend_model(extension, lambda line: typer.echo(line, err=True))
    typer.echo(f"Model {card.name} {card.version} is in {out}; threshold {card.threshold:g}.")


def _check_network_counts(network: str) -> None:
    """Raise a TrainingError for a network that cannot have a counter, before hours are spent."""
    from mnbatch.errors import TrainingError
    from mnbatch.networks import ARCHITECTURES
    from mnbatch.networks.network import StreamNetwork

    kind = ARCHITECTURES.get(network)
    if isinstance(kind, type) and not issubclass(kind, StreamNetwork):
        raise TrainingError(
            f"A {network} cannot count: only networks that classify averages over positions can.",
            "Leave --counts out, or choose another --network.",
        )


def _cross_validate(request: Request, recipe: Recipe) -> None:
    from mnbatch.training.cross_validation import STATE, VIEWS, cross_validate, spread
    from mnbatch.training.kept_folder import full_disk_told

    finished = f"the groups that are finished are kept in {request.out}"
    with ended_by_signals(lambda: finished), full_disk_told(request.out / STATE, finished):
        folds = cross_validate(request, recipe, lambda line: typer.echo(line, err=True))
    for views in VIEWS:
        mean, low, high = spread(folds, views)
        typer.echo(f"{views}: mean AUC {mean:.3f} over the held-out groups, {low:.3f} to {high:.3f}")
    typer.echo(f"Table: {request.out / 'cross_validation.csv'}")
