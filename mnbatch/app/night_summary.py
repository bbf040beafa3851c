"""The night in three parts, for a person (`OUT/summary.md`) and for a program (the JSON of `--on-finish`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnbatch import __version__
from mnbatch.app.out_status import NOT_KNOWN, FailedSlide, OutStatus, WaitingSlide, out_status, said_of_controls
from mnbatch.errors import MnbatchError
from mnbatch.results.paths import OutPaths

if TYPE_CHECKING:
    from mnbatch.pipeline.run import RunOutcome

SUMMARY_VERSION = 1
MOST_LISTED = 50
"""Slides that the page lists; the JSON has all of them."""


def night(out: Path, outcome: RunOutcome | None, error: MnbatchError | None, exit_code: int) -> dict[str, Any]:
    """What a program is told of a run that has ended.

    Args:
        outcome: of a run that went to its end; None for another.
        error: what ended it before; None for nothing that was foreseen.

    Returns:
        The document of docs/operations.md, "What --on-finish is told".
    """
    found = _status(out)
    content: dict[str, Any] = {
        "schema_version": SUMMARY_VERSION,
        "mnbatch": __version__,
        "out": str(out.resolve()),
        "exit_code": exit_code,
        "outcome": "finished" if outcome is not None else "stopped" if exit_code > _SIGNALS else "failed",
        "message": "" if error is None else error.message,
        "next_step": "" if error is None else error.next_step,
        "started": None if found is None else found.latest_run.get("started"),
        "finished": None if found is None else found.latest_run.get("finished"),
        "this_run": _this_run(outcome),
        "slides": _slides(found),
        "failed": [] if found is None else [asdict(slide) for slide in found.failed],
        "waiting": [] if found is None else [asdict(slide) for slide in found.waiting],
        "verdict": "" if found is None else found.verdict,
        "controls": "" if found is None else found.controls,
        "not_in_any_slide": [] if outcome is None else list(outcome.unplaced),
    }
    return {**content, "summary": page(content, has_index=OutPaths(out).index.exists())}


_SIGNALS = 128


def _status(out: Path) -> OutStatus | None:
    try:
        return out_status(out)
    except MnbatchError:
        # There is no OUT yet, or a disk that cannot be read: the run's own error says so.
        return None


def _this_run(outcome: RunOutcome | None) -> dict[str, int] | None:
    if outcome is None:
        return None
    return {
        "scored": len(outcome.scored),
        "re_thresholded": len(outcome.called),
        "taken_over": len(outcome.reused),
        "unchanged": len(outcome.kept),
        "left_to_next": len(outcome.waiting),
    }


def _slides(found: OutStatus | None) -> dict[str, int] | None:
    if found is None:
        return None
    new = sum(not slide.scored for slide in found.waiting)
    known = {"total": found.slides, "done": found.done, "failed": len(found.failed), "waiting": new}
    return {**known, "copies": len(found.copies), "not_in_tables": found.unreported}


def page(content: Mapping[str, Any], *, has_index: bool) -> str:
    """The summary for a person, Markdown: what is done, what failed and why, what to do.

    Args:
        has_index: there are tables and pages of this or an earlier run.
    """
    failed = [FailedSlide(**slide) for slide in content["failed"]]
    waiting = [WaitingSlide(**slide) for slide in content["waiting"]]
    lines = [
        f"# mnbatch: {_headline(content)}",
        "",
        f"OUT {Path(content['out']).name}, run started {content['started'] or 'at an unknown time'}, "
        f"exit code {content['exit_code']}.",
        "",
        "## Done",
        "",
        *_done(content, has_index=has_index),
        "",
        "## Failed",
        "",
        *_failed(content, failed, waiting),
        "",
        "## What to do",
        "",
        *_to_do(content, failed, waiting),
        "",
    ]
    return "\n".join(lines)


def _headline(content: Mapping[str, Any]) -> str:
    slides = content["slides"]
    counted = f"{slides['done']} of {slides['total']} slides counted" if slides else "no results yet"
    ended = {"finished": "the run finished", "stopped": "the run was stopped", "failed": "the run failed"}
    return f"{ended[content['outcome']]}, {counted}"


def _done(content: Mapping[str, Any], *, has_index: bool) -> list[str]:
    slides, this = content["slides"], content["this_run"]
    lines = []
    if slides:
        where = "; tables and pages: index.html" if has_index else "; no tables and pages were made"
        lines.append(f"* {slides['done']} of {slides['total']} slides are counted{where}.")
        if slides["not_in_tables"]:
            lines.append(f"* {slides['not_in_tables']} are scored and in no table yet: run again, or mnbatch report.")
    if this:
        lines.append(f"* This run scored {this['scored']} slides; {this['unchanged']} were unchanged.")
        if this["taken_over"]:
            lines.append(f"* The scores of {this['taken_over']} slides were taken over from another OUT (--reuse).")
    return lines or ["* Nothing."]


def _failed(content: Mapping[str, Any], failed: Sequence[FailedSlide], waiting: Sequence[WaitingSlide]) -> list[str]:
    lines = [f"* The run itself: {content['message']}"] if content["message"] else []
    if content["outcome"] == "failed" and not content["message"]:
        lines.append("* The run itself: internal error; the newest log in runs/ has it.")
    lines += [f"* {slide.slide_id}{_of(slide.donor)}: {slide.reason}" for slide in failed]
    lines += [f"* {_capital(said_of_controls(content['controls']))}"] if content["controls"] else []
    lines += [f"* {slide.slide_id} waits: {slide.reason}" for slide in waiting]
    lines += [f"* In no slide: {sentence}" for sentence in content["not_in_any_slide"]]
    return _short(lines) or ["* Nothing."]


def _to_do(content: Mapping[str, Any], failed: Sequence[FailedSlide], waiting: Sequence[WaitingSlide]) -> list[str]:
    lines = [f"* {content['next_step']}"] if content["next_step"] else []
    if content["controls"].startswith(NOT_KNOWN):
        lines.append("* Make tables and pages again: mnbatch report OUT. Then it is known what control samples say.")
    elif content["controls"]:
        lines.append("* Find why control samples are out of their range before any result of this batch is used.")
    steps: dict[str, list[str]] = {}
    for slide in failed:
        if slide.acknowledged:
            continue
        steps.setdefault(slide.next_step or "See the slide's page.", []).append(slide.slide_id)
    lines += [f"* {step} ({', '.join(_some(slides))})" for step, slides in steps.items()]
    if content["not_in_any_slide"]:
        lines.append(
            "* See to what is in no slide: put the images where the layout has a place, copy a slide again that broke "
            "off, or take the folder away; then run again."
        )
    if any(slide.overdue for slide in waiting):
        lines.append("* Find out why slides wait for longer than a day: is the scanner still writing them?")
    return _short(lines) or ["* Nothing."]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of(donor: str | None) -> str:
    return f" (donor {donor})" if donor else ""


def _some(names: Sequence[str]) -> list[str]:
    return [*names[:3], f"and {len(names) - 3} more"] if len(names) > 3 else list(names)


def _short(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LISTED
    return [*lines[:MOST_LISTED], f"* and {more} more: slides.csv"] if more > 0 else lines
