"""`mnbatch model list | show | verify | average | export`: what there is, what the cards say, whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.cli.common import App
from mnbatch.cli.model_average import average_command
from mnbatch.cli.model_export import export_command
from mnbatch.errors import EXIT_OK, ModelError

if TYPE_CHECKING:
    from mnbatch.inference.card import CountCheck, Metric, ModelCard, Rate, View
    from mnbatch.inference.catalogue import VerifiedModel

model_app = App(help="List, show, verify, average and export models.", no_args_is_help=True)

_NAME = typer.Argument(help="Name of a bundled model, or path of a model directory.", show_default=False)
_JSON = typer.Option("--json", help="Print JSON instead of text.")


@model_app.command("list")
def list_command(as_json: Annotated[bool, _JSON] = False) -> None:
    """List the bundled models with their stains. The default is marked with `*`."""
    from mnbatch.inference.catalogue import DEFAULT, list_models

    rows = [(path, *_card_or_fault(member)) for path in list_models() for member in _members(path)]
    if as_json:
        typer.echo(json.dumps([_list_entry(path, card, fault) for path, card, fault in rows], indent=2))
        return
    for path, card, fault in rows:
        mark = "*" if path.name == DEFAULT else " "
        if card is None:
            typer.echo(f"{mark} {path.name}  DAMAGED: {fault}")
        else:
            stains = ", ".join(card.stains)
            typer.echo(f"{mark} {path.name}  {card.name} {card.version}  {stains}  threshold {card.threshold:g}")
    if not rows:
        typer.echo("No bundled models were found; give the path of a model directory to --model.", err=True)


@model_app.command("show")
def show_command(model: Annotated[str | None, _NAME] = None, as_json: Annotated[bool, _JSON] = False) -> None:
    """Show a model's card: its training data, its performance, and its limits."""
    for verified in _verified(model):
        card = verified.card
        if as_json:
            content = {"path": str(verified.path), "digest": verified.digest, **card.model_dump(mode="json")}
            typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        else:
            typer.echo("\n".join(_card_lines(verified)))


@model_app.command("verify")
def verify_command(models: Annotated[list[str] | None, _NAME] = None) -> None:
    """Check that models are complete: both files present, the card valid, the weights those of the card.

    Without a name all bundled models are checked. Exit code 12 if one is not complete.
    """
    from mnbatch.inference.catalogue import list_models, resolve_model

    worst = EXIT_OK
    named: list[Path | str] = list(models) if models else list(list_models())
    for name in named:
        try:
            paths = _members(resolve_model(name))
        except ModelError as error:
            typer.echo(str(error), err=True)
            worst = error.exit_code
            continue
        for path in paths:
            card, fault = _verify(path)
            typer.echo(f"ok  {path}  {card}" if not fault else f"{fault}", err=bool(fault))
            worst = ModelError.exit_code if fault else worst
    if not named:
        raise ModelError("No bundled models were found.", "Give the path of a model directory.")
    if worst:
        raise typer.Exit(worst)


model_app.command("average")(average_command)
model_app.command("export")(export_command)


def _verify(path: Path) -> tuple[str, str]:
    """(digest, "") of a complete model, ("", fault) of another."""
    from mnbatch.inference.catalogue import verify_model

    try:
        return f"digest {verify_model(path).digest}", ""
    except ModelError as error:
        return "", str(error)


def _members(path: Path) -> list[Path]:
    from mnbatch.inference.catalogue import member_paths

    return member_paths(path) or [path]


def _verified(name: str | None) -> Iterator[VerifiedModel]:
    from mnbatch.inference.catalogue import DEFAULT, resolve_model, verify_model

    return map(verify_model, _members(resolve_model(name or DEFAULT)))


def _card_or_fault(path: Path) -> tuple[ModelCard | None, str]:
    from mnbatch.inference.catalogue import verify_model

    try:
        return verify_model(path).card, ""
    except ModelError as error:
        return None, str(error)


def _list_entry(path: Path, card: ModelCard | None, fault: str) -> dict[str, object]:
    from mnbatch.inference.catalogue import DEFAULT

    entry: dict[str, object] = {"name": path.name, "path": str(path), "default": path.name == DEFAULT}
    if card is None:
        return {**entry, "damaged": fault}
    return {
        **entry,
        "model": card.name,
        "version": card.version,
        "stains": card.stains,
        "threshold": card.threshold,
    }


def _card_lines(verified: VerifiedModel) -> Iterator[str]:
    card = verified.card
    yield f"{card.name} {card.version}  ({card.architecture})"
    yield f"path             {verified.path}"
    yield f"digest           {verified.digest}"
    yield f"made             {card.created:%Y-%m-%d %H:%M %Z}"
    yield f"serves           {', '.join(card.stains)}"
    also = " and the number of its micronuclei: 0, 1, 2, 3+" if card.counting else ""
    yield f"endpoint         {card.endpoint}: a yes or no for each cell{also}"
    yield (
        f"input            {card.preparation.size} pixels, contrast {card.preparation.contrast.rule}, "
        f"polarity {card.preparation.polarity}"
    )
    yield f"threshold        {card.threshold:g} ({card.threshold_rule})"
    if card.second_look is not None:
        views = "; ".join(_view(view) for view in card.second_look.views)
        yield (
            f"second look      cells with a first score of {card.second_look.from_score:.3g} or more are scored again "
            f"({views}); the mean of the logits counts"
        )
    for name, rate in (("sensitivity", card.sensitivity), ("specificity", card.specificity)):
        if rate is not None:
            yield f"{name:<16} {_rate(rate)}"
    yield from (f"metric           {_metric(metric)}" for metric in card.metrics)
    if card.counting is not None:
        yield from (f"counts           {_count_check(check)}" for check in card.counting.checks)
    for data in card.training_data:
        yield f"trained on       {data.name}: {data.n} crops, {data.n_mn} with MN. {data.description}"
    yield f"licence          {card.licence}"
    yield f"intended use     {card.intended_use}"
    yield f"limitations      {card.limitations}"
    yield f"your own slides  {card.how_to_train_own}"


def _view(view: View) -> str:
    return f"turned by {90 * view.quarter_turns} degrees" + (f", {view.zoom:g} times" if view.zoom != 1 else "")


def _rate(rate: Rate) -> str:
    return f"{rate.value:.3f} ({rate.right} of {rate.total}, {rate.data})"


def _count_check(check: CountCheck) -> str:
    right = sum(check.confusion[n][n] for n in range(len(check.confusion)))
    return (
        f"{right} of {check.n} right on {check.data}; mean error {check.mean_absolute_error:.3f} MN a cell "
        f"({check.by_one:.3f} if every cell called had one); called {check.mn_per_cell:.3f}, true "
        f"{check.true_mn_per_cell:.3f} MN a cell"
    )


def _metric(metric: Metric) -> str:
    interval = ""
    if metric.ci_low is not None and metric.ci_high is not None:
        interval = f" (95 % CI {metric.ci_low:.3f} to {metric.ci_high:.3f})"
    cells = f"{metric.n} cells, {metric.n_mn} with MN"
    return f"{metric.name} {metric.value:.3f}{interval} on {metric.data}: {cells}"
