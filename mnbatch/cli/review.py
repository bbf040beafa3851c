"""`mnbatch review`: a person's decisions into OUT, out of it as labels, and their state."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mnbatch.cli.common import App, counted, name_missing, say_notes, say_rebuilt
from mnbatch.errors import MnbatchError, UsageError

if TYPE_CHECKING:
    from mnbatch.app.learning_plan import LearningPlan
    from mnbatch.app.rebuild import Rebuilt
    from mnbatch.app.review_service import ReviewState
    from mnbatch.app.signing_service import Signed
    from mnbatch.review.queue import ReviewPlan
    from mnbatch.review.review_status import SlideReview
    from mnbatch.review.server import ReviewServer

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
        typer.Option("--keep-outdated", help="Keep decisions on an earlier result too; they are not used."),
    ] = False,
    replace_newer: Annotated[
        bool,
        typer.Option("--replace-newer", help="Take decisions that are older than others of the same person."),
    ] = False,
) -> None:
    """Check that REVIEW belongs to the results in OUT, append it to the trail and bring the reports up to date.

    Exit codes: 0 imported; 2 broken rows, a reviewer whose name reads the same as another one's, an adjudication by
    one of those who differ, or an earlier save than what was imported; 4 OUT holds no results; 5 a review of another
    batch, model, plan or result; 10 unreadable or disk full; 11 another import did not end in time.
    """
    from mnbatch.app.review_service import import_decisions

    done = import_decisions(out, review, keep_outdated=keep_outdated, replace_newer=replace_newer)
    typer.echo(
        f"{counted(done.added, 'decision')} of {', '.join(done.reviewers) or 'no reviewer'} added on "
        f"{counted(len(done.slide_ids), 'slide')}, known before: {done.known}"
    )
    if done.replaced:
        typer.echo(f"{done.replaced} of them take the place of other decisions of the same person on the same cell")
    if done.overruled:
        typer.echo(f"{done.overruled} of those known before do not hold: the same person saved another decision later")
    if done.outdated:
        typer.echo(f"{done.outdated} of them on an earlier result: kept, but not used")
    if done.ahead:
        typer.echo(f"{done.ahead} of them with a time in the future: kept, in the order of saving")
    _rebuild(out)


@review_app.command("export")
def export(
    out: Out,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for crops and labels.csv.")],
    reviewer: Annotated[str | None, typer.Option("--reviewer", help="Only this reviewer's decisions.")] = None,
) -> None:
    """Write the reviewed cells as a labelled set: give DIR/labels.csv to `mnbatch train` or `mnbatch evaluate`.

    Exit codes: 0 written; 2 DIR is not empty, or nobody of this name decided; 3 written, without slides that were
    reviewed and are not counted now; 4 nothing to write.
    """
    from mnbatch.app.review_service import export_reviewed

    done = export_reviewed(out, folder, reviewer)
    typer.echo(f"{counted(done.mn, 'cell')} with and {done.not_mn} without micronuclei: {folder / 'labels.csv'}")
    for reason, number in sorted(done.left_out.items()):
        typer.echo(f"left out: {number} {reason}")
    raise typer.Exit(name_missing(done.missing))


@review_app.command("status")
def status(
    out: Out, as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False
) -> None:
    """Report for each slide what is reviewed, what is missing, and where reviewers differ.

    Exit codes: 0; 3 slides are not counted, so that they cannot be reviewed.
    """
    from mnbatch.app.review_service import review_state

    state = review_state(out)
    if as_json:
        typer.echo(json.dumps(_document(state), indent=1))
    else:
        for slide_id, review in state.reviews.items():
            typer.echo("\n".join(_lines(slide_id, review)))
    raise typer.Exit(name_missing(state.missing))


def _document(state: ReviewState) -> list[dict[str, Any]]:
    reasons = {slide.slide_id: slide.reason for slide in state.missing}
    return [
        {"slide_id": slide_id, **asdict(review), "not_counted": reasons.get(slide_id, "")}
        for slide_id, review in state.reviews.items()
    ]


@review_app.command("plan")
def plan(
    out: Out,
    band: Annotated[
        float | None,
        typer.Option("--band", help="With --mode complete. Share of the cells: negatives near the threshold."),
    ] = None,
    sample: Annotated[
        float | None, typer.Option("--sample", help="With --mode complete. Share of the other negatives, at random.")
    ] = None,
    least_band: Annotated[
        int | None, typer.Option("--least-band", help="With --mode complete. Cells of the band at least.")
    ] = None,
    least_sample: Annotated[
        int | None, typer.Option("--least-sample", help="With --mode complete. Cells of the sample at least.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the random order.")] = None,
    mode: Annotated[
        Literal["complete", "confirm"] | None,
        typer.Option("--mode", help="confirm: all called cells and random negatives, shared by a donor's slides."),
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option("--negatives", min=0, metavar="N", help="With --mode confirm: of a donor; at first as proposed."),
    ] = None,
    double: Annotated[
        float | None,
        typer.Option("--double", help="Share of the queue that two people are to decide, so that slips are known."),
    ] = None,
    learn: Annotated[
        int | None,
        typer.Option(
            "--learn", min=0, metavar="N", help="Besides, N more cells that teach the model most; 0: take all out."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="With --learn: the model that scored, where it is elsewhere now.")
    ] = None,
    stain: Annotated[
        str | None, typer.Option("--stain", help="With --learn: fluorescence or giemsa, where OUT holds both.")
    ] = None,
) -> None:
    """Show how much a review covers, or change it; a larger sample includes the smaller one, so no work is lost.

    --mode confirm draws every called cell and a random sample of the negatives. Its size is computed from what is known
    of the model's sensitivity (validation slides of its card, or of `mnbatch report --validation`), proposed and said;
    --negatives sets it. Numbers of a confirmation stay until they are set anew; each number that changes is named with
    the old one.

    --learn adds N cells at the end of the queue for `mnbatch adapt`: uncertain ones that differ from each other, and a
    fifth at random; cells that were chosen or decided before are not chosen again. The estimate of the review is made
    without them.

    Exit codes: 0; 2 no such review can be drawn, or an option of the other mode; 4 OUT holds no results, or no cell is
    left to choose; 5 another model scored the cells; 10 unreadable or disk full; 12 the model cannot be read. Where it
    is refused nothing is changed.
    """
    from mnbatch.app.learning_plan import LearningRequest
    from mnbatch.app.review_service import review_plan

    for option, value in (("--model", model), ("--stain", stain)):
        if value is not None and not learn:
            raise UsageError(f"{option}: only with --learn N.", "Leave it out, or add --learn; nothing was changed.")
    typed: dict[str, Any] = {
        "band": band,
        "sample": sample,
        "least_band": least_band,
        "least_sample": least_sample,
        "seed": seed,
        "mode": mode,
        "negatives": negatives,
        "double": double,
    }
    changes = {name: value for name, value in typed.items() if value is not None}
    done = review_plan(out, changes, None if learn is None else LearningRequest(learn, model, stain))
    for name, value in _plan_lines(done.plan):
        typer.echo(f"{name:13} {value}")
    for note in done.notes:
        typer.echo(note)
    if done.learning is not None and learn:
        typer.echo("\n".join(_learning_lines(done.learning)))
    if done.changed:
        _rebuild(out)


def _learning_lines(chosen: LearningPlan) -> Iterator[str]:
    few = f" ({chosen.asked} were asked for: no more are left)" if chosen.new < chosen.asked else ""
    before = f" (chosen before and not decided: {chosen.waiting})" if chosen.waiting else ""
    yield f"{counted(chosen.new, 'new cell')} for the training{few}, chosen from {chosen.compared}{before}:"
    yield from (f"{slide_id}: {number}" for slide_id, number in chosen.by_slide.items())


def _plan_lines(plan: ReviewPlan) -> Iterator[tuple[str, str]]:
    """Name and value of what the plan's mode uses."""
    of_mode = {"complete": ("negatives", "quotas"), "confirm": ("band", "sample", "least_band", "least_sample")}
    for name, value in asdict(plan).items():
        if name in of_mode[plan.mode] or (name in ("mode", "double") and plan.mode == "complete" and not plan.double):
            continue
        text = (
            value
            if isinstance(value, str)
            else f"{len(value) if name == 'learn' else value:g}"
            if name != "quotas"
            else ""
        )
        if name == "quotas":
            text = f"{sum(value.values())} on {counted(len(value), 'slide')}"
        yield name, text


@review_app.command("serve")
def serve(
    out: Out,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help="Kept for later starts; 0: any that is free. Default: that of the last start.",
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the address in the browser.")] = False,
    decide: Annotated[
        str, typer.Option("--decide", help="A limit, as 1.0 (Gy) or 40/1000: donors' galleries say who is decided.")
    ] = "",
    error: Annotated[float, typer.Option("--error", help="With --decide: of a wrong verdict, at most.")] = 0.01,
) -> None:
    """Show OUT on this computer only, and let its gallery save decisions directly into it, until Ctrl-C.

    The address has a random token; requests without it are refused. Only this computer can connect. Port and token
    stay the same for an OUT: a page that was open when the server ended goes on with the next one. However it ends, it
    makes the report; after a kill or a power failure the next start does.

    Exit codes: 0 ended; 4 OUT holds no results; 10 OUT cannot be written, or the port is taken.
    """
    import webbrowser

    from mnbatch.app.review_service import report_left_due, review_server

    late = report_left_due(out)
    if late is not None:
        typer.echo("The last server ended before it made the report; it is made now.")
        say_rebuilt(late)
    with _ending_on_signals(), review_server(out, port, _OnStderr(), decide, error) as server:
        typer.echo(f"Open {server.address}")
        typer.echo("Ctrl-C ends it and makes the report.")
        if open_browser:
            webbrowser.open(server.opening_address())
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        _end(out, server)


def _end(out: Path, server: ReviewServer) -> None:
    """Make the report, whether or not a person can still be told: the terminal may be closed."""
    from mnbatch.app.rebuild import open_store
    from mnbatch.app.review_service import report_after_review

    with contextlib.suppress(OSError):
        typer.echo("ended")
    if server.saved:
        done = report_after_review(open_store(out))
        with contextlib.suppress(OSError):
            say_rebuilt(done)


@review_app.command("triage")
def triage(
    out: Out,
    decide: Annotated[
        str, typer.Option("--decide", help="The limit: a dose in Gy, as 1.0, or a frequency of cells, as 40/1000.")
    ],
    error: Annotated[float, typer.Option("--error", help="Of a wrong verdict, at most.")] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List donors in the order in which looks help most: who is nearest to a verdict above or below the limit.

    A dose is read off the curve in force (`mnbatch dose OUT --curve`), which must be of counts that a person saw. With
    a curve of confirmed counts called cells alone are looked at. Decisions count in the order of the queue.

    Exit codes: 0; 2 no such limit, or no curve that says what a person sees; 3 slides are not counted; 4 OUT holds no
    results or no donors.
    """
    from mnbatch.app.deciding_service import decide_out

    found = decide_out(out, decide, error)
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found], indent=1))
    else:
        width = max(len(one.donor) for one in found)
        for one in found:
            passed_over = f" ({one.skipped} decisions after an undecided cell do not count)" if one.skipped else ""
            typer.echo(f"{one.donor:<{width}}  {one.text}{passed_over}")
    raise typer.Exit(name_missing([slide for one in found for slide in one.missing]))


class _OnStderr:
    """Notes for the user on stderr on what the server did."""

    def heard(self, done: Rebuilt | Signed) -> None:
        """Print a note."""
        from mnbatch.app.rebuild import Rebuilt

        say_notes(done.notes)
        if isinstance(done, Rebuilt):
            name_missing(done.missing)


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the server as Ctrl-C does: the report is made, and not cut off by a second."""
    import signal

    def end(number: int, frame: object) -> None:
        for name in names:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@review_app.command("sign")
def sign(
    out: Out,
    donor: Annotated[str, typer.Option("--donor", help="Donor whose result is signed, by the code of donors.csv.")],
    name: Annotated[str, typer.Option("--name", help="Name of the signer.")],
    role: Annotated[str, typer.Option("--role", help="Role of the signer, as shown with the signature.")] = "",
    unfinished: Annotated[
        str, typer.Option("--unfinished", metavar="REASON", help="Sign although the review is not complete, and why.")
    ] = "",
    digest: Annotated[
        str, typer.Option("--digest", help="Sign only this: the digest that the donor's page showed (32 digits).")
    ] = "",
) -> None:
    """Sign a donor's result: the results, the review and the dose as they are now, bound by a digest.

    A record in an append-only trail, shown on the donor's page, its page for print and in donors.csv. It is not a
    qualified electronic signature. When what was signed changes, it is kept and marked as outdated.

    Exit codes: 0 signed; 2 no such donor, a review that is not complete, a broken name; 4 OUT holds no results; 5 the
    result is not the one of --digest; 10 unreadable or disk full; 11 a run holds OUT.
    """
    from mnbatch.app.rebuild import open_store
    from mnbatch.app.signing_service import SignRequest, sign_donor

    request = SignRequest(donor=donor, name=name, role=role, reason=unfinished, digest=digest)
    try:
        done = sign_donor(open_store(out), request)
    except MnbatchError as error:
        say_notes(getattr(error, "__notes__", ()))
        raise
    say_notes(done.notes)
    typer.echo(done.text)


def _rebuild(out: Path) -> None:
    """Bring the reports up to date; a run that holds OUT does so itself when it ends."""
    from mnbatch.app.rebuild import open_store, rebuild_after_change

    say_rebuilt(rebuild_after_change(open_store(out)))


def _lines(slide_id: str, review: SlideReview) -> list[str]:
    lines = [f"{slide_id}: {review.status}{': ' + review.reason if review.reason else ''}"]
    e = review.number
    if e is not None:
        lines.append(f"  reviewed {e.per_1000:.1f} MNBN per 1000 cells, {e.low:.1f} to {e.high:.1f} for these cells")
    if review.mode == "confirm" and review.tallies:
        lines.append(_confirmed_line(review))
    lines += [f"  {s.reviewer}: {s.looked} cells of the queue, {s.outside} others" for s in review.reviewers]
    for a in review.agreements:
        kappa = "not defined" if a.kappa is None else f"{a.kappa:.2f}"
        lines.append(f"  {a.first} and {a.second}: {a.agreed} of {a.cells} alike, kappa {kappa}")
    for d in review.disagreements:
        lines.append(
            f"  differ on {d.cell_id}: "
            + ", ".join(f"{who} {word}" for who, word in d.decisions)
            + (f"; {d.by_third}" if d.by_third else "")
        )
    lines += _double_lines(review)
    if review.torn:
        lines.append(f"  {review.torn} lines of its trail cannot be read")
    if review.ahead:
        lines.append(f"  {review.ahead} decisions with a time later than the time of saving")
    return lines


def _confirmed_line(review: SlideReview) -> str:
    called, others = [t for t in review.tallies if t.called], [t for t in review.tallies if not t.called]
    confirmed, looked = sum(t.mn for t in called), sum(t.looked for t in called)
    found, drawn = sum(t.mn for t in others), sum(t.looked for t in others)
    return f"  confirmed {confirmed} of {looked} called cells looked at; {found} found in {drawn} random negatives"


def _double_lines(review: SlideReview) -> list[str]:
    """Double readings, what of them is missing, and decisions of another plan."""
    lines, twice = [], sum(t.twice for t in review.tallies)
    if twice:
        differing = sum(t.differing for t in review.tallies)
        lines.append(f"  decided by two people: {counted(twice, 'cell')}, {differing} of them differently")
    if sum(t.counts_differ for t in review.tallies):
        number = counted(sum(t.counts_differ for t in review.tallies), "cell")
        lines.append(f"  different numbers of micronuclei typed for {number}: no micronuclei are counted on this slide")
    if review.double_open:
        lines.append(f"  {counted(review.double_open, 'cell')} of the double-read sample wait for a second person")
    if review.other_plan:
        number = counted(review.other_plan, "decision")
        lines.append(f"  {number} of another plan or mode: used where the present plan draws the cell")
    return lines
