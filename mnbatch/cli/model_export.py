"""`mnbatch model export`: a model for programs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.errors import NoInputError, UsageError

if TYPE_CHECKING:
    from mnbatch.assay.cells import UInt8Array
    from mnbatch.inference.card import ModelCard

CHECKED_CELLS = 16


def export_command(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or path of a model directory.")],
    onnx: Annotated[Path, typer.Option("--onnx", help="File to write; its card is written next to it as .json.")],
    stain: Annotated[
        str | None, typer.Option("--stain", help="If the set has one model for each stain: the stain to use.")
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option("--crops", help="Folder of crops to check the file on, 16 of them; simulated cells without it."),
    ] = None,
) -> None:
    """Write a model as an ONNX file, after torch and onnxruntime gave the same scores of some cells."""
    from mnbatch.imaging.preparation import network_input
    from mnbatch.inference.model_directory import load_model
    from mnbatch.inference.onnx_file import export_onnx, need_onnx

    need_onnx()
    loaded = load_model(_member(model, stain))
    card = loaded.card
    cells = _crops_of(crops, card) if crops else _simulated(card)
    checked = export_onnx(loaded, onnx, network_input(cells, card.preparation))
    typer.echo(
        f"{card.name} {card.version} ({card.architecture}) is in {onnx}, its card in {onnx.with_suffix('.json')}.\n"
        f"Largest difference between torch and onnxruntime on {checked.cells} "
        f"{'crops' if crops else 'simulated cells'}: p_mn {checked.p_mn:.1e}, logits {checked.logits:.1e}."
    )


def _member(model: str, stain: str | None) -> Path:
    """The one model directory that is meant."""
    from mnbatch.inference.catalogue import ModelSet

    models = ModelSet.open(model)
    fitting = [member for member in models.members if stain is None or stain in member.card.stains]
    if len(fitting) == 1:
        return fitting[0].path
    raise UsageError(
        f"{model} holds {len(fitting)} models for {stain or 'all stains'} (it serves {', '.join(models.stains)}).",
        "Choose one with --stain.",
    )


def _simulated(card: ModelCard) -> UInt8Array:
    """Prepared cells of the simulator in the stains that the model serves."""
    import numpy as np

    from mnbatch.imaging.preparation import prepare_crop
    from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
    from mnbatch.simulate.slide_appearance import draw_slide_appearance

    found = []
    for number in range(CHECKED_CELLS):
        rng, stain = np.random.default_rng([7, number]), card.stains[number % len(card.stains)]
        image = simulate_cell(rng, CellSpec(stain, n_mn=number % 2), draw_slide_appearance(rng, stain)).image
        found.append(prepare_crop(np.asarray(image), card.preparation))
    return np.stack(found)


def _crops_of(folder: Path, card: ModelCard) -> UInt8Array:
    """Crops of a folder, at most 16, spread over its files in their order."""
    from mnbatch.evaluation.labelled_cells import LabelledCell, load_crops
    from mnbatch.imaging.litter import images_below

    files = sorted(images_below(folder))
    if len(files) < 4:
        raise NoInputError(f"{folder} holds {len(files)} crops; at least 4 are needed.", "Give another folder.")
    step = max(1, len(files) // CHECKED_CELLS)
    return load_crops([LabelledCell(path, False) for path in files[::step][:CHECKED_CELLS]], card.preparation)[0]
