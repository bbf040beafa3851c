"""`mnbatch review`: a person's decisions into OUT, out of it as labels, and where they stand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnbatch.cli.common import App
from mnbatch.errors import LockHeldError

if TYPE_CHECKING:
    from mnbatch.report.build import ReportSummary
    from mnbatch.results.records import SlideRecord
    from mnbatch.results.roster import Roster
    from mnbatch.results.store import Store
    from mnbatch.review.standing import SlideReview

review_app = App(
    help="Review: decisions of people on the cells of OUT.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Output directory of `mnbatch run`.")]


@review_app.command("import")
def import_(
    out: Out,
    review: Annotated[
        Path, typer.Argument(metavar="REVIEW", help="review.csv or review.json as the gallery saved it.")
    ],
    keep_outdated: Annotated[
        bool,
        typer.Option("--keep-outdated", help="Keep decisions on an earlier result too; they count for nothing."),
    ] = False,
) -> None:
    """Check that REVIEW belongs to the results in OUT, append it to the trail and bring the reports up to date.

    Exit codes: 0 imported; 2 broken rows; 4 OUT holds no results; 5 a review of another batch, model, plan or result;
    10 unreadable or disk full; 11 another import did not end in time.
    """
    from mnbatch.review.review_import import import_review

    store = open_store(out)
    done = import_review(store, review, keep_outdated=keep_outdated)
    typer.echo(
        f"{done.added} decisions of {', '.join(done.reviewers) or 'nobody'} added on {len(done.slide_ids)} slides, "
        f"{done.known} were known"
    )
    if done.outdated:
        typer.echo(f"{done.outdated} of them were made on an earlier result: kept, and not counted")
    if done.ahead:
        typer.echo(f"{done.ahead} of them say a time that is still to come: kept, in the order in which they came")
    rebuild(store)


@review_app.command("export")
def export(
    out: Out,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for crops and labels.csv.")],
    reviewer: Annotated[str | None, typer.Option("--reviewer", help="Only this reviewer's decisions.")] = None,
) -> None:
    """Write the reviewed cells as a labelled set: give DIR/labels.csv to `mnbatch train` or `mnbatch evaluate`.

    Exit codes: 0 written; 3 written, without slides that were reviewed and are not counted now; 4 nothing to write.
    """
    from mnbatch.cli.common import name_missing
    from mnbatch.results.annotations import load_samples
    from mnbatch.review.review_export import export_labels

    store = open_store(out)
    donors = {slide: row["donor"] for slide, row in load_samples(store.paths).items() if row.get("donor")}
    done = export_labels(store, folder, donors, reviewer)
    typer.echo(f"{done.mn} cells with and {done.not_mn} without micronuclei: {folder / 'labels.csv'}")
    for reason, number in sorted(done.left_out.items()):
        typer.echo(f"left out: {number} {reason}")
    raise typer.Exit(name_missing(done.missing))


@review_app.command("status")
def status(
    out: Out, as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False
) -> None:
    """Say of each slide what is reviewed, what is missing, and where reviewers differ.

    Exit codes: 0; 3 slides are not counted, so that they cannot be reviewed.
    """
    from mnbatch.cli.common import name_missing
    from mnbatch.results.roster import open_roster

    roster = open_roster(open_store(out))
    missing = roster.missing()
    reviews = _reviews(roster)
    if as_json:
        reasons = {slide.slide_id: slide.reason for slide in missing}
        rows = [
            {"slide_id": record.slide_id, **asdict(r), "not_counted": reasons.get(record.slide_id, "")}
            for record, r in reviews
        ]
        typer.echo(json.dumps(rows, indent=1))
    else:
        for record, review in reviews:
            for line in _lines(record, review):
                typer.echo(line)
    raise typer.Exit(name_missing(missing))


@review_app.command("plan")
def plan(
    out: Out,
    band: Annotated[
        float | None, typer.Option("--band", help="Share of the cells: negatives near the threshold.")
    ] = None,
    sample: Annotated[float | None, typer.Option("--sample", help="Share of the other negatives, at random.")] = None,
    least_band: Annotated[int | None, typer.Option("--least-band", help="Cells of the band at least.")] = None,
    least_sample: Annotated[int | None, typer.Option("--least-sample", help="Cells of the sample at least.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the random order.")] = None,
) -> None:
    """Show how much a review looks at, or change it; a larger sample holds the smaller one, so no work is lost."""
    from dataclasses import replace

    from mnbatch.review.queue import load_plan, save_plan

    store = open_store(out)
    typed: dict[str, Any] = {
        "band": band,
        "sample": sample,
        "least_band": least_band,
        "least_sample": least_sample,
        "seed": seed,
    }
    changes = {name: value for name, value in typed.items() if value is not None}
    chosen = replace(load_plan(store.paths), **changes)
    if changes:
        save_plan(store.paths, chosen)
    for name, value in asdict(chosen).items():
        typer.echo(f"{name:13} {value:g}")
    if changes:
        rebuild(store)


@review_app.command("serve")
def serve(
    out: Out,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the address in the browser.")] = False,
) -> None:
    """Show OUT on this machine alone, and let its gallery save decisions straight into it, until Ctrl-C.

    The address holds a random token: who does not know it is refused. Nothing but this machine can connect.
    """
    import webbrowser

    from mnbatch.cli.review_sign import sign_as_asked
    from mnbatch.review.server import ReviewServer

    store = open_store(out)
    with ReviewServer(store, lambda: _rebuilt(store), lambda asked: sign_as_asked(store, asked), port) as server:
        typer.echo(f"Open {server.address}")
        typer.echo("Ctrl-C ends it and makes the report.")
        if open_browser:
            webbrowser.open(server.opening_address())
        with _ending_on_signals(), contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        typer.echo("ended")
        if server.saved:
            rebuild(store)


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the server as Ctrl-C does: the report is made."""
    import signal

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def rebuild(store: Store) -> None:
    """Bring the reports up to date; a run that holds OUT does so itself when it ends."""
    typer.echo(_rebuilt(store))


def _rebuilt(store: Store) -> str:
    from mnbatch.cli.common import name_missing
    from mnbatch.report.sign_off import WAIT_SECONDS
    from mnbatch.results.lock import hold_out
    from mnbatch.results.roster import Missing

    try:
        with hold_out(store.paths, WAIT_SECONDS):
            made = made_again(store)
    except LockHeldError as error:
        return f"The decisions are saved; the pages are made again when the run ends: {error.message}"
    name_missing([Missing(slide.slide_id, slide.reason) for slide in made.slides if slide.status == "failed"])
    return f"report: {store.paths.index}"


def made_again(store: Store) -> ReportSummary:
    """The reports, brought up to date; the caller holds OUT."""
    from mnbatch.cli.report import report_options
    from mnbatch.report.build import build_reports
    from mnbatch.results.annotations import load_samples

    return build_reports(store, report_options(store.paths), load_samples(store.paths))


def open_store(out: Path) -> Store:
    """The results in OUT; NoInputError where there are none."""
    from mnbatch.results.store import Store
    from mnbatch.review.review_import import check_out

    store = Store(out)
    check_out(store.paths, out)
    return store


def _reviews(roster: Roster) -> list[tuple[SlideRecord, SlideReview]]:
    from mnbatch.review.review_import import queues_of
    from mnbatch.review.standing import review_without_result, slide_review
    from mnbatch.review.trail import read_trail

    paths = roster.store.paths
    queues = queues_of(roster.store, {record.slide_id: None for record in roster.records}, roster=roster)
    found = []
    for record in roster.records:
        queue, trail = queues[record.slide_id], read_trail(paths, record.slide_id)
        found.append((record, review_without_result(trail) if queue is None else slide_review(queue, trail)))
    return found


def _lines(record: SlideRecord, review: SlideReview) -> list[str]:
    lines = [f"{record.slide_id}: {review.status}{': ' + review.reason if review.reason else ''}"]
    e = review.number
    if e is not None:
        lines.append(f"  reviewed {e.per_1000:.1f} MNBN per 1000 cells, {e.low:.1f} to {e.high:.1f} for these cells")
    lines += [f"  {s.reviewer}: {s.looked} cells of the queue, {s.outside} others" for s in review.reviewers]
    for a in review.agreements:
        kappa = "not defined" if a.kappa is None else f"{a.kappa:.2f}"
        lines.append(f"  {a.first} and {a.second}: {a.agreed} of {a.cells} alike, kappa {kappa}")
    for d in review.disagreements:
        lines.append(f"  differ on {d.cell_id}: " + ", ".join(f"{who} {word}" for who, word in d.decisions))
    if review.torn:
        lines.append(f"  {review.torn} lines of its trail cannot be read")
    if review.ahead:
        lines.append(f"  {review.ahead} decisions say a time later than that at which they were saved")
    return lines
