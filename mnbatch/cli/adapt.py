"""`mnbatch adapt`: a laboratory's own model from its own review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.cli.common import counted, name_missing
from mnbatch.cli.ended_by_signals import ended_by_signals
from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED, NoInputError, UsageError

if TYPE_CHECKING:
    from mnbatch.app.review_service import Exported
    from mnbatch.inference.catalogue import VerifiedModel
    from mnbatch.results.roster import Missing
    from mnbatch.review.review_export import ScoredBy
    from mnbatch.training.adaptation import Adapted


def adapt(
    out_dir: Annotated[
        Path, typer.Argument(metavar="OUT", help="Output directory of `mnbatch run`, with a review in it.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="MODEL_DIR", help="New model directory.")],
    stain: Annotated[
        str | None, typer.Option("--stain", help="fluorescence or giemsa, where slides of both were reviewed.")
    ] = None,
    reviewer: Annotated[str | None, typer.Option("--reviewer", help="Only this reviewer's decisions.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="The model that scored, where the run's own path to it no longer holds."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the new model, for its card.")] = None,
    version: Annotated[str, typer.Option("--model-version", help="Version of the weights, for the card.")] = "1",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Of each training.")] = None,
    cells: Annotated[
        int | None, typer.Option("--cells-per-epoch", min=4, help="Half of them reviewed, half synthetic.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same device, same threads: same model.")] = 1,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that draw synthetic cells.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of torch; 0: its own choice.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Fine-tune the model that scored OUT on the cells that were reviewed there, and write it if it is better.

    Better means: on cells of donors (else slides) that the new model has not seen, its AUC is larger than that of the
    old one by DeLong's paired test (p below 0.05). OUT is not changed. The same command goes on where it was stopped.
    Reviewed slides that cannot be used, since their trail was changed by hand for example, are named first.

    Exit codes: 0 a model was written; 2 too few cells, of one class or of one slide, or an option that cannot be used;
    3 the new model is not better, nothing was written; 4 OUT holds no results or no decision; 5 another model scored
    than the one given; 10 MODEL_DIR exists or cannot be written, or MODEL_DIR.training is of something else; 12 the
    model cannot be read; 130, 143 stopped.
    """
    from mnbatch.app.scoring_model import model_that_scored
    from mnbatch.inference.classifier import pick_device
    from mnbatch.training.adaptation import STATE, AdaptRequest
    from mnbatch.training.adaptation import adapt as adapt_model
    from mnbatch.training.adapting_place import adapting_place
    from mnbatch.training.card_writing import check_card_words
    from mnbatch.training.kept_folder import folder_beside, full_disk_told

    _check_stain(stain)
    pick_device(device)
    check_card_words(name or "", version, "not stated")
    changes = {"epochs": epochs, "cells_per_epoch": cells}
    folder = folder_beside(out)
    full = full_disk_told(folder / STATE, f"the folds that are finished are kept in {folder}")
    # In order, so that no crop of a donor stays behind.
    with ended_by_signals(lambda: "the folds that are finished are kept"), full, adapting_place() as place:
        exported, scored_by = _exported(out_dir, place / "labels", stain, reviewer)
        for reason, number in sorted(exported.left_out.items()):
            typer.echo(f"left out: {number} {reason}", err=True)
        base = model_that_scored(out_dir, scored_by, model)
        request = AdaptRequest(
            data=place / "labels" / "labels.csv",
            base=base,
            stain=scored_by.stain,
            out=out,
            name=name or f"{base.card.name}-own"[:64],
            version=version,
            seed=seed,
            workers=workers,
            threads=threads,
            device=device,
            changes=tuple((key, value) for key, value in changes.items() if value is not None),
        )
        done = adapt_model(request, lambda line: typer.echo(line, err=True))
    _tell(done, base, out)
    raise typer.Exit(EXIT_OK if done.card is not None else EXIT_SLIDES_FAILED)


def _check_stain(stain: str | None) -> None:
    from mnbatch.assay.cells import STAINS
    from mnbatch.intake import nearest, short

    if stain is None or stain in STAINS:
        return
    like = nearest(stain.strip().lower(), STAINS)
    raise UsageError(
        f"--stain {short(stain)!r} is no stain that is known.",
        f"{f'Did you mean {like}? ' if like else ''}Give {' or '.join(STAINS)}, or leave --stain out.",
    )


def _exported(out: Path, folder: Path, stain: str | None, reviewer: str | None) -> tuple[Exported, ScoredBy]:
    """The cells to learn from; slides that were reviewed and cannot be used are named before anything is learned."""
    from mnbatch.app.review_service import export_for_model

    altered, stains = _reviewed(out)
    name_missing(altered)
    try:
        exported, scored_by = export_for_model(out, folder, stain, reviewer)
    except NoInputError as error:
        if altered:
            raise NoInputError(
                f"{error.message} The trails of {counted(len(altered), 'reviewed slide')} were changed by hand.",
                "Restore them from a copy, or move them away and import the reviews again.",
            ) from error
        if stain is not None and stains and stain not in stains:
            raise NoInputError(
                error.message, f"The slides that were reviewed are of the stain {' and '.join(stains)}: give that."
            ) from error
        raise
    name_missing([slide for slide in exported.missing if slide not in altered])
    return exported, scored_by


def _reviewed(out: Path) -> tuple[tuple[Missing, ...], list[str]]:
    """Slides whose trail was changed by hand, and the stains of all slides with a review."""
    from mnbatch.app.rebuild import open_store
    from mnbatch.results.roster import Missing
    from mnbatch.review.review_status import altered_review
    from mnbatch.review.trail import read_trail, reviewed_slides

    store = open_store(out)
    stains = {record.slide_id: record.stain for record in store.records()}
    trails = {slide: read_trail(store.paths, slide) for slide in reviewed_slides(store.paths) if slide in stains}
    altered = [Missing(slide, altered_review(trail).reason) for slide, trail in trails.items() if trail.altered]
    return tuple(altered), sorted({stain for slide in trails if (stain := stains[slide])})


def _tell(done: Adapted, base: VerifiedModel, out: Path) -> None:
    test = done.test
    typer.echo(
        f"{counted(done.cells, 'cell')}, {done.with_mn} with micronuclei, "
        f"{counted(done.groups, done.grouped_by, done.groups_word)}; "
        f"each {done.grouped_by} was scored by a model that had not seen it"
    )
    for word, figures in ((f"{base.card.name} {base.card.version}", done.old), ("adapted", done.new)):
        typer.echo(
            f"{word}: AUC {figures.auc:.3f} ({figures.low:.3f} to {figures.high:.3f}), specificity at sensitivity 0.9 "
            f"{figures.specificity:.3f}"
        )
    typer.echo(
        f"difference of the AUC {test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f}), p = {test.p_value:.3g}"
    )
    if done.card is not None:
        typer.echo(f"Model {done.card.name} {done.card.version} is in {out}; threshold {done.card.threshold:g}.")
        typer.echo("A calibration curve holds for one model only: make a new one with this model.")
        return
    why = "is not larger" if test.difference <= 0 else "could be chance (p is not below 0.05)"
    typer.echo(f"No model was written: the difference {why}. More reviewed cells of more slides may show one.")
